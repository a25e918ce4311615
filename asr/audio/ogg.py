"""Ogg -> position of the end of a file, after a check that no page is missing or damaged.

Source: RFC 3533, section 6; for Opus RFC 6716, section 3.1, and RFC 7845, section 4.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from asr.audio.container import Format, Part, PartAndEnd, skip_tags
from asr.audio.content import View
from asr.audio.signatures import begins_ogg

_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST, _LAST = 2, 4  # flags of a page
_N_OPUS_HEADERS = 2  # packets before the audio


class _Page(NamedTuple):
    start: int  # position in the file
    content: bytes  # with its header
    flags: int
    granule: int  # position of its end in the stream, in samples; -1 if no packet ends in it
    stream: int
    number: int

    @property
    def end(self) -> int:
        return self.start + len(self.content)

    @property
    def lengths(self) -> bytes:
        """Of the segments; 255 if the packet goes on in the next one."""
        return self.content[27 : 27 + self.content[26]]

    @property
    def body(self) -> bytes:
        return self.content[27 + self.content[26] :]

    def packets(self) -> Iterator[tuple[bytes, bool]]:
        """Of each packet, or part of one, the first two bytes and whether it ends in this page."""
        lengths, body = self.lengths, self.body
        start = length = 0
        for n, segment in enumerate(lengths, 1):
            length += segment
            if segment < 255 or n == len(lengths):
                yield body[start : start + min(2, length)], segment < 255
                start, length = start + length, 0


class _Stream:
    """The pages of one stream so far, and the number of samples that they declare and hold."""

    def __init__(self, first: _Page) -> None:
        self.is_audio = first.body.startswith(_CODECS)
        self.is_opus = first.body.startswith(b"OpusHead")
        self.next_number = first.number
        self.is_finished = False
        self.page = first  # the last one with content
        self.empty: _Page | None = None  # the last one, if it has no content
        self._earlier_end = 0  # largest granule before the last page
        self._packet = b""  # beginning of a packet that goes on in the next page
        self._n_packets = 0
        self._begin: int | None = None  # granule where the audio begins
        self._in_page = self._in_all = 0  # samples of Opus, in the last page and in all

    def add(self, page: _Page) -> None:
        self.next_number = (page.number + 1) % 2**32
        self.is_finished = bool(page.flags & _LAST)
        if not page.body:
            self.empty = page
            return
        self.empty = None
        if page.number != self.page.number:
            self._earlier_end = max(self._earlier_end, self.page.granule)
        self.page = page
        if self.is_opus:
            self._count(page)

    def _count(self, page: _Page) -> None:
        self._in_page = 0
        for begin, is_whole in page.packets():
            self._packet = (self._packet + begin)[:2]
            if is_whole:
                self._n_packets += 1
                if self._n_packets > _N_OPUS_HEADERS:
                    self._in_page += _opus_samples(self._packet)
                self._packet = b""
        self._in_all += self._in_page
        if self._begin is None and self._in_all and page.granule >= 0:
            self._begin = max(0, page.granule - self._in_all)

    def fault(self) -> str:
        """What is wrong with the end that the last page declares; "" if nothing is.

        Decoders drop what is after it. Encoders pad the last packet, so it may be within the last
        page, but not before it.
        """
        declared, ends_packet = self.page.granule, any(size < 255 for size in self.page.lengths)
        if not self.is_audio or not ends_packet:
            return ""
        if declared < self._earlier_end:
            return (
                f"its last Ogg page ends at sample {declared}, as it says; an earlier page ends at"
                f" sample {self._earlier_end}"
            )
        n_declared = declared - (self._begin or 0)
        if self._in_all - n_declared >= self._in_page > 0:
            return (
                f"its Ogg pages declare {n_declared} samples at 48 kHz; its packets hold"
                f" {self._in_all}"
            )
        return ""


def _ogg(view: View) -> PartAndEnd:
    """The pages until all streams have ended; another file may follow."""
    position, n_tracks = 0, 0
    streams: dict[int, _Stream] = {}
    while position < view.size and not (streams and all(s.is_finished for s in streams.values())):
        page = _page(view, position)
        if page.stream not in streams:
            streams[page.stream] = _Stream(page)
        stream = streams[page.stream]
        if page.number != stream.next_number:
            raise view.fault(
                f"is damaged at byte {position}: Ogg page {page.number}; expected page"
                f" {stream.next_number}"
            )
        if page.flags & _FIRST:
            n_tracks += page.body.startswith(_CODECS)
        stream.add(page)
        position = page.end
    if not all(stream.is_finished for stream in streams.values()):
        raise view.fault("is cut short: no Ogg page is marked as the last")
    for stream in streams.values():
        if fault := stream.fault():
            raise view.fault(f"is damaged: {fault}")
    after = skip_tags(view, position)
    if view.bytes_at(after, 4) != b"OggS" and view.find(b"OggS", after) >= 0:
        raise view.fault(f"is damaged at byte {after}: expected an Ogg page")
    whole = _without_empty_pages(view, position, streams.values())
    return Part(whole, n_tracks=max(1, n_tracks)), position


def _page(view: View, position: int) -> _Page:
    """The page at a position, after a check of its checksum."""
    head = view.bytes_at(position, 27)
    if head[:4] != b"OggS":
        raise view.fault(f"is damaged at byte {position}: expected an Ogg page")
    n_segments = head[26] if len(head) == 27 else 0
    size = 27 + n_segments + sum(view.bytes_at(position + 27, n_segments))
    if position + size > view.size or len(head) < 27:
        raise view.fault("is cut short: its last Ogg page is not complete")
    content = view.bytes_at(position, size)
    flags, granule, stream, number, checksum = struct.unpack_from("<5xBqIII", content)
    if _checksum(content) != checksum:
        raise view.fault(f"is damaged: the Ogg page at byte {position} has a wrong checksum")
    return _Page(position, content, flags, granule, stream, number)


def _without_empty_pages(view: View, end: int, streams: Iterable[_Stream]) -> View:
    """The file up to `end`, its streams marked as ended by their last page with content.

    libsndfile refuses Opus with an empty last page, and believes its granule in Vorbis.
    """
    whole, start, kept = view.part(0, end), 0, []
    for stream in sorted(streams, key=lambda stream: stream.empty.start if stream.empty else end):
        if stream.empty is not None and stream.is_audio:
            content = bytearray(stream.page.content)
            content[5] |= _LAST
            content[22:26] = _checksum(content).to_bytes(4, "little")
            whole = whole.replaced(stream.page.start, bytes(content))
            kept.append(range(start, stream.empty.start))
            start = stream.empty.end
    return whole.parts([*kept, range(start, end)]) if kept else whole


def _opus_samples(begin: bytes) -> int:
    """Number of samples at 48 kHz in a packet of Opus, from its first two bytes."""
    if not begin:
        return 0
    kind, count_code = begin[0] >> 3, begin[0] & 3
    if kind < 12:
        per_frame = (480, 960, 1920, 2880)[kind & 3]
    elif kind < 16:
        per_frame = (480, 960)[kind & 1]
    else:
        per_frame = (120, 240, 480, 960)[kind & 3]
    n_frames = (1, 2, 2, begin[-1] & 63)[count_code]
    return n_frames * per_frame


def _checksum(page: bytes | bytearray) -> int:
    """Ogg's CRC-32. Unlike zlib's, it starts at the highest bit and inverts nothing."""
    page = page[:22] + bytes(4) + page[26:]  # computed with zeros in the field of the checksum
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


FORMATS: tuple[Format, ...] = ((begins_ogg, _ogg),)
