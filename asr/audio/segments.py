"""Waveform in blocks -> segments of speech, cut at pauses."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import soxr

from asr.audio.container import check_rate
from asr.audio.silero import FRAME_LENGTH, SAMPLE_RATE
from asr.audio.voice_activity import DetectorName, make_detector
from asr.errors import InputError


@dataclass(frozen=True)
class SegmentSettings:
    """How a recording is cut into segments.

    Args:
        detector: what finds speech; auto is silero-vad if it is installed, else energy.
        min_speech_s: sounds that are shorter altogether, such as clicks, are no segment.
        min_pause_s: a pause of this length ends a segment.
        padding_s: how much of the pauses around a segment belongs to it, on either side.
        max_segment_s: maximum length of a segment, padding included. A longer one is cut at its
            longest pause; see `Segmenter`.

    Raises:
        InputError: a value is out of range.
    """

    detector: DetectorName = "auto"
    min_speech_s: float = 0.1
    min_pause_s: float = 0.5
    padding_s: float = 0.2
    max_segment_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.padding_s <= self.min_pause_s / 2:
            raise InputError(
                f"padding_s is {self.padding_s}; expected from 0 to half of min_pause_s,"
                f" {self.min_pause_s / 2:g}"
            )
        if not self.min_pause_s <= self.max_segment_s / 10 <= 1000:
            raise InputError(
                f"max_segment_s is {self.max_segment_s}; expected from 10 times min_pause_s,"
                f" {10 * self.min_pause_s:g}, to 10000"
            )
        if not 0 <= self.min_speech_s <= self.max_segment_s / 10:
            raise InputError(
                f"min_speech_s is {self.min_speech_s}; expected from 0 to a tenth of"
                f" max_segment_s, {self.max_segment_s / 10:g}"
            )


class SpeechSegment(NamedTuple):
    """A stretch of a recording with speech."""

    start: int  # number of its first sample in the recording
    waveform: np.ndarray  # (samples,), float32

    @property
    def end(self) -> int:
        """Number of the sample after its last one."""
        return self.start + len(self.waveform)


def speech_segments(
    blocks: Iterable[np.ndarray], sample_rate: int, settings: SegmentSettings
) -> Iterator[SpeechSegment]:
    """Find the segments with speech in a recording of any length.

    The memory for it is that of the blocks and of one or two segments.

    Args:
        blocks: the recording's waveform, in blocks of any length. Their lengths have no influence
            on the result.
        sample_rate: sample rate of the waveform, in Hz.
        settings: how the recording is cut.

    Yields:
        segment: in order, without overlap. What is in none of them is not speech.

    Raises:
        InputError: the detector is not installed.
        ValueError: `sample_rate` is out of range.
    """
    check_rate("sample_rate", sample_rate)
    frames, detector = _Frames(sample_rate), make_detector(settings.detector)
    segmenter = Segmenter(settings)
    held, n_before = np.zeros(0, np.float32), 0  # samples that may be needed; those before them

    def cut(spans: list[tuple[int, int]]) -> Iterator[SpeechSegment]:
        for first, last in spans:
            start, end = (_sample(frame, sample_rate) for frame in (first, last))
            yield SpeechSegment(start, held[start - n_before : end - n_before].copy())

    for block in _equal_blocks(blocks, _BLOCK_S * sample_rate):
        held = np.concatenate([held, block])
        yield from cut(segmenter.add(detector.add(frames.add(block))))
        n_done = _sample(segmenter.first, sample_rate) - n_before
        held, n_before = held[n_done:], n_before + n_done
    last = (detector.add(frames.finish()), detector.finish())
    yield from cut(segmenter.add(np.concatenate(last)) + segmenter.finish())


def windows(segments: Iterable[SpeechSegment], max_samples: int) -> Iterator[list[SpeechSegment]]:
    """Segments in groups that have `max_samples` samples or just more, except the last group."""
    window: list[SpeechSegment] = []
    n_samples = 0
    for segment in segments:
        window.append(segment)
        n_samples += len(segment.waveform)
        if n_samples >= max_samples:
            yield window
            window, n_samples = [], 0
    if window:
        yield window


class Segmenter:
    """Scores of frames, some at a time -> first frames and ends of the segments of speech.

    A segment begins with the first frame of speech and ends with the last one before a pause of
    `min_pause_s`; then `padding_s` is added on both sides. Frames of speech in it may be apart by
    shorter pauses. If it becomes longer than `max_segment_s`, it is cut in the middle of its
    longest pause in the second half of `max_segment_s`, or if it has none there, at the frame with
    the lowest score, and goes on after the cut. The last second of `max_segment_s` is left out, so
    that there is at least a second after the cut.

    Attributes:
        first: the first frame that a later segment may have.
    """

    def __init__(self, settings: SegmentSettings) -> None:
        self._min_speech = n_frames(settings.min_speech_s)
        self._min_pause = n_frames(settings.min_pause_s)
        self._padding = int(settings.padding_s / FRAME_S)
        self._longest = int(settings.max_segment_s / FRAME_S)
        self.first = 0
        self._scores: list[float] = []  # of the frames from `first` on
        self._speech_end = self._n_speech = 0  # of the segment that has begun; 0: none has

    def add(self, scores: np.ndarray) -> list[tuple[int, int]]:
        """Take the scores of the next frames, and return the segments that are complete."""
        found = []
        for score in scores.tolist():
            self._scores.append(score)
            now = self.first + len(self._scores)
            if score > 0:
                self._speech_end = now
                self._n_speech += 1
            if not self._n_speech:
                self._forget(now - self._padding)
            elif now - self._speech_end >= self._min_pause:
                found += self._end(now)
            elif now - self.first + self._padding > self._longest:
                found.append(self._cut())
        return found

    def finish(self) -> list[tuple[int, int]]:
        """The segment that the end of the recording ends."""
        return self._end(self.first + len(self._scores)) if self._n_speech else []

    def _end(self, now: int) -> list[tuple[int, int]]:
        segment = self.first, min(self._speech_end + self._padding, now)
        is_long_enough = self._n_speech >= self._min_speech
        self._speech_end = self._n_speech = 0
        self._forget(now - self._padding)
        return [segment] if is_long_enough else []

    def _cut(self) -> tuple[int, int]:
        half, stop = self._longest // 2, self._longest - self._padding - n_frames(1.0)
        first = self.first
        self._forget(first + half + quietest(self._scores[half:stop]))
        if self._speech_end <= self.first:
            self._speech_end = self._n_speech = 0
        return first, self.first

    def _forget(self, frame: int) -> None:
        """Forget the frames before this one."""
        if frame > self.first:
            del self._scores[: frame - self.first]
            self.first = frame


def quietest(scores: Sequence[float]) -> int:
    """The frame where a cut does least harm: the middle of the longest pause.

    Args:
        scores: (T,), above 0 for speech.

    Returns:
        frame: from 0 to T - 1; without a pause, that of the lowest score.
    """
    start, pauses = 0, []
    for is_speech, run in groupby(score > 0 for score in scores):
        length = len(list(run))
        if not is_speech:
            pauses.append((start, length))
        start += length
    if not pauses:
        return int(np.argmin(scores))
    start, length = max(pauses, key=lambda pause: pause[1])  # the first of the longest
    return start + length // 2


class _Frames:
    """Blocks of a waveform at any sample rate -> frames at 16 kHz, without overlap."""

    def __init__(self, sample_rate: int) -> None:
        self._stream = None
        if sample_rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(
                sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ"
            )
        self._rest = np.zeros(0, np.float32)

    def add(self, block: np.ndarray, is_last: bool = False) -> np.ndarray:
        """The frames, (T, FRAME_LENGTH), that are complete with the next block."""
        if self._stream:
            block = self._stream.resample_chunk(block, last=is_last)
        samples = np.concatenate([self._rest, block])
        if is_last:  # the last frame is filled up with zeros
            samples = np.pad(samples, (0, -len(samples) % FRAME_LENGTH))
        end = len(samples) - len(samples) % FRAME_LENGTH
        self._rest = samples[end:]
        return samples[:end].reshape(-1, FRAME_LENGTH)

    def finish(self) -> np.ndarray:
        """The frames that are left after the last block."""
        return self.add(np.zeros(0, np.float32), is_last=True)


FRAME_S = FRAME_LENGTH / SAMPLE_RATE
_BLOCK_S = 10


def n_frames(seconds: float) -> int:
    """Number of frames that are at least so long."""
    return math.ceil(seconds / FRAME_S)


def _sample(frame: int, sample_rate: int) -> int:
    """Number of the sample with which a frame begins."""
    return frame * FRAME_LENGTH * sample_rate // SAMPLE_RATE


def _equal_blocks(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of `length`; the last one may be shorter."""
    kept: list[np.ndarray] = []
    n_kept = 0
    for block in blocks:
        while n_kept + len(block) >= length:
            yield np.concatenate([*kept, block[: length - n_kept]])
            block = block[length - n_kept :]
            kept, n_kept = [], 0
        kept.append(block)
        n_kept += len(block)
    if n_kept:
        yield np.concatenate(kept)
