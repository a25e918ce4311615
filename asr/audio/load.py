"""Any audio file -> waveform.

soundfile reads what libsndfile knows (WAV, FLAC, Ogg, MP3, NIST sphere, AIFF, ...), PyAV the rest
(m4a, aac, webm, the sound of videos) if it is installed. Headers may be wrong: a file is inspected
first, and all the audio in it is read.
"""

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from asr.audio.decoders import Source, open_source
from asr.audio.memory import free_memory
from asr.errors import InputError

SUFFIXES = (
    *(".flac", ".wav", ".sph", ".opus", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".wma", ".webm"),
    *(".mp4", ".mkv", ".mov", ".aif", ".aiff", ".au", ".caf", ".w64"),
)
"""Suffixes of the files that `read_audio` reads, in lower case."""


class AudioWarning(UserWarning):
    """A recording was read, but perhaps not as intended; the message names the file."""


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file holds.

    Args:
        sample_rate: in Hz.
        channels: how many.
        samples: of one channel.
    """

    sample_rate: int
    channels: int
    samples: int

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.samples / self.sample_rate


def read_audio(
    path: str | Path,
    sample_rate: int,
    channel: int | None = None,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    longest_s: float | None = None,
) -> np.ndarray:
    """The waveform of an audio file, or of a part of it, at the sample rate asked for.

    A part has the samples that the whole waveform has there. The file is decoded in blocks, and
    only where the part lies; files that need PyAV are decoded from their start. Files that are
    joined end to end are read one after another.

    Args:
        path: of a file, or a pipe, in any format that soundfile or PyAV reads; `-` is standard
            input.
        sample_rate: of the waveform, in Hz.
        channel: from 0; None for the mean of all channels.
        offset_s: where the part starts, in seconds.
        duration_s: how long the part is, in seconds; None for all until the end. Where the file
            ends before, the waveform is shorter.
        longest_s: refuse a longer waveform, if possible before it is decoded, in seconds; None for
            what memory holds.

    Returns:
        waveform: (samples,), float32, at least one sample.

    Raises:
        InputError: there is no such file, it can't be read as audio, is damaged or cut short, has
            no samples, not this channel, nothing at the offset, or samples that are not finite or
            far beyond [-1, 1], or is too long.
        ValueError: `sample_rate`, `offset_s` or `duration_s` is out of range.

    Warns:
        AudioWarning: the channels cancel each other in their mean; there are several sound tracks,
            of which the first is read; or bytes after the audio are not audio.
    """
    wanted = _wanted(sample_rate, offset_s, duration_s)
    path = Path(path)
    longest = None if longest_s is None else int(longest_s * sample_rate)
    try:
        with open_source(path) as source:
            if channel is not None and not 0 <= channel < source.channels:
                raise InputError(
                    f"{path}: has {source.channels} channels; expected channel {channel} among them"
                    " (the first is 0)"
                )
            waveform, power = _waveform(path, source, channel, wanted, longest)
    except MemoryError:
        raise InputError(f"{path}: takes more memory than there is; expected a part") from None
    if not len(waveform):
        raise InputError(
            f"{path}: ends before {offset_s:g} s; expected audio from there on"
            if wanted.start
            else f"{path}: holds 0 samples; expected at least one"
        )
    if source.n_tracks > 1:
        warnings.warn(
            f"{path}: has {source.n_tracks} sound tracks; the first is read",
            AudioWarning,
            stacklevel=2,
        )
    if source.n_unread > _JUNK:
        warnings.warn(
            f"{path}: its last {source.n_unread} bytes are left out: they are no audio that is"
            " known",
            AudioWarning,
            stacklevel=2,
        )
    if power.mean < _CANCELLED * power.channels:
        warnings.warn(
            f"{path}: its {source.channels} channels cancel each other in their mean, which is all"
            " but silent; choose one: --channel 0, or channel=0 in Python",
            AudioWarning,
            stacklevel=2,
        )
    return waveform


def read_info(path: str | Path) -> AudioInfo:
    """Sample rate, channels and length of an audio file.

    They come from the header and from an inspection of the file. Joined files, and all files that
    need PyAV, are decoded to count the samples.

    Raises:
        InputError: there is no such file, it can't be read as audio, has no samples, or its
            container shows that it is damaged or cut short.
    """
    path = Path(path)
    with open_source(path) as source:
        samples = source.samples
        if samples is None:
            samples = sum(len(block) for block in source.read(0, None))
    if not samples:
        raise InputError(f"{path}: holds 0 samples; expected at least one")
    return AudioInfo(source.sample_rate, source.channels, samples)


class _Span(NamedTuple):
    start: int  # in samples of the source
    stop: int | None
    skip: int  # samples of the waveform between `start` and what was asked for


_LOUDEST = 16.0  # lossy codecs overshoot 1 a little; integers stored as floats are far beyond
_MARGIN_S = 0.25  # read on both sides of a part, longer than the resampling filter at 1 kHz
_CANCELLED = 0.01  # -20 dB: the power of the mean, as a share of that of the channels
_JUNK = 128  # bytes after the last recording that cause no warning
_SURELY = 1 << 24  # samples that always fit into memory
_COPIES = 2  # of a waveform in memory while its blocks are joined


class _Power:
    """Sums over all samples: of the squares of the mean, and of the mean square of the channels."""

    def __init__(self) -> None:
        self.mean = self.channels = 0.0

    def add(self, block: np.ndarray, mean: np.ndarray) -> None:
        self.mean += float(np.vdot(mean, mean))
        self.channels += float(np.vdot(block, block)) / block.shape[1]


class _Wanted(NamedTuple):
    sample_rate: int  # of the waveform
    start: int  # in samples of the waveform
    length: int | None  # in samples; None for all until the end


def _wanted(sample_rate: int, offset_s: float, duration_s: float | None) -> _Wanted:
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}; expected Hz")
    if not 0 <= offset_s < math.inf:
        raise ValueError(f"offset_s is {offset_s}; expected seconds from 0 on")
    start = round(offset_s * sample_rate)
    if duration_s is None:
        return _Wanted(sample_rate, start, None)
    if not 0 < duration_s < math.inf or not (count := round(duration_s * sample_rate)):
        raise ValueError(f"duration_s is {duration_s}; expected seconds, at least one sample")
    return _Wanted(sample_rate, start, count)


def _waveform(
    path: Path, source: Source, channel: int | None, wanted: _Wanted, longest: int | None
) -> tuple[np.ndarray, _Power]:
    """The samples, at most `longest` of them, and how loud they and their channels are."""
    span, power = _span(wanted, source.sample_rate), _Power()
    if source.samples is not None:
        if span.start >= source.samples:
            return np.zeros(0, np.float32), power
        length = source.samples * wanted.sample_rate // source.sample_rate - wanted.start
        _check_length(path, min(length, wanted.length or length), wanted.sample_rate, longest)
    blocks: Iterable[np.ndarray] = source.read(span.start, span.stop)
    blocks = _mono(blocks, path, channel, (span.start, source.sample_rate), power)
    blocks = _resample(blocks, source.sample_rate, wanted.sample_rate)
    kept = [np.zeros(0, np.float32)]
    n_kept, skip = 0, span.skip
    for block in blocks:
        block, skip = block[skip:], max(0, skip - len(block))
        if wanted.length is not None:
            block = block[: wanted.length - n_kept]
        kept.append(block)
        n_kept += len(block)
        _check_length(path, n_kept, wanted.sample_rate, longest)
        if n_kept == wanted.length:
            break
    return np.concatenate(kept), power


def _check_length(path: Path, length: int, sample_rate: int, longest: int | None) -> None:
    if longest is None:
        if length < _SURELY:
            return
        longest = max(_SURELY, free_memory() // (_COPIES * 4))
    if length > longest:
        raise InputError(
            f"{path}: has {length / sample_rate:.0f} s of audio or more; expected at most"
            f" {longest / sample_rate:.0f} s, for which there is memory"
        )


def _span(wanted: _Wanted, source_rate: int) -> _Span:
    """What to read, so that resampling it gives the samples that the whole file would give.

    Source and waveform have samples at the same instants only every 1 / gcd of their rates.
    """
    sample_rate, start, length = wanted
    if sample_rate == source_rate:
        return _Span(start, None if length is None else start + length, 0)
    common = math.gcd(sample_rate, source_rate)  # such instants in a second
    instant = max(0, start * common // sample_rate - math.ceil(_MARGIN_S * common))
    stop = None
    if length is not None:
        stop = math.ceil(((start + length) / sample_rate + _MARGIN_S) * source_rate)
    skip = start - instant * (sample_rate // common)
    return _Span(instant * (source_rate // common), stop, skip)


def _mono(
    blocks: Iterable[np.ndarray],
    path: Path,
    channel: int | None,
    origin: tuple[int, int],
    power: _Power,
) -> Iterator[np.ndarray]:
    """One channel, or the mean of all; `origin` is the first sample's number, and the rate."""
    position, sample_rate = origin
    for block in blocks:
        chosen = block if channel is None else block[:, channel : channel + 1]
        if not (chosen.min() >= -_LOUDEST and chosen.max() <= _LOUDEST):  # NaN compares false
            peaks = np.abs(chosen).max(axis=1)
            n = int((~(peaks <= _LOUDEST)).argmax())
            raise InputError(
                f"{path}: has {'NaN' if np.isnan(peaks[n]) else format(peaks[n], '.3g')} as sample"
                f" {position + n} ({(position + n) / sample_rate:.3f} s); expected samples"
                " in [-1, 1]"
            )
        position += len(block)
        if chosen.shape[1] == 1:
            yield chosen[:, 0]
        else:
            mean = chosen.mean(axis=1)
            power.add(chosen, mean)
            yield mean


def _resample(
    blocks: Iterable[np.ndarray], source_rate: int, sample_rate: int
) -> Iterable[np.ndarray]:
    if source_rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
