"""An audio file or a pipe -> bytes that can be read in any order.

Files are not mapped into memory, because a mapped file that shrinks kills the process.
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
"""Maximum number of bytes read from a pipe; they are copied to a temporary file."""

_BLOCK = 1 << 18


class View(io.RawIOBase):
    """A read-only file object over ranges of a file and inserted bytes; nothing is copied.

    Args:
        file: open file with a descriptor; its position is not used.
        path: path of the file, with which error messages begin.
        pieces: the content in order: ranges of positions in the file, or bytes.
        is_whole_file: true if the pieces are the whole file, unchanged.
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
        """`count` bytes from `position` on; fewer at the end of the view."""
        start = position - self._block_start
        if start >= 0 and start + count <= len(self._block):
            return self._block[start : start + count]
        if count >= _BLOCK:
            return self._read(position, count)
        self._block, self._block_start = self._read(position, _BLOCK), position
        return self._block[:count]

    def find(self, wanted: bytes, start: int) -> int:
        """Position of the first `wanted` from `start` on; -1 if there is none."""
        return self.search(re.compile(re.escape(wanted)), len(wanted), start)

    def search(self, pattern: re.Pattern[bytes], width: int, start: int) -> int:
        """Position of the first match from `start` on; -1 if there is none.

        Args:
            pattern: what to search.
            width: of the longest possible match, in bytes.
            start: position.
        """
        while True:
            start = max(start, self._next("SEEK_DATA", start) - width)
            block = self.bytes_at(start, 4 * _BLOCK)
            if found := pattern.search(block):
                return start + found.start()
            if start + len(block) >= self.size:
                return -1
            start += len(block) - width + 1

    def run_end(self, position: int) -> int:
        """End of the run of equal bytes that starts at `position`; holes count as zeros."""
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

    def without_trailing_zeros(self) -> "View":
        """The view without most of the zeros at its end."""
        stop = self.size
        if not self.bytes_at(max(0, stop - 16), 16).strip(b"\0"):
            stop = self._last_hole()
            while stop > 0:
                start = max(0, stop - 4 * _BLOCK)
                content = self.bytes_at(start, stop - start).rstrip(b"\0")
                stop = start + len(content)
                if content:
                    break
        return self.part(0, stop + _BLOCK)  # zeros at the end may belong to the last frame

    def first_hole(self) -> range | None:
        """The first hole (range that was never written) of 1 MB or more; None if there is none."""
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
        """The bytes of several ranges, one after the other."""
        cut = [piece for r in ranges for piece in self._cut(r.start, r.stop)]
        return View(self.file, self.path, cut)

    def replaced(self, position: int, content: bytes) -> "View":
        """The view with the bytes from `position` on overwritten by `content`."""
        before = list(self._cut(0, position))
        after = self._cut(position + len(content), self.size)
        return View(self.file, self.path, [*before, content, *after])

    def inserted(self, position: int, content: bytes) -> "View":
        """The view with `content` inserted at `position`."""
        after = self._cut(position, self.size)
        return View(self.file, self.path, [*self._cut(0, position), content, *after])

    def fault(self, message: str) -> InputError:
        """An error whose message begins with the path of the file."""
        return InputError(f"{self.path}: {message}")

    def readable(self) -> bool:
        """True. This and the following are the methods of files that soundfile and PyAV call."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position from which `readinto` reads."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, which may be after the end, and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer and return their number."""
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
        """Start of the hole at the end of the file; the size if there is none."""
        hole = position = 0
        while (position := self._next("SEEK_DATA", position)) < self.size:
            hole = position = self._next("SEEK_HOLE", position)
        return hole

    def _next(self, whence: str, position: int) -> int:
        """Position of the next data or hole of a sparse file; the size if there is none."""
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
    """The bytes of a regular file or a pipe. A pipe is first copied to a temporary file.

    Args:
        path: path of a file or a pipe; `-` is standard input.

    Yields:
        view: at least one byte.

    Raises:
        InputError: the file can't be read, a pipe gives more than `MAX_PIPED` bytes, or the size
            of the file has changed when the caller is done.
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
    """The status of a file or a pipe, as `os.stat` returns it.

    Raises:
        InputError: it does not exist, is empty, can't be read, or is neither a file nor a pipe.
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
    """The message of an error, in lower case, to be put after a colon."""
    reason = getattr(error, "strerror", None) or str(error)  # FFmpegError also has strerror
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
                        f"{path}: gives more than {MAX_PIPED >> 30} GB; expected a file"
                        " instead of a pipe"
                    )
                file.write(block)
            file.seek(0)
        except OSError as error:
            where = f"the pipe can't be copied to {tempfile.gettempdir()}"
            raise InputError(f"{path}: {where}: {reason_of(error)}") from None
        if not size:
            raise InputError(f"{path}: is empty (0 bytes); expected audio")
        yield View(file, path, [range(size)], is_whole_file=True)
