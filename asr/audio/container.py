"""An audio file's container -> what is wrong with it, as far as its headers and checksums tell.

libsndfile returns the half of a file cut short that is there, skips over damaged Ogg pages, and
guesses the length of some MP3s, all without a word. The headers tell; here they are read.
"""

import math
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Container:
    """What `inspect` found.

    Args:
        fault: what is wrong, as the end of a sentence that starts with the path; None if nothing.
        needs_ffmpeg: libsndfile would not read all: a FLAC or an MP3 of varying bit rate that says
            nowhere how long it is, or several Ogg files in one, of which it reads the first.
    """

    fault: str | None = None
    needs_ffmpeg: bool = False


def inspect(path: Path) -> Container:
    """What the container itself tells about the file at `path`, from its first bytes on.

    WAV (RIFF, RIFX, RF64, W64), AIFF, CAF, AU and NIST: the declared bytes of samples are there.
    Ogg: pages follow each other, have their checksums, and each stream ends. MP3 (layer III):
    frames follow each other, as many as declared. FLAC has checksums that its decoder looks at.
    Of other formats nothing is said. Sizes that programs write into a pipe count as unknown.

    Args:
        path: a file with at least one byte.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:16]
        for is_it, examine in _FORMATS:
            if is_it(head):
                return examine(data)
        return Container()


def _cut_short(declared: int, there: int, unit: str = "bytes of samples") -> Container:
    return Container(f"is cut short: its header declares {declared} {unit}, {there} are there")


_UNCOMPRESSED = (1, 3, 0xFFFE)  # WAV's codes of integers, floats, and either with more to say

# sox and arecord write sizes from here on into a pipe, where the real one can't be known
_UNKNOWN_SIZE = 0x7F000000


def _wav(data: mmap.mmap) -> Container:
    order = ">" if data[:4] == b"RIFX" else "<"
    (riff_size,) = _unpack(order + "I", data, 4)
    size_64 = None
    for kind, start, size in _chunks(data, order):
        if kind == b"fmt ":
            code, channels, _, _, align, bits = _unpack(order + "HHIIHH", data, start)
            if code in _UNCOMPRESSED and align < channels * math.ceil(bits / 8):
                return Container(
                    f"has a damaged header: {channels} channels of {bits} bits take {align} bytes"
                )
        if kind == b"ds64" and data[:4] in (b"RF64", b"BW64"):
            size_64 = _unpack("<Q", data, start + 8)[0]
        if kind == b"data":
            there = len(data) - start
            if size == 0 and riff_size + 8 == len(data):
                return Container("holds 0 samples; expected at least one")
            if size_64 is not None:
                size = size_64
            elif size == 0 or size >= _UNKNOWN_SIZE:
                return Container()
            return _cut_short(size, there) if there < size else Container()
    return Container()


def _aiff(data: mmap.mmap) -> Container:
    for kind, start, size in _chunks(data, ">"):
        if kind == b"SSND" and len(data) - start < size < _UNKNOWN_SIZE:
            return _cut_short(size, len(data) - start)
    return Container()


def _chunks(data: mmap.mmap, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content starts, size of the content) of RIFF and AIFF alike."""
    position = 12
    while position + 8 <= len(data):
        kind, size = _unpack(order + "4sI", data, position)
        yield kind, position + 8, size
        position += 8 + size + size % 2


def _w64(data: mmap.mmap) -> Container:
    position = 40  # the RIFF chunk's id and size, and the id of WAVE
    while position + 24 <= len(data):
        kind, size = _unpack("<16sQ", data, position)  # the size has these 24 bytes in it
        if kind.startswith(b"data") and position + size > len(data):
            return _cut_short(size - 24, len(data) - position - 24)
        if size < 24:
            break
        position += (size + 7) // 8 * 8
    return Container()


def _caf(data: mmap.mmap) -> Container:
    position = 8
    while position + 12 <= len(data):
        kind, size = _unpack(">4sq", data, position)
        position += 12
        if kind == b"data" and size > len(data) - position:
            return _cut_short(size, len(data) - position)
        if size < 0:  # -1: until the end
            break
        position += size
    return Container()


def _au(data: mmap.mmap) -> Container:
    start, size = _unpack(">II", data, 4)
    if len(data) - start < size < _UNKNOWN_SIZE:
        return _cut_short(size, max(0, len(data) - start))
    return Container()


def _nist(data: mmap.mmap) -> Container:
    """NIST sphere: a text header with `sample_count -i 61440` and the like."""
    start = data[8:16].strip()
    header = data[: int(start)] if start.isdigit() else b""
    fields = {words[0]: words[2] for line in header.splitlines() if len(words := line.split()) == 3}
    if b"shorten" in fields.get(b"sample_coding", b""):
        return Container("is packed with shorten; expected plain samples (sph2pipe unpacks them)")
    counts = [fields.get(b"sample_count"), fields.get(b"sample_n_bytes")]
    counts.append(fields.get(b"channel_count", b"1"))
    sizes = [int(count) for count in counts if count and count.isdigit()]
    if len(sizes) == 3:
        declared, there = sizes[0] * sizes[1] * sizes[2], len(data) - int(start)
        if there < declared:
            return _cut_short(declared, max(0, there))
    return Container()


def _ogg(data: mmap.mmap) -> Container:
    """Source: RFC 3533, section 6."""
    position = 0
    expected: dict[int, int] = {}  # stream -> number of its next page
    unfinished: set[int] = set()
    is_chained = False
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            if not unfinished:
                break  # something behind the end, a tag for example
            return Container(f"is damaged at byte {position}: expected an Ogg page")
        n_segments = data[position + 26] if position + 27 <= len(data) else 0
        end = position + 27 + n_segments
        end += sum(data[position + 27 : end])
        if end > len(data) or position + 27 > len(data):
            return Container("is cut short: its last Ogg page is not complete")
        page = data[position:end]
        flags, stream, number, checksum = struct.unpack_from("<5xB8xIII", page)
        if _ogg_checksum(page) != checksum:
            return Container(f"is damaged: the Ogg page at byte {position} has a wrong checksum")
        if number != expected.get(stream, number):
            return Container(
                f"is damaged at byte {position}: Ogg page {number}; expected page"
                f" {expected[stream]}"
            )
        is_chained |= flags & 2 != 0 and bool(expected) and not unfinished
        expected[stream] = (number + 1) % 2**32
        (unfinished.discard if flags & 4 else unfinished.add)(stream)
        position = end
    if unfinished:
        return Container("is cut short: no Ogg page is marked as the last")
    return Container(needs_ffmpeg=is_chained)


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> int:
    """Ogg's CRC-32 starts at the other end of each byte than zlib's, and inverts nothing."""
    page = page[:22] + bytes(4) + page[26:]  # counted with its own field empty
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _flac(data: mmap.mmap) -> Container:
    if len(data) < 26:
        return Container("is cut short: its FLAC header is not complete")
    return Container(needs_ffmpeg=_unpack(">Q", data, 18)[0] % 2**36 == 0)


_MP3_KBPS = {  # by bit rate index 1 to 14, layer III
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mp3(data: mmap.mmap) -> Container:
    """Walk from frame to frame. Source: ISO 11172-3, section 2.4.2.3; the Xing and VBRI headers."""
    first = _behind_id3(data)
    if _mp3_frame_length(data, first) is None:
        return Container()  # free format, another layer, or no MP3 at all: the decoder tells
    position, n_frames, kbps = first, 0, set()
    while position + 4 <= len(data):
        length = _mp3_frame_length(data, position)
        if length is None:
            tail = data[position:]
            if tail.startswith((b"TAG", b"APETAGEX", b"LYRICS", b"ID3")) or not any(tail):
                break  # a tag, or padding
            return Container(f"is damaged at byte {position}: expected an MP3 frame")
        if position + length > len(data):
            return Container("is cut short: its last MP3 frame is not complete")
        n_frames += 1
        kbps.add(data[position + 2] >> 4)
        position += length
    declared = _mp3_declared_frames(data, first)
    if declared is None:
        return Container(needs_ffmpeg=len(kbps) > 1)
    if n_frames - 1 < declared - 1:  # the header is a frame; some programs count it, some don't
        return _cut_short(declared, n_frames - 1, "MP3 frames")
    if n_frames - 1 > declared + 1:
        return Container(f"declares {declared} MP3 frames and has {n_frames - 1}; expected as many")
    return Container()


def _behind_id3(data: mmap.mmap) -> int:
    """Where the first frame should start: behind the ID3v2 tags."""
    position = 0
    while data[position : position + 3] == b"ID3" and position + 10 <= len(data):
        size = 0
        for byte in data[position + 6 : position + 10]:
            size = size << 7 | byte & 127
        has_footer = data[position + 5] & 16
        position += 10 + size + (10 if has_footer else 0)
    return position


def _mp3_frame_length(data: mmap.mmap, position: int) -> int | None:
    """Bytes of the layer III frame that starts at `position`; None where none does."""
    if position + 4 > len(data):
        return None
    (header,) = _unpack(">I", data, position)
    version, layer = header >> 19 & 3, header >> 17 & 3
    bit_rate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bit_rate in (0, 15) or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    divisor = {3: 1, 2: 2, 0: 4}[version]  # MPEG 1, 2, 2.5
    sample_rate = (44100, 48000, 32000)[rate] // divisor
    padding = header >> 9 & 1
    return 144 // generation * _MP3_KBPS[generation][bit_rate - 1] * 1000 // sample_rate + padding


def _mp3_declared_frames(data: mmap.mmap, first: int) -> int | None:
    is_mpeg_1, is_mono = data[first + 1] >> 3 & 3 == 3, data[first + 3] >> 6 == 3
    side_information = (17 if is_mono else 32) if is_mpeg_1 else (9 if is_mono else 17)
    xing = first + 4 + side_information
    if data[xing : xing + 4] in (b"Xing", b"Info") and xing + 12 <= len(data):
        flags, n_frames = _unpack(">II", data, xing + 4)
        return n_frames if flags & 1 else None
    vbri = first + 36
    if data[vbri : vbri + 4] == b"VBRI" and vbri + 18 <= len(data):
        return _unpack(">I", data, vbri + 14)[0]
    return None


def _unpack(form: str, data: mmap.mmap, position: int) -> tuple:
    """As `struct.unpack_from`, with zeros behind the end of a file cut off within a header."""
    size = struct.calcsize(form)
    return struct.unpack(form, data[position : position + size].ljust(size, b"\0"))


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[mmap.mmap], Container]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE", _wav),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head.startswith(b"riff\x2e\x91\xcf\x11"), _w64),
    (lambda head: head.startswith(b".snd"), _au),
    (lambda head: head.startswith(b"NIST_1A"), _nist),
    (lambda head: head.startswith(b"OggS"), _ogg),
    (lambda head: head.startswith(b"fLaC"), _flac),
    (lambda head: head.startswith(b"caff"), _caf),
    (lambda head: head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"), _mp3),
)
