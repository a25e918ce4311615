"""The bytes of an audio file -> its parts, each with where its samples are, or what is wrong.

libsndfile returns the half of a file cut short that is there, ends where a wrong header says, skips
damaged Ogg pages, and guesses the length of some MP3s, all without a word. What a file really has
is found here. Nothing is decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass

from asr.audio.content import View


@dataclass(frozen=True)
class Part:
    """One of the recordings that follow each other in a file; usually the only one.

    Args:
        view: its bytes, as the decoder should get them.
        plain: only its bytes of samples, if the container says where they are.
        undeclared: how many of them the header does not declare.
        samples: of one channel, where they were counted; None where the decoder tells.
        needs_ffmpeg: libsndfile would not read all of it.
        n_tracks: recordings that sound at the same time, of which the first is read.
        n_unread: bytes after it, up to the end of the file, that are not known audio.
    """

    view: View
    plain: View | None = None
    undeclared: int = 0
    samples: int | None = None
    needs_ffmpeg: bool = False
    n_tracks: int = 1
    n_unread: int = 0


_LOWEST_RATE, _HIGHEST_RATE, _MOST_CHANNELS = 1000, 1_000_000, 64  # beyond: a damaged header

Examined = tuple[Part, int]
"""The first part, and where it ends."""

Format = tuple[Callable[[View, int], bool], Callable[[View], Examined]]
"""Whether a file of some format begins at a position, and what examines such a file."""


def cut_short(view: View, declared: int, there: int, unit: str = "bytes of samples") -> Exception:
    """The error for a file that has less than its header declares."""
    return view.fault(f"is cut short: its header declares {declared} {unit}, {there} are there")


def check_header(view: View, sample_rate: float, channels: int) -> None:
    """Refuse a sample rate, in Hz, or a number of channels that no recording has.

    Raises:
        InputError: what it is, and what is expected.
    """
    if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:  # NaN compares false
        raise view.fault(
            f"its header says {sample_rate:.12g} Hz; expected {_LOWEST_RATE} to {_HIGHEST_RATE}"
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise view.fault(f"its header says {channels} channels; expected 1 to {_MOST_CHANNELS}")


def behind_tags(view: View, position: int) -> int:
    """Where the tags end that stand at `position`: ID3, APE, Lyrics3, and zeros between them."""
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
                stop -= 3  # MP4 begins with three zeros
            if stop <= position:
                break
            position = stop
        else:
            break
    return min(position, view.size)


def without_ape(view: View) -> View:
    """The bytes before an APE tag of the old kind, which has a footer alone, at the end."""
    end = view.size - 128 if view.bytes_at(view.size - 128, 3) == b"TAG" else view.size
    footer = view.bytes_at(end - 32, 32) if end >= 32 else b""
    if not footer.startswith(b"APETAGEX") or footer[23] & 0xA0:  # it has a header, or is one
        return view
    return view.part(0, max(0, end - int.from_bytes(footer[12:16], "little")))
