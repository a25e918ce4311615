"""AIFF, CAF, AU, NIST sphere -> range of the bytes of their samples."""

import math
import re
import struct

from asr.audio.container import Format, PartAndEnd, check_header, cut_short, skip_tags
from asr.audio.content import View
from asr.audio.extent import (
    UNKNOWN_SIZE,
    UNKNOWN_SIZE_64,
    Chunk,
    ContainerKind,
    find_samples,
    is_end_of_samples,
    make_part,
    pad_chunk,
    read_chunk,
    riff_kind,
)
from asr.audio.signatures import begins_aiff, begins_au, begins_caf, begins_nist, unpack
from asr.errors import counted

_AIFF_SAMPLE_WIDTHS = {b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1, b"raw ": 1}
_AIFF_PLAIN = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")
_GSM_BYTES, _GSM_SAMPLES = 33, 160  # of a packet
_METADATA = (b"ID3 ", b"ANNO", b"NAME", b"AUTH", b"COMT", b"APPL", b"MARK", b"INST", b"(c) ")
_CAF_METADATA = (b"info", b"strg", b"mark", b"regn", b"inst", b"midi", b"ovvw", b"peak", b"uuid")


def _aiff(whole: View) -> PartAndEnd:
    view = whole
    end = 8 + unpack(">I", view, 4)[0]
    kind = riff_kind(">", begins_aiff, (b"FORM", 0), _METADATA, end)
    found: list[range] = []
    undeclared, position, expected, coding, common = 0, 12, 0, b"", 0
    while chunk := read_chunk(view, position, ">"):
        if found and not kind.chunk_at(view, position):
            break
        position = chunk.end
        if chunk.kind == b"COMM":
            common = chunk.start
            channels, frames, bits = unpack(">HIH", view, chunk.start)
            check_header(view, _float_80(view, chunk.start + 8), channels)
            coding = view.bytes_at(chunk.start + 18, 4) if chunk.size >= 22 else b"NONE"
            width = math.ceil(bits / 8) if coding in _AIFF_PLAIN else 0
            width = _AIFF_SAMPLE_WIDTHS.get(coding, width)
            expected = frames * channels * width
        elif chunk.kind == b"SSND":
            offset = unpack(">I", view, chunk.start)[0]
            start = chunk.start + 8 + offset
            declared = None if chunk.size >= UNKNOWN_SIZE else max(0, chunk.size - 8 - offset)
            samples, position, more = find_samples(view, start, declared, kind)
            undeclared += more
            found.append(samples)
        elif not found and (chunk.end - chunk.start) % 2:  # libsndfile expects padding
            view, position = pad_chunk(view, chunk), chunk.end + 1
            kind = kind._replace(declared_end=kind.declared_end + 1)
    available = sum(map(len, found))
    if available < expected < UNKNOWN_SIZE:
        raise cut_short(view, expected, available)
    if found and 0 < expected < len(found[0]):
        padding = found[0].start + expected
        if view.run_end(padding) >= found[0].stop:
            found[0] = range(found[0].start, padding)
    if coding == b"GSM ":
        view = _with_gsm_count(view, common + 2, available)
    part = make_part(view.part(0, position), found, undeclared)
    return part, position - (view.size - whole.size)  # minus the inserted padding


def _with_gsm_count(view: View, position: int, available: int) -> View:
    """The file with the number of samples at `position` corrected: libsndfile stops there."""
    declared, count = unpack(">I", view, position)[0], available // _GSM_BYTES * _GSM_SAMPLES
    if count < declared < UNKNOWN_SIZE:
        raise cut_short(view, declared, count, "samples")
    is_right = count - _GSM_SAMPLES < declared <= count  # the last packet may be padded
    return view if is_right else view.replaced(position, struct.pack(">I", count))


def _float_80(view: View, position: int) -> float:
    """An 80-bit float, as in AIFF: sign and exponent in 2 bytes, fraction in 8."""
    exponent, fraction = unpack(">HQ", view, position)
    size = exponent & 0x7FFF
    return math.ldexp(fraction, size - 16446) if size == exponent < 16446 + 63 else math.nan


def _caf(view: View) -> PartAndEnd:
    kind = ContainerKind(begins_caf, (b"caff", 0), _caf_chunk_at, _CAF_METADATA)
    found: list[range] = []
    undeclared, position = 0, 8
    patched = view
    while position + 12 <= view.size:
        name, size = unpack(">4sq", view, position)
        start = position + 12
        if name == bytes(4) or (found and not _caf_chunk_at(view, position)):
            break
        position = start + max(0, size)
        if name == b"desc":
            _check_description(view, start)
        elif name == b"data":  # the first 4 bytes are the edit count
            declared = size - 4 if 4 <= size < UNKNOWN_SIZE_64 else None
            samples, position, more = find_samples(view, min(start + 4, view.size), declared, kind)
            undeclared += more
            if declared is None:  # libsndfile needs a size
                patched = view.replaced(start - 8, struct.pack(">q", len(samples) + 4))
            found.append(samples)
    return make_part(patched.part(0, position), found, undeclared), position


def _check_description(view: View, start: int) -> None:
    rate, form, _, packet, per_packet, channels, bits = unpack(">d4s5I", view, start)
    check_header(view, rate, channels)
    width = math.ceil(bits / 8) * channels * per_packet
    if form == b"lpcm" and packet != width:
        raise view.fault(
            f"its header says {counted(channels, 'channel')} of {bits} bits in packets of"
            f" {packet} bytes;"
            f" expected {width}"
        )


def _au(view: View) -> PartAndEnd:
    order = "<" if view.bytes_at(0, 4) == b"dns." else ">"
    start, size, _, sample_rate, channels = unpack(order + "5I", view, 4)
    check_header(view, sample_rate, channels)
    if start < 24:
        raise view.fault(
            f"its header declares its own length as {start} bytes; expected 24 or more"
        )
    kind = ContainerKind(begins_au, (view.bytes_at(0, 4), 0), lambda view, position: None)
    if start > view.size:
        raise view.fault(f"is cut short: its header takes {start} bytes; found {view.size}")
    is_real = UNKNOWN_SIZE <= size <= view.size - start and size < 0xFFFFFFFF
    declared = size if size < UNKNOWN_SIZE or is_real else None
    samples, position, more = find_samples(view, start, declared, kind)
    return make_part(view.part(0, position), [samples], more), position


def _nist(view: View) -> PartAndEnd:
    """NIST sphere: a text header with lines such as `sample_count -i 61440`."""
    size = view.bytes_at(8, 8).strip()
    start = int(size) if size.isdigit() else 0
    if start < 16:
        raise view.fault(
            f"its header declares its own length as {start} bytes; expected 1024 in most files"
        )
    header = view.bytes_at(0, min(start, 1 << 16))
    fields = {words[0]: words[2] for line in header.splitlines() if len(words := line.split()) == 3}
    coding = fields.get(b"sample_coding", b"").decode("ascii", "replace")
    if packed := re.search(r"embedded-([^-]*)|\b(shorten|wavpack|shortpack)\b", coding):
        packer = packed[1] or packed[2]
        by = "sph2pipe unpacks them" if packer == "shorten" else "NIST's w_decode unpacks them"
        raise view.fault(f"is packed with {packer}; expected plain samples ({by})")
    if fields.get(b"channels_interleaved") == b"FALSE":
        raise view.fault("stores one channel after the other; expected interleaved samples")
    _check_sphere_header(view, fields)
    if start > view.size:
        raise view.fault(f"is cut short: its header takes {start} bytes; found {view.size}")
    counts = [fields.get(b"sample_count"), fields.get(b"sample_n_bytes")]
    counts.append(fields.get(b"channel_count", b"1"))
    sizes = [int(count) for count in counts if count and count.isdigit() and len(count) < 20]
    declared, available = math.prod(sizes) if len(sizes) == 3 else None, view.size - start
    kind = ContainerKind(begins_nist, (b"NIST_1A", 0), lambda view, position: None)
    if declared is not None:
        of_all_channels = sizes[0] * sizes[1]  # in Switchboard, the count is over both channels
        end = start + of_all_channels
        is_short = of_all_channels <= available < declared and is_end_of_samples(view, end, kind)
        if is_short or (of_all_channels < declared and begins_nist(view, skip_tags(view, end))):
            declared = of_all_channels
        if declared >= UNKNOWN_SIZE_64:
            declared = None
    samples, position, more = find_samples(view, start, declared, kind)
    view = _for_libsndfile(view.part(0, position), header, fields)
    return make_part(view, [samples], more), position


def _for_libsndfile(view: View, header: bytes, fields: dict[bytes, bytes]) -> View:
    """The file with a number of channels, and without a byte order for samples of one byte."""
    body, end, _ = header.partition(b"\nend_head")
    lines = body.split(b"\n")
    if b"channel_count" not in fields:
        lines.insert(2, b"channel_count -i 1")
    if fields.get(b"sample_n_bytes") == b"1":
        lines = [line for line in lines if not line.startswith(b"sample_byte_format")]
    completed = b"\n".join(lines) + end + b"\n"
    if not end or lines == body.split(b"\n") or len(completed) > len(header):
        return view
    return view.replaced(0, completed.ljust(len(header)))


def _check_sphere_header(view: View, fields: dict[bytes, bytes]) -> None:
    rate, channels = fields.get(b"sample_rate", b""), fields.get(b"channel_count", b"1")
    if re.fullmatch(rb"-?\d{1,18}", rate) and re.fullmatch(rb"-?\d{1,18}", channels):
        check_header(view, int(rate), int(channels))


def _caf_chunk_at(view: View, position: int) -> Chunk | None:
    if position + 12 > view.size:
        return None
    kind, size = unpack(">4sq", view, position)
    end = position + 12 + size
    if not all(0x20 <= byte < 0x7F for byte in kind) or size < 0 or end > view.size:
        return None
    return Chunk(kind, position + 12, size, end)


FORMATS: tuple[Format, ...] = (
    (begins_aiff, _aiff),
    (begins_caf, _caf),
    (begins_au, _au),
    (begins_nist, _nist),
)
