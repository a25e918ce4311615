"""A trained model <-> its folder: `weights.safetensors` and `model.json`; nothing is unpickled."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.acoustic import AcousticModel, AcousticSettings
from asr.config import from_dict
from asr.errors import InputError
from asr.features import Features, FeatureSettings
from asr.folder import DESCRIPTION, check_parts, read_description, read_weights, write_folder
from asr.hmm import Topology
from asr.tokenizer import Tokenizer, tokenizer_from_dict


@dataclass(frozen=True)
class Model:
    """All that turns waveforms into the log-probabilities of tokens.

    Args:
        features: waveforms -> features.
        acoustic: features -> log_probs.
        tokenizer: what the tokens are.
        trained_on: what is known of the training, as plain values.
        topology: of an HMM, whose emissions stand in for the log-probabilities; None for CTC.
    """

    features: Features
    acoustic: AcousticModel
    tokenizer: Tokenizer
    trained_on: dict[str, Any] = field(default_factory=dict)
    topology: Topology | None = None


def save_model(folder: str | Path, model: Model) -> None:
    """Write a model's folder; what else is in it stays."""
    description = {
        "features": asdict(model.features.settings),
        "model": asdict(model.acoustic.settings),
        "tokenizer": model.tokenizer.to_dict(),
        "trained_on": model.trained_on,
    }
    write_folder(folder, description, _weights(model.features, model.acoustic))


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """The model of a folder, in evaluation mode.

    Raises:
        InputError: a file is missing, damaged, or does not fit the other.
    """
    values = read_description(folder)
    if "kind" in values:
        raise InputError(f"{folder}: is a language model's folder; expected an acoustic model's")
    check_parts(folder, values, ("features", "model", "tokenizer", "trained_on"))
    place = f"{Path(folder) / DESCRIPTION}"
    features = Features(from_dict(FeatureSettings, values["features"], f"{place}: features"))
    settings = from_dict(AcousticSettings, values["model"], f"{place}: model")
    tokenizer = tokenizer_from_dict(values["tokenizer"], f"{place}: tokenizer")
    with torch.device("meta"):  # shapes alone, until the weights are known to fit them
        acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings)
    weights = read_weights(folder, _weights(features, acoustic))
    # the features keep what follows from their settings in buffers of their own
    features.load_state_dict(_part(weights, "features."), strict=False)
    acoustic.load_state_dict(_part(weights, "acoustic."), assign=True)
    features, acoustic = features.to(device).eval(), acoustic.to(device).eval()
    return Model(features, acoustic, tokenizer, values["trained_on"])


def _weights(features: Features, acoustic: AcousticModel) -> dict[str, torch.Tensor]:
    weights = {f"acoustic.{name}": value for name, value in acoustic.state_dict().items()}
    return weights | {"features.mean": features.mean, "features.std": features.std}


def _part(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights[name] for name in names}
