"""A container's header -> where its samples end, and what follows them.

A header's size is believed where something follows that can't be samples: chunks, tags, padding,
another file. Where more bytes follow, they are samples too: programs that are stopped, or that
write more than 4 GB, leave a header that says too little.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from asr.audio.container import Part, behind_tags, cut_short
from asr.audio.content import View
from asr.audio.heads import is_head, unpack

UNKNOWN_SIZE = 0x7F000000
"""sox and arecord write sizes from here on into a pipe, where the real one can't be known."""
UNKNOWN_SIZE_64 = 1 << 62
"""The same of sizes of 64 bits."""


_MOST_PIECES = 64


class Chunk(NamedTuple):
    """A piece of a container."""

    kind: bytes
    start: int  # of its content
    size: int  # of its content, as declared
    end: int  # where the next chunk should start, with the padding that the format has


class Kind(NamedTuple):
    """What the containers differ in."""

    begins: Callable[[View, int], bool]  # another such file, at a position
    mark: tuple[bytes, int]  # bytes that every such file has, and where
    chunk_at: Callable[[View, int], Chunk | None]  # the chunk that plausibly is at a position
    extras: tuple[bytes, ...] = ()  # common chunks behind the samples
    alignment: int = 2  # of chunks, in bytes


def find_extent(view: View, start: int, declared: int | None, kind: Kind) -> tuple[range, int]:
    """The samples that begin at `start`, and where what follows them begins.

    Args:
        view: of the whole file.
        start: of the samples.
        declared: their bytes, as the header says; None where it does not.
        kind: of container.

    Raises:
        InputError: there are fewer bytes than declared, before the end or another such file.
    """
    start = min(start, view.size)
    stop = start + (declared or 0)
    if stop > view.size:
        raise cut_short(view, declared or 0, view.size - start)
    if declared is not None:
        for follows in (stop + -declared % kind.alignment, stop):
            if is_end(view, follows, kind):
                return range(start, stop), min(follows, view.size)
    end = _next_file(view, start, kind)
    if end < stop:
        raise cut_short(view, declared or 0, end - start)
    end = _extras_before(view, stop, end, kind)
    return range(start, end), end


def make_part(view: View, found: list[range], undeclared: int) -> Part:
    """The part that has these ranges of samples, of which the header declares the first at most."""
    if not found:
        raise view.fault("holds 0 samples: it has no chunk of them; expected at least one")
    undeclared += sum(map(len, found[1:]))
    plain = view.parts(found)
    if len(found) > 1:  # libsndfile is confused by two
        view = view.part(0, found[0].stop)
    return Part(view, plain, undeclared)


def is_end(view: View, position: int, kind: Kind) -> bool:
    """Whether what is at `position` can't be samples."""
    if position + 1 >= view.size:
        return True
    if chunk := kind.chunk_at(view, position):
        if chunk.kind in (*kind.extras, b"data", b"SSND"):
            return True
        position = _walk(view, position, kind)
    if position + 1 >= view.size or view.run_end(position) == view.size:
        return True
    behind = behind_tags(view, position)
    return behind >= view.size or is_head(view, behind)


def read_chunk(view: View, position: int, order: str) -> Chunk | None:
    """The chunk of RIFF or AIFF at `position`, whatever it is called.

    Some programs leave out the byte that pads an odd size.
    """
    if position + 8 > view.size:
        return None
    kind, size = unpack(order + "4sI", view, position)
    if kind == bytes(4) and not size:
        return None
    end = position + 8 + size
    is_padded = size % 2 and not (_is_name(view, end) and not _is_name(view, end + 1))
    return Chunk(kind, position + 8, size, end + 1 if is_padded else end)


def pad_chunk(view: View, chunk: Chunk) -> View:
    """The file with the byte that is missing behind a chunk of odd size."""
    if len(view.pieces) > _MOST_PIECES:
        raise view.fault("is damaged: many of its chunks are not padded to an even size")
    return view.inserted(chunk.end, b"\0")


def riff_kind(
    order: str,
    begins: Callable[[View, int], bool],
    mark: tuple[bytes, int],
    extras: tuple[bytes, ...],
) -> Kind:
    """The kind of a container of such chunks.

    Args:
        order: of the bytes of a size, as `struct` has it.
        begins: as in `Kind`.
        mark: as in `Kind`.
        extras: as in `Kind`.
    """

    def plausible_at(view: View, position: int) -> Chunk | None:
        chunk = read_chunk(view, position, order)
        if chunk is None or not _is_name(view, position):
            return None
        is_whole = chunk.start + chunk.size <= view.size
        if is_head(view, position) or not (is_whole or chunk.kind in (*extras, b"data")):
            return None
        return chunk

    return Kind(begins, mark, plausible_at, extras)


def _is_name(view: View, position: int) -> bool:
    name = view.bytes_at(position, 4)
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _walk(view: View, position: int, kind: Kind) -> int:
    """Where the chunks end that are at `position`."""
    while position < view.size and (chunk := kind.chunk_at(view, position)):
        position = chunk.end
    return position


def _next_file(view: View, position: int, kind: Kind) -> int:
    """Where another file of the same kind begins; the end where none does."""
    mark, offset = kind.mark
    while (found := view.find(mark, position + offset)) >= 0:
        if kind.begins(view, found - offset):
            return found - offset
        position = found - offset + 1
    return view.size


def _extras_before(view: View, position: int, end: int, kind: Kind) -> int:
    """Where common chunks begin that fill the rest up to `end`; `end` where none do."""
    pattern = re.compile(b"|".join(map(re.escape, kind.extras)))
    while kind.extras and 0 <= (position := view.search(pattern, 4, position)) < end:
        chunk = kind.chunk_at(view, position)
        if chunk and chunk.start + chunk.size <= end <= _walk(view, position, kind):
            return position
        position += 1
    return end
