"""MP4, FLV, AVI and others -> position of the end of a file, where another may be joined to it.

FFmpeg decodes them, but most of its demuxers stop after the first of several joined files.
"""

import re

from asr.audio.container import Format, Part, PartAndEnd, cut_short, skip_tags
from asr.audio.content import View
from asr.audio.extent import UNKNOWN_SIZE
from asr.audio.signatures import (
    ac3_length,
    adts_length,
    begins_ac3,
    begins_adts,
    begins_audio,
    begins_mp4,
    begins_other,
    begins_transport_stream,
    find_audio_start,
)

_MP4_BOXES = (b"mdat", b"moov", b"moof")  # needed to decode the audio


def _mp4(view: View) -> PartAndEnd:
    """MP4, M4A, MOV, 3GP: boxes, each with its size; a file begins with `ftyp`."""
    position = 0
    names = set()
    while position + 8 <= view.size:
        head = view.bytes_at(position, 16)
        is_box = all(0x20 <= byte < 0x7F for byte in head[4:8])
        if position and (not is_box or begins_audio(view, skip_tags(view, position))):
            break
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        names.add(head[4:8])
        if head[4:8] in _MP4_BOXES and position + size > view.size:
            raise view.fault(
                f"is cut short: its box {head[4:8].decode()} at byte {position} declares {size}"
                f" bytes; found {view.size - position}"
            )
        position += size if size >= 8 else view.size  # 0: to the end; 2 to 7: not a box
    if b"moov" not in names:
        raise view.fault("is cut short: it has no box moov, the index of the samples")
    end = min(position, view.size)
    return Part(view.part(0, end), needs_ffmpeg=True), end


_AVI_CHUNK = re.compile(rb"LIST|JUNK|idx1|ix\d\d|\d\d[a-z]{2}")
_TS_PACKET = 188  # bytes
_TS_PACKETS = re.compile(b"\x47" + 3 * (b".{187}" + b"\x47"), re.DOTALL)
_AMR_SIZES = {  # of a frame, by the type in its first byte
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1),
}
_MAX_TRAILING_BYTES = 128  # other bytes after the last tag; more are damage
_SIGNATURES = (
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",  # of ASF: WMA, WMV
    b"TTA1\x01\0",
    b"\0\0\x01\xba",  # of MPEG program streams
)


def _by_signature(view: View) -> PartAndEnd:
    """A format that is known only by its signature: up to the next file of any format."""
    head = next(head for head in _SIGNATURES if view.bytes_at(0, len(head)) == head)
    found = find_audio_start(view, len(head), with_bare_frames=False)
    end = found if found >= 0 else view.size
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _begins_flv(view: View, position: int) -> bool:
    head = view.bytes_at(position, 9)
    return head[:4] == b"FLV\x01" and head[4] in (1, 4, 5) and head[5:] == b"\0\0\0\x09"


def _flv(view: View) -> PartAndEnd:
    """FLV: tags, each with its length before and after it."""
    position = 13
    while view.bytes_at(position, 1) in (b"\x08", b"\x09", b"\x12"):  # sound, picture, script
        size = 11 + int.from_bytes(view.bytes_at(position + 1, 3), "big")
        if position + size > view.size:
            raise view.fault("is cut short: its last FLV tag is not complete")
        position += size + 4
    end = min(position, view.size)
    after = skip_tags(view, end)
    if view.size - after > _MAX_TRAILING_BYTES and not begins_audio(view, after):
        raise view.fault(f"is damaged at byte {end}: expected an FLV tag")
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _begins_avi(view: View, position: int) -> bool:
    return view.bytes_at(position, 4) == b"RIFF" and view.bytes_at(position + 8, 4) == b"AVI "


def _avi(view: View) -> PartAndEnd:
    """AVI: RIFF chunks, each with its size; further ones (`AVIX`) may follow the first."""
    position = 0
    while view.bytes_at(position, 4) == b"RIFF" and view.bytes_at(position + 8, 3) == b"AVI":
        if position and view.bytes_at(position + 11, 1) == b" ":
            break
        size = int.from_bytes(view.bytes_at(position + 4, 4), "little")
        _check_avi_frames(view, position)
        position += 8 + size + size % 2
    end = min(position, view.size)
    is_known = end < view.size and begins_audio(view, skip_tags(view, end))
    return Part(view.part(0, end) if is_known else view), end if is_known else view.size


def _check_avi_frames(view: View, start: int) -> None:
    """Refuse a list of frames that is cut short. A size of 0 or -1 is unknown, as in a stream."""
    position = start + 12
    while position + 8 <= view.size:
        head = view.bytes_at(position, 12)
        size = int.from_bytes(head[4:8], "little")
        is_frames = head[:4] == b"LIST" and head[8:] in (b"movi", b"rec ")
        if is_frames and (size == 0 or size >= UNKNOWN_SIZE):
            position += 12
            continue
        if not re.fullmatch(_AVI_CHUNK, head[:4]):
            return
        if (is_frames or head[2:4] == b"wb") and position + 8 + size > view.size:
            raise cut_short(view, size, view.size - position - 8, "bytes of frames")
        position += 8 + size + size % 2


def _adts(view: View) -> PartAndEnd:
    """AAC without a container: consecutive frames, each with its length."""
    position = 0
    while length := adts_length(view, position):
        position += length
    end = min(position, view.size)
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _ac3(view: View) -> PartAndEnd:
    """AC-3 and E-AC-3 without a container: consecutive frames."""
    position = 0
    while length := ac3_length(view, position):
        position += length
    if position > view.size:
        raise view.fault("is cut short: its last AC-3 frame is not complete")
    after = skip_tags(view, position)
    is_joined = begins_audio(view, after)
    while not is_joined and (after := view.find(b"\x0b\x77", after + 1)) >= 0:
        if begins_ac3(view, after):
            raise view.fault(f"is damaged at byte {position}: expected an AC-3 frame")
    return Part(view.part(0, position), needs_ffmpeg=True), position


def _wavpack(view: View) -> PartAndEnd:
    """WavPack: consecutive blocks, each with its length."""
    position = 0
    while view.bytes_at(position, 4) == b"wvpk":
        position += 8 + int.from_bytes(view.bytes_at(position + 4, 4), "little")
    if position > view.size:
        raise view.fault("is cut short: its last WavPack block is not complete")
    return Part(view.part(0, position), needs_ffmpeg=True), position


def _transport_stream(view: View) -> PartAndEnd:
    """MPEG transport stream: consecutive packets of one size."""
    position = 0
    while view.bytes_at(position, 1) == b"\x47":
        position += _TS_PACKET
    if position > view.size:
        raise view.fault("is cut short: its last MPEG-TS packet is not complete")
    after = skip_tags(view, position)
    if not begins_audio(view, after) and view.search(_TS_PACKETS, 3 * _TS_PACKET + 1, after) >= 0:
        raise view.fault(f"is damaged at byte {position}: expected an MPEG-TS packet")
    return Part(view.part(0, position), needs_ffmpeg=True), position


def _begins_amr(view: View, position: int) -> bool:
    return view.bytes_at(position, 9).startswith(tuple(_AMR_SIZES))


def _amr(view: View) -> PartAndEnd:
    """AMR, narrowband or wideband: consecutive frames. Source: RFC 4867, section 5."""
    magic = next(magic for magic in _AMR_SIZES if view.bytes_at(0, len(magic)) == magic)
    sizes, position = _AMR_SIZES[magic], len(magic)
    while (head := view.bytes_at(position, 1)) and not head[0] & 0x83:  # bits that are always 0
        if _is_padding(view, position):
            break
        position += sizes[head[0] >> 3 & 15]
    if position > view.size:
        raise view.fault("is cut short: its last AMR frame is not complete")
    after = skip_tags(view, position)
    if view.size - after > _MAX_TRAILING_BYTES and not begins_audio(view, after):
        raise view.fault(f"is damaged at byte {position}: expected an AMR frame")
    return Part(view.part(0, position), needs_ffmpeg=True), position


def _is_padding(view: View, position: int) -> bool:
    """Whether only zeros follow at `position`, up to the end or another file."""
    if view.bytes_at(position, 64).strip(b"\0"):
        return False  # a quick answer for almost all frames
    after = skip_tags(view, position)
    return after >= view.size or begins_audio(view, after)


def _other(view: View) -> PartAndEnd:
    """A format that only the decoder knows: up to the end of the file."""
    return Part(view), view.size


FORMATS: tuple[Format, ...] = (
    (begins_mp4, _mp4),
    (lambda view, at: view.bytes_at(at, 16).startswith(_SIGNATURES), _by_signature),
    (_begins_flv, _flv),
    (_begins_avi, _avi),
    (begins_adts, _adts),
    (begins_ac3, _ac3),
    (lambda view, at: view.bytes_at(at, 4) == b"wvpk", _wavpack),
    (begins_transport_stream, _transport_stream),
    (_begins_amr, _amr),
    (begins_other, _other),
)
