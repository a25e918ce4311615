"""Audio file or samples -> waveform: one channel, float32, as a tensor."""

from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from asr.audio import load
from asr.audio.container import check_rate
from asr.errors import check_dense, expecting


def load_audio(
    path: str | Path,
    sample_rate: int,
    channel: int | None = None,
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> Tensor:
    """The waveform of an audio file, or of a part of it, at the requested sample rate.

    As `asr.audio.load.read_audio`, which has the details, but returns a tensor.

    >>> waveform = asr.load_audio("a.wav", 16000)

    Args:
        path: path of a file or a pipe in any format that soundfile or PyAV reads; `-` is standard
            input.
        sample_rate: sample rate of the waveform, in Hz; a file of another rate is resampled.
        channel: number of the channel, from 0; None for the mean of all channels.
        offset_s: start of the part, in seconds.
        duration_s: duration of the part, in seconds; None reads to the end.

    Returns:
        waveform: (samples,), float32, at least one sample.

    Raises:
        InputError: the file can't be read; the message gives the reason.
        ValueError: `sample_rate`, `offset_s` or `duration_s` is out of range.

    Warns:
        AudioWarning: see `asr.audio.load.read_audio`.
    """
    return torch.from_numpy(load.read_audio(path, sample_rate, channel, offset_s, duration_s))


def as_waveform(samples: Tensor | np.ndarray, name: str = "waveform") -> Tensor:
    """Samples of one channel as a float32 tensor on the same device.

    Args:
        samples: (samples,), floats in [-1, 1) of any precision.
        name: name of the argument, for error messages.

    Returns:
        waveform: (samples,), float32.

    Raises:
        ValueError: `samples` is not (samples,) or not dense, is empty, or has values that are not
            floats, not finite or far outside [-1, 1].
    """
    check_dense(name, samples)
    with expecting(name, samples, "samples in a tensor or an array"):
        found = torch.as_tensor(samples).detach()
    if found.ndim != 1:
        hint = "" if found.ndim != 2 else " of one channel"
        raise ValueError(f"{name} has shape {tuple(found.shape)}; expected (samples,){hint}")
    if not found.is_floating_point():
        raise ValueError(
            f"{name} is of {found.dtype}; expected floats in [-1, 1): 16-bit samples / 32768"
        )
    if not len(found):
        raise ValueError(f"{name} has shape (0,); expected at least one sample")
    found = found.float()
    bad = ~(found.abs() <= load.MAX_AMPLITUDE)  # NaN compares false
    if bad.any():
        place = int(bad.nonzero()[0])
        raise ValueError(
            f"{name} has {found[place].item():.3g} as sample {place}; expected samples in [-1, 1)"
        )
    return found


def resample(waveform: Tensor, sample_rate: int, new_rate: int) -> Tensor:
    """A waveform at another sample rate, as `load_audio` resamples files.

    Args:
        waveform: (samples,), float32.
        sample_rate: sample rate of the waveform, in Hz.
        new_rate: sample rate of the result, in Hz.

    Returns:
        waveform: (about samples * new_rate / sample_rate,), float32, on the same device.

    Raises:
        ValueError: `waveform` is not (samples,), or a rate is not from 1 kHz to 1 MHz.
    """
    waveform = as_waveform(waveform)
    for name, rate in (("sample_rate", sample_rate), ("new_rate", new_rate)):
        check_rate(name, rate)
    if sample_rate == new_rate:
        return waveform
    samples = soxr.resample(waveform.cpu().numpy(), sample_rate, new_rate, quality="HQ")
    return torch.from_numpy(samples).to(waveform.device)
