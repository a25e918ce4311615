"""A model's folder: `model.json` says what it is, `weights.safetensors` has the numbers."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asr.errors import InputError
from asr.files import read_json, replacing, write_json

FORMAT = 1
"""Raised when a folder of an older release can no longer be read as it is."""

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"

MAX_JSON = 2**27
"""Bytes of a JSON file: a vocabulary of millions of words fits."""

MAX_WEIGHTS = 2**36
"""Bytes of a weights file: the largest n-gram model fits."""

MAX_SIZE = 1e9
"""The largest absolute value of a weight. No sum that a network computes of such weights is beyond
float32, where log-probabilities would become NaN."""


def write_folder(
    folder: str | Path, description: Mapping[str, Any], weights: Mapping[str, torch.Tensor]
) -> None:
    """Write a model's folder; what else is in it stays.

    Args:
        folder: made where it is not there.
        description: plain values by name, without the format's number.
        weights: no two in the same memory.

    Raises:
        InputError: the weights can't be written, as where the disk is full.
        OSError: the description can't.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as partial:
        try:
            save_file({name: value.contiguous().cpu() for name, value in weights.items()}, partial)
        except SafetensorError as error:  # a full disk is no OSError there
            raise InputError(f"{folder / WEIGHTS}: can't be written: {error}") from None
        partial.chmod(0o666 & ~_umask())  # safetensors lets the owner alone read it
    write_description(folder, description)


def write_description(folder: str | Path, description: Mapping[str, Any]) -> None:
    """Write what a model's folder says of it: the last thing, once all else is there.

    Args:
        folder: there already.
        description: plain values by name, without the format's number. Numbers that are not finite
            become null; of a path that is no UTF-8, the signs that are none become U+FFFD.
    """
    write_json(Path(folder) / DESCRIPTION, _sound({"format": FORMAT, **description}))


def inside(folder: str | Path, name: str) -> Path:
    """The path of a file that a model's folder names, or of a folder in it.

    A folder may be anybody's, so nothing outside is ever read: a name that is absolute or leads out
    by `..` is refused, and so is a link to somewhere else.

    Args:
        folder: of the model.
        name: of a file or folder in it, which need not be there.

    Raises:
        InputError: the name leads out of the folder, or what it names is neither a file nor a
            folder.
    """
    path = Path(folder) / name
    try:
        root, found = Path(folder).resolve(), path.resolve()
        special = found.exists() and not found.is_file() and not found.is_dir()
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no name of a file
        raise InputError(f"{folder}: {_shortened(name)} is no file's name; expected one") from None
    if Path(name).is_absolute() or ".." in Path(name).parts or not found.is_relative_to(root):
        shown = _shortened(name)
        raise InputError(f"{folder}: {shown} leads out of the folder; expected a file in it")
    if special:
        raise InputError(f"{path}: is no regular file; expected one")
    return path


def read_json_inside(folder: str | Path, name: str, what: str) -> Any:
    """What a JSON file in a model's folder holds.

    Args:
        folder: of the model.
        name: of the file.
        what: was expected, for the error's line.

    Raises:
        InputError: the file is outside the folder, too large, or no sound JSON.
    """
    path = inside(folder, name)
    _check_bytes(path, MAX_JSON)
    return read_json(path, what)


def read_description(folder: str | Path) -> dict[str, Any]:
    """What a model's folder says of it, without its weights.

    Raises:
        InputError: it is not a model's folder, or not of this format.
    """
    path = Path(folder) / DESCRIPTION
    if not Path(folder).is_dir():
        state = "is a file" if Path(folder).exists() else "is not there"
        raise InputError(f"{folder}: {state}; expected a trained model's folder")
    if not inside(folder, DESCRIPTION).is_file():
        raise InputError(f"{folder}: has no {DESCRIPTION}; expected a trained model's folder")
    values = read_json_inside(folder, DESCRIPTION, "a model's description")
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format is {_shortened(found)}; expected {FORMAT}")
    return values


def check_parts(folder: str | Path, values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a description that lacks a part, or has one that is no values by name.

    Raises:
        InputError: the first such part, by name.
    """
    for name in names:
        if not isinstance(values.get(name), dict):
            found = _shortened(values[name]) if name in values else "missing"
            place = Path(folder) / DESCRIPTION
            raise InputError(f"{place}: {name} is {found}; expected values by name")


def read_weights(
    folder: str | Path, expected: Mapping[str, torch.Tensor], impossible: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """The weights of a folder, on the CPU.

    This is the one place where numbers of a file become a model's: what it lets through is finite
    and not larger than `MAX_SIZE`.

    Args:
        folder: of a model.
        expected: what they must be like, by name: type and shape; "meta" tensors will do.
        impossible: names of those that may hold -inf, the log-probability of what can't be.

    Raises:
        InputError: the file is missing, damaged, has other weights than expected, or has numbers
            that are not finite.
    """
    path = inside(folder, WEIGHTS)
    if not path.is_file():
        raise InputError(f"{path}: is not there; expected a trained model's weights")
    _check_bytes(path, MAX_WEIGHTS)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = set(file.keys())
            for name in sorted(names ^ expected.keys()):
                there = _shown(file.get_tensor(name)) if name in names else "missing"
                wanted = _shown(expected[name]) if name in expected else "nothing of that name"
                raise _other_weights(path, name, there, wanted)
            weights = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read as weights: {error}") from None
    for name in sorted(expected):
        there, wanted = _shown(weights[name]), _shown(expected[name])
        if there != wanted:
            raise _other_weights(path, name, there, wanted)
    for name, value in weights.items():
        _check_finite(value, f"{path}: {name}", name in impossible)
    return weights


def _sound(value: Any) -> Any:
    """A plain value as JSON has it: a training is not lost for a perplexity that is infinite."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case dict():
            return {_sound(name): _sound(one) for name, one in value.items()}
        case list() | tuple():
            return [_sound(one) for one in value]
    return value


def _check_finite(value: torch.Tensor, place: str, impossible: bool) -> None:
    if not value.is_floating_point() or not value.numel():
        return
    if impossible:
        value = value.masked_fill(value == -torch.inf, 0.0)
    least, most = (float(bound) for bound in value.aminmax())  # either is NaN where a number is
    if not max(abs(least), abs(most)) < torch.inf:
        raise InputError(f"{place} has numbers that are not finite; expected none")
    if max(-least, most) > MAX_SIZE:
        found = max(-least, most)
        raise InputError(f"{place} has numbers as large as {found:.3g}; expected up to 1e9")


def _check_bytes(path: Path, most: int) -> None:
    if path.is_file() and path.stat().st_size > most:
        found = path.stat().st_size
        raise InputError(f"{path}: has {found:,} bytes; expected at most {most:,}")


def _other_weights(path: Path, name: str, there: str, wanted: str) -> InputError:
    return InputError(f"{path}: {name} is {there}; expected {wanted}, as {DESCRIPTION} says")


def _shown(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _shortened(value: object, width: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _umask() -> int:
    mask = os.umask(0)  # the one way to read it is to set it
    os.umask(mask)
    return mask
