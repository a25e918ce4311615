"""pieces of a waveform -> the text so far after each chunk, and each segment's final text."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from asr.alignment.times import Word
from asr.alignment.transcript import Transcript
from asr.audio.waveform import as_waveform
from asr.decoder import Decoder
from asr.errors import InputError
from asr.model import Model, check_log_probs
from asr.streaming.features import FeatureStream, Normaliser
from asr.streaming.network import ChunkedNetwork
from asr.streaming.partial import PartialText
from asr.streaming.pauses import find_end, speech_scores


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is recognised.

    Args:
        chunk_s: seconds between two results; rounded down to output frames of the network.
        right_s: seconds of audio after a chunk that the network sees before it gives the chunk's
            result. The first result needs `chunk_s` and `right_s` of audio.
        pause_s: a pause of so many seconds ends a segment; infinite to end none.
        max_segment_s: a longer segment is cut; see `asr.streaming.pauses.find_end`.
        memory_s: seconds of earlier segments that count for the running mean and variance of the
            features, if the model normalises each utterance.
        reread_s: as long as a segment is not longer, it is read anew from its start with each
            chunk, since its first frames gain most from a right context and from better moments.

    Raises:
        InputError: a value is out of range.
    """

    chunk_s: float = 1.0
    right_s: float = 0.5
    pause_s: float = 0.7
    max_segment_s: float = 30.0
    memory_s: float = 10.0
    reread_s: float = 4.0

    def __post_init__(self) -> None:
        for name in ("chunk_s", "pause_s", "max_segment_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("right_s", "memory_s", "reread_s"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("chunk_s", "right_s", "max_segment_s", "reread_s"):
            if not getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected a number of seconds")


@dataclass(frozen=True)
class StreamResult:
    """The text of the current segment so far, or that of a segment that has ended.

    Args:
        text: its words.
        is_final: whether the segment has ended; another result is of the next segment.
        start: start of the segment, in seconds from the start of the stream.
        end: how far the text goes, in seconds from the start of the stream.
        log_prob: as in `Transcript`; None if the result is not final.
        words: with times in seconds from the start of the stream; empty if it is not final.
    """

    text: str
    is_final: bool
    start: float
    end: float
    log_prob: float | None = None
    words: tuple[Word, ...] = ()


class Stream:
    """One stream, recognised while it arrives; memory is that of one segment.

    A segment is read chunk by chunk. When it ends, its log-probabilities are decoded as a file's
    would be, and the frames after its end are read anew as the beginning of the next segment.

    Args:
        model: a CTC model or a hybrid.
        decoder: greedy or beam.
        transcripts: `Recognizer.transcripts`.
        settings: how it is recognised.
        moments: see `Normaliser`.

    Raises:
        InputError: the model or the decoder can't be used with a stream.
        ValueError: see `Normaliser`.
    """

    def __init__(
        self,
        model: Model,
        decoder: Decoder,
        transcripts: Callable[[Sequence[Tensor], Sequence[int]], list[Transcript]],
        settings: StreamSettings,
        moments: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        audio = model.features.settings
        self._model = model
        self._transcripts = transcripts
        self._features = FeatureStream(model.features)
        memory = settings.memory_s * audio.sample_rate / audio.hop_length
        self._normaliser = Normaliser(model.features, memory, moments)
        self._network = ChunkedNetwork(model.acoustic)
        self._search = PartialText(decoder, model.topology)

        self._output_length = audio.hop_length * self._network.frames_per_output  # in samples
        n_chunk, self._longest, self._reread = (
            round(seconds * audio.sample_rate) // self._output_length
            for seconds in (settings.chunk_s, settings.max_segment_s, settings.reread_s)
        )
        if n_chunk < 1:
            frame_s = self._output_length / audio.sample_rate
            raise InputError(
                f"chunk_s is {settings.chunk_s}; expected {frame_s:g} or more, the model's frame"
            )
        self._pause = settings.pause_s * audio.sample_rate / self._output_length
        self._chunk = n_chunk * self._output_length  # in samples
        self._first = self._chunk + round(settings.right_s * audio.sample_rate)
        n_ready = self._network.n_ready(self._features.n_ready(self._first))
        self._right = max(0, n_ready - n_chunk)  # output frames after a chunk

        self._start = 0  # output frames of the stream before the segment
        self._frames = model.features.mean.new_zeros(0, audio.n_features)  # those of the segment
        self._text = ""  # the last result's
        self._begin()

    def results(self, pieces: Iterable[Tensor | np.ndarray]) -> Iterator[StreamResult]:
        """See `Recognizer.stream`."""
        for samples, is_last in _blocks(pieces, self._first, self._chunk):
            self._frames = torch.cat([self._frames, self._features.add(samples, is_last)])
            self._read(is_last)
            while n_frames := find_end(self._scores, self._pause, self._longest):
                yield from self._final(n_frames)
                self._next_segment(n_frames)
                self._read(is_last)
            yield from self._final(len(self._rows)) if is_last else self._changed()

    def _begin(self) -> None:
        """Forget what was read of the segment."""
        self._network.restart()
        self._search.restart()
        self._rows = torch.zeros(0, self._network.n_columns)
        self._scores = np.zeros(0)

    @torch.no_grad()
    def _read(self, is_last: bool) -> None:
        """Compute the output frames that the features allow."""
        if is_last:
            n_outputs = -(-len(self._frames) // self._network.frames_per_output)
        else:
            n_outputs = self._network.n_ready(len(self._frames)) - self._right
        if n_outputs <= len(self._rows):
            return
        if n_outputs <= self._reread:
            self._begin()
        n_new = n_outputs - len(self._rows)
        features = self._normaliser.normalised(self._frames)
        rows = self._network.read(features, n_new, is_last)
        check_log_probs(rows, "stream")
        self._scores = np.concatenate([self._scores, speech_scores(self._model, rows)])
        rows = rows.float().cpu()
        self._rows = torch.cat([self._rows, rows])
        self._search.feed(rows)

    def _changed(self) -> Iterator[StreamResult]:
        """The text so far, if it is another than that of the last result."""
        text = self._search.text()
        if text != self._text:
            self._text = text
            yield StreamResult(text, False, self._time(0), self._time(len(self._rows)))

    def _final(self, n_frames: int) -> Iterator[StreamResult]:
        """The result of a segment of so many output frames; none if it has no words."""
        if not (self._text or (self._scores[:n_frames] > 0).any() or self._search.text()):
            return
        (transcript,) = self._transcripts([self._rows[:n_frames]], [self._n_samples(n_frames)])
        if transcript.text:
            self._normaliser.keep(self._features_of(n_frames))
        if transcript.text or self._text:
            start = self._time(0)
            words = tuple(
                replace(word, start=start + word.start, end=start + word.end)
                for word in transcript.words
            )
            end = start + transcript.duration
            yield StreamResult(transcript.text, True, start, end, transcript.log_prob, words)

    def _next_segment(self, n_frames: int) -> None:
        """Let the segment after so many output frames begin."""
        self._frames = self._frames[n_frames * self._network.frames_per_output :].clone()
        self._start += n_frames
        self._text = ""
        self._begin()

    def _n_samples(self, n_frames: int) -> int:
        """Number of samples of the segment's first output frames, to the end of their windows."""
        audio, n_features = self._model.features.settings, len(self._features_of(n_frames))
        if n_features == len(self._frames):  # the samples after the last window too
            return self._features.n_samples - self._start * self._output_length
        return (n_features - 1) * audio.hop_length + audio.win_length

    def _features_of(self, n_frames: int) -> Tensor:
        return self._frames[: n_frames * self._network.frames_per_output]

    def _time(self, n_frames: int) -> float:
        """Seconds from the start of the stream to the output frame of this number."""
        n_samples = (self._start + n_frames) * self._output_length
        return n_samples / self._model.features.settings.sample_rate


def _blocks(
    pieces: Iterable[Tensor | np.ndarray], first: int, length: int
) -> Iterator[tuple[Tensor, bool]]:
    """Blocks of a waveform, and whether each is the last; their lengths don't depend on the pieces.

    The first block has `first` samples, the others `length`, and the last one, which may be empty,
    what is left.
    """
    held: list[Tensor] = []
    n_held, wanted = 0, first
    for number, piece in enumerate(pieces):
        if not len(piece):
            continue
        samples = as_waveform(piece, f"pieces[{number}]").cpu()
        while n_held + len(samples) >= wanted:
            yield torch.cat([*held, samples[: wanted - n_held]]), False
            samples = samples[wanted - n_held :]
            held, n_held, wanted = [], 0, length
        held.append(samples)
        n_held += len(samples)
    yield torch.cat(held) if held else torch.zeros(0), True
