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
_STEADY = 0.965  # similarity of a frame to the one before from which on it is steady
_NOTES_REACH = 31  # frames on either side whose loud ones are counted: 1 s
_N_LOUD = 16  # loud frames among them that are enough to tell notes from speech: 0.5 s
_SPEECH_REACH = 47  # frames on either side of speech whose loud ones are speech too: 1.5 s


class EnergyDetector:
    """Frames are speech if they are louder than the noise around them, and not notes alone.

    The level of a frame is its energy in the band of speech. The level of the noise is that of the
    quietest 0.2 seconds among the 6 seconds around the frame, so that it follows a noise that
    changes. Steady noises, hum and chords are below the threshold at any level.

    The spectrum of a note stays the same while it lasts, that of a voice hardly ever. A frame is
    steady if its spectrum is that of the frame before; the Bhattacharyya coefficient of the two
    magnitude spectra says how similar they are, at any loudness. Where most of the loud frames
    within a second are steady, they are notes, and count as speech only if there is speech within
    1.5 seconds. Fewer loud frames than 0.5 seconds are never notes, as they may be a word.

    No speech was lost by that in measurements on ten corpora, nor by telephone, in reverberation
    or in noise. A quarter of the music of sampled instruments is still taken for speech, mostly
    fast and dense notes; so are notes with a strong vibrato, and nearly all drums.
    `SileroDetector` tells them from speech.

    Source: Scheirer and Slaney 1997, "Construction and evaluation of a robust multifeature
    speech/music discriminator", whose spectral flux is the distance between the magnitude spectra
    of neighbouring frames; here their shapes are compared.
    """

    def __init__(self) -> None:
        hz = np.fft.rfftfreq(FRAME_LENGTH, 1 / SAMPLE_RATE)
        self._in_band = (hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])
        self._window = np.hanning(FRAME_LENGTH)
        self._last_shape = np.zeros(self._in_band.sum())
        # levels of the frames from _REACH before the next one whose noise is sought; before the
        # recording: none
        self._levels = np.full(_REACH, np.inf)
        # decibels above the threshold, from as far before the next score as it depends on, and
        # whether frames are steady, from the same frame on; before the recording: silence
        self._above_noise = np.full(_NOTES_REACH + _SPEECH_REACH, -np.inf)
        self._steady = np.zeros(_NOTES_REACH + _SPEECH_REACH, bool)

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Scores of the frames that have 5.5 seconds after them: decibels above the threshold.

        Returns:
            scores: (T',), at most 0 where there are notes alone.
        """
        magnitudes = np.abs(np.fft.rfft(frames * self._window))[:, self._in_band]
        self._steady = np.append(self._steady, self._similarities(magnitudes) >= _STEADY)
        # power of a signal whose spectrum is in the band
        power = 2 * (magnitudes**2).sum(axis=1) / (FRAME_LENGTH * (self._window**2).sum())
        levels = 10 * np.log10(np.maximum(power, _FAINTEST))
        return self._without_notes(self._compare_with_noise(levels))

    def finish(self) -> np.ndarray:
        """Scores of the last 5.5 seconds."""
        above_noise = self._compare_with_noise(np.full(_REACH, np.inf))
        silence = np.full(_NOTES_REACH + _SPEECH_REACH, -np.inf)
        self._steady = np.append(self._steady, np.zeros(len(silence), bool))
        return self._without_notes(np.append(above_noise, silence))

    def _similarities(self, magnitudes: np.ndarray) -> np.ndarray:
        """(T,), from 0 to 1: how similar the spectrum of a frame is to that of the one before."""
        totals = np.maximum(magnitudes.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        shapes = np.concatenate([self._last_shape[None], np.sqrt(magnitudes / totals)])
        self._last_shape = shapes[-1]
        return (shapes[1:] * shapes[:-1]).sum(axis=1)

    def _compare_with_noise(self, levels: np.ndarray) -> np.ndarray:
        """Decibels above the threshold, of the frames that have 3 seconds after them."""
        levels = np.concatenate([self._levels, levels])
        n_known = max(0, len(levels) - 2 * _REACH)
        self._levels = levels[n_known:]
        if not n_known:
            return np.zeros(0)
        around = np.lib.stride_tricks.sliding_window_view(levels, 2 * _REACH + 1)
        noise = np.partition(around, _N_QUIETER, axis=1)[:, _N_QUIETER]
        return levels[_REACH : _REACH + n_known] - noise - _ABOVE_NOISE_DB

    def _without_notes(self, above_noise: np.ndarray) -> np.ndarray:
        """Scores of the frames that have 2.5 more seconds after them."""
        above_noise = np.concatenate([self._above_noise, above_noise])
        reach = _NOTES_REACH + _SPEECH_REACH
        n_scores = max(0, len(above_noise) - 2 * reach)
        steady = self._steady[: len(above_noise)]
        self._above_noise, self._steady = above_noise[n_scores:], self._steady[n_scores:]
        if not n_scores:
            return np.zeros(0)
        loud = above_noise > 0
        n_loud, n_steady = _count(loud, _NOTES_REACH), _count(loud & steady, _NOTES_REACH)
        are_notes = (n_loud >= _N_LOUD) & (2 * n_steady > n_loud)
        speech = loud[_NOTES_REACH:-_NOTES_REACH] & ~are_notes
        scores = above_noise[reach : reach + n_scores]
        return np.where(_count(speech, _SPEECH_REACH) > 0, scores, np.minimum(scores, 0))


def _count(flags: np.ndarray, reach: int) -> np.ndarray:
    """Number of true flags among those up to `reach` before and after each that has as many."""
    return np.convolve(flags, np.ones(2 * reach + 1, int), "valid")
