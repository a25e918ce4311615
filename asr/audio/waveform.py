"""What a caller has, a path or samples -> waveform: one channel, float32, as a tensor."""

from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from asr.audio import load

LOUDEST = 16.0
"""Samples beyond it are whole numbers that were stored as floats, or damage; as in files."""


def load_audio(
    path: str | Path,
    sample_rate: int,
    channel: int | None = None,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    longest_s: float | None = None,
) -> Tensor:
    """The waveform of an audio file, or of a part of it, at the sample rate asked for.

    As `asr.audio.load.read_audio`, which has the details, with a tensor for an array.

    >>> waveform = asr.load_audio("a.wav", 16000)

    Args:
        path: of a file in any format that soundfile or PyAV reads.
        sample_rate: of the waveform, in Hz; a file of another rate is resampled.
        channel: from 0; None for the mean of all channels.
        offset_s: where the part starts, in seconds.
        duration_s: how long the part is, in seconds; None for all until the end.
        longest_s: refuse a longer waveform, if possible before it is decoded, in seconds; None for
            what memory holds.

    Returns:
        waveform: (samples,), float32, at least one sample.

    Raises:
        InputError: the file can't be used; the message says why.
        ValueError: `sample_rate`, `offset_s` or `duration_s` is out of range.
    """
    part = offset_s, duration_s, longest_s
    return torch.from_numpy(load.read_audio(path, sample_rate, channel, *part))


def as_waveform(samples: Tensor | np.ndarray, name: str = "waveform") -> Tensor:
    """Samples of one channel as float32, on their device.

    Args:
        samples: (samples,), floats in [-1, 1) of any precision.
        name: of the argument; begins the error's line.

    Returns:
        waveform: (samples,), float32.

    Raises:
        ValueError: `samples` is not (samples,), has no sample, or samples that are no floats, not
            finite or far beyond [-1, 1].
    """
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
    bad = ~(found.abs() <= LOUDEST)  # NaN compares false
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
        sample_rate: of the waveform, in Hz.
        new_rate: of what comes out, in Hz.

    Returns:
        waveform: (about samples * new_rate / sample_rate,), float32, on the same device.

    Raises:
        ValueError: a rate is below 1.
    """
    for name, rate in (("sample_rate", sample_rate), ("new_rate", new_rate)):
        if rate < 1:
            raise ValueError(f"{name} is {rate}; expected Hz")
    if sample_rate == new_rate:
        return waveform
    samples = soxr.resample(waveform.cpu().numpy(), sample_rate, new_rate, quality="HQ")
    return torch.from_numpy(samples).to(waveform.device)
