"""Matroska, WebM -> position of the end of a file, after a check that all elements are complete.

FFmpeg skips damaged elements, and reads a file that is cut short without an error. Source:
RFC 8794, sections 4 to 6 and 11 (EBML), and RFC 9559, section 5 (Matroska).
"""

import zlib
from typing import NamedTuple

from asr.audio.container import Format, Part, PartAndEnd, skip_tags
from asr.audio.content import View
from asr.audio.signatures import begins_audio, begins_matroska

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_VOID, _CRC_32 = b"\xec", b"\xbf"
_IN_SEGMENT = (
    *(_CLUSTER, _VOID, _CRC_32, b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b"),
    *(b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67"),
)
_IN_CLUSTER = (
    *(b"\xe7", b"\xa3", b"\xa0", b"\xa7", b"\xab", b"\xaf", b"\x58\x54", _VOID, _CRC_32),
)
_BLOCK = 1 << 20


class _Element(NamedTuple):
    id: bytes
    start: int  # of the content
    end: int | None  # of the content; None if the size is unknown, as in a live stream


def _matroska(view: View) -> PartAndEnd:
    header = _element(view, 0)
    segment = _element(view, header.end) if header and header.end else None
    if segment is None or segment.id != _SEGMENT:
        return Part(view, needs_ffmpeg=True), view.size
    if segment.end is not None and segment.end > view.size:
        raise view.fault(
            f"is cut short: its header declares {segment.end} bytes; found {view.size}"
        )
    end = _children_end(view, segment, _IN_SEGMENT)
    return Part(view.part(0, end), needs_ffmpeg=True), end


def _children_end(view: View, parent: _Element, known: tuple[bytes, ...]) -> int:
    """Check all elements in a segment or a cluster, and return the position of their end.

    If the size of the parent is unknown, it ends before the first element that can't be in it.
    """
    limit = view.size if parent.end is None else parent.end
    position = parent.start
    while position < limit:
        child = _element(view, position)
        if parent.end is None and (child is None or child.id not in known):
            if parent.id == _SEGMENT:
                _check_rest(view, position)
            return position
        if child is None and view.run_end(position) >= limit and not view.bytes_at(position, 1)[0]:
            return limit  # the rest is zeros
        if child is None or (child.end is None and child.id != _CLUSTER):
            raise view.fault(f"is damaged at byte {position}: expected a Matroska element")
        if child.end is not None and child.end > limit:
            if limit == view.size:
                raise view.fault("is cut short: its last Matroska element is not complete")
            raise view.fault(f"is damaged: the Matroska element at byte {position} is too long")
        if child.id == _CRC_32 and parent.id == _CLUSTER and parent.end is not None:
            _check_sum(view, child, parent)
        if child.id == _CLUSTER:
            position = _children_end(view, child, _IN_CLUSTER)
        else:
            position = child.end or limit
    return limit


def _check_rest(view: View, position: int) -> None:
    """Refuse a live stream in which clusters follow after bytes that are not an element."""
    if begins_audio(view, skip_tags(view, position)):
        return
    if view.find(_CLUSTER, position) >= 0:
        raise view.fault(f"is damaged at byte {position}: expected a Matroska element")


def _check_sum(view: View, crc: _Element, cluster: _Element) -> None:
    value, position, end = 0, crc.start + 4, cluster.end or 0
    while position < end:
        value = zlib.crc32(view.bytes_at(position, min(_BLOCK, end - position)), value)
        position += _BLOCK
    if value != int.from_bytes(view.bytes_at(crc.start, 4), "little"):
        raise view.fault(
            f"is damaged: the Matroska cluster at byte {cluster.start} has a wrong checksum"
        )


def _element(view: View, position: int) -> _Element | None:
    """The element at `position`; None if there is none."""
    # padding of a header that is cut off, with which its size exceeds the file
    head = view.bytes_at(position, 12).ljust(12, b"\x40")
    id_width = 9 - head[0].bit_length()
    size_width = 9 - head[id_width].bit_length() if id_width <= 4 else 9
    if size_width > 8:
        return None
    start = position + id_width + size_width
    number = int.from_bytes(head[id_width : id_width + size_width], "big")
    size = number - (1 << 7 * size_width)
    is_unknown = size == (1 << 7 * size_width) - 1
    return _Element(head[:id_width], start, None if is_unknown else start + size)


FORMATS: tuple[Format, ...] = ((begins_matroska, _matroska),)
