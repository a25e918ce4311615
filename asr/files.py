"""Files of text and JSON, read with every fault named; files written whole or not at all."""

import glob
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asr.errors import InputError

MAX_DEPTH = 100
"""Objects and lists inside each other in JSON; Python's own reader fails somewhere beyond."""


@contextmanager
def replacing(path: str | Path, exclusive: bool = False) -> Iterator[Path]:
    """A file to write in the place of `path`, which is there whole or stays as it was.

    What is written goes to a file beside it, reaches the disk, and only then takes its name. Where
    that fails the file beside it is removed.

    Args:
        path: of the file; its folder is there.
        exclusive: refuse a `path` that is there already, rather than replace it.

    Yields:
        partial: where to write.

    Raises:
        FileExistsError: `exclusive`, and `path` is there.
        OSError: it can't be written; `filename` is `path`.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    _remove_leftovers(path)
    try:
        if exclusive and os.path.lexists(path):
            raise FileExistsError(17, "is there already; expected a new file", str(path))
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if exclusive:
            path.open("x").close()  # fails where another program was quicker
        os.replace(partial, path)
    except OSError as error:
        if error.filename in (None, str(partial), partial):
            error.filename = str(path)
            error.filename2 = None
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, exclusive: bool = False) -> None:
    """Write UTF-8, whole or not at all.

    Args:
        path: of the file; its folder is there.
        text: line ends stay as they are.
        exclusive: refuse a `path` that is there already.

    Raises:
        OSError: it can't be written, or is there already and `exclusive`.
    """
    content = text.encode("utf-8", "surrogateescape")  # names of files may be no text at all
    with replacing(path, exclusive) as partial:
        partial.write_bytes(content)


def write_json(path: str | Path, values: Any) -> None:
    """Write plain values as JSON, whole or not at all; what can be NaN or infinite is null before.

    Raises:
        OSError: it can't be written.
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_text(path: str | Path, what: str = "a text") -> str:
    """A file of UTF-8, without the byte order mark that some programs put before it.

    Args:
        path: of the file.
        what: was expected, for the error's line.

    Raises:
        InputError: it can't be read, or is not UTF-8; the line of the first wrong byte is named.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}; expected {what}") from None
    return decoded(content, path).removeprefix("\ufeff")


def decoded(content: bytes, path: str | Path) -> str:
    """Bytes of a file as text.

    Args:
        content: of UTF-8.
        path: of the file, which begins the error's line.

    Raises:
        InputError: they are not UTF-8; where they look like another encoding the line names it.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            wide = "UTF-32" if content.startswith(b"\xff\xfe\0\0") else "UTF-16"
            raise InputError(f"{path}: is {wide}; expected UTF-8") from None
        if content.startswith(_PACKED):
            raise InputError(f"{path}: is a packed file (gzip, xz, zip); expected UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise InputError(f"{path}:{line}: has the byte 0x{byte:02x}; expected UTF-8") from None


def read_json(path: str | Path, what: str = "JSON") -> Any:
    """What a file of JSON holds.

    Args:
        path: of the file.
        what: was expected, for the error's line.

    Raises:
        InputError: it can't be read or is not sound JSON; see `parse_json`.
    """
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str, place: str) -> Any:
    """What JSON says.

    Args:
        text: one value.
        place: where it stands, which begins the error's line.

    Raises:
        InputError: it is no JSON, is nested too deeply, or has NaN, an infinite number, a whole
            number of thousands of digits, half of a surrogate pair, or a name twice in one object.
    """
    if _deepest(text) > MAX_DEPTH:
        raise InputError(f"{place}: is nested more than {MAX_DEPTH} deep; expected plain JSON")
    try:
        values = json.loads(
            text,
            parse_constant=_no_constant,
            parse_int=_int,
            parse_float=_float,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        found = f"{error.msg.removesuffix(' at')} at column {error.colno}"
        if "\n" in text.strip():
            found = f"{found} of line {error.lineno}"
        raise InputError(f"{place}: not JSON: {found}") from None
    except _UnsoundError as error:
        raise InputError(f"{place}: has {error}") from None
    if half := _HALF_PAIR.search(text):
        _refuse_half_pairs(values, place, half.group())
    return values


def json_object(line: str, place: str) -> dict[str, Any]:
    """What a line of JSON says, by name.

    Args:
        line: of a file.
        place: the file and the line's number, which begin the error's line.

    Raises:
        InputError: it is no sound JSON (see `parse_json`), or no object.
    """
    values = parse_json(line, place)
    if not isinstance(values, dict):
        raise InputError(f"{place}: is {type(values).__name__}; expected a JSON object")
    return values


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed have left of a file."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        number = partial.name.removeprefix(f"{path.name}.").removesuffix(".partial")
        if number.isdecimal() and not _is_running(int(number)):
            with suppress(OSError):
                partial.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


_PACKED = (b"\x1f\x8b", b"\xfd7zXZ", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")


class _UnsoundError(Exception):
    """JSON that Python's reader would take."""


_QUOTED_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.S)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\ud800-\udfff]")


def _deepest(text: str) -> int:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for match in _QUOTED_OR_BRACKET.finditer(text):
        if match.group() in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group() in ("]", "}"):
            depth -= 1
    return deepest


def _no_constant(name: str) -> float:
    raise _UnsoundError(f"{name}; expected a finite number")


def _int(digits: str) -> int:
    if len(digits) > 30:
        raise _UnsoundError(f"a whole number of {len(digits)} digits; expected at most 30")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _UnsoundError(f"{digits[:30]}; expected a finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _UnsoundError(f"{twice!r} twice in one object; expected each name once")
    return values


def _refuse_half_pairs(values: Any, place: str, found: str) -> None:
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        shown = found if found.startswith("\\") else ascii(found)[1:-1]
        raise InputError(
            f"{place}: has {shown}, half of a surrogate pair; expected whole characters"
        ) from None
