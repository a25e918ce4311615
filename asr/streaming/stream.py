"""pieces of a waveform -> the text so far after each chunk, and each segment's final text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from asr.alignment.times import Word
from asr.alignment.transcript import Transcript
from asr.audio.waveform import as_waveform
from asr.decoder import Decoder
from asr.model import Model, check_log_probs
from asr.streaming.features import FeatureStream, Normaliser
from asr.streaming.network import ChunkedNetwork
from asr.streaming.partial import PartialText
from asr.streaming.pauses import find_end, speech_scores
from asr.streaming.settings import StreamSettings, stream_sizes


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
        self._model = model
        self._transcripts = transcripts
        self._sizes = stream_sizes(model, settings)
        self._features = FeatureStream(model.features)
        self._normaliser = Normaliser(model.features, self._sizes.memory_frames, moments)
        self._network = ChunkedNetwork(model.acoustic)
        self._search = PartialText(decoder, model.topology)

        self._start = 0  # output frames of the stream before the segment
        n_features = model.features.settings.n_features
        self._frames = model.features.mean.new_zeros(0, n_features)  # those of the segment
        self._text = ""  # the last result's
        self._begin()

    def results(self, pieces: Iterable[Tensor | np.ndarray]) -> Iterator[StreamResult]:
        """See `Recognizer.stream`."""
        sizes = self._sizes
        for samples, is_last in _blocks(pieces, sizes.first_samples, sizes.chunk_samples):
            self._frames = torch.cat([self._frames, self._features.add(samples, is_last)])
            self._read(is_last)
            while n_frames := find_end(self._scores, sizes.pause_frames, sizes.longest_frames):
                yield from self._final(n_frames)
                self._next_segment(n_frames)
                self._read(is_last)
            yield from self._final(len(self._rows), True) if is_last else self._changed()

    def _begin(self) -> None:
        """Forget what was read of the segment."""
        self._network.restart()
        self._search.restart()
        self._rows = torch.zeros(0, self._network.n_columns)
        self._scores = np.zeros(0)

    @torch.no_grad()
    def _read(self, is_last: bool) -> None:
        """Compute the output frames that the features allow."""
        sizes = self._sizes
        if is_last:
            n_outputs = -(-len(self._frames) // self._network.frames_per_output)
        else:
            n_outputs = self._network.n_ready(len(self._frames)) - sizes.right_frames
        if n_outputs <= len(self._rows):
            return
        if n_outputs <= sizes.reread_frames:
            self._begin()
        features = self._normaliser.normalised(self._frames)
        while n_left := n_outputs - len(self._rows):
            # only what is read anew, or at the end of a stream or segment, has more than a chunk
            n_new = n_left if n_left <= sizes.reread_frames else min(n_left, sizes.chunk_frames)
            self._add(self._network.read(features, n_new, sizes.right_frames, is_last))

    def _add(self, rows: Tensor) -> None:
        """Add the next output frames, (T, C)."""
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

    def _final(self, n_frames: int, is_last: bool = False) -> Iterator[StreamResult]:
        """The result of a segment of so many output frames; none if it has no words."""
        if not (self._text or (self._scores[:n_frames] > 0).any() or self._search.text()):
            return
        (transcript,) = self._transcripts([self._rows[:n_frames]], [self._n_samples(n_frames)])
        if transcript.text:
            self._normaliser.keep(self._features_of(n_frames))
        if transcript.text or self._text:
            start = self._time(0)
            end = start + transcript.duration
            if not is_last:  # the windows of its last frames reach into the next segment
                end = min(end, self._time(n_frames))
            words = tuple(
                replace(word, start=start + word.start, end=min(start + word.end, end))
                for word in transcript.words
            )
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
            return self._features.n_samples - self._start * self._sizes.frame_samples
        return (n_features - 1) * audio.hop_length + audio.win_length

    def _features_of(self, n_frames: int) -> Tensor:
        return self._frames[: n_frames * self._network.frames_per_output]

    def _time(self, n_frames: int) -> float:
        """Seconds from the start of the stream to the output frame of this number."""
        n_samples = (self._start + n_frames) * self._sizes.frame_samples
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
