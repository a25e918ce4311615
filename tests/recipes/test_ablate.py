import shutil
import sys

import pipeline
import pytest
from conftest import ROOT, load_script, run_script, write_tones

from asr.audio.features import FeatureSettings
from asr.errors import InputError
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.training.ctc import CTCSettings

SETTINGS = CTCSettings(features=FeatureSettings(n_mels=20))


@pytest.fixture
def network():
    return load_script("recipes/ablate.py").network


@pytest.mark.parametrize(
    "values",
    [{"cell": "rnn"}, {"cell": "lstm-peephole", "n_layers": 1}, {"bidirectional": False}],
)
def test_the_width_gives_nearly_the_wanted_number_of_parameters(network, values):
    model = network(SETTINGS, 30, values, 100_000, "conf")
    n, width = model.n_parameters, model.settings.hidden_size
    for other in (width - 1, width + 1):
        beside = AcousticModel(20, 30, AcousticSettings(**values, hidden_size=other))
        assert abs(n - 100_000) <= abs(beside.n_parameters - 100_000)


def test_a_number_of_parameters_that_is_too_small_is_refused(network):
    with pytest.raises(InputError, match=r"conf: \{'cell': 'lstm'\} has \d+ parameters with one"):
        network(SETTINGS, 30, {"cell": "lstm"}, 100, "conf")


def test_an_unknown_setting_of_a_network_is_refused(network):
    with pytest.raises(InputError, match="conf: unknown setting depth"):
        network(SETTINGS, 30, {"depth": 3}, 100_000, "conf")


def test_networks_are_trained_with_every_seed_and_listed(tmp_path, monkeypatch, capsys):
    for folder in ("data", "conf"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    write_tones(tmp_path / "data" / "tones", {"train": 24, "dev": 4, "test": 4}, seed=1)
    conf = tmp_path / "conf" / "tones"
    conf.mkdir()
    data = "data:\n  train: data/tones/train.jsonl\n  dev: data/tones/dev.jsonl\n"
    shared = (tmp_path / "data" / "tones" / "ctc.yaml").read_text().replace("data:\n", data)
    (conf / "ctc.yaml").write_text(shared)
    (conf / "ablate.yaml").write_text(
        "config: ctc\nparameters: 2000\nsettings: [trainer.max_epochs=1]\nnetworks:\n"
        "- {cell: gru, n_layers: 1}\n- {cell: rnn, n_layers: 2, bidirectional: false}\n"
    )

    def stage(command, inputs, outputs):
        script, *arguments = command
        if script.name != "prepare.py":
            run_script(script.relative_to(tmp_path), *arguments)

    monkeypatch.setattr(pipeline, "run_stage", stage)
    monkeypatch.chdir(tmp_path)
    script = load_script("recipes/ablate.py")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate.py", "tones", "--seeds", "2"])
    script.main()
    table = (tmp_path / "exp" / "tones" / "ablate" / "table.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines()[-len(table) - 1 : -1] == table
    rows = [line.strip("| ").split(" | ") for line in table[2:]]
    assert [row[0].partition(" x ")[0] for row in rows] == ["1", "2"]
    assert rows[0][0].endswith("bidirectional gru")
    assert rows[1][0].endswith("forward rnn")
    assert all("deviation" in row[3] for row in rows)
    sizes = [int(row[5].replace(",", "")) for row in rows]
    assert sizes == pytest.approx([2000, 2000], rel=0.1)
