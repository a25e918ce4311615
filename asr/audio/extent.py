"""A container's header -> where its samples end, and what follows them.

A header's size is believed where something follows that can't be samples: chunks, tags, padding,
another file. Where more bytes follow, they are samples too: programs that are stopped, or that
write more than 4 GB, leave a header that says too little.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from asr.audio import mpeg
from asr.audio.container import Part, behind_tags, cut_short
from asr.audio.content import View

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"


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
        InputError: there are fewer bytes than declared.
    """
    start = min(start, view.size)
    stop = start + (declared or 0)
    if stop > view.size:
        raise cut_short(view, declared or 0, view.size - start)
    if declared is not None:
        for follows in (stop + -declared % kind.alignment, stop):
            if is_end(view, follows, kind):
                return range(start, stop), min(follows, view.size)
    end = _next_file(view, stop, kind)
    for extra in kind.extras if declared is not None else ():
        position = view.find(extra, stop)
        if 0 <= position < end and _walk(view, position, kind) >= end:
            end = position
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


def unpack(form: str, view: View, position: int) -> tuple:
    """As `struct.unpack_from`, with zeros behind the end of a file cut off within a header."""
    size = struct.calcsize(form)
    return struct.unpack(form, view.bytes_at(position, size).ljust(size, b"\0"))


def begins_wav(view: View, position: int) -> bool:
    """RIFF, RIFX, RF64 or BW64 with WAVE."""
    head = view.bytes_at(position, 12)
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE"


def begins_aiff(view: View, position: int) -> bool:
    """AIFF or AIFF-C."""
    head = view.bytes_at(position, 12)
    return head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")


def begins_w64(view: View, position: int) -> bool:
    """Sony's W64."""
    return view.bytes_at(position, 16) == W64_RIFF


def begins_caf(view: View, position: int) -> bool:
    """Apple's CAF."""
    head = view.bytes_at(position, 12)
    return head.startswith(b"caff\0\1") and (position == 0 or head[8:] == b"desc")


def begins_au(view: View, position: int) -> bool:
    """Sun's AU, in either byte order."""
    magic, start, _, _, _, channels = unpack(">4s5I", view, position)
    if position == 0:
        return magic in (b".snd", b"dns.")
    return magic == b".snd" and 24 <= start <= 1 << 16 and 1 <= channels <= 64


def begins_nist(view: View, position: int) -> bool:
    """NIST sphere."""
    return view.bytes_at(position, 8) in (b"NIST_1A\n", b"NIST_1A\r")


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


def is_head(view: View, position: int) -> bool:
    """Whether any audio file begins there."""
    begins = begins_wav, begins_aiff, begins_w64, begins_caf, begins_au, begins_nist, mpeg.begins
    is_one = any(begins_one(view, position) for begins_one in begins)
    return is_one or view.bytes_at(position, 4) in (b"fLaC", b"OggS")


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
