"""WAV, RF64, W64, AIFF, CAF, AU, NIST sphere -> where their samples are, and how many bytes.

A header's size is believed where something follows that can't be samples: chunks, tags, padding,
another file. Where more bytes follow, they are samples too: programs that are stopped, or that
write more than 4 GB, leave a header that says too little.
"""

import math
import struct
from collections.abc import Callable
from typing import NamedTuple

from asr.audio.container import Examined, Format, Part, behind_tags, cut_short
from asr.audio.content import View

UNKNOWN_SIZE = 0x7F000000
"""sox and arecord write sizes from here on into a pipe, where the real one can't be known."""

_PLAIN_CODES = (1, 3, 0xFFFE)  # WAV's codes of integers, floats, and either with more to say
_AIFF_WIDTHS = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"raw ": 1}
_AIFF_PLAIN = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
_W64_TAIL = (
    b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"  # of the ids of all its chunks but LIST
)
_RIFF_EXTRAS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"JUNK", b"iXML")
_AIFF_EXTRAS = (b"ID3 ", b"ANNO", b"NAME", b"AUTH", b"COMT", b"APPL", b"MARK", b"INST", b"(c) ")


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of its content
    size: int  # of its content, as declared
    end: int  # where the next chunk should start, with the padding that the format has


class _Kind(NamedTuple):
    """What the containers differ in."""

    begins: Callable[[View, int], bool]  # another such file, at a position
    mark: tuple[bytes, int]  # bytes that every such file has, and where
    chunk_at: Callable[[View, int], _Chunk | None]  # the chunk that plausibly is at a position
    extras: tuple[bytes, ...] = ()  # common chunks behind the samples


def _wav(view: View) -> Examined:
    order = ">" if view.bytes_at(0, 4) == b"RIFX" else "<"
    is_64 = view.bytes_at(0, 4) in (b"RF64", b"BW64")
    kind = _riff_kind(order, _begins_wav, (b"WAVE", 8), _RIFF_EXTRAS)
    found: list[range] = []
    undeclared, position, size_64 = 0, 12, 0
    while chunk := _chunk(view, position, order):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"fmt ":
            code, channels, _, _, align, bits = _unpack(order + "HHIIHH", view, chunk.start)
            if code in _PLAIN_CODES and align < channels * math.ceil(bits / 8):
                raise view.fault(
                    f"has a damaged header: {channels} channels of {bits} bits take {align} bytes"
                )
        elif chunk.kind == b"ds64" and is_64:
            size_64 = _unpack("<Q", view, chunk.start + 8)[0]
        elif chunk.kind == b"data":
            there = view.size - chunk.start
            declared: int | None = size_64 or chunk.size
            is_real = UNKNOWN_SIZE <= chunk.size <= there and chunk.size < 0xFFFFFFFF
            if chunk.size >= UNKNOWN_SIZE and not size_64 and not is_real:
                declared = None
            samples, position = _extent(view, chunk.start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            found.append(samples)
    return _part(view.part(0, position), found, undeclared), position


def _aiff(view: View) -> Examined:
    kind = _riff_kind(">", _begins_aiff, (b"FORM", 0), _AIFF_EXTRAS)
    found: list[range] = []
    undeclared, position, expected = 0, 12, 0
    while chunk := _chunk(view, position, ">"):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"COMM":
            channels, frames, bits = _unpack(">HIH", view, chunk.start)
            coding = view.bytes_at(chunk.start + 18, 4) if chunk.size >= 22 else b"NONE"
            width = _AIFF_WIDTHS.get(coding, math.ceil(bits / 8) if coding in _AIFF_PLAIN else 0)
            expected = frames * channels * width
        elif chunk.kind == b"SSND":
            offset = _unpack(">I", view, chunk.start)[0]
            start = chunk.start + 8 + offset
            declared = None if chunk.size >= UNKNOWN_SIZE else max(0, chunk.size - 8 - offset)
            samples, position = _extent(view, start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            found.append(samples)
    there = sum(map(len, found))
    if there < expected < UNKNOWN_SIZE:
        raise cut_short(view, expected, there)
    if 0 < expected < there and view.run_end(found[0].start + expected) >= found[0].stop:
        found = [range(found[0].start, found[0].start + expected)]
    return _part(view.part(0, position), found, undeclared), position


def _w64(view: View) -> Examined:
    kind = _Kind(_begins_w64, (_W64_RIFF, 0), _w64_chunk_at)
    found: list[range] = []
    patched = view
    undeclared, position = 0, 40  # behind the RIFF chunk's id and size, and the id of WAVE
    while position + 24 <= view.size:
        chunk = _w64_chunk_at(view, position)
        if chunk is None:
            guid, size = _unpack("<16sQ", view, position)
            if guid[:4] != b"data":
                break
            chunk = _Chunk(b"data", position + 24, size - 24, view.size)
        position = chunk.end
        if chunk.kind == b"data":
            declared = chunk.size if 0 <= chunk.size < 2**62 else None
            samples, position = _extent(view, chunk.start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            if not declared:  # libsndfile wants a size
                size = struct.pack("<Q", len(samples) + 24)
                patched = patched.replaced(chunk.start - 8, size)
            found.append(samples)
    return _part(patched.part(0, position), found, undeclared), position


def _caf(view: View) -> Examined:
    kind = _Kind(_begins_caf, (b"caff", 0), _caf_chunk_at)
    found: list[range] = []
    undeclared, position = 0, 8
    patched = view
    while position + 12 <= view.size:
        name, size = _unpack(">4sq", view, position)
        start = position + 12
        if name == bytes(4) or (found and not _caf_chunk_at(view, position)):
            break
        position = start + max(0, size)
        if name == b"data":  # its first 4 bytes are a count of edits
            declared = size - 4 if size >= 4 else None
            samples, position = _extent(view, min(start + 4, view.size), declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            if declared is None:  # libsndfile wants a size
                patched = view.replaced(start - 8, struct.pack(">q", len(samples) + 4))
            found.append(samples)
    return _part(patched.part(0, position), found, undeclared), position


def _au(view: View) -> Examined:
    order = "<" if view.bytes_at(0, 4) == b"dns." else ">"
    start, size = _unpack(order + "II", view, 4)
    kind = _Kind(_begins_au, (view.bytes_at(0, 4), 0), lambda view, position: None)
    if start > view.size:
        raise cut_short(view, size, 0)
    is_real = UNKNOWN_SIZE <= size <= view.size - start and size < 0xFFFFFFFF
    declared = size if size < UNKNOWN_SIZE or is_real else None
    samples, position = _extent(view, start, declared, kind)
    return _part(
        view.part(0, position), [samples], len(samples) - (declared or len(samples))
    ), position


def _nist(view: View) -> Examined:
    """NIST sphere: a text header with `sample_count -i 61440` and the like."""
    size = view.bytes_at(8, 8).strip()
    start = int(size) if size.isdigit() else 0
    header = view.bytes_at(0, min(start, 1 << 16))
    fields = {words[0]: words[2] for line in header.splitlines() if len(words := line.split()) == 3}
    coding = fields.get(b"sample_coding", b"").decode("ascii", "replace")
    if "embedded-" in coding:
        packer = coding.split("embedded-")[1].split("-")[0]
        by = "sph2pipe unpacks them" if packer == "shorten" else "NIST's w_decode unpacks them"
        raise view.fault(f"is packed with {packer}; expected plain samples ({by})")
    if fields.get(b"channels_interleaved") == b"FALSE":
        raise view.fault("has one channel behind the other; expected interleaved samples")
    counts = [fields.get(b"sample_count"), fields.get(b"sample_n_bytes")]
    counts.append(fields.get(b"channel_count", b"1"))
    sizes = [int(count) for count in counts if count and count.isdigit() and len(count) < 20]
    if len(sizes) < 3 or not start:
        return Part(view), view.size
    if start > view.size:
        raise cut_short(view, math.prod(sizes), 0)
    declared, there = math.prod(sizes), view.size - start
    kind = _Kind(_begins_nist, (b"NIST_1A", 0), lambda view, position: None)
    of_all_channels = sizes[0] * sizes[1]  # as Switchboard counts them
    if of_all_channels <= there < declared and _is_end(view, start + of_all_channels, kind):
        declared = of_all_channels
    samples, position = _extent(view, start, declared, kind)
    return _part(
        view.part(0, position), [samples], len(samples) - (declared or len(samples))
    ), position


def _part(view: View, found: list[range], undeclared: int) -> Part:
    """The part that has these ranges of samples, of which the header declares the first at most."""
    if not found:
        raise view.fault("holds 0 samples: it has no chunk of them; expected at least one")
    undeclared += sum(map(len, found[1:]))
    plain = view.parts(found)
    if len(found) > 1:  # libsndfile is confused by two
        view = view.part(0, found[0].stop)
    return Part(view, plain, undeclared)


def _extent(view: View, start: int, declared: int | None, kind: _Kind) -> tuple[range, int]:
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
        for follows in (stop + declared % 2, stop):
            if _is_end(view, follows, kind):
                return range(start, stop), min(follows, view.size)
    end = _next_file(view, stop, kind)
    for extra in kind.extras if declared is not None else ():
        position = view.find(extra, stop)
        if 0 <= position < end and _walk(view, position, kind) >= end:
            end = position
    return range(start, end), end


def _is_end(view: View, position: int, kind: _Kind) -> bool:
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
    return behind >= view.size or _is_head(view, behind)


def _is_head(view: View, position: int) -> bool:
    """Whether any audio file begins there."""
    is_plain = any(begins(view, position) for begins, _ in FORMATS)
    return is_plain or view.bytes_at(position, 4) in (b"fLaC", b"OggS")


def _walk(view: View, position: int, kind: _Kind) -> int:
    """Where the chunks end that are at `position`."""
    while position < view.size and (chunk := kind.chunk_at(view, position)):
        position = chunk.end
    return position


def _next_file(view: View, position: int, kind: _Kind) -> int:
    """Where another file of the same kind begins; the end where none does."""
    mark, offset = kind.mark
    while (found := view.find(mark, position + offset)) >= 0:
        if kind.begins(view, found - offset):
            return found - offset
        position = found - offset + 1
    return view.size


def _chunk(view: View, position: int, order: str) -> _Chunk | None:
    """The chunk of RIFF or AIFF at `position`, whatever it is called."""
    if position + 8 > view.size:
        return None
    kind, size = _unpack(order + "4sI", view, position)
    if kind == bytes(4) and not size:
        return None
    return _Chunk(kind, position + 8, size, position + 8 + size + size % 2)


def _riff_kind(
    order: str,
    begins: Callable[[View, int], bool],
    mark: tuple[bytes, int],
    extras: tuple[bytes, ...],
) -> _Kind:
    def chunk_at(view: View, position: int) -> _Chunk | None:
        chunk = _chunk(view, position, order)
        if chunk is None or not all(0x20 <= byte < 0x7F for byte in chunk.kind):
            return None
        is_whole = chunk.start + chunk.size <= view.size
        if _is_head(view, position) or not (is_whole or chunk.kind in (*extras, b"data")):
            return None
        return chunk

    return _Kind(begins, mark, chunk_at, extras)


def _w64_chunk_at(view: View, position: int) -> _Chunk | None:
    if position + 24 > view.size:
        return None
    guid, size = _unpack("<16sQ", view, position)  # the size has these 24 bytes in it
    if size < 24 or (guid[4:] != _W64_TAIL and not guid.startswith(b"LIST")):
        return None
    end = position + (size + 7) // 8 * 8
    return _Chunk(guid[:4], position + 24, size - 24, end)


def _caf_chunk_at(view: View, position: int) -> _Chunk | None:
    if position + 12 > view.size:
        return None
    kind, size = _unpack(">4sq", view, position)
    end = position + 12 + size
    if not all(0x20 <= byte < 0x7F for byte in kind) or size < 0 or end > view.size:
        return None
    return _Chunk(kind, position + 12, size, end)


def _unpack(form: str, view: View, position: int) -> tuple:
    """As `struct.unpack_from`, with zeros behind the end of a file cut off within a header."""
    size = struct.calcsize(form)
    return struct.unpack(form, view.bytes_at(position, size).ljust(size, b"\0"))


def _begins_wav(view: View, position: int) -> bool:
    head = view.bytes_at(position, 12)
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE"


def _begins_aiff(view: View, position: int) -> bool:
    head = view.bytes_at(position, 12)
    return head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")


def _begins_w64(view: View, position: int) -> bool:
    return view.bytes_at(position, 16) == _W64_RIFF


def _begins_caf(view: View, position: int) -> bool:
    head = view.bytes_at(position, 12)
    return head.startswith(b"caff\0\1") and (position == 0 or head[8:] == b"desc")


def _begins_au(view: View, position: int) -> bool:
    magic, start, _, _, _, channels = _unpack(">4s5I", view, position)
    if position == 0:
        return magic in (b".snd", b"dns.")
    return magic == b".snd" and 24 <= start <= 1 << 16 and 1 <= channels <= 64


def _begins_nist(view: View, position: int) -> bool:
    return view.bytes_at(position, 8) in (b"NIST_1A\n", b"NIST_1A\r")


FORMATS: tuple[Format, ...] = (
    (_begins_wav, _wav),
    (_begins_aiff, _aiff),
    (_begins_w64, _w64),
    (_begins_caf, _caf),
    (_begins_au, _au),
    (_begins_nist, _nist),
)
