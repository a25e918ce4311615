"""The bytes at a position -> whether an audio file begins there, and of which format."""

import re
import struct

from asr.audio import mpeg
from asr.audio.container import behind_tags
from asr.audio.content import View

W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
EBML = b"\x1a\x45\xdf\xa3"


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


def begins_flac(view: View, position: int) -> bool:
    """FLAC."""
    return view.bytes_at(position, 4) == b"fLaC"


def begins_ogg(view: View, position: int) -> bool:
    """Ogg."""
    return view.bytes_at(position, 4) == b"OggS"


def begins_mp4(view: View, position: int) -> bool:
    """MP4, M4A, MOV, 3GP."""
    return view.bytes_at(position, 3) == bytes(3) and view.bytes_at(position + 4, 4) == b"ftyp"


def begins_matroska(view: View, position: int) -> bool:
    """Matroska, WebM."""
    return view.bytes_at(position, 4) == EBML


def is_head(view: View, position: int) -> bool:
    """Whether any audio file begins there, without a tag before it."""
    return any(begins(view, position) for begins in _BEGINS)


def find_head(view: View, start: int) -> int:
    """Where the next audio file begins among bytes that are packed; -1 where none does.

    A file may begin with its ID3 tag. MPEG audio without one counts where three frames follow each
    other.
    """
    position = start
    while (position := view.search(_HEAD, _HEAD_WIDTH, position)) >= 0:
        begin = position
        if view.bytes_at(position, 3) == b"ID3":
            begin = behind_tags(view, position)
        begins = mpeg.begins_surely if view.bytes_at(begin, 1) == b"\xff" else is_head
        if begin < view.size and begins(view, begin):
            return position
        position += 1
    return -1


_BEGINS = (
    *(begins_wav, begins_aiff, begins_w64, begins_caf, begins_au, begins_nist, begins_flac),
    *(begins_ogg, begins_mp4, begins_matroska, mpeg.begins),
)
_HEAD = re.compile(
    rb"RI(?:FF|FX)....WAVE|(?:RF|BW)64....WAVE|riff\x2e\x91\xcf\x11|FORM....AIF[FC]"
    rb"|caff\0\x01..desc|\.snd|NIST_1A[\n\r]|fLaC[\0\x80]\0\0\x22|OggS\0\x02"
    rb"|\0\0\0[\x08-\x80]ftyp|\x1a\x45\xdf\xa3|ID3[\x02-\x04]|\xff[\xe2-\xff]",
    re.DOTALL,
)
_HEAD_WIDTH = 12
