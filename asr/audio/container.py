"""What all container formats share: the parts of a file, checks of headers, and tags.

libsndfile reads files that are cut short without an error, stops at the length of a wrong header,
skips damaged Ogg pages, and guesses the length of some MP3 files. So the modules of the formats
inspect a file before it is decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass

from asr.audio.content import View
from asr.errors import InputError, counted


@dataclass(frozen=True)
class Part:
    """One recording in a file. Most files have one; joined files have several in a row.

    Args:
        view: bytes of the recording, for the decoder. Wrong sizes in headers are corrected.
        sample_bytes: only the bytes of the samples; None if the inspection does not find them.
        undeclared: number of bytes of samples beyond the size in the header.
        samples: number of samples per channel; None if only the decoder can count them.
        needs_ffmpeg: true if libsndfile would not read all of it.
        n_tracks: number of simultaneous sound tracks; only the first is read.
        n_unread: number of bytes from the end of the recording to the end of the file, if they are
            in no known audio format.
        ffmpeg_view: bytes of the recording for FFmpeg; None if they are the same as `view`.
    """

    view: View
    sample_bytes: View | None = None
    undeclared: int = 0
    samples: int | None = None
    needs_ffmpeg: bool = False
    n_tracks: int = 1
    n_unread: int = 0
    ffmpeg_view: View | None = None


MIN_RATE, MAX_RATE = 1000, 1_000_000
"""In Hz; another sample rate is a mistake, or damage of a header."""

_MAX_CHANNELS = 64

PartAndEnd = tuple[Part, int]
"""The first part of a file, and the position of its end."""

Format = tuple[Callable[[View, int], bool], Callable[[View], PartAndEnd]]
"""Two functions for a format: one tests if a file begins at a position, one examines the file."""


def cut_short(view: View, declared: int, found: int, unit: str = "bytes of samples") -> InputError:
    """The error for a file that has less data than its header declares."""
    return view.fault(f"is cut short: its header declares {declared} {unit}; found {found}")


def check_header(view: View, sample_rate: float, channels: int) -> None:
    """Refuse an implausible sample rate (in Hz) or number of channels.

    Raises:
        InputError: one of them is out of range.
    """
    if not MIN_RATE <= sample_rate <= MAX_RATE:  # NaN compares false
        raise view.fault(
            f"its header says {sample_rate:.12g} Hz; expected {MIN_RATE} to {MAX_RATE}"
        )
    if not 1 <= channels <= _MAX_CHANNELS:
        raise view.fault(
            f"its header says {counted(channels, 'channel')}; expected 1 to {_MAX_CHANNELS}"
        )


def check_rate(name: str, sample_rate: int) -> None:
    """Refuse an implausible sample rate (in Hz), the argument `name`.

    Raises:
        ValueError: it is out of range.
    """
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise ValueError(f"{name} is {sample_rate}; expected {MIN_RATE} to {MAX_RATE} Hz")


def skip_tags(view: View, position: int) -> int:
    """The position after all tags (ID3, APE, Lyrics3) and zeros that begin at `position`."""
    while position < view.size:
        head = view.bytes_at(position, 32)
        if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 128:
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte
            position += 10 + size + (10 if head[5] & 16 else 0)
        elif head.startswith(b"TAG+") and view.size - position >= 227 + 128:
            position += 227
        elif head.startswith(b"TAG") and view.size - position >= 128:
            position += 128
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            is_header = head[23] & 0x20
            position += int.from_bytes(head[12:16], "little") + 32 if is_header else 32
        elif head.startswith(b"LYRICSBEGIN"):
            end = max(view.find(b"LYRICS200", position), view.find(b"LYRICSEND", position))
            position = end + 9 if end > 0 else view.size
        elif head[0] == 0:
            stop = view.run_end(position)
            if view.bytes_at(stop + 1, 4) == b"ftyp":
                stop -= 3  # an MP4 file begins with three zeros
            elif view.bytes_at(stop, 2) == b"\x01\xba":
                stop -= 2  # and an MPEG program stream with two
            if stop <= position:
                break
            position = stop
        else:
            break
    return min(position, view.size)


def without_ape_tag(view: View) -> View:
    """The file without an APE tag of version 1 (footer only) at its end."""
    end = view.size - 128 if view.bytes_at(view.size - 128, 3) == b"TAG" else view.size
    footer = view.bytes_at(end - 32, 32) if end >= 32 else b""
    if not footer.startswith(b"APETAGEX") or footer[23] & 0xA0:  # has a header, or is a header
        return view
    return view.part(0, max(0, end - int.from_bytes(footer[12:16], "little")))
