"""WAV, RF64, W64, AIFF, CAF, AU, NIST sphere -> where their samples are, and how many bytes."""

import math
import struct
from collections.abc import Callable

from asr.audio import mpeg
from asr.audio.container import Examined, Format, Part, cut_short
from asr.audio.content import View
from asr.audio.extent import (
    W64_RIFF,
    Chunk,
    Kind,
    begins_aiff,
    begins_au,
    begins_caf,
    begins_nist,
    begins_w64,
    begins_wav,
    find_extent,
    is_end,
    is_head,
    make_part,
    unpack,
)

UNKNOWN_SIZE = 0x7F000000
"""sox and arecord write sizes from here on into a pipe, where the real one can't be known."""

_PLAIN_CODES = (1, 3, 0xFFFE)  # WAV's codes of integers, floats, and either with more to say
_MPEG_CODES = (0x50, 0x55)
_AIFF_WIDTHS = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"raw ": 1}
_AIFF_PLAIN = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")
# of the ids of all its chunks but LIST
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"
_RIFF_EXTRAS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"JUNK", b"iXML")
_AIFF_EXTRAS = (b"ID3 ", b"ANNO", b"NAME", b"AUTH", b"COMT", b"APPL", b"MARK", b"INST", b"(c) ")


def _wav(view: View) -> Examined:
    order = ">" if view.bytes_at(0, 4) == b"RIFX" else "<"
    is_64 = view.bytes_at(0, 4) in (b"RF64", b"BW64")
    kind = _riff_kind(order, begins_wav, (b"WAVE", 8), _RIFF_EXTRAS)
    found: list[range] = []
    undeclared, position, size_64, code = 0, 12, 0, 0
    while chunk := _chunk(view, position, order):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"fmt ":
            code, channels, _, _, align, bits = unpack(order + "HHIIHH", view, chunk.start)
            if code in _PLAIN_CODES and align < channels * math.ceil(bits / 8):
                raise view.fault(
                    f"has a damaged header: {channels} channels of {bits} bits take {align} bytes"
                )
        elif chunk.kind == b"ds64" and is_64:
            size_64 = unpack("<Q", view, chunk.start + 8)[0]
        elif chunk.kind == b"data":
            there = view.size - chunk.start
            declared: int | None = size_64 or chunk.size
            is_real = UNKNOWN_SIZE <= chunk.size <= there and chunk.size < 0xFFFFFFFF
            if chunk.size >= UNKNOWN_SIZE and not size_64 and not is_real:
                declared = None
            samples, position = find_extent(view, chunk.start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            found.append(samples)
    part = make_part(view.part(0, position), found, undeclared)
    if code in _MPEG_CODES and part.plain is not None:
        part = mpeg.examine(part.plain)[0]
    return part, position


def _aiff(view: View) -> Examined:
    kind = _riff_kind(">", begins_aiff, (b"FORM", 0), _AIFF_EXTRAS)
    found: list[range] = []
    undeclared, position, expected = 0, 12, 0
    while chunk := _chunk(view, position, ">"):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"COMM":
            channels, frames, bits = unpack(">HIH", view, chunk.start)
            coding = view.bytes_at(chunk.start + 18, 4) if chunk.size >= 22 else b"NONE"
            width = _AIFF_WIDTHS.get(coding, math.ceil(bits / 8) if coding in _AIFF_PLAIN else 0)
            expected = frames * channels * width
        elif chunk.kind == b"SSND":
            offset = unpack(">I", view, chunk.start)[0]
            start = chunk.start + 8 + offset
            declared = None if chunk.size >= UNKNOWN_SIZE else max(0, chunk.size - 8 - offset)
            samples, position = find_extent(view, start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            found.append(samples)
    there = sum(map(len, found))
    if there < expected < UNKNOWN_SIZE:
        raise cut_short(view, expected, there)
    if 0 < expected < there and view.run_end(found[0].start + expected) >= found[0].stop:
        found = [range(found[0].start, found[0].start + expected)]
    return make_part(view.part(0, position), found, undeclared), position


def _w64(view: View) -> Examined:
    kind = Kind(begins_w64, (W64_RIFF, 0), _w64_chunk_at, alignment=8)
    found: list[range] = []
    patched = view
    undeclared, position = 0, 40  # behind the RIFF chunk's id and size, and the id of WAVE
    while position + 24 <= view.size:
        chunk = _w64_chunk_at(view, position)
        if chunk is None:
            guid, size = unpack("<16sQ", view, position)
            if guid[:4] != b"data":
                break
            chunk = Chunk(b"data", position + 24, size - 24, view.size)
        position = chunk.end
        if chunk.kind == b"data":
            declared = chunk.size if 0 <= chunk.size < 2**62 else None
            samples, position = find_extent(view, chunk.start, declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            if not declared:  # libsndfile wants a size
                size = struct.pack("<Q", len(samples) + 24)
                patched = patched.replaced(chunk.start - 8, size)
            found.append(samples)
    return make_part(patched.part(0, position), found, undeclared), position


def _caf(view: View) -> Examined:
    kind = Kind(begins_caf, (b"caff", 0), _caf_chunk_at)
    found: list[range] = []
    undeclared, position = 0, 8
    patched = view
    while position + 12 <= view.size:
        name, size = unpack(">4sq", view, position)
        start = position + 12
        if name == bytes(4) or (found and not _caf_chunk_at(view, position)):
            break
        position = start + max(0, size)
        if name == b"data":  # its first 4 bytes are a count of edits
            declared = size - 4 if size >= 4 else None
            samples, position = find_extent(view, min(start + 4, view.size), declared, kind)
            undeclared += len(samples) - (declared or len(samples))
            if declared is None:  # libsndfile wants a size
                patched = view.replaced(start - 8, struct.pack(">q", len(samples) + 4))
            found.append(samples)
    return make_part(patched.part(0, position), found, undeclared), position


def _au(view: View) -> Examined:
    order = "<" if view.bytes_at(0, 4) == b"dns." else ">"
    start, size = unpack(order + "II", view, 4)
    kind = Kind(begins_au, (view.bytes_at(0, 4), 0), lambda view, position: None)
    if start > view.size:
        raise cut_short(view, size, 0)
    is_real = UNKNOWN_SIZE <= size <= view.size - start and size < 0xFFFFFFFF
    declared = size if size < UNKNOWN_SIZE or is_real else None
    samples, position = find_extent(view, start, declared, kind)
    return make_part(
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
    kind = Kind(begins_nist, (b"NIST_1A", 0), lambda view, position: None)
    of_all_channels = sizes[0] * sizes[1]  # as Switchboard counts them
    if of_all_channels <= there < declared and is_end(view, start + of_all_channels, kind):
        declared = of_all_channels
    samples, position = find_extent(view, start, declared, kind)
    return make_part(
        view.part(0, position), [samples], len(samples) - (declared or len(samples))
    ), position


def _chunk(view: View, position: int, order: str) -> Chunk | None:
    """The chunk of RIFF or AIFF at `position`, whatever it is called."""
    if position + 8 > view.size:
        return None
    kind, size = unpack(order + "4sI", view, position)
    if kind == bytes(4) and not size:
        return None
    return Chunk(kind, position + 8, size, position + 8 + size + size % 2)


def _riff_kind(
    order: str,
    begins: Callable[[View, int], bool],
    mark: tuple[bytes, int],
    extras: tuple[bytes, ...],
) -> Kind:
    def chunk_at(view: View, position: int) -> Chunk | None:
        chunk = _chunk(view, position, order)
        if chunk is None or not all(0x20 <= byte < 0x7F for byte in chunk.kind):
            return None
        is_whole = chunk.start + chunk.size <= view.size
        if is_head(view, position) or not (is_whole or chunk.kind in (*extras, b"data")):
            return None
        return chunk

    return Kind(begins, mark, chunk_at, extras)


def _w64_chunk_at(view: View, position: int) -> Chunk | None:
    if position + 24 > view.size:
        return None
    guid, size = unpack("<16sQ", view, position)  # the size has these 24 bytes in it
    if size < 24 or (guid[4:] != _W64_TAIL and not guid.startswith(b"LIST")):
        return None
    end = position + (size + 7) // 8 * 8
    return Chunk(guid[:4], position + 24, size - 24, end)


def _caf_chunk_at(view: View, position: int) -> Chunk | None:
    if position + 12 > view.size:
        return None
    kind, size = unpack(">4sq", view, position)
    end = position + 12 + size
    if not all(0x20 <= byte < 0x7F for byte in kind) or size < 0 or end > view.size:
        return None
    return Chunk(kind, position + 12, size, end)


FORMATS: tuple[Format, ...] = (
    (begins_wav, _wav),
    (begins_aiff, _aiff),
    (begins_w64, _w64),
    (begins_caf, _caf),
    (begins_au, _au),
    (begins_nist, _nist),
)
