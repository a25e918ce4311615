"""An audio file, or what a pipe gives -> bytes that can be looked at in any order.

Files are read, not mapped into memory: a mapped file that shrinks kills the process.
"""

import bisect
import errno
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from asr.errors import InputError

STANDARD_INPUT = Path("-")
MAX_PIPED = 4 << 30
"""Bytes that are taken from a pipe at most; they go to a temporary file."""

_BLOCK = 1 << 18


class View(io.RawIOBase):
    """Ranges of a file, and bytes between them, as a file of their own; only for reading.

    Args:
        file: with a descriptor, whose position is not used.
        path: what messages begin with.
        pieces: bytes, and ranges of positions in the file, in order.
        is_whole_file: the pieces are the whole file as it is.
    """

    def __init__(
        self,
        file: BinaryIO,
        path: Path,
        pieces: Sequence[bytes | range],
        is_whole_file: bool = False,
    ) -> None:
        super().__init__()
        self.is_whole_file = is_whole_file
        self.file = file
        self.path = path
        self.pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0]
        for piece in self.pieces:
            self._starts.append(self._starts[-1] + len(piece))
        self.size = self._starts.pop()
        self._position = 0
        self._block, self._block_start = b"", 0

    def bytes_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes from `position` on; fewer at the end."""
        start = position - self._block_start
        if start >= 0 and start + count <= len(self._block):
            return self._block[start : start + count]
        if count >= _BLOCK:
            return self._read(position, count)
        self._block, self._block_start = self._read(position, _BLOCK), position
        return self._block[:count]

    def find(self, wanted: bytes, start: int) -> int:
        """Position of the first `wanted` from `start` on; -1 where there is none."""
        return self.search(re.compile(re.escape(wanted)), len(wanted), start)

    def search(self, pattern: re.Pattern[bytes], width: int, start: int) -> int:
        """Position of the first match of so many bytes from `start` on; -1 where there is none."""
        while start < self.size:
            start = max(start, self._next("SEEK_DATA", start) - width)
            block = self.bytes_at(start, 4 * _BLOCK)
            if found := pattern.search(block):
                return start + found.start()
            start += max(1, len(block) - width + 1)
        return -1

    def run_end(self, position: int) -> int:
        """Where the run of equal bytes ends that starts at `position`; holes are skipped."""
        byte = self.bytes_at(position, 1)
        while position < self.size:
            if byte == b"\0":
                position = self._next("SEEK_DATA", position)
            block = self.bytes_at(position, 4 * _BLOCK)
            if rest := block.lstrip(byte):
                return position + len(block) - len(rest)
            if not block:
                break
            position += len(block)
        return self.size

    def without_zeros(self) -> "View":
        """The same with some of the zeros at its end, where there are very many."""
        stop = self.size
        if not self.bytes_at(max(0, stop - 16), 16).strip(b"\0"):
            stop = self._last_hole()
            while stop > 0:
                start = max(0, stop - 4 * _BLOCK)
                content = self.bytes_at(start, stop - start).rstrip(b"\0")
                stop = start + len(content)
                if content:
                    break
        return self.part(0, stop + _BLOCK)  # the last frame may end with some

    def hole(self) -> range | None:
        """The first hole of a sparse file, which nobody wrote, of a megabyte or more."""
        start = 0
        while (start := self._next("SEEK_HOLE", start)) < self.size:
            stop = self._next("SEEK_DATA", start)
            if stop - start >= 1 << 20:
                return range(start, stop)
            start = stop
        return None

    def part(self, start: int, stop: int) -> "View":
        """The bytes from `start` up to `stop`."""
        if start == 0 and stop >= self.size:
            return self
        return View(self.file, self.path, list(self._cut(start, stop)))

    def parts(self, ranges: Sequence[range]) -> "View":
        """Several ranges of bytes, one behind the other."""
        cut = [piece for r in ranges for piece in self._cut(r.start, r.stop)]
        return View(self.file, self.path, cut)

    def replaced(self, position: int, content: bytes) -> "View":
        """The same with `content` instead of as many bytes at `position`."""
        before = list(self._cut(0, position))
        behind = self._cut(position + len(content), self.size)
        return View(self.file, self.path, [*before, content, *behind])

    def inserted(self, position: int, content: bytes) -> "View":
        """The same with `content` before the byte at `position`."""
        behind = self._cut(position, self.size)
        return View(self.file, self.path, [*self._cut(0, position), content, *behind])

    def fault(self, message: str) -> InputError:
        """The error that says what is wrong with the file."""
        return InputError(f"{self.path}: {message}")

    def readable(self) -> bool:
        """As every file has it, for soundfile and PyAV; so has what follows."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where `readinto` goes on."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; the end may be passed."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as there are bytes, and say how many there were."""
        content = self.bytes_at(self._position, len(buffer))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _read(self, position: int, count: int) -> bytes:
        content = [
            piece
            if isinstance(piece, bytes)
            else os.pread(self.file.fileno(), len(piece), piece.start)
            for piece in self._cut(position, min(self.size, position + count))
        ]
        return content[0] if len(content) == 1 else b"".join(content)

    def _cut(self, start: int, stop: int) -> Iterator[bytes | range]:
        first = max(0, bisect.bisect_right(self._starts, start) - 1)
        for piece, origin in zip(self.pieces[first:], self._starts[first:], strict=True):
            if origin >= stop:
                return
            yield piece[max(0, start - origin) : stop - origin]

    def _last_hole(self) -> int:
        """Where the hole begins that the file ends with; the end where there is none."""
        hole = position = 0
        while (position := self._next("SEEK_DATA", position)) < self.size:
            hole = position = self._next("SEEK_HOLE", position)
        return hole

    def _next(self, whence: str, position: int) -> int:
        """Where data or a hole of a sparse file is, from `position` on; the end where none is."""
        if (
            len(self.pieces) != 1
            or not isinstance(self.pieces[0], range)
            or not hasattr(os, whence)
        ):
            return position if whence == "SEEK_DATA" else self.size
        origin, descriptor = self.pieces[0].start, self.file.fileno()
        try:
            found = os.lseek(descriptor, origin + position, getattr(os, whence))
        except OSError as error:
            is_none = error.errno == errno.ENXIO or whence == "SEEK_HOLE"
            return self.size if is_none else position
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return min(found - origin, self.size)


@contextmanager
def opened(path: Path) -> Iterator[View]:
    """The bytes of a regular file, or of a pipe, which is first copied to a temporary file.

    Args:
        path: of a file or a pipe; `-` is standard input.

    Yields:
        view: of at least one byte.

    Raises:
        InputError: there is nothing that can be read, or a pipe gives more than `MAX_PIPED`; or
            the file has become longer or shorter when the caller is done.
    """
    if path == STANDARD_INPUT:
        with _standard_input() as source, _spooled(source, path) as view:
            yield view
        return
    status = check_file(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {reason_of(error)}; expected an audio file") from None
    with file:
        if not stat.S_ISREG(status.st_mode):
            with _spooled(file, path) as view:
                yield view
            return
        view = View(file, path, [range(status.st_size)], is_whole_file=True)
        yield view
        if os.fstat(file.fileno()).st_size != view.size:
            raise view.fault("has changed while it was read; expected a finished recording")


def check_file(path: Path) -> os.stat_result:
    """What the system knows of a file or a pipe, if there is something to read.

    Raises:
        InputError: there is no such file, it is empty, no audio can be in it, or it can't be read.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InputError(f"{path}: {reason_of(error)}; expected an audio file") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; expected an audio file")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise InputError(f"{path}: is not a regular file or a pipe; expected an audio file")
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise InputError(f"{path}: is empty (0 bytes); expected an audio file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied; expected a file that can be read")
    return status


def reason_of(error: Exception) -> str:
    """What an error says, to stand behind a colon."""
    reason = getattr(error, "strerror", None) or str(error)  # FFmpegError has it like OSError
    return reason[:1].lower() + reason[1:]


@contextmanager
def _standard_input() -> Iterator[BinaryIO]:
    try:
        descriptor = os.dup(sys.__stdin__.fileno() if sys.__stdin__ else 0)
    except (OSError, ValueError):
        raise InputError("-: there is no standard input; expected an audio file") from None
    with os.fdopen(descriptor, "rb") as file:
        if file.isatty():
            raise InputError("-: standard input is a terminal; expected audio from a pipe")
        yield file


@contextmanager
def _spooled(source: BinaryIO, path: Path) -> Iterator[View]:
    size = 0
    with tempfile.TemporaryFile() as file:
        try:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > MAX_PIPED:
                    raise InputError(
                        f"{path}: gives more than {MAX_PIPED >> 30} GB; expected a file for so much"
                    )
                file.write(block)
            file.seek(0)
        except OSError as error:
            where = f"the pipe can't be copied to {tempfile.gettempdir()}"
            raise InputError(f"{path}: {where}: {reason_of(error)}") from None
        if not size:
            raise InputError(f"{path}: is empty (0 bytes); expected audio")
        yield View(file, path, [range(size)], is_whole_file=True)
