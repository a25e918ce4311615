"""alignment -> spans of frames -> times of units and words -> accuracy of boundaries."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from asr.audio.features import FeatureSettings
from asr.corpus.manifest import TimedLabel
from asr.errors import counted
from asr.networks.acoustic import AcousticSettings
from asr.text.tokenizer import BLANK, Tokenizer, spellings

SILENT_UNIT = ""
"""The unit, and the label, of silence."""

EDGE = 0.01
"""A boundary within this many seconds of a recording's start or end counts as the start or end."""


@dataclass(frozen=True)
class Word:
    """A recognised word with its times.

    Args:
        text: the word.
        start: start of the word's first unit, in seconds from the start of the recording.
        end: end of the word's last unit, in seconds from the start of the recording.
        confidence: from 0 to 1. If the decoder has `confidence` weights, that is, if it was tuned
            on development data, it is the probability that a recognised word is right, computed
            from the n-best list and the acoustic confidence by `asr.search.confidence`. Otherwise,
            and for a text that was aligned, it is the acoustic confidence: the geometric mean of
            the acoustic model's posteriors of the word's tokens, over their frames in the most
            probable alignment of the whole text; blanks between the tokens are left out. For an
            HMM, the same for the posteriors of the word's states, with equal priors for all states.
            The language model has no influence on the acoustic confidence, and it is not
            calibrated: of the words with 0.9, more or less than 90 % may be right.
    """

    text: str
    start: float
    end: float
    confidence: float


class Span(NamedTuple):
    """The frames of a unit."""

    word: int | None  # index of its word in the text; None for silence and separators
    unit: str
    first: int  # first frame
    last: int  # last frame, inclusive


def spell(words: Sequence[str], tokenizer: Tokenizer) -> tuple[list[int], list[int | None]]:
    """Spell a text in tokens, for CTC.

    Args:
        words: the text's words, normalised.
        tokenizer: the acoustic model's tokenizer.

    Returns:
        tokens: (U,), the words with separators between them, encoded by `tokenizer`.
        word_of: (U,), index of the word that each token belongs to; None for separators.

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
    """Find the word that each token of a hypothesis belongs to.

    Args:
        tokens: (U,), tokens of the hypothesis.
        words: words of the hypothesis, which the tokens spell or, with phones, pronounce. More
            tokens may follow: a search with a lexicon may end within a word.
        tokenizer: the acoustic model's tokenizer.

    Returns:
        word_of: (U,), index of each token's word; None for tokens between and after words.

    Raises:
        ValueError: the tokens do not begin with those of the words.
    """
    between = [tokenizer.symbols[token].isspace() for token in tokens]
    # for each number of words: possible ends of the last word, each with the end of the word
    # before it and the start of the last word
    ends: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]
    for word in words:
        found: dict[int, tuple[int, int]] = {}
        for before in ends[-1]:
            start = next((n for n in range(before, len(tokens)) if not between[n]), len(tokens))
            for end in _word_ends(tokens, start, word, tokenizer):
                found.setdefault(end, (before, start))
        ends.append(found)
    if not ends[-1]:
        raise ValueError(f"tokens are {tuple(tokens)}; expected those of {' '.join(words)!r}")
    whole = [end for end in ends[-1] if all(between[end:])]
    end = whole[0] if whole else max(ends[-1])
    word_of: list[int | None] = [None] * len(tokens)
    for number in reversed(range(len(words))):
        before, start = ends[number + 1][end]
        word_of[start:end] = [number] * (end - start)
        end = before
    return word_of


def _word_ends(tokens: Sequence[int], start: int, word: str, tokenizer: Tokenizer) -> Iterator[int]:
    """The possible ends (exclusive) of a word that begins at token `start`."""
    pronunciations = spellings([word], tokenizer)[word] if tokenizer.words else ()
    if pronunciations:
        for spoken in pronunciations:
            if tuple(tokens[start : start + len(spoken)]) == spoken:
                yield start + len(spoken)
        return
    for end in range(start + 1, len(tokens) + 1):
        spelled = tokenizer.decode(tokens[start:end]).strip()
        if spelled == word:
            yield end
        if len(spelled) > len(word):  # as long: a syllable may still get its final consonant
            return


def ctc_spans(
    alignment: Tensor, symbols: Sequence[str], word_of: Sequence[int | None]
) -> list[Span]:
    """The first and the last frame of each token in a CTC alignment.

    Args:
        alignment: (T,), the token or blank in each frame, from `asr.networks.ctc.ctc_align`.
        symbols: (C,), the symbol of each token.
        word_of: (U,), from `spell`.

    Raises:
        ValueError: the alignment does not have U tokens.
    """
    runs = []  # frames with the same token
    t = 0
    for token, frames in itertools.groupby(alignment.tolist()):
        first, t = t, t + len(list(frames))
        if token != BLANK:
            runs.append((symbols[token], first, t - 1))
    if len(runs) != len(word_of):
        raise ValueError(f"alignment has {counted(len(runs), 'token')}; word_of has {len(word_of)}")
    return [Span(word, *run) for word, run in zip(word_of, runs, strict=True)]


def frame_times(
    T: int, features: FeatureSettings, duration: float, model: AcousticSettings | None = None
) -> np.ndarray:
    """Start and end of each frame: every instant belongs to the frame with the nearest centre.

    The centre of a frame is the middle of its window, t * hop + window / 2, and the frame starts
    half a hop before that. If it started with its window, it would start (window - hop) / 2 too
    early: 7.5 ms for windows of 25 ms and hops of 10 ms. If the acoustic model concatenates r
    frames, their common centre is the middle of the r frames; if it convolves them, it is the
    centre of the first frame. The first frame starts with the recording and the last one ends with
    it.

    Args:
        T: number of frames of the acoustic model's output, or of the features without a model.
        features: settings of the features.
        duration: duration of the recording, in seconds.
        model: the acoustic model, whose only frame is the whole recording if it classifies whole
            utterances; None for a model without time reduction, such as an HMM.

    Returns:
        times: (T + 1,), float64, seconds: frame t lasts from `times[t]` to `times[t + 1]`.

    Raises:
        ValueError: T is below 1, or too large for the duration.
    """
    if T < 1:
        raise ValueError(f"T is {T}; expected 1 or more")
    if model and model.pooling:
        return np.array([0.0, duration])
    reduction = model.frames_per_output if model else 1
    # centre of the first output frame, in hops
    centre = 0.0 if model and model.conv_channels else (reduction - 1) / 2
    hops = centre + (np.arange(T + 1) - 0.5) * reduction
    times = (hops * features.hop_length + features.win_length / 2) / features.sample_rate
    if not times[-2] < duration:
        raise ValueError(f"duration is {duration} s; {T} frames take more than {times[-2]:g} s")
    times[0], times[-1] = 0.0, duration
    return times


def unit_segments(
    spans: Sequence[Span], times: np.ndarray, spread: float = 0.0
) -> list[TimedLabel]:
    """Start and end of each unit in seconds.

    Args:
        spans: spans in order of time; there may be frames without a unit between them.
        times: (T + 1,), from `frame_times`.
        spread: seconds by which units are extended into the frames without a unit between them,
            because CTC's tokens are spikes that are shorter than the spoken sounds. A unit is
            extended by at most half of the gap; infinity closes all gaps. The start of the first
            unit and the end of the last are not moved. Use 0 for an HMM's spans.

    Raises:
        ValueError: a span ends before it begins, overlaps the span before it or lies outside the T
            frames; or `spread` is below 0.
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
    """Start and end of each word: from the start of its first unit to the end of its last one.

    Args:
        spans: spans of the text's units.
        words: the text's words.
        times: (T + 1,), from `frame_times`.
        spread: as in `unit_segments`; it extends words into separators too, but not into silence.

    Raises:
        ValueError: the spans don't cover all words in order, or an argument is invalid as for
            `unit_segments`.
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
    """Accuracy of an alignment's boundaries.

    Args:
        boundaries: number of boundaries.
        within_20_ms: share of boundaries with an error of at most 20 ms.
        within_50_ms: share of boundaries with an error of at most 50 ms.
        mean_absolute: mean absolute error in seconds.
        bias: mean error in seconds; above 0 if boundaries are late.
    """

    boundaries: int
    within_20_ms: float
    within_50_ms: float
    mean_absolute: float
    bias: float


def boundary_errors(
    reference: Sequence[TimedLabel], found: Sequence[TimedLabel], duration: float
) -> np.ndarray:
    """Errors of the starts and ends of all segments.

    If two segments touch, the end of the first and the start of the second both count, so that the
    number of boundaries depends only on the reference. The reference's boundaries at the start and
    end of the recording are left out, because every alignment has them right.

    Args:
        reference: reference segments of a recording, for example from a manifest.
        found: segments to judge, with the same labels.
        duration: duration of the recording, in seconds.

    Returns:
        errors: (B,), seconds, start and end of each segment in turn; above 0 if late.

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
    """Summarise the boundary errors of one or more recordings.

    Args:
        errors: (B,), seconds, from `boundary_errors`.

    Raises:
        ValueError: `errors` is empty.
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


_ROUNDING = 1e-9  # seconds, tolerance for rounding errors: 0.12 - 0.1 is more than 0.02
