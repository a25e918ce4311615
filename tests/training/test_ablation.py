import pytest

from asr.audio.features import FeatureSettings
from asr.config import from_dict
from asr.errors import InputError
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.training.ablation import Ablation, network_of_size
from asr.training.ctc import CTCSettings

SETTINGS = CTCSettings(features=FeatureSettings(n_mels=20))


@pytest.mark.parametrize(
    "values",
    [
        {"cell": "rnn"},
        {"cell": "lstm-peephole", "n_layers": 1},
        {"bidirectional": False},
        {"cell": "lstm", "projection_size": 16},
    ],
)
def test_the_width_gives_nearly_the_wanted_number_of_parameters(values):
    model = network_of_size(SETTINGS, 30, values, 100_000, "conf")
    n, width = model.n_parameters, model.settings.hidden_size
    for other in (width - 1, width + 1):
        beside = AcousticModel(20, 30, AcousticSettings(**values, hidden_size=other))
        assert abs(n - 100_000) <= abs(beside.n_parameters - 100_000)


def test_a_number_of_parameters_that_is_too_small_is_refused():
    with pytest.raises(
        InputError, match=r"conf: \{'cell': 'lstm'\} has \d+ parameters with 1 unit"
    ):
        network_of_size(SETTINGS, 30, {"cell": "lstm"}, 100, "conf")


def test_an_unknown_setting_of_a_network_is_refused():
    with pytest.raises(InputError, match="conf: unknown setting depth"):
        network_of_size(SETTINGS, 30, {"depth": 3}, 100_000, "conf")


def test_a_projection_is_smaller_than_its_layer():
    values = {"cell": "lstm", "projection_size": 64}
    with pytest.raises(
        InputError, match=r"'projection_size': 64\} has \d+ parameters with 65 units"
    ):
        network_of_size(SETTINGS, 30, values, 100_000, "conf")


def test_an_ablation_without_networks_is_refused():
    values = {"config": "ctc", "settings": [], "parameters": 1000, "networks": []}
    with pytest.raises(InputError, match=r"^conf: networks is empty; expected one or more"):
        from_dict(Ablation, values, "conf")
