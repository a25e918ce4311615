"""MP4, Matroska and others -> where one ends and another, joined to it, begins.

FFmpeg decodes them, and most of its decoders end with the first.
"""

from asr.audio.container import Examined, Format, Part, behind_tags
from asr.audio.content import View
from asr.audio.heads import (
    EBML,
    adts_length,
    begins_adts,
    begins_matroska,
    begins_mp4,
    begins_other,
    find_head,
    is_head,
)

_SEGMENT = b"\x18\x53\x80\x67"


def _mp4(view: View) -> Examined:
    """MP4, M4A, MOV, 3GP: boxes, each with its size; a file begins with `ftyp`."""
    position = 0
    while position + 8 <= view.size:
        head = view.bytes_at(position, 16)
        is_box = all(0x20 <= byte < 0x7F for byte in head[4:8])
        if position and (not is_box or is_head(view, behind_tags(view, position))):
            break
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        position += size if size >= 8 else view.size  # 0: up to the end; the rest is no box
    end = min(position, view.size)
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _matroska(view: View) -> Examined:
    """Matroska, WebM: an EBML header and segments."""
    position = 0
    for element in (EBML, _SEGMENT):
        if view.bytes_at(position, 4) != element:
            break
        lead = view.bytes_at(position + 4, 1)
        width = 9 - lead[0].bit_length() if lead else 0
        number = view.bytes_at(position + 4, width)
        size = int.from_bytes(number, "big") - (1 << 7 * width)
        position += 4 + width + size
        if not 1 <= width <= 8 or size == (1 << 7 * width) - 1:  # unknown, as in a live stream
            position = find_head(view, 4, with_frames=False)
    end = position if 0 < position < view.size else view.size
    return Part(view.part(0, end), needs_ffmpeg=True), end


_HEADS = (
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",  # of ASF: WMA, WMV
    b"TTA1\x01\0",
    b"FLV\x01\x04\0\0\0\x09\0\0\0\0",  # only sound
    b"FLV\x01\x05\0\0\0\x09\0\0\0\0",
)


def _by_head(view: View) -> Examined:
    """What begins with bytes that are nowhere else: up to the next file of any format."""
    head = next(head for head in _HEADS if view.bytes_at(0, len(head)) == head)
    found = find_head(view, len(head), with_frames=False)
    end = found if found >= 0 else view.size
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _begins_avi(view: View, position: int) -> bool:
    return view.bytes_at(position, 4) == b"RIFF" and view.bytes_at(position + 8, 4) == b"AVI "


def _avi(view: View) -> Examined:
    """AVI: the list of frames says its size, and so do those that may follow it."""
    position = 0
    while view.bytes_at(position, 4) == b"RIFF" and view.bytes_at(position + 8, 3) == b"AVI":
        if position and view.bytes_at(position + 11, 1) == b" ":
            break
        size = int.from_bytes(view.bytes_at(position + 4, 4), "little")
        position += 8 + size + size % 2
    end = min(position, view.size)
    is_known = end < view.size and is_head(view, behind_tags(view, end))
    return Part(view.part(0, end) if is_known else view), end if is_known else view.size


def _adts(view: View) -> Examined:
    """AAC without a container: frames behind each other, each with its length."""
    position = 0
    while length := adts_length(view, position):
        position += length
    end = min(position, view.size)
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _wavpack(view: View) -> Examined:
    """WavPack: blocks behind each other, each with its length."""
    position = 0
    while view.bytes_at(position, 4) == b"wvpk":
        position += 8 + int.from_bytes(view.bytes_at(position + 4, 4), "little")
    end = min(position, view.size)
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _other(view: View) -> Examined:
    """What the decoder alone knows: up to the end."""
    return Part(view), view.size


FORMATS: tuple[Format, ...] = (
    (begins_mp4, _mp4),
    (begins_matroska, _matroska),
    (lambda view, at: view.bytes_at(at, 16).startswith(_HEADS), _by_head),
    (_begins_avi, _avi),
    (begins_adts, _adts),
    (lambda view, at: view.bytes_at(at, 4) == b"wvpk", _wavpack),
    (begins_other, _other),
)
