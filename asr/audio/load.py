"""Any audio file -> waveform.

soundfile reads what libsndfile knows (WAV, FLAC, Ogg, MP3, NIST sphere, AIFF, ...), PyAV the rest
(m4a, aac, webm, the sound of videos) where it is installed. Both return what they could read of a
damaged file as if it were all; so every file is also held against what its own container declares.
"""

import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import soundfile
import soxr

from asr.audio.container import inspect
from asr.errors import InputError

SUFFIXES = (
    *(".flac", ".wav", ".sph", ".opus", ".ogg", ".oga", ".mp3", ".m4a", ".aac", ".wma", ".webm"),
    *(".mp4", ".mkv", ".mov", ".aif", ".aiff", ".au", ".caf", ".w64"),
)
"""What files that `load_audio` reads are called; compare in small letters."""


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


def load_audio(
    path: str | Path,
    sample_rate: int,
    channel: int | None = None,
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> np.ndarray:
    """The waveform of an audio file, or of a part of it, at the sample rate asked for.

    A part has the samples that the whole waveform has there. The file is decoded in blocks, and
    only where the part lies; what needs PyAV is decoded from its start on.

    Args:
        path: of a file in any format that soundfile or PyAV reads.
        sample_rate: of the waveform, in Hz.
        channel: from 0; None for the mean of all channels.
        offset_s: where the part starts, in seconds.
        duration_s: how long the part is, in seconds; None for all until the end. Where the file
            ends before, the waveform is shorter.

    Returns:
        waveform: (samples,), float32, at least one sample.

    Raises:
        InputError: there is no such file, it can't be read as audio, is damaged or cut short, has
            no samples, not this channel, nothing at the offset, or samples that are not finite or
            far beyond [-1, 1].
        ValueError: `sample_rate`, `offset_s` or `duration_s` is out of range.
    """
    start, count = _part(sample_rate, offset_s, duration_s)
    path = Path(path)
    with _open(path) as source:
        if channel is not None and not 0 <= channel < source.channels:
            raise InputError(
                f"{path}: has {source.channels} channels; expected channel {channel} among them"
                " (the first is 0)"
            )
        span = _span(start, count, sample_rate, source.sample_rate)
        if source.samples is not None and span.start >= source.samples:
            blocks: Iterable[np.ndarray] = ()
        else:
            blocks = _mono(source.read(span.start, span.stop), path, channel, span, source)
            blocks = _resample(blocks, source.sample_rate, sample_rate)
        waveform = _cut(blocks, span.skip, count)
    if not len(waveform):
        raise InputError(
            f"{path}: ends before {offset_s:g} s; expected audio from there on"
            if start
            else f"{path}: holds 0 samples; expected at least one"
        )
    return waveform


def read_info(path: str | Path) -> AudioInfo:
    """Sample rate, channels and length of an audio file.

    They come from the header, except that a file without a length in its header, and any that
    needs PyAV, is decoded to be counted.

    Raises:
        InputError: there is no such file, it can't be read as audio, has no samples, or its
            container shows that it is damaged or cut short.
    """
    path = Path(path)
    with _open(path) as source:
        samples = source.samples
        if samples is None:
            samples = sum(len(block) for block in source.read(0, None))
    if not samples:
        raise InputError(f"{path}: holds 0 samples; expected at least one")
    return AudioInfo(source.sample_rate, source.channels, samples)


def load_raw(path: str | Path, byte_order: Literal["little", "big"]) -> np.ndarray:
    """The waveform of a file without a header: 16-bit samples of one channel, at any rate.

    AN4's official `.raw` files are big-endian, at 16 kHz.

    Args:
        path: of the file.
        byte_order: of each sample.

    Returns:
        waveform: (samples,), float32, in [-1, 1).

    Raises:
        InputError: there is no such file, it is empty, or its bytes are no whole number of samples.
        ValueError: `byte_order` is neither little nor big.
    """
    if byte_order not in ("little", "big"):
        raise ValueError(f"byte_order is {byte_order!r}; expected little or big")
    path = Path(path)
    size = _check_file(path)
    if size % 2:
        raise InputError(f"{path}: has {size} bytes; expected an even number, 2 for each sample")
    samples = np.fromfile(path, "<i2" if byte_order == "little" else ">i2")
    return samples.astype(np.float32) / 32768


def find_audio(folder: str | Path, stem: str) -> Path:
    """The audio file called `stem` with any known suffix, in small or capital letters.

    Corpora ship the same recordings as .flac, .sph, .raw, .wav, .WAV or .opus.

    Args:
        folder: where to look; not below it.
        stem: the name without its suffix; may lead through folders (`an4_clstk/fash/an251-fash-b`).

    Raises:
        InputError: there is no such file, or more than one.
    """
    found: dict[int, Path] = {}  # by inode, for file systems where .wav and .WAV are the same file
    for suffix in (*SUFFIXES, ".raw"):
        for path in (Path(folder, stem + suffix), Path(folder, stem + suffix.upper())):
            if path.is_file():
                found.setdefault(path.stat().st_ino, path)
    if not found:
        raise InputError(f"{Path(folder, stem)}: no such audio file; expected a suffix as .flac")
    if len(found) > 1:
        names = ", ".join(path.name for path in found.values())
        raise InputError(f"{Path(folder, stem)}: could be {names}; expected one of them alone")
    return next(iter(found.values()))


class _Source(NamedTuple):
    sample_rate: int
    channels: int
    samples: int | None  # None where only decoding tells
    read: Callable[[int, int | None], Iterator[np.ndarray]]  # from, until -> (samples, channels)


class _Span(NamedTuple):
    start: int  # in samples of the source
    stop: int | None
    skip: int  # samples of the waveform between `start` and what was asked for


_LOUDEST = 16.0  # lossy codecs overshoot 1 a little; integers stored as floats are far beyond
_LOWEST_RATE, _HIGHEST_RATE, _MOST_CHANNELS = 1000, 1_000_000, 64  # beyond: a damaged header
_BLOCK = 1 << 20  # numbers in a block: 4 MB
_MARGIN_S = 0.25  # read on both sides of a part, longer than the resampling filter at 1 kHz
_SLACK_S = 0.25  # a container's duration and its packets may differ by the codec's padding


def _part(sample_rate: int, offset_s: float, duration_s: float | None) -> tuple[int, int | None]:
    """Where the part starts and how long it is, in samples of the waveform."""
    if sample_rate < 1:
        raise ValueError(f"sample_rate is {sample_rate}; expected Hz")
    if not 0 <= offset_s < math.inf:
        raise ValueError(f"offset_s is {offset_s}; expected seconds from 0 on")
    start = round(offset_s * sample_rate)
    if duration_s is None:
        return start, None
    if not 0 < duration_s < math.inf or not (count := round(duration_s * sample_rate)):
        raise ValueError(f"duration_s is {duration_s}; expected seconds, at least one sample")
    return start, count


def _span(start: int, count: int | None, sample_rate: int, source_rate: int) -> _Span:
    """What to read, so that resampling it gives the samples that the whole file would give.

    Source and waveform have samples at the same instants only every 1 / gcd of their rates.
    """
    if sample_rate == source_rate:
        return _Span(start, None if count is None else start + count, 0)
    common = math.gcd(sample_rate, source_rate)  # such instants in a second
    instant = max(0, start * common // sample_rate - math.ceil(_MARGIN_S * common))
    stop = None
    if count is not None:
        stop = math.ceil(((start + count) / sample_rate + _MARGIN_S) * source_rate)
    skip = start - instant * (sample_rate // common)
    return _Span(instant * (source_rate // common), stop, skip)


def _mono(
    blocks: Iterable[np.ndarray], path: Path, channel: int | None, span: _Span, source: _Source
) -> Iterator[np.ndarray]:
    position = span.start
    for block in blocks:
        chosen = block if channel is None else block[:, channel : channel + 1]
        peaks = np.abs(chosen).max(axis=1)
        bad = ~(peaks <= _LOUDEST)  # NaN compares false
        if bad.any():
            n = int(bad.argmax())
            raise InputError(
                f"{path}: has {'NaN' if np.isnan(peaks[n]) else format(peaks[n], '.3g')} as sample"
                f" {position + n} ({(position + n) / source.sample_rate:.3f} s); expected samples"
                " in [-1, 1]"
            )
        position += len(block)
        yield chosen[:, 0] if chosen.shape[1] == 1 else chosen.mean(axis=1)


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


def _cut(blocks: Iterable[np.ndarray], skip: int, count: int | None) -> np.ndarray:
    kept = [np.zeros(0, np.float32)]
    n_kept = 0
    for block in blocks:
        block, skip = block[skip:], max(0, skip - len(block))
        if count is not None:
            block = block[: count - n_kept]
        kept.append(block)
        n_kept += len(block)
        if n_kept == count:
            break
    return np.concatenate(kept)


def _check_file(path: Path) -> int:
    """The file's size in bytes, if there is something to read."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InputError(f"{path}: {_reason(error)}; expected an audio file") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; expected an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file; expected an audio file")
    if not status.st_size:
        raise InputError(f"{path}: is empty (0 bytes); expected an audio file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission denied; expected a file that can be read")
    return status.st_size


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)  # FFmpegError has it like OSError
    return reason[:1].lower() + reason[1:]


@contextmanager
def _open(path: Path) -> Iterator[_Source]:
    _check_file(path)
    container = inspect(path)
    if container.fault:
        raise InputError(f"{path}: {container.fault}")
    with path.open("rb") as file:
        sound = None if container.needs_ffmpeg else _open_soundfile(file)
        if sound is not None:
            with sound:
                if sound.frames:
                    _check_header(path, sound.samplerate, sound.channels)
                    yield _soundfile_source(sound, path)
                    return
    # libsndfile also reads nothing of a WAV that was piped with size 0 in its header
    with _open_av(path) as source:
        yield source


def _check_header(path: Path, sample_rate: int, channels: int) -> None:
    if not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        raise InputError(
            f"{path}: its header says {sample_rate} Hz; expected {_LOWEST_RATE} to {_HIGHEST_RATE}"
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise InputError(
            f"{path}: its header says {channels} channels; expected 1 to {_MOST_CHANNELS}"
        )


def _open_soundfile(file: BinaryIO) -> soundfile.SoundFile | None:
    """None for what libsndfile can't read. By descriptor: names would make it guess formats."""
    try:
        return soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.SoundFileError:
        return None


def _soundfile_source(sound: soundfile.SoundFile, path: Path) -> _Source:
    def read(start: int, stop: int | None) -> Iterator[np.ndarray]:
        end = sound.frames if stop is None else min(stop, sound.frames)
        position = start
        try:
            if start:
                sound.seek(start)
            while position < end:
                n_wanted = min(end - position, max(1, _BLOCK // sound.channels))
                block = sound.read(n_wanted, dtype="float32", always_2d=True)
                position += len(block)
                if len(block) < n_wanted:
                    raise InputError(
                        f"{path}: is cut short or damaged: its header declares {sound.frames}"
                        f" samples, {position} could be read"
                    )
                yield block
        except soundfile.SoundFileError as error:
            raise InputError(f"{path}: is cut short or damaged: {error}") from None

    return _Source(sound.samplerate, sound.channels, sound.frames, read)


# Demuxers of FFmpeg that may look at a user's file: no playlists, which open other files and
# addresses, and no obscure formats, which take noise for music.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,wav,"
    "w64,wv"
)
_DECLARING = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # their durations are no estimates


@contextmanager
def _open_av(path: Path) -> Iterator[_Source]:
    try:
        import av
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: soundfile can't read it; if it is m4a, webm, a video or a stream without a"
            " length, it takes PyAV: pip install 'asr-ctc[media]'"
        ) from None
    options = {"format_whitelist": _DEMUXERS}
    no_audio = InputError(
        f"{path}: can't be read as audio; expected WAV, FLAC, Ogg, MP3, M4A or the like"
    )
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError):
        raise no_audio from None
    with container:
        if not container.streams.audio:
            raise InputError(f"{path}: has no audio stream; expected one")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise InputError(f"{path}: its codec is unknown; expected one that FFmpeg decodes")
        if not stream.rate or not stream.channels:
            raise no_audio  # FFmpeg believes the suffix .flac
        _check_header(path, stream.rate, stream.channels)

        def read(start: int, stop: int | None) -> Iterator[np.ndarray]:
            position = 0
            try:
                for block in _av_blocks(container, stream):
                    before, position = position, position + len(block)
                    if position > start:
                        yield block[max(0, start - before) :]
                    if stop is not None and position >= stop:
                        return
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            except (av.error.FFmpegError, ValueError, MemoryError) as error:
                raise InputError(f"{path}: is cut short or damaged: {_reason(error)}") from None
            declared = _declared_duration(container, stream)
            if position / stream.rate < declared - _SLACK_S:
                raise InputError(
                    f"{path}: is cut short or damaged: it declares {declared:.2f} s,"
                    f" {position / stream.rate:.2f} s could be read"
                )

        yield _Source(stream.rate, stream.channels, None, read)


def _av_blocks(container: Any, stream: Any) -> Iterator[np.ndarray]:
    import av

    header = stream.rate, stream.channels
    # Changes neither rate nor channels. Interleaved, since PyAV 18 crashes in `to_ndarray` of more
    # than 8 planes.
    interleaved = av.AudioResampler(format="flt")
    for frame in container.decode(stream):
        found = frame.sample_rate, frame.layout.nb_channels
        if found != header:
            raise InputError(
                f"changes to {found[0]} Hz with {found[1]} channels; expected {header[0]} Hz with"
                f" {header[1]} as its header says"
            )
        for converted in interleaved.resample(frame):
            yield converted.to_ndarray().reshape(-1, header[1])


def _declared_duration(container: Any, stream: Any) -> float:
    """In seconds; 0 where the container says nothing of this stream."""
    if container.format.name not in _DECLARING:
        return 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return (container.duration - max(0, container.start_time or 0)) / 1e6
    return 0.0
