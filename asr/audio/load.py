"""Any audio file -> waveform.

soundfile reads the formats of libsndfile (WAV, FLAC, Ogg, MP3, NIST sphere, AIFF, ...). PyAV, if
installed, reads the others (m4a, aac, webm, the sound of videos). Headers may be wrong, so each
file is inspected first, and all its audio is read.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from asr.audio.cancellation import ChannelPower
from asr.audio.container import check_rate
from asr.audio.decoders import Source, open_source
from asr.audio.memory import free_memory
from asr.errors import InputError, counted

SUFFIXES = (
    *(".flac", ".wav", ".sph", ".opus", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".wma", ".webm"),
    *(".mp4", ".mkv", ".mov", ".aif", ".aiff", ".au", ".caf", ".w64"),
)
"""Suffixes of audio files in a folder, in lower case; `read_audio` reads more formats."""


MAX_AMPLITUDE = 16.0
"""Larger samples are refused: they are damage, or integers that were stored as floats."""


class AudioWarning(UserWarning):
    """A file was read, but perhaps not as intended; the message names the file."""


@dataclass(frozen=True)
class AudioInfo:
    """Sample rate, channels and length of an audio file.

    Args:
        sample_rate: in Hz.
        channels: number of channels.
        samples: number of samples per channel.
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
) -> np.ndarray:
    """The waveform of an audio file, or of a part of it, at the requested sample rate.

    A part has the same samples as that part of the whole waveform. The file is decoded in blocks,
    and only near the part; files that need PyAV are decoded from their start. Recordings that are
    joined end to end in one file are read one after another.

    Args:
        path: path of a file or a pipe in any format that soundfile or PyAV reads; `-` is standard
            input.
        sample_rate: sample rate of the waveform, in Hz.
        channel: number of the channel, from 0; None for the mean of all channels.
        offset_s: start of the part, in seconds.
        duration_s: duration of the part, in seconds; None reads to the end. The waveform is
            shorter if the file ends earlier.

    Returns:
        waveform: (samples,), float32, at least one sample.

    Raises:
        InputError: the file does not exist, is not audio, is damaged, cut short or too long for
            the memory, has no samples, lacks the channel, ends before the offset, or has samples
            that are not finite or far outside [-1, 1].
        ValueError: `sample_rate`, `offset_s` or `duration_s` is out of range.

    Warns:
        AudioWarning: the channels cancel each other in most of their mean; the file has several
            sound tracks, of which only the first is read; or it has bytes after the audio that are
            in no known format.
    """
    wanted = _wanted(sample_rate, offset_s, duration_s)
    path = Path(path)
    try:
        blocks = _blocks(path, channel, wanted, partial(_check_memory, path, sample_rate))
        return np.concatenate(list(blocks))
    except MemoryError:
        raise InputError(f"{path}: needs more memory than is free; expected a part of it") from None


def read_blocks(
    path: str | Path, sample_rate: int, channel: int | None = None
) -> Iterator[np.ndarray]:
    """The waveform of an audio file in blocks, for recordings that are longer than the memory.

    Args:
        path: as for `read_audio`.
        sample_rate: sample rate of the waveform, in Hz.
        channel: number of the channel, from 0; None for the mean of all channels.

    Yields:
        block: (samples,), float32, of any length, at most about a minute. Joined, the blocks are
            what `read_audio` returns, with at least one sample.

    Raises:
        InputError: as for `read_audio`. Damage may be found only after some blocks.
        ValueError: `sample_rate` is out of range.

    Warns:
        AudioWarning: as for `read_audio`, after the last block.
    """
    return _blocks(Path(path), channel, _wanted(sample_rate, 0.0, None), lambda *lengths: None)


def read_info(path: str | Path) -> AudioInfo:
    """Sample rate, channels and length of an audio file.

    They come from the header and from an inspection of the file. Joined recordings, and all files
    that need PyAV, are decoded to count the samples.

    Raises:
        InputError: the file does not exist, is not audio, has no samples, or its container shows
            that it is damaged or cut short.
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
    start: int  # in samples of the file
    stop: int | None
    skip: int  # samples of the waveform between `start` and the requested part


_MARGIN_S = 0.25  # read on both sides of a part; longer than the resampling filter at 1 kHz
_MAX_IGNORED_BYTES = 128  # so many bytes after the audio cause no warning
_ALWAYS_FITS = 1 << 24  # samples; so many are read without a check of the free memory
_COPIES = 2  # copies of the waveform in memory while its blocks are joined


class _Wanted(NamedTuple):
    sample_rate: int  # of the waveform, in Hz
    start: int  # in samples of the waveform
    length: int | None  # in samples; None: to the end


def _wanted(sample_rate: int, offset_s: float, duration_s: float | None) -> _Wanted:
    check_rate("sample_rate", sample_rate)
    if not 0 <= offset_s < math.inf:
        raise ValueError(f"offset_s is {offset_s}; expected 0 s or more")
    start = round(offset_s * sample_rate)
    if duration_s is None:
        return _Wanted(sample_rate, start, None)
    if not 0 < duration_s < math.inf or not (count := round(duration_s * sample_rate)):
        raise ValueError(f"duration_s is {duration_s}; expected seconds, enough for one sample")
    return _Wanted(sample_rate, start, count)


def _blocks(
    path: Path, channel: int | None, wanted: _Wanted, check_length: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    """The waveform in blocks, and warnings after the last one.

    `check_length` may refuse the number of samples that the waveform has at least, given the
    number of them that were read; it is called as soon as that is known.
    """
    with open_source(path) as source:
        if channel is not None and not 0 <= channel < source.channels:
            raise InputError(
                f"{path}: has {counted(source.channels, 'channel')}; expected channel {channel}"
                " among them (the first is 0)"
            )
        power = ChannelPower(source.sample_rate)
        n_read = 0
        for block in _wanted_blocks(path, source, channel, wanted, power, check_length):
            n_read += len(block)
            yield block
    if not n_read:
        raise InputError(
            f"{path}: ends before {wanted.start / wanted.sample_rate:g} s; expected audio from"
            " there on"
            if wanted.start
            else f"{path}: holds 0 samples; expected at least one"
        )
    for message in _doubts(source, power):
        warnings.warn(f"{path}: {message}", AudioWarning, stacklevel=3)


def _wanted_blocks(
    path: Path,
    source: Source,
    channel: int | None,
    wanted: _Wanted,
    power: ChannelPower,
    check_length: Callable[[int, int], None],
) -> Iterator[np.ndarray]:
    span = _span(wanted, source.sample_rate)
    if source.samples is not None:
        if span.start >= source.samples:
            return
        length = source.samples * wanted.sample_rate // source.sample_rate - wanted.start
        check_length(min(length, wanted.length or length), 0)
    blocks: Iterable[np.ndarray] = source.read(span.start, span.stop)
    blocks = mono_blocks(blocks, path, channel, (span.start, source.sample_rate), power)
    blocks = resampled_blocks(blocks, source.sample_rate, wanted.sample_rate)
    n_read, skip = 0, span.skip
    for block in blocks:
        block, skip = block[skip:], max(0, skip - len(block))
        if wanted.length is not None:
            block = block[: wanted.length - n_read]
        n_read += len(block)
        if source.samples is None:
            check_length(n_read, n_read)
        yield block
        if n_read == wanted.length:
            return


def _check_memory(path: Path, sample_rate: int, length: int, n_read: int) -> None:
    """Refuse a waveform that does not fit into memory, of which `n_read` samples are there now."""
    if length < _ALWAYS_FITS:
        return
    longest = max(_ALWAYS_FITS, (free_memory() // 4 + n_read) // _COPIES)
    if length > longest:
        raise InputError(
            f"{path}: has {length / sample_rate:.0f} s of audio or more; expected at most"
            f" {longest / sample_rate:.0f} s, which fit into memory"
        )


def _doubts(source: Source, power: ChannelPower) -> Iterator[str]:
    """What the user should know of a file that was read."""
    if source.n_tracks > 1:
        yield f"has {source.n_tracks} sound tracks; the first is read"
    if source.n_unread > _MAX_IGNORED_BYTES:
        yield f"its last {source.n_unread} bytes are ignored: they are in no known audio format"
    if doubt := doubt_of_mean(source.channels, power):
        yield doubt


def doubt_of_mean(channels: int, power: ChannelPower) -> str:
    """What the user should know of the channels' mean; empty if it is as expected."""
    if not (cancelled := power.cancelled_share()):
        return ""
    return (
        f"its {channels} channels cancel each other in their mean, which is all but silent in"
        f" {cancelled:.0%} of its sound; choose one: --channel 0, or channel=0 in Python"
    )


def _span(wanted: _Wanted, source_rate: int) -> _Span:
    """The span of the file that gives the same samples as resampling the whole file.

    File and waveform have samples at the same instant only every 1 / gcd(rates) seconds.
    """
    sample_rate, start, length = wanted
    if sample_rate == source_rate:
        return _Span(start, None if length is None else start + length, 0)
    common = math.gcd(sample_rate, source_rate)  # such instants per second
    instant = max(0, start * common // sample_rate - math.ceil(_MARGIN_S * common))
    stop = None
    if length is not None:
        stop = math.ceil(((start + length) / sample_rate + _MARGIN_S) * source_rate)
    skip = start - instant * (sample_rate // common)
    return _Span(instant * (source_rate // common), stop, skip)


def mono_blocks(
    blocks: Iterable[np.ndarray],
    path: Path,
    channel: int | None,
    origin: tuple[int, int],
    power: ChannelPower,
) -> Iterator[np.ndarray]:
    """One channel of blocks, or the mean of all.

    Args:
        blocks: each (samples, channels), float32.
        path: path of the file, for error messages.
        channel: number of the channel, from 0; None for the mean.
        origin: number of the first sample, and the sample rate.
        power: takes the channels' power, if their mean is used.

    Yields:
        block: (samples,).

    Raises:
        InputError: a sample is not finite or far outside [-1, 1].
    """
    position, sample_rate = origin
    for block in blocks:
        chosen = block if channel is None else block[:, channel : channel + 1]
        # NaN compares false
        if not (chosen.min() >= -MAX_AMPLITUDE and chosen.max() <= MAX_AMPLITUDE):
            peaks = np.abs(chosen).max(axis=1)
            n = int((~(peaks <= MAX_AMPLITUDE)).argmax())
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


def resampled_blocks(
    blocks: Iterable[np.ndarray], source_rate: int, sample_rate: int
) -> Iterator[np.ndarray]:
    """Blocks, (samples,), at another sample rate; the last one may be empty."""
    if source_rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
