"""A text file -> its sentences, one at a time."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from asr.errors import InputError
from asr.files import json_object
from asr.text.normalisation import canonical

DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
"""Errors raised on reading a truncated file, or a file that is not compressed as its name says."""


def read_sentences(path: str | Path) -> Iterator[str]:
    """Read the sentences of a corpus lazily, in the order of the file.

    A file whose first line is a JSON object, or whose name ends in `.jsonl`, is a manifest or
    other JSON lines with a "text"; all other files have one sentence per line. Files may be
    compressed (`.gz`, `.xz`, `.bz2`). Blank lines and empty texts are left out.

    `<s>` at the beginning of a line and `</s>` at its end, as written by the tools of CMU and SRI,
    are removed; elsewhere in a line they are an error.

    Args:
        path: the file, in UTF-8.

    Yields:
        sentences in their canonical form, see `asr.text.normalisation.canonical`.

    Raises:
        InputError: a line can't be read, has `<s>` or `</s>` among its words, or the file has no
            sentence. The message has the line number. The error is raised when the iteration
            reaches the line.
        OSError: the file can't be read.
    """
    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".xz").removesuffix(".bz2")
    is_json: bool | None = True if name.endswith(".jsonl") else None
    found = False
    for number, line in enumerate(_lines(path), 1):
        place = f"{path}:{number}"
        if is_json is None and line:
            is_json = _OBJECT.match(line) is not None
        text = _text(line, place) if is_json else line
        if sentence := without_marks(text, place):
            found = True
            yield sentence
    if not found:
        raise InputError(f"{path}: has no sentence; expected at least one")


def without_marks(text: str, place: str = "text") -> str:
    """A sentence in canonical form, without `<s>` at its beginning and `</s>` at its end.

    Args:
        text: the sentence.
        place: where it comes from; the error message starts with it.

    Raises:
        InputError: the sentence has `<s>` or `</s>` among its words, or is no text, see
            `asr.text.normalisation.canonical`.
    """
    text = canonical(text, place)
    if "s>" not in text and "S>" not in text:
        return text
    words = _END.sub("", _BEGIN.sub("", text)).strip()
    if found := _MARK.search(words):
        raise InputError(
            f"{place}: has {found.group()} among its words; expected <s> and </s> only at the"
            " beginning and the end of a sentence"
        )
    return words


def open_bytes(path: str | Path) -> BinaryIO:
    """Open a file of bytes, decompressing gzip, xz and bzip2.

    A file counts as compressed if its first bytes or its suffix (`.gz`, `.xz`, `.bz2`) say so.
    Reading may raise one of `DAMAGED`.
    """
    stream = open(path, "rb")  # noqa: SIM115
    begin = stream.peek(6)
    for suffix, magic, decompressed in _COMPRESSED:
        if not begin.startswith(magic) and Path(path).suffix != suffix:
            continue
        source: Any = stream
        if stream.seekable():  # so that closing the result closes the file
            stream.close()
            source = path
        return cast(BinaryIO, io.BufferedReader(decompressed(source)))  # faster for reading lines
    return stream


class _BZ2File(bz2.BZ2File):
    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            if error.errno is None:  # not an error of the operating system
                raise EOFError(str(error)) from None
            raise


_COMPRESSED: list[tuple[str, bytes, Any]] = [
    (".gz", b"\x1f\x8b", gzip.open),
    (".xz", b"\xfd7zXZ\0", lzma.LZMAFile),
    (".bz2", b"BZh", _BZ2File),
]


_MARK = re.compile(r"</?s>", re.I)
_BEGIN, _END = re.compile("^<s>", re.I), re.compile("</s>$", re.I)
_OBJECT = re.compile(r'\{\s*"[^"]*"\s*:')


def _lines(path: Path) -> Iterator[str]:
    number = 1
    with open_bytes(path) as stream:
        try:
            # lines of bytes end only at "\n"; lines of str also end at U+2028 and others
            for line in stream:
                text = line.decode("utf-8")
                for part in text.removesuffix("\n").removesuffix("\r").split("\r"):
                    yield (part.removeprefix("\ufeff") if number == 1 else part).strip()
                    number += 1
        except UnicodeDecodeError as error:
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InputError(f"{path}: is UTF-16; expected UTF-8") from None
            raise InputError(f"{path}:{number}: is not UTF-8 text ({error.reason})") from None
        except DAMAGED as error:
            raise InputError(f"{path}:{number}: can't be decompressed: {error}") from None


def _text(line: str, place: str) -> str:
    """The text of a JSON line; empty for a blank line."""
    if not line:
        return ""
    values = json_object(line, place)
    if not isinstance(values.get("text"), str):
        found = f"text is {values['text']!r}" if "text" in values else "has no 'text'"
        raise InputError(f"{place}: {found}; expected a text")
    return values["text"]
