"""Frames of a waveform -> scores of speech, by silero-vad or by energy alone."""

from typing import Literal, Protocol, get_args

import numpy as np

from asr.audio.silero import FRAME_LENGTH, SAMPLE_RATE, SileroDetector, has_silero
from asr.errors import InputError

DetectorName = Literal["auto", "silero", "energy"]
"""silero-vad, the energy in the band of speech, or silero-vad if it is installed."""


class Detector(Protocol):
    """Gives each frame a score, in order; it may look at some frames after it first."""

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Take the next frames, (T, FRAME_LENGTH), and return the scores that are known now.

        Returns:
            scores: (T',), above 0 where there is speech.
        """

    def finish(self) -> np.ndarray:
        """The scores of the frames that are left, once there are no more."""


def make_detector(name: DetectorName) -> Detector:
    """A detector for one recording.

    Raises:
        InputError: there is no such detector, or silero-vad is not installed.
    """
    if name not in get_args(DetectorName):
        expected = ", ".join(get_args(DetectorName))
        raise InputError(f"voice activity detector is {name!r}; expected {expected}")
    if name == "silero" or (name == "auto" and has_silero()):
        return SileroDetector()
    return EnergyDetector()


_BAND_HZ = 200.0, 4000.0  # hum is below; of speech there is little above, of noise a lot
_FAINTEST = 1e-8  # power, -80 dB: levels below are raised to it
_REACH = 94  # frames on either side in which the level of the noise is sought: 3 s
_N_QUIETER = 6  # frames among them that may be quieter than the noise: 0.2 s
_ABOVE_NOISE_DB = 6.0


class EnergyDetector:
    """Frames are speech if they are louder than the noise around them.

    The level of a frame is its energy in the band of speech. The level of the noise is that of the
    quietest 0.2 seconds among the 6 seconds around the frame, so that it follows a noise that
    changes. Steady noises, hum and chords are below the threshold at any level. Music with notes
    that begin or end is taken for speech: only `SileroDetector` can tell it apart.
    """

    def __init__(self) -> None:
        hz = np.fft.rfftfreq(FRAME_LENGTH, 1 / SAMPLE_RATE)
        self._in_band = (hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])
        self._window = np.hanning(FRAME_LENGTH)
        # levels of the frames from _REACH before the next score on; before the recording: none
        self._levels = np.full(_REACH, np.inf)

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Scores of the frames that have 3 seconds after them: decibels above the threshold."""
        spectrum = np.abs(np.fft.rfft(frames * self._window))[:, self._in_band] ** 2
        # power of a signal whose spectrum is in the band
        power = 2 * spectrum.sum(axis=1) / (FRAME_LENGTH * (self._window**2).sum())
        return self._scores(10 * np.log10(np.maximum(power, _FAINTEST)))

    def finish(self) -> np.ndarray:
        """Scores of the last 3 seconds."""
        return self._scores(np.full(_REACH, np.inf))

    def _scores(self, levels: np.ndarray) -> np.ndarray:
        levels = np.concatenate([self._levels, levels])
        n_scores = max(0, len(levels) - 2 * _REACH)
        self._levels = levels[n_scores:]
        if not n_scores:
            return np.zeros(0)
        around = np.lib.stride_tricks.sliding_window_view(levels, 2 * _REACH + 1)
        noise = np.partition(around, _N_QUIETER, axis=1)[:, _N_QUIETER]
        return levels[_REACH : _REACH + n_scores] - noise - _ABOVE_NOISE_DB
