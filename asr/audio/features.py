"""waveform -> features: log-mel energies or MFCCs, deltas, splicing, normalisation."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from asr.audio.container import MAX_RATE, MIN_RATE
from asr.audio.waveform import as_waveform
from asr.compatibility import torchaudio_functional
from asr.errors import InputError, check_size, counted

MAX_WINDOW = 2**16
"""Maximum number of samples in a window: more than a second at all common sample rates."""

MAX_FEATURES = 2**14
"""Maximum number of values in a frame."""


@dataclass(frozen=True)
class FeatureSettings:
    """How features are computed.

    Args:
        sample_rate: in Hz; other audio is resampled to this rate.
        kind: log mel energies, or MFCCs.
        n_mels: number of mel bands between `low_hz` and half the sample rate.
        n_mfcc: number of cepstral coefficients, if `kind` is mfcc.
        window_ms: length of the Hann window, in ms.
        hop_ms: distance of the starts of consecutive windows, in ms.
        low_hz: lower edge of the lowest band.
        n_deltas: highest order of time derivatives (deltas) that are appended to each frame.
        n_spliced: splicing: number of frames on either side that are concatenated with each frame,
            with their deltas, in order of time. At the edges of an utterance, its first or last
            frame is repeated.
        normalisation: to mean 0 and variance 1 in each dimension, over an utterance or over the
            training set; or none.
    """

    sample_rate: int = 16000
    kind: Literal["log_mel", "mfcc"] = "log_mel"
    n_mels: int = 80
    n_mfcc: int = 13
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    n_deltas: int = 0
    n_spliced: int = 0
    normalisation: Literal["utterance", "global", "none"] = "utterance"

    def __post_init__(self) -> None:
        for name in ("window_ms", "hop_ms"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"features.{name} is {getattr(self, name)}; expected more than 0")
        check_size("features.sample_rate", self.sample_rate, MIN_RATE, MAX_RATE)
        for name in ("n_mels", "n_mfcc"):
            check_size(f"features.{name}", getattr(self, name), 1, 512)
        for name in ("window_ms", "hop_ms"):
            samples = self.sample_rate * getattr(self, name) / 1000
            if not 0.5 < samples <= MAX_WINDOW:
                raise InputError(
                    f"features.{name} is {getattr(self, name)}; expected at least one sample,"
                    f" {1000 / self.sample_rate:g}, and at most {MAX_WINDOW}"
                )
        if self.kind == "mfcc" and self.n_mfcc > self.n_mels:
            raise InputError(
                f"features.n_mfcc is {self.n_mfcc}; expected at most n_mels, {self.n_mels}"
            )
        for name in ("n_deltas", "n_spliced"):
            check_size(f"features.{name}", getattr(self, name), 0, 100)
        check_size("features.n_features", self.n_features, 1, MAX_FEATURES)
        if not 0 <= self.low_hz < self.sample_rate / 2:
            raise InputError(
                f"features.low_hz is {self.low_hz}; expected from 0 to half the sample rate"
            )

    @property
    def win_length(self) -> int:
        """Samples in a window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop_length(self) -> int:
        """Samples from the start of one window to the start of the next."""
        return round(self.sample_rate * self.hop_ms / 1000)

    @property
    def n_features(self) -> int:
        """Values in a frame."""
        static = self.n_mels if self.kind == "log_mel" else self.n_mfcc
        return static * (1 + self.n_deltas) * (1 + 2 * self.n_spliced)

    def n_frames(self, samples: int) -> int:
        """Number of frames (whole windows) in this number of samples."""
        return max(0, 1 + (samples - self.win_length) // self.hop_length)


FLOOR = 1e-10
"""Lower bound of mel energies, so that the logarithm of silence is finite."""

MIN_STD = 1e-3
"""Smallest standard deviation, so that rounding errors of a constant feature stay small."""

_AT_ONCE = 4  # utterances whose spectra fit into the cache of a CPU


MFCC = FeatureSettings(kind="mfcc", n_mels=26, n_deltas=2)
"""Default features of HMMs and hybrids."""


def log_mel(
    waveform: Tensor | np.ndarray,
    sample_rate: int,
    n_mels: int = 80,
    window_ms: float = 25.0,
    hop_ms: float = 10.0,
    low_hz: float = 20.0,
) -> Tensor:
    """Log mel energies of one utterance, one row per frame; not normalised.

    Only whole windows are used: the last `window_ms - hop_ms` milliseconds may be ignored.

    >>> waveform = asr.load_audio("a.wav", 16000)
    >>> features = asr.log_mel(waveform, 16000, n_mels=40)  # (T, 40), 100 rows a second

    Args:
        waveform: (samples,), floats in [-1, 1).
        sample_rate: of the waveform, in Hz.
        n_mels: number of bands, between `low_hz` and half the sample rate.
        window_ms: length of the Hann window, in milliseconds.
        hop_ms: distance of the starts of consecutive windows, in milliseconds.
        low_hz: lower edge of the lowest band.

    Returns:
        features: (T, n_mels), float32, natural logarithms, on the waveform's device.

    Raises:
        ValueError: `waveform` is not (samples,), not in range or shorter than one window, or a
            setting is out of range.
    """
    settings = FeatureSettings(
        sample_rate,
        n_mels=n_mels,
        window_ms=window_ms,
        hop_ms=hop_ms,
        low_hz=low_hz,
        normalisation="none",
    )
    return _of_one(waveform, settings)


def mfcc(
    waveform: Tensor | np.ndarray,
    sample_rate: int,
    n_mfcc: int = 13,
    n_deltas: int = 0,
    window_ms: float = 25.0,
    hop_ms: float = 10.0,
) -> Tensor:
    """Mel-frequency cepstral coefficients of one utterance, one row per frame; not normalised.

    They are the cosine transform of 26 log mel energies, or of `n_mfcc` if that is more.

    >>> features = asr.mfcc(waveform, 16000, n_deltas=2)  # (T, 39), as HMMs take them

    Args:
        waveform: (samples,), floats in [-1, 1).
        sample_rate: of the waveform, in Hz.
        n_mfcc: coefficients kept; the first one grows with the energy.
        n_deltas: highest order of time derivatives (deltas) that are appended to each frame.
        window_ms: length of the Hann window, in milliseconds.
        hop_ms: distance of the starts of consecutive windows, in milliseconds.

    Returns:
        features: (T, n_mfcc * (1 + n_deltas)), float32, on the waveform's device.

    Raises:
        ValueError: as for `log_mel`.
    """
    settings = FeatureSettings(
        sample_rate,
        kind="mfcc",
        n_mels=max(MFCC.n_mels, n_mfcc),
        n_mfcc=n_mfcc,
        window_ms=window_ms,
        hop_ms=hop_ms,
        n_deltas=n_deltas,
        normalisation="none",
    )
    return _of_one(waveform, settings)


def _of_one(waveform: Tensor | np.ndarray, settings: FeatureSettings) -> Tensor:
    waveform = as_waveform(waveform)
    if len(waveform) < settings.win_length:
        found = f"waveform has {counted(len(waveform), 'sample')}"
        raise ValueError(f"{found}; one window takes {settings.win_length}")
    lengths = torch.tensor([len(waveform)], device=waveform.device)
    return _features(settings, waveform.device)(waveform[None], lengths)[0][:, 0]


@lru_cache(maxsize=8)
def _features(settings: FeatureSettings, device: torch.device) -> "Features":
    return Features(settings).to(device)


class Features(nn.Module):
    """Features of a padded batch; those of an utterance do not depend on the rest of the batch.

    They equal Kaldi's without dither, pre-emphasis and DC offset removal, except that the
    filters are triangles over Hz (as in torchaudio and librosa) instead of mel. They are always
    computed in float32: under autocast, energies and logarithms would have 8 bits of precision.
    """

    mean: Tensor
    std: Tensor
    _window: Tensor
    _triangles: Tensor
    _dct: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        self._n_fft = 1 << (settings.win_length - 1).bit_length()
        window = torch.hann_window(settings.win_length, periodic=False)
        self.register_buffer("_window", window, persistent=False)
        triangles = torchaudio_functional().melscale_fbanks(
            self._n_fft // 2 + 1,
            settings.low_hz,
            settings.sample_rate / 2,
            settings.n_mels,
            settings.sample_rate,
        )
        self.register_buffer("_triangles", triangles, persistent=False)
        dct = torchaudio_functional().create_dct(settings.n_mfcc, settings.n_mels, norm="ortho")
        self.register_buffer("_dct", dct, persistent=False)
        for name, value in (("mean", 0.0), ("std", 1.0)):  # of the training set, if global
            self.register_buffer(name, torch.full((settings.n_features,), value))

    def forward(self, waveforms: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features of padded waveforms.

        Args:
            waveforms: (N, samples), in [-1, 1).
            sample_lengths: (N,), int64; padding is ignored.

        Returns:
            features: (T, N, F), 0 after each utterance's end.
            input_lengths: (N,), int64.

        Raises:
            ValueError: `waveforms` is not (N, samples), `sample_lengths` is not (N,), or one is
                shorter than one window or longer than `waveforms`.
        """
        features, input_lengths = self.unnormalised(waveforms, sample_lengths)
        if self.settings.normalisation == "utterance":
            mean, std = moments(features, input_lengths)
        else:
            mean, std = self.mean, self.std
        inside = mask(input_lengths, len(features))[:, :, None]
        return ((features - mean) / std).masked_fill(~inside, 0.0), input_lengths

    def unnormalised(self, waveforms: Tensor, sample_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, before normalisation; undefined after each utterance's end."""
        self._check(waveforms, sample_lengths)
        settings = self.settings
        # the last windows reach beyond the end with weight 0, and 0 times NaN is NaN
        samples = torch.arange(waveforms.shape[1], device=waveforms.device)
        waveforms = waveforms.masked_fill(samples >= sample_lengths[:, None], 0.0)
        with torch.autocast(waveforms.device.type, enabled=False):
            features = self._static(waveforms)
            input_lengths = 1 + (sample_lengths - settings.win_length) // settings.hop_length
            if settings.n_deltas:
                features = _with_deltas(features, input_lengths, settings.n_deltas)
            if settings.n_spliced:
                features = _spliced(features, input_lengths, settings.n_spliced)
        return features, input_lengths

    def _static(self, waveforms: Tensor) -> Tensor:
        n = _AT_ONCE if waveforms.device.type == "cpu" else len(waveforms)
        features = torch.cat([self._log_mel(some) for some in waveforms.split(n)]).transpose(0, 1)
        return features @ self._dct if self.settings.kind == "mfcc" else features

    def _log_mel(self, waveforms: Tensor) -> Tensor:
        settings = self.settings
        # torchaudio's spectrogram gives the same but is three times slower on a CPU, mostly for
        # the absolute values of complex numbers
        windows = waveforms.unfold(1, settings.win_length, settings.hop_length) * self._window
        spectra = torch.fft.rfft(windows, self._n_fft)  # (N, T, n_fft / 2 + 1)
        squares = torch.view_as_real(spectra).square_()  # both parts at once, which is faster
        power = squares[..., 0] + squares[..., 1]
        return (power @ self._triangles).clamp(min=FLOOR).log()

    def _check(self, waveforms: Tensor, sample_lengths: Tensor) -> None:
        if waveforms.ndim != 2:
            raise ValueError(f"waveforms has shape {tuple(waveforms.shape)}; expected (N, samples)")
        if sample_lengths.shape != waveforms.shape[:1]:
            shape = tuple(sample_lengths.shape)
            raise ValueError(f"sample_lengths has shape {shape}; expected ({len(waveforms)},)")
        shortest, longest = (int(length) for length in sample_lengths.aminmax())
        if shortest < self.settings.win_length:
            raise ValueError(
                f"a waveform has {counted(shortest, 'sample')};"
                f" one window needs {self.settings.win_length}"
            )
        if longest > waveforms.shape[1]:
            raise ValueError(
                f"a sample length is {longest};"
                f" waveforms has {counted(waveforms.shape[1], 'sample')}"
            )


def moments(features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over each utterance's own frames.

    Args:
        features: (T, N, F).
        input_lengths: (N,).

    Returns:
        mean, std: (N, F); std is at least `MIN_STD`.
    """
    inside = mask(input_lengths, len(features))[:, :, None]
    counts = input_lengths[:, None]
    mean = features.masked_fill(~inside, 0.0).sum(0) / counts
    deviation = (features - mean).masked_fill(~inside, 0.0)
    return mean, (deviation.square().sum(0) / counts).sqrt().clamp(min=MIN_STD)


def mask(lengths: Tensor, T: int) -> Tensor:
    """A mask of the frames of padded sequences.

    Args:
        lengths: (N,).
        T: number of frames.

    Returns:
        mask: (T, N), bool, true inside each sequence.
    """
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def stack_frames(features: Tensor, input_lengths: Tensor, n_stacked: int) -> tuple[Tensor, Tensor]:
    """Concatenate every `n_stacked` frames into one; the last group is padded with zeros.

    Args:
        features: (T, N, F); padding is ignored.
        input_lengths: (N,).
        n_stacked: number of frames in a group.

    Returns:
        features: (ceil(T / n_stacked), N, n_stacked * F).
        input_lengths: (N,), divided by `n_stacked` and rounded up.

    Raises:
        ValueError: `n_stacked` is below 1.
    """
    if n_stacked < 1:
        raise ValueError(f"n_stacked is {n_stacked}; expected 1 or more")
    T, N, F = features.shape
    features = features.masked_fill(~mask(input_lengths, T)[:, :, None], 0.0)
    features = nn.functional.pad(features, (0, 0, 0, 0, 0, -T % n_stacked))
    groups = features.unflatten(0, (-1, n_stacked)).transpose(1, 2)
    return groups.reshape(-1, N, n_stacked * F), (input_lengths + n_stacked - 1) // n_stacked


def _with_deltas(features: Tensor, input_lengths: Tensor, n_deltas: int) -> Tensor:
    orders = [_neighbours(features, input_lengths)]
    for _ in range(n_deltas):
        deltas = torchaudio_functional().compute_deltas(orders[-1].permute(1, 2, 0))
        orders.append(_neighbours(deltas.permute(2, 0, 1), input_lengths))
    return torch.cat(orders, dim=2)


def _spliced(features: Tensor, input_lengths: Tensor, n_spliced: int) -> Tensor:
    offsets = range(-n_spliced, n_spliced + 1)
    return torch.cat([_neighbours(features, input_lengths, offset) for offset in offsets], dim=2)


def _neighbours(features: Tensor, input_lengths: Tensor, offset: int = 0) -> Tensor:
    """For each frame, the frame `offset` later; edges repeat the first or last frame.

    So an utterance has the same deltas and splicing in a padded batch as alone.
    """
    T, _, F = features.shape
    frames = torch.arange(T, device=features.device)[:, None] + offset
    frames = frames.clamp(min=0).minimum(input_lengths - 1)
    return features.gather(0, frames[:, :, None].expand(-1, -1, F))
