"""FLAC -> number of samples, from the frames rather than the header.

Source: RFC 9639, sections 8 and 9.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from asr.audio.container import Format, Part, PartAndEnd
from asr.audio.content import View
from asr.audio.signatures import begins_flac, find_audio_start

_HEAD = re.compile(b"fLaC[\\0\x80]\\0\\0\x22")  # and STREAMINFO, of 34 bytes
_MAX_HEADER = 16  # bytes of a frame's header
_SEARCH_BLOCK = 1 << 20
_SAMPLE_COUNT_POSITION = 18  # of a 64-bit field whose last 36 bits are the number of samples
_BLOCK_SIZES = {1: 192, **{n: 144 << n for n in range(2, 6)}, **{n: 1 << n for n in range(8, 16)}}


class _Frame(NamedTuple):
    shared: tuple[bytes, int, int]  # bits that are the same in all frames of a stream
    number: int  # of the frame, or of its first sample if block sizes vary
    block_size: int

    @property
    def is_numbered_by_sample(self) -> bool:
        return self.shared[0][1] & 1 == 1

    @property
    def next_number(self) -> int:
        return self.number + (self.block_size if self.is_numbered_by_sample else 1)


def _flac(view: View) -> PartAndEnd:
    if view.size < 42:
        raise view.fault("is cut short: its FLAC header is not complete")
    position = 4
    while position + 4 <= view.size:
        head = view.bytes_at(position, 4)
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    end = _next_file(view, position)
    view = view.part(0, end)
    first = _frame(view.bytes_at(position, 16))
    last, found = _last_frame(view, position, first) if first else (None, 0)
    if first and last:
        after = find_audio_start(view, found + 6, with_bare_frames=True)
        if after >= 0:  # of another format
            end, view = after, view.part(0, after)
        samples = _end(last, first) - _end(first, first) + first.block_size
        content = int.from_bytes(view.bytes_at(_SAMPLE_COUNT_POSITION, 8), "big")
        declared = content % 2**36
        if declared < samples < 2**36:
            content += samples - declared
            view = view.replaced(_SAMPLE_COUNT_POSITION, content.to_bytes(8, "big"))
        elif samples < declared:
            raise view.fault(
                f"is cut short or damaged: its header declares {declared} samples; its last frame"
                f" ends after {samples}"
            )
        _check_order(view, position, first, last)
    return Part(view), end


def _check_order(view: View, start: int, first: _Frame, last: _Frame) -> None:
    """Refuse a file in which a frame is missing; libsndfile reads zeros in its place.

    Bytes of samples may look like a header, so two headers must agree on another order.
    """
    what = "the FLAC frame of sample" if first.is_numbered_by_sample else "FLAC frame"
    expected, other = first.number, -1
    for position, frame in _frames(view, start, first.shared[0]):
        if frame.number == expected:
            expected, other = frame.next_number, -1
        elif frame.number == other:
            raise view.fault(
                f"is damaged before byte {position}: {what} {expected} is missing there"
            )
        else:
            other = frame.next_number
    if expected != last.next_number:
        raise view.fault(f"is damaged: {what} {expected} is missing")


def _frames(view: View, start: int, sync: bytes) -> Iterator[tuple[int, _Frame]]:
    """What looks like a frame's header from `start` on, with its position."""
    for begin in range(start, view.size, _SEARCH_BLOCK):
        content = view.bytes_at(begin, _SEARCH_BLOCK + _MAX_HEADER)
        position = content.find(sync)
        while 0 <= position < _SEARCH_BLOCK:
            if frame := _frame(content[position : position + _MAX_HEADER]):
                yield begin + position, frame
            position = content.find(sync, position + 1)


def _next_file(view: View, position: int) -> int:
    found = view.search(_HEAD, 8, position)
    return found if found >= 0 else view.size


def _end(frame: _Frame, first: _Frame) -> int:
    """Number of the first sample after a frame."""
    scale = 1 if first.is_numbered_by_sample else first.block_size
    return frame.number * scale + frame.block_size


def _last_frame(view: View, start: int, first: _Frame) -> tuple[_Frame | None, int]:
    """The last frame after `start`, found by a search from the end, and its position."""
    stop, window = view.size, 1 << 16
    while stop > start:
        begin = max(start, stop - window)
        content = view.bytes_at(begin, stop - begin + 16)
        position = stop - begin
        while (position := content.rfind(first.shared[0], 0, position + 1)) >= 0:
            frame = _frame(content[position : position + 16])
            if frame and frame.shared == first.shared:
                return frame, begin + position
        stop, window = begin, window * 4
    return None, start


def _frame(content: bytes) -> _Frame | None:
    """The frame whose header `content` begins with; None if the header's checksum is wrong."""
    if len(content) < 6 or content[0] != 0xFF or content[1] & 0xFE != 0xF8 or content[3] & 1:
        return None
    size_code, rate_code = content[2] >> 4, content[2] & 15
    number, position = _coded_number(content)
    extra = {6: 1, 7: 2}.get(size_code, 0)
    end = position + extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if position < 0 or end >= len(content) or _crc_8(content[:end]) != content[end]:
        return None
    if extra:
        block_size = int.from_bytes(content[position : position + extra], "big") + 1
    else:
        block_size = _BLOCK_SIZES.get(size_code, 0)
    return _Frame((content[:2], rate_code, content[3] & 15), number, block_size)


def _coded_number(content: bytes) -> tuple[int, int]:
    """The number at byte 4, coded as in UTF-8, and its end; -1 if it is invalid."""
    lead = content[4]
    n_ones = 8 - (lead ^ 0xFF).bit_length()
    if n_ones == 0:
        return lead, 5
    rest = content[5 : 4 + n_ones]
    if n_ones in (1, 8) or len(rest) < n_ones - 1 or any(byte >> 6 != 2 for byte in rest):
        return 0, -1
    number = lead & (0x7F >> n_ones)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, 4 + n_ones


def _crc_8(content: bytes) -> int:
    value = 0
    for byte in content:
        value = _CRC_8[value ^ byte]
    return value


def _crc_8_of_byte(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (0x107 if value & 0x80 else 0)) & 0x1FF
    return value


_CRC_8 = bytes(map(_crc_8_of_byte, range(256)))


FORMATS: tuple[Format, ...] = ((begins_flac, _flac),)
