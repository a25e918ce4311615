"""An audio file -> blocks of samples, decoded by libsndfile or FFmpeg."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr.audio.container import Part, check_header
from asr.audio.content import View, opened, reason_of
from asr.audio.extent import is_text
from asr.audio.inspection import inspect
from asr.errors import InputError, counted


@dataclass
class Source:
    """An opened audio file.

    Args:
        sample_rate: in Hz.
        channels: number of channels.
        samples: number of samples per channel; None if only decoding can count them.
        n_tracks: number of simultaneous sound tracks; only the first is read. Of joined recordings
            the largest number so far: it may grow while they are read.
        n_unread: number of bytes at the end of the file that are in no known audio format.
        read: function of the first sample and the end (None: to the end of the file), which yields
            blocks: (samples, channels), float32.
    """

    sample_rate: int
    channels: int
    samples: int | None
    n_tracks: int
    n_unread: int
    read: Callable[[int, int | None], Iterator[np.ndarray]]


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open an audio file to read its samples; joined recordings are read as one.

    Args:
        path: path of a file or a pipe; `-` is standard input.

    Raises:
        InputError: the file is not audio, or is damaged. Damage may be found only while reading.
    """
    with opened(path) as view:
        if not view.bytes_at(0, 1 << 16).strip(b"\0"):
            raise view.fault("can't be read as audio: it begins with zeros; expected a header")
        parts = inspect(view)
        with _open_part(parts[0]) as first:
            first.n_unread = parts[-1].n_unread
            if len(parts) > 1:
                first.samples, first.read = None, partial(_read_joined, parts, first)
            yield first


_BLOCK = 1 << 20  # values in a block: 4 MB
_DURATION_TOLERANCE_S = 0.25  # declared and decoded duration may differ by the codec's padding
_UNKNOWN_COUNT = 1 << 62  # libsndfile's counts from here on mean: unknown
_BIG_ENDIAN_BY_DEFAULT = (("FILE", "AIFF"), ("FILE", "CAF"), ("FILE", "AU"))
_SAMPLE_WIDTHS = {  # bytes per sample of the codings that store each sample alone
    **{"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4},
    **{"FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1},
}


def _read_joined(
    parts: list[Part], first: Source, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    def blocks() -> Iterator[np.ndarray]:
        for n, part in enumerate(parts):
            with _open_part(part) as source:
                first.n_tracks = max(first.n_tracks, source.n_tracks)
                if (source.sample_rate, source.channels) != (first.sample_rate, first.channels):
                    raise part.view.fault(
                        f"is {len(parts)} recordings joined: number {n + 1} has"
                        f" {source.sample_rate} Hz and {counted(source.channels, 'channel')};"
                        " expected"
                        f" {first.sample_rate} Hz and {first.channels} as in the first"
                    )
                yield from source.read(0, None)

    yield from _between(blocks(), start, stop)


def _between(blocks: Iterable[np.ndarray], start: int, stop: int | None) -> Iterator[np.ndarray]:
    """The blocks from sample `start` on, up to the block that contains `stop`."""
    position = 0
    for block in blocks:
        before, position = position, position + len(block)
        if position > start:
            yield block[max(0, start - before) :]
        if stop is not None and position >= stop:
            return


@contextmanager
def _open_part(part: Part) -> Iterator[Source]:
    reason = None
    if not part.needs_ffmpeg:
        try:
            sound = _open_soundfile(part.view)
        except soundfile.SoundFileError as error:
            reason = getattr(error, "error_string", str(error))
        else:
            with sound:
                check_header(part.view, sound.samplerate, sound.channels)
                if part.sample_bytes is not None and not part.sample_bytes.size:
                    yield _soundfile_source(sound, replace(part, samples=0))
                    return
                if (samples := _open_sample_bytes(part, sound)) is not None:
                    with samples:
                        yield _soundfile_source(samples, part)
                    return
                if sound.frames and (part.samples or 0) <= sound.frames:
                    yield _soundfile_source(sound, part)
                    return
    if part.view.is_whole_file and is_text(part.view, 0):
        raise part.view.fault("is a text; expected audio")
    with _open_av(part, reason) as source:
        yield source


def _open_soundfile(view: View) -> soundfile.SoundFile:
    """Open by descriptor or content, since libsndfile would guess the format from the name."""
    view.seek(0)
    if view.is_whole_file:
        descriptor = os.dup(view.file.fileno())  # libsndfile 1.2.0 closes files that it can't read
        os.lseek(descriptor, 0, os.SEEK_SET)
        return soundfile.SoundFile(descriptor, closefd=True)
    return soundfile.SoundFile(view)


def _open_sample_bytes(part: Part, sound: soundfile.SoundFile) -> soundfile.SoundFile | None:
    """The samples without the header, if libsndfile would read more or fewer; otherwise None."""
    if part.sample_bytes is None:
        return None
    width = _SAMPLE_WIDTHS.get(sound.subtype)
    if width is None:
        if part.undeclared:
            raise _undeclared(part, sound.subtype_info)
        return None
    if sound.frames == part.sample_bytes.size // (width * sound.channels):
        return None
    big = sound.endian == "BIG" or (sound.endian, sound.format) in _BIG_ENDIAN_BY_DEFAULT
    return soundfile.SoundFile(
        part.sample_bytes,
        samplerate=sound.samplerate,
        channels=sound.channels,
        format="RAW",
        subtype=sound.subtype,
        endian="BIG" if big else "LITTLE",
    )


def _undeclared(part: Part, coding: str) -> InputError:
    """The error for samples that the decoder would leave out."""
    return part.view.fault(
        f"has {part.undeclared} bytes of {coding} that its header does not declare; expected none"
    )


def _soundfile_source(sound: soundfile.SoundFile, part: Part) -> Source:
    samples = sound.frames if part.samples is None else part.samples
    n_known = samples if samples < _UNKNOWN_COUNT else None

    def read(start: int, stop: int | None) -> Iterator[np.ndarray]:
        end = samples if stop is None else min(stop, samples)
        position = start
        try:
            if start:
                sound.seek(start)
            while position < end:
                n_wanted = min(end - position, max(1, _BLOCK // sound.channels))
                block = sound.read(n_wanted, dtype="float32", always_2d=True)
                position += len(block)
                if len(block) < n_wanted and n_known is not None:
                    raise part.view.fault(
                        f"is cut short or damaged: its header declares {samples} samples,"
                        f" {position} could be read"
                    )
                if not len(block):
                    return
                yield block
        except soundfile.SoundFileError as error:
            raise part.view.fault(f"is cut short or damaged: {error}") from None

    return Source(sound.samplerate, sound.channels, n_known, part.n_tracks, part.n_unread, read)


# The demuxers of FFmpeg that may read a file. Playlists are excluded, because they open other files
# and addresses, and rare formats, because their demuxers accept files that are not audio.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,voc,"
    "w64,wav,wv"
)
_EXACT_DURATIONS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")  # declared durations
_CHECKSUMMED = ("flac", "tta", "wavpack", "ape", "ac3", "eac3")  # with a checksum in each frame


@contextmanager
def _open_av(part: Part, reason: str | None) -> Iterator[Source]:
    """Open a part with FFmpeg; `reason` is the error of libsndfile."""
    view = part.ffmpeg_view or part.view
    try:
        import av
    except ModuleNotFoundError:
        found = f": {reason.rstrip('.')}" if reason else ""
        raise view.fault(
            f"soundfile can't read it{found}; M4A, WebM, videos and streams without a length need"
            " PyAV: pip install 'av>=18,<19'"
        ) from None
    found = f" ({reason.rstrip('.')})" if reason else ""
    no_audio = view.fault(
        f"can't be read as audio{found}; expected WAV, FLAC, Ogg, MP3, M4A or the like"
    )
    view.seek(0)
    try:  # not by name, from which FFmpeg would guess the format
        container = av.open(
            view, options={"format_whitelist": _DEMUXERS}, metadata_errors="replace"
        )
    except (av.error.FFmpegError, ValueError):
        raise no_audio from None
    with container:
        if not container.streams.audio:
            raise view.fault("has no audio stream; expected one")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise view.fault("its codec is unknown; expected one that FFmpeg decodes")
        if not stream.rate or not stream.channels:
            raise no_audio
        check_header(view, stream.rate, stream.channels)
        if part.undeclared:
            raise _undeclared(part, stream.codec_context.name)
        if stream.codec_context.name in _CHECKSUMMED:  # off by default in FFmpeg
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        n_tracks = len(container.streams.audio)
        read = partial(_read_av, view, container, stream)
        yield Source(stream.rate, stream.channels, None, n_tracks, part.n_unread, read)


def _read_av(
    view: View, container: Any, stream: Any, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    import av

    position = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal position
        for block in _av_blocks(view, container, stream):
            position += len(block)
            yield block

    try:
        yield from _between(counted(), start, stop)
    except (av.error.FFmpegError, MemoryError) as error:
        raise view.fault(f"is cut short or damaged: {reason_of(error)}") from None
    declared = _declared_duration(container, stream)
    is_short = position / stream.rate < declared - _DURATION_TOLERANCE_S
    if is_short and (stop is None or position < stop):
        raise view.fault(
            f"is cut short or damaged: it declares {declared:.2f} s,"
            f" {position / stream.rate:.2f} s could be read"
        )


def _av_blocks(view: View, container: Any, stream: Any) -> Iterator[np.ndarray]:
    import av

    header = stream.rate, stream.channels
    # Keeps rate and channels. Samples are interleaved, because PyAV 18 crashes in `to_ndarray` of
    # frames with more than 8 planes.
    interleaved = av.AudioResampler(format="flt")
    for frame in container.decode(stream):
        found = frame.sample_rate, len(frame.layout.channels)
        if found != header:
            raise view.fault(
                f"changes to {found[0]} Hz with {counted(found[1], 'channel')};"
                f" expected {header[0]} Hz with"
                f" {header[1]} as in its header"
            )
        for converted in interleaved.resample(frame):
            yield converted.to_ndarray().reshape(-1, header[1])


def _declared_duration(container: Any, stream: Any) -> float:
    """In seconds; 0 if the container does not declare a duration for this stream."""
    if container.format.name not in _EXACT_DURATIONS:
        return 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return (container.duration - max(0, container.start_time or 0)) / 1e6
    return 0.0
