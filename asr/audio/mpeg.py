"""MP3 and MPEG audio of layers I and II -> number of frames.

libsndfile relies on the Xing or Info header, and guesses the length if there is none. Here the
frames are counted, from header to header. Source: ISO 11172-3, section 2.4.2.3.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from asr.audio.container import Format, Part, PartAndEnd, cut_short, skip_tags
from asr.audio.content import View

_KBPS = {  # by (generation, layer) and bit rate index 1 to 14
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SIDE_INFORMATION = {  # bytes, by (is MPEG 1, is mono)
    (True, True): 17,
    (True, False): 32,
    (False, True): 9,
    (False, False): 17,
}
_HEADER_MASK = 0xFFFEFEC0  # bits of a header that give the length and the kind of its frame
_MIN_FRAMES = 3  # so many consecutive frames are not a coincidence
_START_CODE = b"\0\0\1"  # of MPEG program streams, whose packets contain frames
_MIN_FRAMES_INSIDE = 16  # so many are more than a packet of a container has
_SEARCH_BYTES = 1 << 16  # bytes in which the first frame is searched
_N_REPEATED = 3  # frames; more than the error of libsndfile's guess


class _Header(NamedTuple):
    kind: tuple[int, int, int, bool]  # version, layer, sample rate, is mono: the same in all frames
    length: int | None  # of the frame in bytes; None in the free format
    padding: int  # bytes of padding in the length
    samples: int  # per channel
    bit_rate: int  # index in the table


class _Frames(NamedTuple):
    n_frames: int
    end: int
    last: range
    bit_rates: set[int]


def examine(view: View) -> PartAndEnd:
    """MPEG audio up to its last frame. Other bytes before the first frame are skipped."""
    start = _first_frame(view)
    header = None if start is None else _header(view, start)
    if start is None or header is None:
        return Part(view), view.size  # AAC, or not audio: the decoder decides
    declared = _declared_frames(view, start, header)
    length = header.length
    if length is None and (free_length := _free_length(view, start)) is not None:
        length = free_length + header.padding
    if declared is None or length is None:
        return _without_count(view, start, _count_frames(view, start, header))
    first = start + length  # after the frame that contains the Xing or VBRI header
    frames = _count_frames(view, first, header)
    if declared.n_frames > frames.n_frames + 1:  # some programs count the frame with the header
        raise cut_short(view, declared.n_frames, frames.n_frames, "MP3 frames")
    if 0 < declared.n_frames < frames.n_frames - 1:
        second = _next_joined_file(view, first, header.kind)
        if second is not None:
            return examine(view.part(0, second))
    whole = view.part(start, frames.end)
    if not declared.is_xing or not 0 <= frames.n_frames - declared.n_frames + 1 <= 2:
        return _without_count(view, first, frames)
    if declared.n_frames == 0:
        return _without_count(view, first, frames)
    if declared.n_frames != frames.n_frames:
        whole = whole.replaced(declared.position - start, struct.pack(">I", frames.n_frames))
    return Part(whole), frames.end


def _without_count(view: View, start: int, frames: _Frames) -> PartAndEnd:
    """The part for frames without a correct count in a header.

    libsndfile guesses the count from the size, and decodes no more frames than that. So the last
    frame is repeated at the end, to make the guess large enough. If bit rates vary, the guess is
    far too small, and FFmpeg decodes the part.
    """
    header, whole = _header(view, start), view.part(start, frames.end)
    if header is None or len(frames.bit_rates) > 1:
        return Part(whole, needs_ffmpeg=header is not None), frames.end
    padded = view.parts([range(start, frames.end), *_N_REPEATED * [frames.last]])
    samples = header.samples * frames.n_frames
    return Part(padded, samples=samples, ffmpeg_view=whole), frames.end


def _count_frames(view: View, start: int, first: _Header) -> _Frames:
    """Count the consecutive frames of one kind from `start` on."""
    position, count, bit_rates = start, 0, set()
    last = range(start, start)
    free_length = None
    while (header := _header(view, position)) and header.kind == first.kind:
        length = header.length
        if length is None:
            free_length = free_length or _free_length(view, position)
            if free_length is None:
                break
            length = free_length + header.padding
        if position + length > view.size:
            raise view.fault("is cut short: its last MP3 frame is not complete")
        count += 1
        bit_rates.add(header.bit_rate)
        last = range(position, position + length)
        position += length
    if skip_tags(view, position) == position and _frames_follow(
        view, position, first.kind, view.bytes_at(start, 2)
    ):
        raise view.fault(f"is damaged at byte {position}: expected an MP3 frame")
    return _Frames(count, position, last, bit_rates)


def _frames_follow(view: View, position: int, kind: tuple, sync: bytes) -> bool:
    """Whether frames of this kind follow after bytes that are not frames."""
    if _has_frames(view, position):
        return False  # frames of another kind are another file
    while (position := view.find(sync, position + 1)) >= 0:
        header = _header(view, position)
        if header and header.kind == kind and _has_frames(view, position):
            return True
    return False


def _first_frame(view: View) -> int | None:
    content = view.bytes_at(0, _SEARCH_BYTES)
    position = content.find(b"\xff")
    while position >= 0:
        if _has_frames(view, position, may_be_last=position == 0):
            return position
        position = content.find(b"\xff", position + 1)
    return None


def _has_frames(view: View, position: int, may_be_last: bool = True) -> bool:
    """Whether consecutive frames of one kind begin at `position`.

    Fewer frames are enough at the end of the file, unless `may_be_last` is false.
    """
    first = _header(view, position)
    if first is None:
        return False
    if first.length is None:
        return _free_length(view, position) is not None
    for _ in range(_MIN_FRAMES):
        header = _header(view, position)
        if header is None or header.length is None or header.kind != first.kind:
            return False
        position += header.length
        if position >= view.size or skip_tags(view, position) == view.size:
            return may_be_last
    return True


def _free_length(view: View, start: int) -> int | None:
    """Size of a frame of the free format without its padding, from the distance of two headers."""
    first = _header(view, start)
    content = view.bytes_at(start, 8192)
    position = content.find(content[:2], 24)
    while first and position > 0:
        second = _header(view, start + position)
        if second and second.length is None and second.kind == first.kind:
            length = position - first.padding
            third = _header(view, start + position + length + second.padding)
            if third and third.length is None and third.kind == first.kind:
                return length
        position = content.find(content[:2], position + 1)
    return None


def _header(view: View, position: int) -> _Header | None:
    """The header of the frame at `position`; None if there is none."""
    return _parsed(int.from_bytes(view.bytes_at(position, 4), "big") & _HEADER_MASK)


@lru_cache(maxsize=4096)
def _parsed(header: int) -> _Header | None:
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    bit_rate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or bit_rate == 15 or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    sample_rate = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]  # MPEG 1, 2, 2.5
    slot = 4 if layer == 1 else 1
    padding = (header >> 9 & 1) * slot
    samples = 384 if layer == 1 else 1152 // (generation if layer == 3 else 1)
    length = None
    if bit_rate:
        bits = _KBPS[generation, layer][bit_rate - 1] * 1000
        length = samples // 8 // slot * bits // sample_rate * slot + padding
    kind = (version, layer, sample_rate, header >> 6 & 3 == 3)
    return _Header(kind, length, padding, samples, bit_rate)


class _Declared(NamedTuple):
    n_frames: int  # 0 if not declared
    is_xing: bool  # the header that libsndfile uses
    position: int  # of n_frames in the file


def _declared_frames(view: View, start: int, header: _Header) -> _Declared | None:
    """The count in the Xing, Info or VBRI header in the first frame; None if there is none."""
    version, layer, _, is_mono = header.kind
    if layer != 3:
        return None
    xing = start + 4 + _SIDE_INFORMATION[version == 3, is_mono]
    if view.bytes_at(xing, 4) in (b"Xing", b"Info"):
        flags, count = struct.unpack(">II", view.bytes_at(xing + 4, 8).ljust(8, b"\0"))
        return _Declared(count if flags & 1 else 0, True, xing + 8)
    vbri = start + 36
    if view.bytes_at(vbri, 4) == b"VBRI":
        count = int.from_bytes(view.bytes_at(vbri + 14, 4), "big")
        return _Declared(count, False, vbri + 14)
    return None


def _next_joined_file(view: View, start: int, kind: tuple) -> int | None:
    """Start of the next file, if it is joined without a tag in between; otherwise None."""
    side = _SIDE_INFORMATION[kind[0] == 3, kind[3]]
    found = []
    for name in (b"Xing", b"Info"):
        position = start
        while (position := view.find(name, position + 1)) >= 0:
            header = _header(view, position - 4 - side)
            if header and header.kind == kind:
                found.append(position - 4 - side)
                break
    return min(found, default=None)


def begins(view: View, position: int) -> bool:
    """Whether MPEG audio begins at `position`: three frames, or fewer at the end of the file."""
    head = view.bytes_at(position, 2)
    return head[:1] == b"\xff" and head[1:] >= b"\xe0" and _has_frames(view, position)


def follows_other_bytes(view: View) -> bool:
    """Whether MPEG audio follows within `_SEARCH_BYTES`: many frames, or frames to the end."""
    if view.bytes_at(0, 3) == _START_CODE or (start := _first_frame(view)) is None:
        return False
    first, free_length, position = _header(view, start), _free_length(view, start), start
    for _ in range(_MIN_FRAMES_INSIDE):
        header = _header(view, position)
        if first is None or header is None or header.kind != first.kind:
            return skip_tags(view, position) == view.size
        position += header.length or (free_length or 0) + header.padding
        if position >= view.size:
            return True  # the last frame may be cut short
    return True


def begins_strictly(view: View, position: int) -> bool:
    """As `begins`, but always with three frames, for a search among other bytes."""
    return _has_frames(view, position, may_be_last=False)


FORMATS: tuple[Format, ...] = ((begins, examine),)
