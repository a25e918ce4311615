"""Pieces of a waveform -> features of the stream so far, normalised by running moments."""

from typing import NamedTuple

import torch
from torch import Tensor

from asr.audio.features import MIN_STD, Features

DELTA_REACH = 2
"""Number of frames on either side of a frame that one order of its deltas depends on."""


class FeatureStream:
    """The samples of a stream, some at a time -> its features, the same as those of the whole.

    They are not normalised. A frame is ready when all samples that it depends on are there.

    Attributes:
        n_samples: number of samples so far.

    Args:
        features: the model's.
    """

    def __init__(self, features: Features) -> None:
        settings = features.settings
        self.n_samples = 0
        self._features = features
        self._margin = DELTA_REACH * settings.n_deltas + settings.n_spliced  # on either side
        self._n_frames = 0  # number of frames that were ready
        self._held = features.mean.new_zeros(0)  # samples of the next frames and their left margin

    def n_ready(self, samples: int) -> int:
        """Number of frames that are ready after so many samples of a stream that goes on."""
        return max(0, self._features.settings.n_frames(samples) - self._margin)

    def n_needed(self, n_frames: int) -> int:
        """The least number of samples for which `n_ready` is `n_frames`, 1 or more."""
        settings = self._features.settings
        return (n_frames + self._margin - 1) * settings.hop_length + settings.win_length

    def add(self, samples: Tensor, is_last: bool = False) -> Tensor:
        """The frames, (T, F), that are ready with the next samples.

        Args:
            samples: (samples,), at the model's rate.
            is_last: whether the stream ends after them, so that all its frames are ready.
        """
        settings = self._features.settings
        self._held = torch.cat([self._held, samples.to(self._held.device)])
        self.n_samples += len(samples)
        n_ready = settings.n_frames(self.n_samples) if is_last else self.n_ready(self.n_samples)
        if n_ready <= self._n_frames:
            return self._features.mean.new_zeros(0, settings.n_features)
        first = max(0, self._n_frames - self._margin)  # the frame with which the held ones begin
        lengths = torch.tensor([len(self._held)], device=self._held.device)
        found, _ = self._features.unnormalised(self._held[None], lengths)
        new = found[self._n_frames - first : n_ready - first, 0]
        self._n_frames = n_ready
        n_done = max(0, n_ready - self._margin) - first
        self._held = self._held[n_done * settings.hop_length :].clone()
        return new


class _Sums(NamedTuple):
    """Sums over frames, in float64."""

    n_frames: float
    values: Tensor  # (F,)
    squares: Tensor  # (F,)

    def plus(self, features: Tensor) -> "_Sums":
        """With the frames of features, (T, F)."""
        own = features.double()
        values, squares = self.values + own.sum(0), self.squares + own.square().sum(0)
        return _Sums(self.n_frames + len(own), values, squares)

    def limited(self, n_frames: float) -> "_Sums":
        """Scaled down to `n_frames` if there are more, so that old frames are forgotten."""
        scale = min(1.0, n_frames / max(self.n_frames, 1.0))
        return _Sums(self.n_frames * scale, self.values * scale, self.squares * scale)


class Normaliser:
    """Normalises features as far as a stream is known.

    For a model that normalises each utterance, these are the moments of the current segment so far
    and of the segments with words before it, which count as `memory` frames at most. So they follow
    a change of speaker, and a long silence does not change them. Other models have their own.

    Args:
        features: the model's.
        memory: number of frames.
        moments: mean and standard deviation, each (F,), to use instead; None for running moments.

    Raises:
        ValueError: moments are given to a model that does not normalise each utterance, or their
            shapes are wrong.
    """

    def __init__(
        self, features: Features, memory: float, moments: tuple[Tensor, Tensor] | None = None
    ) -> None:
        settings = features.settings
        if moments is not None:
            _check_moments(moments, settings.normalisation, settings.n_features)
        elif settings.normalisation != "utterance":
            moments = features.mean, features.std
        self._fixed = moments and tuple(some.to(features.mean) for some in moments)
        self._memory = memory
        zeros = features.mean.new_zeros(settings.n_features, dtype=torch.float64)
        self._past = _Sums(0.0, zeros, zeros)

    def normalised(self, features: Tensor) -> Tensor:
        """Normalise the frames of the current segment, (T, F), which are all that are there."""
        if self._fixed:
            mean, std = self._fixed
            return (features - mean) / std
        n_frames, values, squares = self._past.plus(features)
        mean = values / n_frames
        std = (squares / n_frames - mean.square()).clamp(min=0).sqrt().clamp(min=MIN_STD)
        return ((features - mean) / std).to(features.dtype)

    def keep(self, features: Tensor) -> None:
        """Remember the frames of a segment that has ended, (T, F)."""
        self._past = self._past.plus(features).limited(self._memory)


def _check_moments(moments: tuple[Tensor, Tensor], normalisation: str, F: int) -> None:
    if normalisation != "utterance":
        raise ValueError(
            f"moments are given; expected None, as the model's normalisation is {normalisation}"
        )
    for name, some in zip(("mean", "standard deviation"), moments, strict=True):
        if some.shape != (F,):
            raise ValueError(f"moments have a {name} of {tuple(some.shape)}; expected ({F},)")
