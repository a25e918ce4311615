"""The recognised text of a recording: words and segments with their times."""

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np

from asr.alignment.times import Word
from asr.errors import counted


@dataclass(frozen=True)
class Segment:
    """A stretch of speech in a long recording, which was recognised in one piece.

    Args:
        text: its words.
        start: start in seconds from the start of the recording.
        end: end in seconds from the start of the recording.
        confidence: from 0 to 1, the geometric mean of its words' confidences.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Transcript:
    """The recognised text of one recording.

    Args:
        text: the words of the best hypothesis.
        log_prob: the hypothesis's natural log-probability, as the search computes it.
        duration: duration of the recording, in seconds.
        find_words: computes `words`; if None, `words` is empty.
        parts: the segments of a long recording that have words; None for a recording that was
            recognised in one piece.
    """

    text: str
    log_prob: float
    duration: float
    find_words: InitVar[Callable[[], tuple[Word, ...]] | None] = None
    parts: InitVar[tuple[Segment, ...] | None] = None

    def __post_init__(
        self,
        find_words: Callable[[], tuple[Word, ...]] | None,
        parts: tuple[Segment, ...] | None,
    ) -> None:
        self.__dict__["_find_words"] = find_words
        self.__dict__["_parts"] = parts

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of the text, each with `text`, `start`, `end` (seconds) and `confidence`.

        The words are aligned on first use; until then the transcript keeps the model and the
        log-probabilities in memory. `asr.alignment.times.Word` defines the confidence.
        """
        find_words = self.__dict__["_find_words"]
        words = find_words() if find_words else ()
        self.__dict__["_find_words"] = None
        return words

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The stretches of speech in which words were recognised, in order.

        A recording that was recognised in one piece is one segment, or none if it has no words.
        """
        parts = self.__dict__["_parts"]
        if parts is not None:
            return parts
        return as_segment(self.text, self.words, 0.0, self.duration)

    def respelled(self, words: Sequence[str]) -> "Transcript":
        """The transcript with its words in another spelling, with the same times and confidences.

        Args:
            words: the words of `text` in their new spelling.

        Raises:
            ValueError: there are more or fewer words.
        """
        if len(words) != (n_words := len(self.text.split())):
            raise ValueError(
                f"words has {counted(len(words), 'word')}; expected {n_words}, as the text has"
            )

        def find_words() -> tuple[Word, ...]:
            if not self.words:  # the transcript has none
                return ()
            return tuple(
                replace(word, text=text) for word, text in zip(self.words, words, strict=True)
            )

        parts: tuple[Segment, ...] | None = self.__dict__["_parts"]
        if parts is not None:
            left = iter(words)
            texts = [" ".join(islice(left, len(part.text.split()))) for part in parts]
            parts = tuple(replace(part, text=text) for part, text in zip(parts, texts, strict=True))
        return Transcript(" ".join(words), self.log_prob, self.duration, find_words, parts)

    def __getstate__(self) -> dict[str, object]:
        _ = self.words  # aligned before copying or pickling, which then leaves out the model
        return dict(self.__dict__)


def joined(pieces: Sequence[tuple[float, Transcript]], duration: float) -> Transcript:
    """The transcript of a long recording from those of its segments.

    Args:
        pieces: start of each segment in seconds, and its transcript, in order.
        duration: duration of the recording, in seconds.

    Returns:
        transcript: with the texts joined by blanks and the sum of the log-probabilities; 0 if
            there is no segment. Segments without words are left out.
    """
    words: list[Word] = []
    segments: list[Segment] = []
    starts = [*(start for start, _ in pieces), duration]
    for (start, piece), latest in zip(pieces, starts[1:], strict=True):
        # a sum of floats may be a little more than the time when the next piece starts
        own = [
            replace(word, start=start + word.start, end=min(start + word.end, latest))
            for word in piece.words
        ]
        words += own
        segments += as_segment(piece.text, own, start, min(start + piece.duration, latest))
    text = " ".join(segment.text for segment in segments)
    log_prob = sum((piece.log_prob for _, piece in pieces), 0.0)
    return Transcript(text, log_prob, duration, lambda: tuple(words), tuple(segments))


def as_segment(text: str, words: Sequence[Word], start: float, end: float) -> tuple[Segment, ...]:
    """One segment from `start` to `end`, in seconds, or none if the text has no words.

    Its confidence is NaN if the text has words, but `words` is empty.
    """
    if not text:
        return ()
    with np.errstate(divide="ignore"):  # log(0)
        logs = np.log([word.confidence for word in words] or [np.nan])
    return (Segment(text, start, end, float(np.exp(logs.mean()))),)
