"""settings and a number of parameters -> a network of that size, to compare kinds of networks."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from asr.config import from_dict
from asr.errors import InputError, counted
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.recurrent import MAX_HIDDEN
from asr.training.ctc import CTCSettings


@dataclass(frozen=True)
class Ablation:
    """The contents of ablate.yaml.

    Args:
        config: name of the settings that all networks share, such as ctc-mfcc.
        settings: changes of these settings, as key=value.
        parameters: number of parameters that each network has as nearly as units allow.
        networks: settings of each network, under `model`, without its size.

    Raises:
        InputError: there are no networks.
    """

    config: str
    settings: tuple[str, ...]
    parameters: int
    networks: tuple[dict[str, Any], ...]

    def __post_init__(self) -> None:
        if not self.networks:
            raise InputError("networks is empty; expected one or more")


def network_of_size(
    settings: CTCSettings, n_tokens: int, changes: dict[str, Any], n_parameters: int, place: str
) -> AcousticModel:
    """The network whose number of parameters is nearest to the wanted one, without weights.

    Args:
        settings: that all networks share.
        n_tokens: number of tokens.
        changes: settings of this network, without its size.
        n_parameters: the wanted number.
        place: where the changes come from; the error message starts with it.

    Raises:
        InputError: a setting is unknown or out of range, or the wanted number is too small.
    """

    def settings_of(hidden_size: int) -> AcousticSettings:
        chosen = {**asdict(settings.model), **changes, "hidden_size": hidden_size}
        return from_dict(AcousticSettings, chosen, place)

    def of_width(hidden_size: int) -> AcousticModel:
        with torch.device("meta"):
            return AcousticModel(settings.features.n_features, n_tokens, settings_of(hidden_size))

    least = settings_of(MAX_HIDDEN).projection_size + 1  # a projection is smaller than its layer
    most = 2 * least
    if (n := of_width(least).n_parameters) > n_parameters:
        found = f"{place}: {changes} has {n} parameters with {counted(least, 'unit')}"
        raise InputError(f"{found}; expected at most {n_parameters}")
    while of_width(most).n_parameters < n_parameters:
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        below = of_width(middle).n_parameters <= n_parameters
        least, most = (middle, most) if below else (least, middle)
    return min(map(of_width, (least, most)), key=lambda m: abs(m.n_parameters - n_parameters))
