"""A file of text -> its sentences, one after the other."""

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
"""What reading a compressed file raises where it is cut, or was never one."""


def read_sentences(path: str | Path) -> Iterator[str]:
    """The sentences of a corpus in its order, read as they are asked for.

    A file whose first line is an object of JSON, or whose name ends in `.jsonl`, is a manifest or
    any JSON lines with a "text"; all other files have one sentence per line. Files may be packed
    (`.gz`, `.xz`, `.bz2`). Blank lines and empty texts are no sentences and are left out.

    `<s>` before a sentence and `</s>` behind it, as the tools of CMU and SRI write them, say where
    it begins and ends and are no words; elsewhere in a line they are refused.

    Args:
        path: of the file; UTF-8.

    Yields:
        sentences in their canonical form, see `asr.text.normalisation.canonical`.

    Raises:
        InputError: a line can't be read, has `<s>` or `</s>` among its words, or there is no
            sentence at all; the message has the line's number. It comes with the line, or at the
            end.
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
        if sentence := _without_marks(canonical(text, place), place):
            found = True
            yield sentence
    if not found:
        raise InputError(f"{path}: has no sentence; expected at least one")


def open_bytes(path: str | Path) -> BinaryIO:
    """A file's content as bytes, decompressed where it is compressed by gzip, xz or bzip2.

    What the file begins with decides, and besides that a name in `.gz`, `.xz` or `.bz2`. Reading it
    may raise one of `DAMAGED`.
    """
    stream = open(path, "rb")  # noqa: SIM115
    begin = stream.peek(6)
    for suffix, magic, decompressed in _COMPRESSED:
        if not begin.startswith(magic) and Path(path).suffix != suffix:
            continue
        source: Any = stream
        if stream.seekable():  # so that closing closes all
            stream.close()
            source = path
        return cast(BinaryIO, io.BufferedReader(decompressed(source)))  # lines come faster
    return stream


class _BZ2File(bz2.BZ2File):
    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            if error.errno is None:  # no fault of the system
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
            # bytes end lines at "\n" alone; texts may have other ends, such as U+2028, inside
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


def _without_marks(text: str, place: str) -> str:
    """The sentence that stands between `<s>` and `</s>`, if they are there."""
    if "s>" not in text and "S>" not in text:
        return text
    words = _END.sub("", _BEGIN.sub("", text)).strip()
    if found := _MARK.search(words):
        raise InputError(
            f"{place}: has {found.group()} among its words; expected <s> before a sentence and"
            " </s> behind it, one sentence per line"
        )
    return words


def _text(line: str, place: str) -> str:
    """The text of a JSON line; of a blank one, nothing."""
    if not line:
        return ""
    values = json_object(line, place)
    if not isinstance(values.get("text"), str):
        found = f"text is {values['text']!r}" if "text" in values else "has no 'text'"
        raise InputError(f"{place}: {found}; expected a text")
    return values["text"]
