"""Alignment -> spans of frames -> times of units and words; how far off they are."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from asr.audio.features import FeatureSettings
from asr.corpus.manifest import TimedLabel
from asr.networks.acoustic import AcousticSettings
from asr.text.tokenizer import BLANK, PhoneTokenizer, Tokenizer

SILENT_UNIT = ""
"""The unit, and so the label, of silence."""

EDGE = 0.01
"""Seconds: what lies as near to a recording's beginning or end counts as there."""


@dataclass(frozen=True)
class Word:
    """A recognised word, and when it was said.

    Args:
        text: the word.
        start: seconds from the recording's beginning.
        end: likewise, of the word's last unit.
        confidence: from 0 to 1, the geometric mean of the probabilities that the acoustic model
            gives the word's tokens, over the frames that they have in the most probable alignment
            of the whole text; blanks between them are left out. Of an HMM, of the word's states
            among all states, as if each were equally frequent. It says how sure the acoustic model
            is; the language model has no part in it, and it is not calibrated: of the words with
            0.9, more or less than 90 % may be right.
    """

    text: str
    start: float
    end: float
    confidence: float


class Span(NamedTuple):
    """The frames of a unit."""

    word: int | None  # which one of the text it belongs to; None for silence and separators
    unit: str
    first: int
    last: int  # itself included


def spell(words: Sequence[str], tokenizer: Tokenizer) -> tuple[list[int], list[int | None]]:
    """What CTC is to align for a text, and which word each token belongs to.

    Args:
        words: of the text, normalised.
        tokenizer: of the acoustic model.

    Returns:
        tokens: (U,), as `tokenizer` encodes the words joined by blanks.
        word_of: (U,), numbers of words; None for separators.

    Raises:
        InputError: a word can't be spelled.
    """
    tokens: list[int] = []
    word_of: list[int | None] = []
    for number, word in enumerate(words):
        if number and tokenizer.separator is not None:
            tokens.append(tokenizer.separator)
            word_of.append(None)
        spelled = tokenizer.encode(word)
        tokens += spelled
        word_of += [number] * len(spelled)
    return tokens, word_of


def words_of_tokens(
    tokens: Sequence[int], words: Sequence[str], tokenizer: Tokenizer
) -> list[int | None]:
    """Which word each token of a hypothesis belongs to.

    Args:
        tokens: (U,), of a hypothesis.
        words: what they spell or, with a lexicon of phones, how they are said.
        tokenizer: of the acoustic model.

    Returns:
        word_of: (U,), numbers of words; None for what stands between words.

    Raises:
        ValueError: the tokens are not those of the words.
    """
    between = [tokenizer.symbols[token].isspace() for token in tokens]
    # for each number of words: where the last one may end, with where that before it ended and
    # where it begins
    ends: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]
    for word in words:
        found: dict[int, tuple[int, int]] = {}
        for before in ends[-1]:
            start = next((n for n in range(before, len(tokens)) if not between[n]), len(tokens))
            for end in _word_ends(tokens, start, word, tokenizer):
                found.setdefault(end, (before, start))
        ends.append(found)
    last = [end for end in ends[-1] if all(between[end:])]
    if not last:
        raise ValueError(f"tokens are {tuple(tokens)}; expected those of {' '.join(words)!r}")
    end = last[0]
    word_of: list[int | None] = [None] * len(tokens)
    for number in reversed(range(len(words))):
        before, start = ends[number + 1][end]
        word_of[start:end] = [number] * (end - start)
        end = before
    return word_of


def _word_ends(tokens: Sequence[int], start: int, word: str, tokenizer: Tokenizer) -> Iterator[int]:
    """Behind which tokens a word may end that begins at `start`."""
    if isinstance(tokenizer, PhoneTokenizer) and tokenizer.pronunciations(word):
        for spoken in tokenizer.pronunciations(word):
            if tuple(tokens[start : start + len(spoken)]) == spoken:
                yield start + len(spoken)
        return
    for end in range(start + 1, len(tokens) + 1):
        spelled = tokenizer.decode(tokens[start:end]).strip()
        if spelled == word:
            yield end
        if len(spelled) >= len(word):
            return


def ctc_spans(
    alignment: Tensor, symbols: Sequence[str], word_of: Sequence[int | None]
) -> list[Span]:
    """The frames of each token in CTC's alignment, from its first to its last one.

    Args:
        alignment: (T,), the token or blank in each frame, as `asr.networks.ctc.align` gives it.
        symbols: (C,), what each token stands for.
        word_of: (U,), as `spell` gives it.

    Raises:
        ValueError: the alignment has another number of tokens than U.
    """
    runs = []  # of the same token
    t = 0
    for token, frames in itertools.groupby(alignment.tolist()):
        first, t = t, t + len(list(frames))
        if token != BLANK:
            runs.append((symbols[token], first, t - 1))
    if len(runs) != len(word_of):
        raise ValueError(f"alignment has {len(runs)} tokens; word_of has {len(word_of)}")
    return [Span(word, *run) for word, run in zip(word_of, runs, strict=True)]


def frame_times(
    T: int, features: FeatureSettings, duration: float, model: AcousticSettings | None = None
) -> np.ndarray:
    """When each frame begins and ends: each instant belongs to the frame centred nearest to it.

    A frame is centred at the middle of its window, t * hop + window / 2, and so begins half a hop
    before that. With a frame's window it would begin (window - hop) / 2 too early: 7.5 ms for 25
    and 10 ms. Where the acoustic model puts r frames side by side, theirs is centred at the middle
    of the r; where it convolves them, at the first. The first frame begins with the recording and
    the last one ends with it.

    Args:
        T: frames, of the acoustic model if there is one, else of the features.
        features: how they are computed.
        duration: of the recording, in seconds.
        model: the acoustic model; None for one that reads and gives single frames, as HMMs do.

    Returns:
        times: (T + 1,), float64, seconds: frame t lasts from `times[t]` to `times[t + 1]`.

    Raises:
        ValueError: there is no frame, or more than the recording has room for.
    """
    if T < 1:
        raise ValueError(f"T is {T}; expected 1 or more")
    reduction = model.time_reduction if model else 1
    centre = 0.0 if model and model.conv_channels else (reduction - 1) / 2  # of the first, in hops
    hops = centre + (np.arange(T + 1) - 0.5) * reduction
    times = (hops * features.hop_length + features.win_length / 2) / features.sample_rate
    if not times[-2] < duration:
        raise ValueError(f"duration is {duration} s; {T} frames take more than {times[-2]:g} s")
    times[0], times[-1] = 0.0, duration
    return times


def unit_segments(
    spans: Sequence[Span], times: np.ndarray, spread: float = 0.0
) -> list[TimedLabel]:
    """When each unit begins and ends.

    Args:
        spans: in order; between them may be frames without a unit.
        times: (T + 1,), as `frame_times` gives them.
        spread: CTC's tokens are spikes, shorter than what was said. Where frames without a unit lie
            between two, the one lasts this many seconds longer and the other begins as much
            earlier, each at most by half the time between: infinite makes all neighbours touch.
            0 for an HMM's spans. What lies before the first and after the last unit stays.

    Raises:
        ValueError: a span ends before it begins, begins before the last one ended or lies beyond
            the T frames; or `spread` is below 0.
    """
    if not spread >= 0:
        raise ValueError(f"spread is {spread}; expected 0 or more seconds")
    next_frame = 0
    for span in spans:
        if not next_frame <= span.first <= span.last < len(times) - 1:
            raise ValueError(
                f"spans has {span}; expected frames from {next_frame} to {len(times) - 2}"
            )
        next_frame = span.last + 1
    starts = [float(times[span.first]) for span in spans]
    ends = [float(times[span.last + 1]) for span in spans]
    for n in range(1, len(spans)):
        middle = (ends[n - 1] + starts[n]) / 2
        ends[n - 1], starts[n] = min(ends[n - 1] + spread, middle), max(starts[n] - spread, middle)
    units = (span.unit for span in spans)
    return [TimedLabel(*segment) for segment in zip(units, starts, ends, strict=True)]


def word_segments(
    spans: Sequence[Span], words: Sequence[str], times: np.ndarray, spread: float = 0.0
) -> list[TimedLabel]:
    """When each word begins and ends: from its first unit's start to its last one's end.

    Args:
        spans: of the text's units.
        words: of the text.
        times: (T + 1,), as `frame_times` gives them.
        spread: as in `unit_segments`, over the frames of separators too, but never over silence.

    Raises:
        ValueError: the spans are not those of all words in order, or as in `unit_segments`.
    """
    spans = [span for span in spans if span.word is not None or span.unit == SILENT_UNIT]
    units = zip(spans, unit_segments(spans, times, spread), strict=True)
    spoken = ((span.word, unit) for span, unit in units if span.word is not None)
    grouped = [
        (number, [unit for _, unit in group])
        for number, group in itertools.groupby(spoken, key=lambda item: item[0])
    ]
    if [number for number, _ in grouped] != list(range(len(words))):
        found = [number for number, _ in grouped]
        raise ValueError(f"spans are of words {found}; expected {len(words)} words, in order")
    return [
        TimedLabel(word, units[0].start, units[-1].end)
        for word, (_, units) in zip(words, grouped, strict=True)
    ]


@dataclass(frozen=True)
class BoundaryAccuracy:
    """How far boundaries are from where they should be.

    Args:
        boundaries: how many there are.
        within_20_ms: share of them that is off by at most so much.
        within_50_ms: likewise.
        mean_absolute: seconds by which they are off.
        bias: mean of the seconds by which they are late; below 0 where they are early.
    """

    boundaries: int
    within_20_ms: float
    within_50_ms: float
    mean_absolute: float
    bias: float


def boundary_errors(
    reference: Sequence[TimedLabel], found: Sequence[TimedLabel], duration: float
) -> np.ndarray:
    """By how much each start and end is late.

    Where segments touch, an end and the next start count both, so that how many boundaries there
    are hangs on the reference alone. Those that it has at the recording's beginning and end are
    left out: that a first silence begins there, no alignment can have wrong.

    Args:
        reference: segments of a recording, such as those of a manifest.
        found: segments with the same labels.
        duration: of the recording, in seconds.

    Returns:
        errors: (B,), seconds, start and end of each segment in turn; below 0 where one is early.

    Raises:
        ValueError: the labels differ.
    """
    labels, others = [label for label, _, _ in reference], [label for label, _, _ in found]
    if labels != others:
        pairs = enumerate(itertools.zip_longest(labels, others))
        n, (label, other) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
        raise ValueError(f"found[{n}] has label {other!r}; the reference has {label!r}")
    due, late = (
        np.array([time for _, *times in segments for time in times], dtype=np.float64)
        for segments in (reference, found)
    )
    return (late - due)[(due > EDGE) & (due < duration - EDGE)]


def boundary_accuracy(errors: np.ndarray) -> BoundaryAccuracy:
    """A summary of the errors of boundaries, of one or of many recordings.

    Args:
        errors: (B,), seconds, as `boundary_errors` gives them.

    Raises:
        ValueError: there is none.
    """
    if not len(errors):
        raise ValueError("errors is empty; expected one boundary or more")
    absolute = np.abs(errors)
    return BoundaryAccuracy(
        boundaries=len(errors),
        within_20_ms=float((absolute <= 0.02 + _ROUNDING).mean()),
        within_50_ms=float((absolute <= 0.05 + _ROUNDING).mean()),
        mean_absolute=float(absolute.mean()),
        bias=float(errors.mean()),
    )


_ROUNDING = 1e-9  # seconds: 0.12 - 0.1 is more than 0.02
