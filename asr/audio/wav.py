"""WAV, RF64, W64 -> range of the bytes of their samples."""

import math
import struct
from dataclasses import replace

from asr.audio import mpeg
from asr.audio.container import Format, Part, PartAndEnd, check_header
from asr.audio.content import View
from asr.audio.extent import (
    UNKNOWN_SIZE,
    UNKNOWN_SIZE_64,
    Chunk,
    ContainerKind,
    find_samples,
    make_part,
    pad_chunk,
    read_chunk,
    riff_kind,
)
from asr.audio.signatures import W64_RIFF, begins_w64, begins_wav, unpack
from asr.errors import counted

_PLAIN_CODES = (1, 3, 0xFFFE)  # integers, floats, and the extensible format of either
_MPEG_CODES = (0x50, 0x55)
_LIBSNDFILE_CODES = (*_PLAIN_CODES, 2, 6, 7, 0x11, 0x31, 0x38, 0x40)  # FFmpeg decodes the others
_METADATA = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"JUNK", b"iXML")
# the end of the ids of all W64 chunks except LIST
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"


def _wav(whole: View) -> PartAndEnd:
    view = whole
    order = ">" if view.bytes_at(0, 4) == b"RIFX" else "<"
    kind = riff_kind(order, begins_wav, (b"WAVE", 8), _METADATA, _declared_end(view, order))
    found: list[range] = []
    undeclared, position, size_64, form, code = 0, 12, 0, b"", 0
    while chunk := read_chunk(view, position, order):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"fmt ":
            before, form = form, view.bytes_at(chunk.start, min(chunk.size, 16))
            _check_format(view, unpack(order + "HHIIHH", view, chunk.start))
            if before not in (b"", form):
                raise view.fault("has two fmt chunks that differ; expected samples of one format")
            code = int.from_bytes(form[:2], "big" if order == ">" else "little")
        elif chunk.kind == b"ds64":
            size_64 = unpack("<Q", view, chunk.start + 8)[0]
        elif chunk.kind == b"data":
            of_first = 0 if found else size_64
            declared = _declared(chunk.size, of_first, view.size - chunk.start)
            if code not in _PLAIN_CODES:  # else frames of MP3 would be taken for a joined file
                declared = declared or None
            samples, position, more = find_samples(view, chunk.start, declared, kind)
            undeclared += more
            found.append(samples)
        elif chunk.kind == b"LIST" and view.bytes_at(chunk.start, 4) == b"wavl":
            raise view.fault("has its samples in a list of chunks (wavl); expected a data chunk")
        elif not found and (chunk.end - chunk.start) % 2:  # libsndfile expects padding
            view, position = pad_chunk(view, chunk), chunk.end + 1
            kind = kind._replace(declared_end=kind.declared_end + 1)
    part = make_part(_with_size_64(view, size_64, found).part(0, position), found, undeclared)
    position -= view.size - whole.size  # minus the inserted padding
    if code in _MPEG_CODES and part.sample_bytes is not None:
        part = mpeg.examine(part.sample_bytes)[0]
    elif code not in _LIBSNDFILE_CODES:
        part = _for_ffmpeg(part, found[0].start, order)
    return part, position


def _for_ffmpeg(part: Part, start: int, order: str) -> Part:
    """The part with one data chunk of the right size: FFmpeg relies on the size in the header.

    Args:
        part: part whose coding libsndfile does not know.
        start: position of the first sample.
        order: byte order, `<` or `>` as in `struct`.
    """
    samples = part.sample_bytes
    if samples is None or not 0 < samples.size < UNKNOWN_SIZE:
        return part
    header = part.view.part(0, start).replaced(start - 4, struct.pack(order + "I", samples.size))
    if header.bytes_at(1, 3) == b"F64":  # with its own size in 64 bits
        header = header.replaced(0, b"RIFF")
    view = View(part.view.file, part.view.path, [*header.pieces, *samples.pieces])
    return replace(part, view=view, undeclared=0)


def _declared_end(view: View, order: str) -> int:
    """End of the file, according to its header."""
    if view.bytes_at(1, 3) == b"F64" and view.bytes_at(12, 4) == b"ds64":
        return 8 + unpack("<Q", view, 20)[0]
    return 8 + unpack(order + "I", view, 4)[0]


def _declared(size: int, size_64: int, available: int) -> int | None:
    """Bytes of samples, from the size of the data chunk or the 64-bit size; None if unknown."""
    if size_64:
        return size_64 if size_64 < UNKNOWN_SIZE_64 else None
    return size if size < UNKNOWN_SIZE or size <= min(available, 0xFFFFFFFE) else None


def _with_size_64(view: View, size_64: int, found: list[range]) -> View:
    """The file with its 64-bit size corrected, or its header changed to RIFF, for libsndfile."""
    if view.bytes_at(0, 4) not in (b"RF64", b"BW64") or not found:
        return view
    if view.bytes_at(12, 4) != b"ds64":
        return view.replaced(0, b"RIFF")
    if view.bytes_at(0, 1) == b"B":  # BW64, which libsndfile does not know, is laid out like RF64
        view = view.replaced(0, b"RF64")
    return view.replaced(28, struct.pack("<Q", len(found[0]))) if size_64 >> 62 else view


def _check_format(view: View, form: tuple[int, ...]) -> None:
    """Refuse a `fmt` chunk whose values are impossible or ambiguous."""
    code, channels, sample_rate, _, align, bits = form
    check_header(view, sample_rate, channels)
    if code not in _PLAIN_CODES:
        return
    width = math.ceil(bits / 8)
    if align < channels * width:
        raise view.fault(
            f"has a damaged header: {counted(channels, 'channel')} of {bits} bits in {align}"
            " bytes; expected"
            f" {channels * width} or more"
        )
    if width == 3 and align == 4 * channels:
        raise view.fault(
            f"its header says {bits} bits in 4 bytes per sample, which programs read in different"
            f" ways; expected 3 bytes, or 32 bits of which {bits} are valid"
        )


def _w64(view: View) -> PartAndEnd:
    end = unpack("<Q", view, 16)[0]
    kind = ContainerKind(begins_w64, (W64_RIFF, 0), _w64_chunk_at, alignment=8, declared_end=end)
    found: list[range] = []
    patched = view
    undeclared, position = 0, 40  # after the RIFF chunk's id and size, and the id of WAVE
    while position + 24 <= view.size:
        chunk = _w64_chunk_at(view, position)
        if chunk is None:
            guid, size = unpack("<16sQ", view, position)
            if guid[:4] != b"data":
                break
            chunk = Chunk(b"data", position + 24, size - 24, view.size)
        position = chunk.end
        if chunk.kind == b"fmt ":
            _check_format(view, unpack("<HHIIHH", view, chunk.start))
        elif chunk.kind == b"data":
            declared = chunk.size if 0 <= chunk.size < UNKNOWN_SIZE_64 else None
            samples, position, more = find_samples(view, chunk.start, declared, kind)
            undeclared += more
            if not declared:  # libsndfile needs a size
                size = struct.pack("<Q", len(samples) + 24)
                patched = patched.replaced(chunk.start - 8, size)
            found.append(samples)
    return make_part(patched.part(0, position), found, undeclared), position


def _w64_chunk_at(view: View, position: int) -> Chunk | None:
    if position + 24 > view.size:
        return None
    guid, size = unpack("<16sQ", view, position)  # the size includes these 24 bytes
    if size < 24 or (guid[4:] != _W64_TAIL and not guid.startswith(b"LIST")):
        return None
    end = position + (size + 7) // 8 * 8
    return Chunk(guid[:4], position + 24, size - 24, end)


FORMATS: tuple[Format, ...] = ((begins_wav, _wav), (begins_w64, _w64))
