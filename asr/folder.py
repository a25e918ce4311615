"""A model's folder: `model.json` says what it is, `weights.safetensors` has the numbers."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from asr.errors import InputError
from asr.files import replacing, write_json

FORMAT = 1
"""Raised when a folder of an older release can no longer be read as it is."""

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"


def write_folder(
    folder: str | Path, description: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> None:
    """Write a model's folder; what else is in it stays.

    Args:
        folder: made where it is not there.
        description: plain values by name, without the format's number.
        weights: no two in the same memory.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as partial:
        save_file({name: value.contiguous().cpu() for name, value in weights.items()}, partial)
        partial.chmod(0o666 & ~_umask())  # safetensors lets the owner alone read it
    write_description(folder, description)


def write_description(folder: str | Path, description: Mapping[str, Any]) -> None:
    """Write what a model's folder says of it: the last thing, once all else is there.

    Args:
        folder: there already.
        description: plain values by name, without the format's number.
    """
    write_json(Path(folder) / DESCRIPTION, {"format": FORMAT, **description})


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
    return values


def check_parts(folder: str | Path, values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a description that lacks a part, or has one that is no values by name.

    Raises:
        InputError: the first such part, by name.
    """
    for name in names:
        if not isinstance(values.get(name), dict):
            found = repr(values[name]) if name in values else "missing"
            place = Path(folder) / DESCRIPTION
            raise InputError(f"{place}: {name} is {found}; expected values by name")


def read_weights(
    folder: str | Path, expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights of a folder, on the CPU.

    Args:
        folder: of a model.
        expected: what they must be like, by name: type and shape; "meta" tensors will do.

    Raises:
        InputError: the file is missing, damaged, or has other weights than expected.
    """
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: is not there; expected a trained model's weights")
    try:
        weights = load_file(path, device="cpu")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read as weights: {error}") from None
    shown = {name: _shown(value) for name, value in expected.items()}
    found = {name: _shown(value) for name, value in weights.items()}
    for name in sorted(shown.keys() | found.keys()):
        there, wanted = found.get(name, "missing"), shown.get(name, "nothing of that name")
        if there != wanted:
            raise InputError(f"{path}: {name} is {there}; expected {wanted}, as {DESCRIPTION} says")
    return weights


def _shown(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _umask() -> int:
    mask = os.umask(0)  # the one way to read it is to set it
    os.umask(mask)
    return mask
