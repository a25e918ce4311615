"""Size of the samples in a container's header -> the range of bytes where they really are.

The size in the header is used if chunks, tags, padding, another file or nothing follows the
samples. Other bytes that follow are samples, too: programs that are stopped, or that write more
than 4 GB, leave a size in the header that is too small. An exception is text, such as the end of a
form of a web page, where the size of the whole file in the header confirms the end.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from asr.audio.container import Part, cut_short, skip_tags
from asr.audio.content import View
from asr.audio.signatures import begins_audio, unpack

UNKNOWN_SIZE = 0x7F000000
"""Sizes from here on are placeholders: sox and arecord write them into a pipe."""
UNKNOWN_SIZE_64 = 1 << 62
"""The same for 64-bit sizes."""


_MAX_PIECES = 64
_MAX_TEXT = 1 << 20  # bytes


class Chunk(NamedTuple):
    """A chunk of a container: a header with a name and a size, and then the content."""

    kind: bytes  # its name
    start: int  # of the content
    size: int  # of the content, as declared
    end: int  # after the padding, where the next chunk starts


class ContainerKind(NamedTuple):
    """The properties of a container format that `find_samples` needs."""

    begins: Callable[[View, int], bool]  # whether a file of this kind begins at a position
    signature: tuple[bytes, int]  # bytes that all such files have, and their position
    chunk_at: Callable[[View, int], Chunk | None]  # the chunk at a position, if plausible
    metadata: tuple[bytes, ...] = ()  # names of chunks that are common after the samples
    alignment: int = 2  # of chunks, in bytes
    declared_end: int = 0  # end of all chunks, as the header of this file declares; 0 if unknown


class Samples(NamedTuple):
    """Where the samples of a chunk are."""

    range: range  # positions in the view
    end: int  # position of what follows them
    undeclared: int  # number of bytes beyond the size in the header


def find_samples(view: View, start: int, declared: int | None, kind: ContainerKind) -> Samples:
    """The samples that begin at `start`.

    Args:
        view: bytes of the whole file.
        start: position of the first sample.
        declared: number of bytes of samples in the header; None if unknown.
        kind: kind of the container.

    Raises:
        InputError: fewer bytes than declared precede the end of the file or the next joined file.
    """
    start = min(start, view.size)
    stop = start + (declared or 0)
    if stop > view.size:
        raise cut_short(view, declared or 0, view.size - start)
    if declared is not None:
        for follows in (stop + -declared % kind.alignment, stop):
            if is_end_of_samples(view, follows, kind):
                return Samples(range(start, stop), min(follows, view.size), 0)
    end = _next_file(view, start, kind)
    if end < stop:
        raise cut_short(view, declared or 0, end - start)
    end = _trailing_metadata(view, stop, end, kind)
    return Samples(range(start, end), end, end - stop if declared else 0)


def make_part(view: View, found: list[range], undeclared: int) -> Part:
    """The part with these ranges of samples.

    Args:
        view: bytes of the part.
        found: one range for each chunk of samples.
        undeclared: number of bytes in the ranges beyond their declared sizes. All bytes of the
            second and later ranges are added, because libsndfile reads one chunk only.

    Raises:
        InputError: there is no range.
    """
    if not found:
        raise view.fault("holds 0 samples: it has no chunk of samples; expected at least one")
    undeclared += sum(map(len, found[1:]))
    sample_bytes = view.parts(found)
    if len(found) > 1:  # libsndfile misreads files with two
        view = view.part(0, found[0].stop)
    return Part(view, sample_bytes, undeclared)


def is_end_of_samples(view: View, position: int, kind: ContainerKind) -> bool:
    """Whether chunks, tags, padding, text, another file or nothing follows at `position`."""
    if position + 1 >= view.size:
        return True
    if chunk := kind.chunk_at(view, position):
        if chunk.kind in (*kind.metadata, b"data", b"SSND"):
            return True
        position = _skip_chunks(view, position, kind)
    if position + 1 >= view.size or view.run_end(position) == view.size:
        return True
    if position == kind.declared_end and is_text(view, position):
        return True
    after_tags = skip_tags(view, position)
    return after_tags >= view.size or begins_audio(view, after_tags)


def read_chunk(view: View, position: int, order: str) -> Chunk | None:
    """The chunk of a RIFF or AIFF file at `position`, of any name.

    Some programs do not write the padding byte after a chunk of odd size.
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
    """The file with the missing padding byte inserted after a chunk of odd size."""
    if len(view.pieces) > _MAX_PIECES:
        raise view.fault("is damaged: many of its chunks are not padded to an even size")
    return view.inserted(chunk.end, b"\0")


def riff_kind(
    order: str,
    begins: Callable[[View, int], bool],
    signature: tuple[bytes, int],
    metadata: tuple[bytes, ...],
    declared_end: int,
) -> ContainerKind:
    """The kind of a container with chunks like those of RIFF.

    Args:
        order: byte order of the sizes, `<` or `>` as in `struct`.
        begins: as in `ContainerKind`.
        signature: as in `ContainerKind`.
        metadata: as in `ContainerKind`.
        declared_end: as in `ContainerKind`.
    """

    def plausible_at(view: View, position: int) -> Chunk | None:
        chunk = read_chunk(view, position, order)
        if chunk is None or not _is_name(view, position):
            return None
        is_whole = chunk.start + chunk.size <= view.size
        if begins_audio(view, position) or not (is_whole or chunk.kind in (*metadata, b"data")):
            return None
        return chunk

    return ContainerKind(begins, signature, plausible_at, metadata, declared_end=declared_end)


def is_text(view: View, position: int) -> bool:
    """Whether the rest of the file is text in UTF-8, perhaps with zeros at the end."""
    if view.size - position > _MAX_TEXT:
        return False
    try:
        text = view.bytes_at(position, _MAX_TEXT).rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)


def _is_name(view: View, position: int) -> bool:
    name = view.bytes_at(position, 4)
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _skip_chunks(view: View, position: int, kind: ContainerKind) -> int:
    """The end of the chunks that begin at `position`."""
    while position < view.size and (chunk := kind.chunk_at(view, position)):
        position = chunk.end
    return position


def _next_file(view: View, position: int, kind: ContainerKind) -> int:
    """Start of the next file of the same kind; the size if there is none."""
    signature, offset = kind.signature
    while (found := view.find(signature, position + offset)) >= 0:
        if kind.begins(view, found - offset):
            return found - offset
        position = found - offset + 1
    return view.size


def _trailing_metadata(view: View, position: int, end: int, kind: ContainerKind) -> int:
    """Start of the chunks of metadata that fill the rest up to `end`; `end` if there are none."""
    pattern = re.compile(b"|".join(map(re.escape, kind.metadata)))
    while kind.metadata and 0 <= (position := view.search(pattern, 4, position)) < end:
        chunk = kind.chunk_at(view, position)
        if chunk and chunk.start + chunk.size <= end <= _skip_chunks(view, position, kind):
            return position
        position += 1
    return end
