"""A trained model <-> its folder: `weights.safetensors` and `model.json`; nothing is unpickled."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from asr.acoustic import AcousticModel, AcousticSettings
from asr.config import from_dict
from asr.errors import InputError
from asr.features import Features, FeatureSettings
from asr.text import Tokenizer, tokenizer_from_dict

FORMAT = 1
"""Raised when a folder of an older release can no longer be read as it is."""

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Model:
    """All that turns waveforms into the log-probabilities of tokens.

    Args:
        features: waveforms -> features.
        acoustic: features -> log_probs.
        tokenizer: what the tokens are.
        trained_on: what is known of the training, as plain values.
    """

    features: Features
    acoustic: AcousticModel
    tokenizer: Tokenizer
    trained_on: dict[str, Any] = field(default_factory=dict)


def save_model(folder: str | Path, model: Model) -> None:
    """Write a model's folder; what else is in it stays."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format": FORMAT,
        "features": asdict(model.features.settings),
        "model": asdict(model.acoustic.settings),
        "tokenizer": model.tokenizer.to_dict(),
        "trained_on": model.trained_on,
    }
    partial = folder / (WEIGHTS + ".partial")
    weights = _weights(model.features, model.acoustic)
    save_file({name: value.contiguous().cpu() for name, value in weights.items()}, partial)
    os.replace(partial, folder / WEIGHTS)
    partial = folder / (DESCRIPTION + ".partial")
    partial.write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, folder / DESCRIPTION)


def read_description(folder: str | Path) -> dict[str, Any]:
    """What a model's folder says of it, without its weights.

    Raises:
        InputError: it is not a model's folder, or not of this format.
    """
    path = Path(folder) / DESCRIPTION
    if not Path(folder).is_dir():
        state = "is a file" if Path(folder).exists() else "is not there"
        raise InputError(f"{folder}: {state}; expected a trained model's folder")
    if not path.is_file():
        raise InputError(f"{folder}: has no {DESCRIPTION}; expected a trained model's folder")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not JSON ({error}); expected a model's description") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format is {found}; expected {FORMAT}")
    for name in ("features", "model", "tokenizer", "trained_on"):
        if not isinstance(values.get(name), dict):
            found = repr(values[name]) if name in values else "missing"
            raise InputError(f"{path}: {name} is {found}; expected values by name")
    return values


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """The model of a folder, in evaluation mode.

    Raises:
        InputError: a file is missing, damaged, or does not fit the other.
    """
    values = read_description(folder)
    place = f"{Path(folder) / DESCRIPTION}"
    features = Features(from_dict(FeatureSettings, values["features"], f"{place}: features"))
    settings = from_dict(AcousticSettings, values["model"], f"{place}: model")
    tokenizer = tokenizer_from_dict(values["tokenizer"], f"{place}: tokenizer")
    with torch.device("meta"):  # shapes alone, until the weights are known to fit them
        acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings)
    path = Path(folder) / WEIGHTS
    try:
        weights = load_file(path, device="cpu")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read as weights: {error}") from None
    expected = {name: _shown(value) for name, value in _weights(features, acoustic).items()}
    found = {name: _shown(value) for name, value in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        there, wanted = found.get(name, "missing"), expected.get(name, "nothing of that name")
        if there != wanted:
            raise InputError(f"{path}: {name} is {there}; expected {wanted}, as {DESCRIPTION} says")
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


def _shown(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
