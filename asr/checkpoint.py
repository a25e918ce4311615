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
    save_file(_weights(model.features, model.acoustic), partial)
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
    if not path.is_file():
        raise InputError(f"{folder}: has no {DESCRIPTION}; expected a trained model's folder")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not JSON ({error}); expected a model's description") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format is {found}; expected {FORMAT}")
    if missing := {"features", "model", "tokenizer", "trained_on"} - set(values):
        raise InputError(f"{path}: has no {sorted(missing)[0]!r}; expected a model's description")
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
    acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings)
    path = Path(folder) / WEIGHTS
    try:
        weights = load_file(path, device="cpu")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read as weights: {error}") from None
    expected = {name: value.shape for name, value in _weights(features, acoustic).items()}
    found = {name: value.shape for name, value in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            shapes = [list(x[name]) if name in x else "missing" for x in (found, expected)]
            raise InputError(f"{path}: {name} is {shapes[0]}; {DESCRIPTION} expects {shapes[1]}")
    for prefix, module in (("features.", features), ("acoustic.", acoustic)):
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        module.load_state_dict(own, strict=False)
    features, acoustic = features.to(device).eval(), acoustic.to(device).eval()
    return Model(features, acoustic, tokenizer, values["trained_on"])


def _weights(features: Features, acoustic: AcousticModel) -> dict[str, torch.Tensor]:
    weights = {f"acoustic.{name}": value for name, value in acoustic.state_dict().items()}
    weights["features.mean"], weights["features.std"] = features.mean, features.std
    return {name: value.contiguous().cpu() for name, value in weights.items()}
