"""The bytes at a position -> whether a file of some audio format begins there."""

import re
import struct

from asr.audio import mpeg
from asr.audio.container import skip_tags
from asr.audio.content import View

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
EBML = b"\x1a\x45\xdf\xa3"
_AC3_KBPS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)


def unpack(form: str, view: View, position: int) -> tuple:
    """As `struct.unpack_from`; a header that is cut off is padded with zeros."""
    size = struct.calcsize(form)
    return struct.unpack(form, view.bytes_at(position, size).ljust(size, b"\0"))


def begins_wav(view: View, position: int) -> bool:
    """Whether a WAV file begins at `position`: RIFF, RIFX, RF64 or BW64."""
    head = view.bytes_at(position, 12)
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE"


def begins_aiff(view: View, position: int) -> bool:
    """Whether an AIFF or AIFF-C file begins at `position`."""
    head = view.bytes_at(position, 12)
    return head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")


def begins_w64(view: View, position: int) -> bool:
    """Whether a file of Sony's W64 begins at `position`."""
    return view.bytes_at(position, 16) == W64_RIFF


def begins_caf(view: View, position: int) -> bool:
    """Whether a file of Apple's CAF begins at `position`."""
    head = view.bytes_at(position, 12)
    return head.startswith(b"caff\0\1") and (position == 0 or head[8:] == b"desc")


def begins_au(view: View, position: int) -> bool:
    """Whether a file of Sun's AU begins at `position`, in either byte order."""
    magic = view.bytes_at(position, 4)
    if position == 0 or magic not in (b".snd", b"dns."):
        return magic in (b".snd", b"dns.")
    order = ">" if magic == b".snd" else "<"
    start, _, _, _, channels = unpack(order + "5I", view, position + 4)
    return 24 <= start <= 1 << 16 and 1 <= channels <= 64


def begins_nist(view: View, position: int) -> bool:
    """Whether a NIST sphere file begins at `position`."""
    return view.bytes_at(position, 8) in (b"NIST_1A\n", b"NIST_1A\r")


def begins_flac(view: View, position: int) -> bool:
    """Whether a FLAC file begins at `position`."""
    return view.bytes_at(position, 4) == b"fLaC"


def begins_ogg(view: View, position: int) -> bool:
    """Whether an Ogg file begins at `position`."""
    return view.bytes_at(position, 4) == b"OggS"


def begins_mp4(view: View, position: int) -> bool:
    """Whether a file of the MP4 family begins at `position`: MP4, M4A, MOV, 3GP."""
    return view.bytes_at(position, 3) == bytes(3) and view.bytes_at(position + 4, 4) == b"ftyp"


def begins_matroska(view: View, position: int) -> bool:
    """Whether a Matroska or WebM file begins at `position`."""
    return view.bytes_at(position, 4) == EBML


def begins_adts(view: View, position: int) -> bool:
    """Whether three frames of AAC without a container begin at `position`."""
    for _ in range(3):
        length = adts_length(view, position)
        position += length
        if not length or position > view.size:
            return False
    return True


def adts_length(view: View, position: int) -> int:
    """Size of the AAC frame at `position`, in bytes; 0 if there is none."""
    head = view.bytes_at(position, 7)
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
    return length if length >= 7 else 0


def begins_ac3(view: View, position: int) -> bool:
    """Whether two frames of AC-3 without a container begin at `position`."""
    length = ac3_length(view, position)
    return length > 0 and ac3_length(view, position + length) > 0


def ac3_length(view: View, position: int) -> int:
    """Size of the AC-3 frame at `position`; 0 if there is none. Source: ATSC A/52, table 5.18."""
    head = view.bytes_at(position, 6)
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:  # E-AC-3 stores the number of words
        return 2 * (int.from_bytes(head[2:4], "big") & 0x7FF) + 2
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code // 2 >= len(_AC3_KBPS):
        return 0
    kbps = _AC3_KBPS[code // 2]
    words = (kbps * 2, kbps * 96_000 // 44_100 + code % 2, kbps * 3)[rate]  # 48, 44.1, 32 kHz
    return 2 * words


def begins_other(view: View, position: int) -> bool:
    """Whether ASF, AVI, FLV, TTA, WavPack, VOC, AMR or an MPEG stream begins at `position`."""
    is_named = _OTHER.match(view.bytes_at(position, 32)) is not None
    return is_named or _begins_pack(view, position) or begins_transport_stream(view, position)


def _begins_pack(view: View, position: int) -> bool:
    """Whether a pack of an MPEG program stream begins here. A stream has many: no search for it."""
    head = view.bytes_at(position, 5)
    return head.startswith(b"\0\0\x01\xba") and head[4:] > b"\x20"


def begins_transport_stream(view: View, position: int) -> bool:
    """Whether an MPEG transport stream begins at `position`: four packets."""
    return all(view.bytes_at(position + 188 * n, 1) == b"\x47" for n in range(4))


def begins_audio(view: View, position: int) -> bool:
    """Whether a file of any known format begins at `position`; tags before it are not skipped."""
    return any(begins(view, position) for begins in _BEGINS)


def find_audio_start(view: View, start: int, with_bare_frames: bool) -> int:
    """Start of the next audio file within compressed audio; -1 if there is none.

    Args:
        view: bytes of the whole file.
        start: position where the search begins.
        with_bare_frames: whether three consecutive frames of MP3 or AAC count as a file. Must
            be false in containers that can contain such frames.
    """
    pattern = _START_OR_FRAME if with_bare_frames else _START
    position = start
    while (position := view.search(pattern, _START_WIDTH, position)) >= 0:
        is_tag = view.bytes_at(position, 3) == b"ID3"
        begin = skip_tags(view, position) if is_tag else position
        if begin < view.size and _begins_audio_strictly(view, begin):
            return position
        position += 1
    return -1


def _begins_audio_strictly(view: View, position: int) -> bool:
    if view.bytes_at(position, 1) == b"\xff":
        return mpeg.begins_strictly(view, position) or begins_adts(view, position)
    return begins_audio(view, position)


_BEGINS = (
    *(begins_wav, begins_aiff, begins_w64, begins_caf, begins_au, begins_nist, begins_flac),
    *(begins_ogg, begins_mp4, begins_matroska, mpeg.begins, begins_adts, begins_ac3),
    begins_other,
)
_OTHER_SIGNATURES = (
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9|TTA1\x01\0|FLV\x01[\x01\x04\x05]\0\0\0\x09"
    rb"|RIFF....AVI |wvpk....[\0-\x10]\x04|Creative Voice File\x1a|#!AMR(?:-WB)?\n"
)
_OTHER = re.compile(_OTHER_SIGNATURES, re.DOTALL)
_SIGNATURES = (
    rb"RI(?:FF|FX)....WAVE|(?:RF|BW)64....WAVE|riff\x2e\x91\xcf\x11|FORM....AIF[FC]"
    rb"|caff\0\x01..desc|\.snd|dns\.|NIST_1A[\n\r]|fLaC[\0\x80]\0\0\x22|OggS\0\x02"
    rb"|\0\0\0[\x08-\x80]ftyp|\x1a\x45\xdf\xa3(?:[\x80-\xff]|\x01.{7})\x42\x86"
)
# the lookahead for the first byte makes the search faster
_START = re.compile(
    rb"(?=[RBrFc.dNfO\0\x1a0TwC#I])(?:"
    + _SIGNATURES
    + rb"|"
    + _OTHER_SIGNATURES
    + rb"|ID3[\x02-\x04])",
    re.DOTALL,
)
_START_OR_FRAME = re.compile(_START.pattern + rb"|\xff[\xe2-\xff]", re.DOTALL)
_START_WIDTH = 20
