"""Read text and JSON files with clear errors; write files completely or not at all; digests."""

import errno
import glob
import json
import math
import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asr.errors import InputError, is_out_of_memory

MAX_DEPTH = 100
"""Maximum nesting depth of JSON. Python's own reader fails at some greater depth."""

DESCRIPTION = "model.json"
"""File with the description of a model, in its folder; see `asr.folder`."""

WEIGHTS = "weights.safetensors"
"""File with the weights of a model, in its folder."""

MAX_LINE_BYTES = 1 << 20
"""Maximum size of a line of a word list, a dictionary or an ARPA file. A longer line is not text;
a compressed one may unpack to any size."""


def path_of(text: str | Path) -> Path:
    """The path in an option; an empty one would mean the working directory.

    Raises:
        ValueError: the text is empty.
    """
    if not str(text):
        raise ValueError("is empty; expected a path")
    return Path(text)


@contextmanager
def replacing(path: str | Path, exclusive: bool = False) -> Iterator[Path]:
    """Replace a file in one step: `path` holds either the complete new content or the old one.

    The content is written to a temporary file in the same folder and flushed to disk; then the
    file is renamed to `path`. On failure the temporary file is removed.

    Args:
        path: the file to write. Its folder must exist.
        exclusive: raise an error if `path` exists, instead of replacing it.

    Yields:
        partial: path of the temporary file, to write to.

    Raises:
        FileExistsError: `exclusive` is true and `path` exists.
        OSError: the file can't be written; the error's `filename` is `path`.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{threading.get_ident()}.partial")
    _remove_leftovers(path.parent, f"{glob.escape(path.name)}.")
    try:
        if exclusive and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "already exists; expected a new file", str(path))
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        if exclusive:
            _rename_to_new(partial, path)
        else:
            os.replace(partial, path)
    except OSError as error:
        if error.filename in (None, str(partial), partial):
            error.filename = str(path)
            error.filename2 = None
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files that killed processes of this machine have left in a folder."""
    _remove_leftovers(Path(folder), "*.")


def write_text(path: str | Path, text: str, exclusive: bool = False) -> None:
    """Write a UTF-8 file, either completely or not at all.

    Args:
        path: the file to write. Its folder must exist.
        text: the content; line ends are written unchanged.
        exclusive: raise an error if `path` exists.

    Raises:
        OSError: the file can't be written, or it exists and `exclusive` is true.
    """
    content = text.encode("utf-8", "surrogateescape")  # a file's name may not be valid UTF-8
    with replacing(path, exclusive) as partial:
        partial.write_bytes(content)


def write_json(path: str | Path, values: Any) -> None:
    """Write plain values as JSON, either completely or not at all.

    The caller replaces numbers that may be NaN or infinite; see `finite_or_none`.

    Raises:
        OSError: the file can't be written.
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def json_line(values: Any) -> str:
    """A JSON value as one line, with control characters escaped.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    # JSON readers turn these escapes into the same characters again
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def finite_or_none(value: float) -> float | None:
    """None for infinity and NaN, which JSON lacks; other numbers are unchanged."""
    return value if math.isfinite(value) else None


def read_text(path: str | Path, what: str = "a text") -> str:
    """Read a UTF-8 file, without the byte order mark that some programs write first.

    Args:
        path: the file.
        what: the expected content, named in the error message.

    Raises:
        InputError: the file can't be read, has zero bytes, or is not UTF-8; the message has the
            number of the line with the first invalid byte.
    """
    return _read(path, what)


def read_lines(path: str | Path, what: str = "lines of text") -> list[str]:
    """Read the lines of a UTF-8 file; they end with LF, CR or both.

    Args:
        path: the file.
        what: the expected content, named in the error message.

    Raises:
        InputError: as `read_text`, or the file has a line far longer than `MAX_LINE_BYTES`.
    """
    return re.split("\r\n|\r|\n", _read(path, what, has_lines=True))


@contextmanager
def naming_lack_of_memory(path: str | Path) -> Iterator[None]:
    """Name the file whose content needs more memory than there is.

    Raises:
        InputError: the memory of the CPU or GPU was used up in this context.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"{path}: not enough memory to read it") from None


def decoded(content: bytes | bytearray, path: str | Path) -> str:
    """Decode the bytes of a UTF-8 file.

    Args:
        content: the bytes.
        path: the file they come from; the error message starts with it.

    Raises:
        InputError: the bytes are not UTF-8, or have a zero byte, which no text has. If they look
            like another encoding, the message names it.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            wide = "UTF-32" if content.startswith(b"\xff\xfe\0\0") else "UTF-16"
            raise InputError(f"{path}: is {wide}; expected UTF-8") from None
        if packed := packing_of(content):
            raise InputError(f"{path}: is {packed}; expected UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise InputError(f"{path}:{line}: has the byte 0x{byte:02x}; expected UTF-8") from None
    if "\0" not in text:
        return text
    if packed := packing_of(content):
        raise InputError(f"{path}: is {packed}; expected UTF-8")
    line = text.count("\n", 0, text.index("\0")) + 1
    raise InputError(
        f"{path}:{line}: has a zero byte, as UTF-16 and audio files do; expected UTF-8"
    )


def packing_of(content: bytes | bytearray) -> str:
    """What the first bytes of a compressed file or a PDF say, for a message; "" for others."""
    return next((what for begin, what in _PACKED.items() if content.startswith(begin)), "")


def read_json(path: str | Path, what: str = "JSON") -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        what: the expected content, named in the error message.

    Raises:
        InputError: the file can't be read or is not valid JSON; see `parse_json`.
    """
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str, place: str) -> Any:
    """Parse JSON more strictly than Python's own reader.

    Args:
        text: one JSON value.
        place: where the text comes from; the error message starts with it.

    Raises:
        InputError: the text is not JSON, is nested too deeply, or has NaN, an infinite number, an
            integer of more than 30 digits, half of a surrogate pair, or a name twice in one object.
    """
    if _nesting_depth(text) > MAX_DEPTH:
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
    """Parse a line that holds a JSON object.

    Args:
        line: a line of a file.
        place: the file and the line's number; the error message starts with them.

    Raises:
        InputError: the line is not valid JSON (see `parse_json`), or not an object.
    """
    values = parse_json(line, place)
    if not isinstance(values, dict):
        raise InputError(f"{place}: is {type(values).__name__}; expected a JSON object")
    return values


def composed(name: str) -> str:
    """A file's name or an id in composed Unicode (NFC), for comparisons; macOS decomposes names."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file can't be read.
    """
    import hashlib  # here, as it would slow the start of `asr score`

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: str | Path, what: str, has_lines: bool = False) -> str:
    """The text of a file, read in blocks so that a huge file of another kind is soon refused."""
    content = bytearray()
    try:
        with naming_lack_of_memory(path), open(path, "rb") as file:
            while block := file.read(MAX_LINE_BYTES):
                if b"\0" in block:
                    content += block[: max(4, block.index(b"\0") + 1)]  # 4: a mark of UTF-32
                    break  # `decoded` refuses it
                if has_lines and len(block) == MAX_LINE_BYTES and not _LINE_END.search(block):
                    raise InputError(
                        f"{path}: has a line of more than {MAX_LINE_BYTES:,} bytes; expected {what}"
                    )
                content += block
            return decoded(content, path).removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}; expected {what}") from None


def _rename_to_new(partial: Path, path: Path) -> None:
    """Rename a file to a new name in one step.

    Raises:
        OSError: `path` exists, or can't be made.
    """
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        if os.path.lexists(path):  # an empty file in its place would stay if this were killed
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(partial, path)
    else:
        partial.unlink()


def _remove_leftovers(folder: Path, begin: str) -> None:
    """Remove temporary files that killed processes of this machine have left in a folder.

    Their names begin with the glob pattern `begin`.
    """
    for partial in folder.glob(f"{begin}{glob.escape(_HOST)}-*.partial"):
        process = partial.name.rpartition(f".{_HOST}-")[2].partition("-")[0]
        if process.isdecimal() and not _is_running(int(process)):
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


_LINE_END = re.compile(rb"[\r\n]")
_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # json.dumps escapes those below
_HOST = os.uname().nodename.replace("/", "_") if hasattr(os, "uname") else ""
_PACKED = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PK\x03\x04": "a zip file",
    b"%PDF-": "a PDF file",
}


class _UnsoundError(Exception):
    """JSON that Python's reader accepts but `parse_json` refuses."""


_QUOTED_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.S)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\ud800-\udfff]")


def _nesting_depth(text: str) -> int:
    """The nesting depth of JSON; 0 if the text has too few brackets to exceed `MAX_DEPTH`."""
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
