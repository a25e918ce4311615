"""Bytes of WAV or raw samples, while they arrive -> waveform in blocks."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from asr.audio.cancellation import ChannelPower
from asr.audio.container import check_rate
from asr.audio.extent import UNKNOWN_SIZE
from asr.audio.load import AudioWarning, doubt_of_mean, mono_blocks, resampled_blocks
from asr.errors import InputError, counted

_READ = 1 << 16  # bytes at most; whatever has arrived is read at once
_MAX_CHUNK = 1 << 20  # bytes of a chunk before the samples
_WAV = (b"RIFF", b"RF64")
_OTHERS = (b"fLaC", b"OggS", b"ID3\x03", b"ID3\x04", b"FORM", b".snd", b"RIFX", b"caff", b"NIST")
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE  # codes of WAV's formats
_FORMS = {*((_INTEGERS, bits) for bits in (8, 16, 24, 32)), (_FLOATS, 32), (_FLOATS, 64)}


class BinaryReader(Protocol):
    """What `read_live` needs of an open file, such as `sys.stdin.buffer`."""

    def read(self, size: int, /) -> bytes:
        """So many bytes; fewer at the end."""

    def read1(self, size: int, /) -> bytes:
        """The bytes that have arrived, at most so many; none at the end."""


class _Form(NamedTuple):
    """The form of samples."""

    code: int  # _INTEGERS or _FLOATS
    channels: int
    sample_rate: int  # in Hz
    width: int  # bytes of a sample
    size: int | None = None  # bytes of all samples; None for all that arrive


def read_live(
    file: BinaryReader, place: str, sample_rate: int, channel: int | None = None
) -> Iterator[np.ndarray]:
    """The waveform of a pipe whose other end may still be recording.

    A pipe that does not begin with the header of a WAV file has raw samples: 16-bit integers,
    little-endian, of one channel, at the rate `sample_rate`. The number of samples in a header may
    be unknown, as from arecord, sox and ffmpeg. The stream may end before that number, even within
    a sample, which is left out.

    Args:
        file: the pipe.
        place: its name, for error messages.
        sample_rate: sample rate of the waveform, in Hz.
        channel: number of the channel, from 0; None for the mean of all channels.

    Yields:
        block: (samples,), float32, as soon as it is there.

    Raises:
        InputError: the header is damaged, the samples are of another format or out of range, the
            channel is missing, or there is no sample.

    Warns:
        AudioWarning: the channels cancel each other in most of their mean; after the last block.
    """
    head = file.read(4)
    if head.startswith(_OTHERS):
        raise InputError(f"{place}: is no WAV; expected WAV, or raw 16-bit samples, in a stream")
    form = _Form(_INTEGERS, 1, sample_rate, 2)
    if head in _WAV:
        head, form = b"", _read_header(file, place)
    if channel is not None and not channel < form.channels:
        raise InputError(
            f"{place}: has {counted(form.channels, 'channel')}; expected channel {channel} among"
            " them (the first is 0)"
        )
    power = ChannelPower(form.sample_rate)
    blocks = (_decoded(block, form) for block in _whole_frames(file, head, form))
    mono = mono_blocks(blocks, Path(place), channel, (0, form.sample_rate), power)
    n_samples = 0
    for block in resampled_blocks(mono, form.sample_rate, sample_rate):
        n_samples += len(block)
        yield block
    if not n_samples:
        raise InputError(f"{place}: holds 0 samples; expected at least one")
    if doubt := doubt_of_mean(form.channels, power):
        warnings.warn(f"{place}: {doubt}", AudioWarning, stacklevel=2)


def _read_header(file: BinaryReader, place: str) -> _Form:
    """Read a WAV file's header after its first 4 bytes, up to the samples."""
    if file.read(8)[4:] != b"WAVE":
        raise _damaged(place)
    form = None
    while len(chunk := file.read(8)) == 8:
        kind, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if kind == b"data":
            if form is None:
                raise _damaged(place)
            return form._replace(size=size if 0 < size < UNKNOWN_SIZE else None)
        if size > _MAX_CHUNK:
            raise _damaged(place)
        content = file.read(size + size % 2)
        if kind == b"fmt ":
            form = _form_of(content, place)
    raise _damaged(place)


def _damaged(place: str) -> InputError:
    return InputError(f"{place}: has a damaged WAV header; expected chunks fmt and data")


def _form_of(content: bytes, place: str) -> _Form:
    """The form in a `fmt` chunk.

    Raises:
        InputError: it is not one that can be read.
    """
    if len(content) < 16:
        raise _damaged(place)
    code, channels, sample_rate, align, bits = (
        int.from_bytes(content[first:end], "little")
        for first, end in ((0, 2), (2, 4), (4, 8), (12, 14), (14, 16))
    )
    if code == _EXTENSIBLE:
        code = int.from_bytes(content[24:26], "little")
    widths = {_INTEGERS: (1, 2, 3, 4), _FLOATS: (4, 8)}.get(code, ())
    if (
        not channels
        or align % channels
        or align // channels not in widths
        or bits != 8 * (align // channels)
    ):
        raise InputError(
            f"{place}: has {counted(channels, 'channel')} of {bits} bits in WAV's format {code};"
            " expected integers of 8, 16, 24 or 32 bits, or floats"
        )
    check_rate(f"{place}: sample rate", sample_rate)
    return _Form(code, channels, sample_rate, bits // 8)


def _whole_frames(file: BinaryReader, head: bytes, form: _Form) -> Iterator[bytes]:
    """The bytes of the samples in blocks of whole samples of all channels."""
    length, left = form.width * form.channels, form.size
    held = head
    while new := file.read1(_READ if left is None else min(_READ, left)):
        left = None if left is None else left - len(new)
        held += new
        end = len(held) - len(held) % length
        if end:
            yield held[:end]
        held = held[end:]
    if len(held) >= length:  # a pipe of 4 bytes or less
        yield held[: len(held) - len(held) % length]


def _decoded(samples: bytes, form: _Form) -> np.ndarray:
    """(samples, channels), float32."""
    if form.code == _FLOATS:
        values = np.frombuffer(samples, f"<f{form.width}")
    elif form.width == 1:
        values = (np.frombuffer(samples, np.uint8).astype(np.float32) - 128) / 128
    elif form.width == 3:
        wide = np.zeros((len(samples) // 3, 4), np.uint8)  # 32 bits, of which the upper 24 are used
        wide[:, 1:] = np.frombuffer(samples, np.uint8).reshape(-1, 3)
        values = wide.view("<i4")[:, 0] / 2.0**31
    else:
        values = np.frombuffer(samples, f"<i{form.width}") / 2.0 ** (8 * form.width - 1)
    return values.astype(np.float32).reshape(-1, form.channels)
