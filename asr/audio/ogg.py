"""Ogg -> position of the end of a file, after a check that no page is missing or damaged.

Source: RFC 3533, section 6.
"""

import struct
import zlib

from asr.audio.container import Format, Part, PartAndEnd, skip_tags
from asr.audio.content import View
from asr.audio.signatures import begins_ogg

_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg(view: View) -> PartAndEnd:
    """The pages until all streams have ended; another file may follow."""
    position, n_tracks = 0, 0
    expected: dict[int, int] = {}  # stream -> number of its next page
    unfinished: set[int] = set()
    while position < view.size and (unfinished or not expected):
        head = view.bytes_at(position, 27)
        if head[:4] != b"OggS":
            raise view.fault(f"is damaged at byte {position}: expected an Ogg page")
        n_segments = head[26] if len(head) == 27 else 0
        start = position + 27 + n_segments
        end = start + sum(view.bytes_at(position + 27, n_segments))
        if end > view.size or len(head) < 27:
            raise view.fault("is cut short: its last Ogg page is not complete")
        page = view.bytes_at(position, end - position)
        flags, stream, number, checksum = struct.unpack_from("<5xB8xIII", page)
        if _checksum(page) != checksum:
            raise view.fault(f"is damaged: the Ogg page at byte {position} has a wrong checksum")
        if number != expected.get(stream, number):
            raise view.fault(
                f"is damaged at byte {position}: Ogg page {number}; expected page"
                f" {expected[stream]}"
            )
        if flags & 2:
            n_tracks += page[start - position :].startswith(_CODECS)
        expected[stream] = (number + 1) % 2**32
        (unfinished.discard if flags & 4 else unfinished.add)(stream)
        position = end
    if unfinished:
        raise view.fault("is cut short: no Ogg page is marked as the last")
    after = skip_tags(view, position)
    if view.bytes_at(after, 4) != b"OggS" and view.find(b"OggS", after) >= 0:
        raise view.fault(f"is damaged at byte {after}: expected an Ogg page")
    return Part(view.part(0, position), n_tracks=max(1, n_tracks)), position


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32. Unlike zlib's, it starts at the highest bit and inverts nothing."""
    page = page[:22] + bytes(4) + page[26:]  # computed with zeros in the field of the checksum
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


FORMATS: tuple[Format, ...] = ((begins_ogg, _ogg),)
