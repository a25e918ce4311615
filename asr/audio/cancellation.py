"""Blocks of all channels and of their mean -> whether the channels cancel each other."""

import numpy as np

_CANCELLED_SHARE = 0.01  # -20 dB: power of the mean, relative to the power of the channels
_WINDOW_S = 0.1  # in which both powers are compared
_SILENCE = 1e-8  # -80 dB: windows with less power are not compared


class ChannelPower:
    """Energy of the channels, and where they cancel each other in their mean.

    Windows are compared rather than the sums over the file, because a short part that does not
    cancel would hide all the rest.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._window = round(_WINDOW_S * sample_rate)
        self._n_samples, self._mean, self._channels = 0, 0.0, 0.0  # of the unfinished window
        self._energy = self._cancelled_energy = 0.0
        self._n_windows = self._n_cancelled = 0  # with sound

    def add(self, block: np.ndarray, mean: np.ndarray) -> None:
        """Add the next block, (samples, channels), and the mean of its channels, (samples,)."""
        for start in range(0, len(block), self._window):
            part, of_mean = block[start : start + self._window], mean[start : start + self._window]
            self._n_samples += len(part)
            self._mean += float(np.vdot(of_mean, of_mean))
            self._channels += float(np.vdot(part, part)) / part.shape[1]
            if self._n_samples >= self._window:
                self._finish_window()

    def cancelled_share(self) -> float:
        """Share of the windows that cancel; 0 if neither most of them nor most energy is lost."""
        self._finish_window()
        share = self._n_cancelled / max(1, self._n_windows)
        return share if share > 0.5 or self._cancelled_energy > 0.5 * self._energy else 0.0

    def _finish_window(self) -> None:
        if self._channels > _SILENCE * self._n_samples:
            is_cancelled = self._mean < _CANCELLED_SHARE * self._channels
            self._n_windows += 1
            self._n_cancelled += is_cancelled
            self._energy += self._channels
            self._cancelled_energy += is_cancelled * self._channels
        self._n_samples, self._mean, self._channels = 0, 0.0, 0.0
