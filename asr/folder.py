"""A model's folder: `model.json` describes the model, `weights.safetensors` holds its weights."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from asr.errors import InputError, shortened
from asr.files import DESCRIPTION, WEIGHTS, read_json, replacing, write_json

FORMAT = 1
"""Version of the format; increased whenever folders of an older release can't be read as before."""

MAX_JSON_BYTES = 2**27
"""Maximum size of a JSON file in bytes; a vocabulary of millions of words fits."""

MAX_WORDS_BYTES = 2**27
"""Maximum size of a word list or a dictionary in bytes; millions of words fit."""

MAX_WEIGHTS_BYTES = 2**36
"""Maximum size of weights or of a language model in bytes; the largest n-gram model fits."""

MAX_ABS_WEIGHT = 1e9
"""The largest absolute value of a weight. With such weights no sum in a network exceeds float32's
range, beyond which log-probabilities would become NaN."""


def write_folder(
    folder: str | Path,
    description: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    half: bool = False,
) -> None:
    """Write a model's folder; other files in it stay.

    Args:
        folder: created if it doesn't exist.
        description: plain values by name, without the format version.
        weights: tensors by name; no two may share memory.
        half: whether float32 is written as float16, in half the space and with three digits.

    Raises:
        InputError: the weights can't be written, for example because the disk is full.
        OSError: the description can't be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous().cpu() for name, value in weights.items()}
    if half:
        tensors = {n: t.half() if t.dtype == torch.float32 else t for n, t in tensors.items()}
    with replacing(folder / WEIGHTS) as partial:
        try:
            save_file(tensors, partial)
        except SafetensorError as error:  # safetensors raises this, not OSError, on a full disk
            raise InputError(f"{folder / WEIGHTS}: can't be written: {error}") from None
        partial.chmod(0o666 & ~_umask())  # safetensors makes it readable by the owner only
    write_description(folder, description)


def write_description(folder: str | Path, description: Mapping[str, Any]) -> None:
    """Write the description of a model. It is written last, once all other files are complete.

    Args:
        folder: an existing folder.
        description: plain values by name, without the format version. Numbers that are not finite
            become null. Bytes of a path that are not valid UTF-8 become U+FFFD.
    """
    write_json(Path(folder) / DESCRIPTION, _json_value({"format": FORMAT, **description}))


def inside(folder: str | Path, name: str) -> Path:
    """The path of a file or subfolder that a model's folder refers to.

    A model's folder may come from anyone, so no file outside it is ever read. Absolute names, names
    that leave the folder by `..` and links to other places are refused.

    Args:
        folder: the model's folder.
        name: name of a file or folder in it, which need not exist.

    Raises:
        InputError: the name leads out of the folder, or it names something that is neither a file
            nor a folder.
    """
    path = Path(folder) / name
    try:
        root, found = Path(folder).resolve(), path.resolve()
        special = found.exists() and not found.is_file() and not found.is_dir()
    except (OSError, RuntimeError, ValueError):  # circular links, or not a file's name
        raise InputError(f"{folder}: {shortened(name)} is not the name of a file") from None
    if Path(name).is_absolute() or ".." in Path(name).parts or not found.is_relative_to(root):
        shown = shortened(name)
        raise InputError(f"{folder}: {shown} leads out of the folder; expected a file in it")
    if special:
        raise InputError(f"{path}: is not a regular file; expected one")
    return path


def read_json_inside(folder: str | Path, name: str, what: str) -> Any:
    """Read a JSON file in a model's folder.

    Args:
        folder: the model's folder.
        name: the file's name.
        what: the expected content, named in the error message.

    Raises:
        InputError: the file is outside the folder, too large, or not valid JSON.
    """
    path = inside(folder, name)
    check_bytes(path, MAX_JSON_BYTES)
    return read_json(path, what)


def read_description(
    folder: str | Path, expected: str = "a trained model's folder"
) -> dict[str, Any]:
    """Read the description of a model, without its weights.

    Args:
        folder: the model's folder.
        expected: what was expected there, for the error message.

    Raises:
        InputError: the folder is not a model's, or has another format version.
    """
    if not str(folder):
        raise InputError(f"the path is ''; expected {expected}")
    path = Path(folder) / DESCRIPTION
    if not Path(folder).is_dir():
        state = "is a file" if Path(folder).exists() else "does not exist"
        raise InputError(f"{folder}: {state}; expected {expected}")
    if not inside(folder, DESCRIPTION).is_file():
        has_begun = Path(folder, "checkpoints").is_dir()
        state = ": its training has not finished" if has_begun else ""
        raise InputError(f"{folder}: has no {DESCRIPTION}{state}; expected {expected}")
    values = read_json_inside(folder, DESCRIPTION, "a model's description")
    if not isinstance(values, dict):
        raise InputError(f"{path}: is {shortened(values)}; expected a JSON object")
    if (found := values.get("format")) != FORMAT:
        raise InputError(f"{path}: format is {shortened(found)}; expected {FORMAT}")
    return values


def check_bytes(path: Path, most: int) -> None:
    """Refuse a file of more than `most` bytes, before it is read into memory.

    Raises:
        InputError: the file is larger. A missing file or a folder is not an error here.
    """
    if path.is_file() and path.stat().st_size > most:
        found = path.stat().st_size
        raise InputError(f"{path}: has {found:,} bytes; expected at most {most:,}")


def check_parts(folder: str | Path, values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Check that a model's description has all its parts, each of them a JSON object.

    Raises:
        InputError: a part is missing or not an object; the message names the first such part.
    """
    for name in names:
        if not isinstance(values.get(name), dict):
            found = shortened(values[name]) if name in values else "missing"
            place = Path(folder) / DESCRIPTION
            raise InputError(f"{place}: {name} is {found}; expected values by name")


def read_weights(
    folder: str | Path, expected: Mapping[str, torch.Tensor], impossible: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """Read the weights of a model's folder, on the CPU.

    Every model loads its weights through this function. It accepts only finite numbers whose
    absolute value is at most `MAX_ABS_WEIGHT`, and float16 in place of float32, which it converts.

    Args:
        folder: the model's folder.
        expected: tensors of the expected type and shape, by name; "meta" tensors are enough.
        impossible: names of tensors that may hold -inf, the log-probability of an impossible event.

    Raises:
        InputError: the file is missing or damaged, has other weights than expected, or has numbers
            that are too large or not finite.
    """
    path = inside(folder, WEIGHTS)
    if not path.is_file():
        raise InputError(f"{path}: does not exist; expected a trained model's weights")
    check_bytes(path, MAX_WEIGHTS_BYTES)
    if not path.stat().st_size:
        raise InputError(f"{path}: is empty (0 bytes); expected a trained model's weights")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = set(file.keys())
            for name in sorted(names ^ expected.keys()):
                there = _dtype_and_shape(file.get_tensor(name)) if name in names else "missing"
                wanted = (
                    _dtype_and_shape(expected[name]) if name in expected else "nothing of that name"
                )
                raise _other_weights(path, name, there, wanted)
            weights = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can't be read as weights: {error}") from None
    for name in sorted(expected):
        if (weights[name].dtype, expected[name].dtype) == (torch.float16, torch.float32):
            weights[name] = weights[name].float()
        there, wanted = _dtype_and_shape(weights[name]), _dtype_and_shape(expected[name])
        if there != wanted:
            raise _other_weights(path, name, there, wanted)
    for name, value in weights.items():
        _check_finite(value, f"{path}: {name}", name in impossible)
    return weights


def _json_value(value: Any) -> Any:
    """A value that JSON can hold: an infinite perplexity must not make a training fail."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        case dict():
            return {_json_value(name): _json_value(item) for name, item in value.items()}
        case list() | tuple():
            return [_json_value(item) for item in value]
    return value


def _check_finite(value: torch.Tensor, place: str, impossible: bool) -> None:
    if not value.is_floating_point() or not value.numel():
        return
    if impossible:
        value = value.masked_fill(value == -torch.inf, 0.0)
    least, most = (float(bound) for bound in value.aminmax())  # NaN if any number is NaN
    largest = max(-least, most)
    if not largest < torch.inf:
        raise InputError(f"{place} has numbers that are not finite; expected none")
    if largest > MAX_ABS_WEIGHT:
        raise InputError(
            f"{place} has numbers as large as {largest:.3g}; expected up to {MAX_ABS_WEIGHT:g}"
        )


def _other_weights(path: Path, name: str, there: str, wanted: str) -> InputError:
    return InputError(f"{path}: {name} is {there}; expected {wanted}, as {DESCRIPTION} says")


def _dtype_and_shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _umask() -> int:
    mask = os.umask(0)  # the mask can only be read by setting it
    os.umask(mask)
    return mask
