"""model, log_probs and a text -> start and end of each unit and word, by forced alignment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.alignment.times import (
    SILENT_UNIT,
    Span,
    TimedLabel,
    Word,
    ctc_spans,
    frame_times,
    spell,
    unit_segments,
    word_segments,
    words_of_tokens,
)
from asr.audio.features import FeatureSettings
from asr.errors import InputError, counted, listed
from asr.hmm.graph import token_spans, utterance_graph
from asr.hmm.topology import Topology
from asr.hmm.trees import middle_phone
from asr.model import Model, check_log_probs
from asr.networks.acoustic import AcousticSettings
from asr.search.nbest import Hypothesis
from asr.text.normalisation import canonical
from asr.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from asr.alignment.trellis import States

SPREAD = 0.06
"""Seconds by which a CTC token is extended beyond its spike on either side, if there is room."""


_AT_ONCE = 4096  # frames whose posteriors are computed together


class Aligned(NamedTuple):
    """A text aligned with a recording."""

    path: np.ndarray  # (T,), CTC's token, or the HMM state's number in the text's graph
    spans: list[Span]  # in frames
    times: np.ndarray  # (T + 1,), seconds: frame t lasts from times[t] to times[t + 1]
    units: list[TimedLabel]  # for an HMM also the silences
    words: tuple[Word, ...]
    log_prob: float  # of the most probable alignment; for an HMM log p(features, path)

    @property
    def phones(self) -> list[TimedLabel]:
        """The units without silences and spaces; triphones are named by their middle phone."""
        spoken = (unit for unit in self.units if unit.label.strip())
        return [unit._replace(label=middle_phone(unit.label)) for unit in spoken]


def align_text(model: Model, log_probs: Tensor | np.ndarray, text: str, duration: float) -> Aligned:
    """Forced alignment of a text. An HMM also chooses the most probable pronunciations.

    The alignment is the most probable one of all, also for an hour of audio; see
    `asr.alignment.trellis.most_probable_path` for the memory. Words that were not said get times
    too, and a low confidence.

    Args:
        model: a model of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        text: the text, normalised like the training texts.
        duration: duration of the recording, in seconds.

    Raises:
        InputError: a word can't be spelled; the text is empty and the HMM has no silence; there
            are too few frames for the text, or the model gives it the probability 0; the number of
            frames does not match the duration; or `log_probs` has NaN.
    """
    check_log_probs(log_probs, "alignment")
    words = canonical(text).split()
    return _timed(model, _align(model, torch.as_tensor(log_probs), words), words, duration)


def recognised_words(
    model: Model, log_probs: Tensor | np.ndarray, hypothesis: Hypothesis, duration: float
) -> tuple[Word, ...]:
    """The words of a hypothesis, with their times and acoustic confidences.

    Args:
        model: a model of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        hypothesis: the result of a search in these log-probabilities, with its words.
        duration: duration of the recording, in seconds.

    Returns:
        words: the words in order; `Word` defines the confidence.
    """
    words = list(hypothesis.words or ())
    if not words:
        return ()
    path = _align(model, torch.as_tensor(log_probs), words, hypothesis.tokens)
    return _timed(model, path, words, duration).words


def acoustic_confidences(
    model: Model, log_probs: Tensor | np.ndarray, hypothesis: Hypothesis
) -> np.ndarray:
    """The acoustic confidences of a hypothesis's words, without their times.

    Args:
        model: a model of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        hypothesis: the result of a search in these log-probabilities, with its words.

    Returns:
        confidences: (words,), from 0 to 1, float64; `Word` defines them.
    """
    words = list(hypothesis.words or ())
    if not words:
        return np.empty(0)
    path = _align(model, torch.as_tensor(log_probs), words, hypothesis.tokens)
    return np.array(_confidences(path, len(words)))


class _Path(NamedTuple):
    """The most probable alignment of words."""

    numbers: np.ndarray  # (T,), CTC's token, or the HMM state's number in the text's graph
    spans: list[Span]
    log_probs: np.ndarray  # (T,), float64, posterior of each frame's token, or of its state
    spread: float  # seconds by which a unit is extended on either side
    log_prob: float  # of the path


def _align(
    model: Model, rows: Tensor, words: list[str], tokens: Sequence[int] | None = None
) -> _Path:
    """Align words.

    Args:
        model: a model of any kind.
        rows: (T, C), or (T, S).
        words: the words.
        tokens: for CTC, the words' tokens as found by a search; None to spell the words.
    """
    if model.topology is None:
        return _ctc(model.tokenizer, rows, words, tokens)
    return _hmm(model.tokenizer, model.topology, rows, words)


def _timed(model: Model, path: _Path, words: list[str], duration: float) -> Aligned:
    T, features, network = len(path.numbers), model.features.settings, model.acoustic.settings
    _check_duration(T, features, duration, network)
    times = frame_times(T, features, duration, network)
    units = unit_segments(path.spans, times, path.spread)
    labels = word_segments(path.spans, words, times, path.spread)
    pairs = zip(labels, _confidences(path, len(words)), strict=True)
    timed = tuple(Word(*label, confidence=confidence) for label, confidence in pairs)
    return Aligned(path.numbers, path.spans, times, units, timed, path.log_prob)


def _confidences(path: _Path, n_words: int) -> list[float]:
    frames: list[list[int]] = [[] for _ in range(n_words)]
    for span in path.spans:
        if span.word is not None:
            frames[span.word] += range(span.first, span.last + 1)
    # normalised in float32, a log-probability may be above 0 by a rounding error
    return [min(1.0, float(np.exp(path.log_probs[own].mean()))) for own in frames]


def _ctc(
    tokenizer: Tokenizer, log_probs: Tensor, words: list[str], tokens: Sequence[int] | None
) -> _Path:
    from asr.alignment.trellis import ctc_states  # takes time to import

    if tokens is None:
        tokens, word_of = spell(words, tokenizer)
    else:
        word_of = words_of_tokens(tokens, words, tokenizer)
    states = ctc_states(tokens)
    log_prob, path = _most_probable_path(states, log_probs)
    alignment = torch.from_numpy(states.columns[path]).long()
    own = log_probs.gather(1, alignment[:, None])[:, 0].double().numpy()
    spans = ctc_spans(alignment, tokenizer.symbols, word_of)
    return _Path(alignment.numpy(), spans, own, SPREAD, log_prob)


def _hmm(tokenizer: Tokenizer, topology: Topology, emissions: Tensor, words: list[str]) -> _Path:
    from asr.alignment.trellis import hmm_states

    if missing := sorted(set(words) - set(tokenizer.words)):
        raise InputError(f"no pronunciation in the model's lexicon for {listed(missing)}")
    if not words and not topology.silence:
        raise InputError("the text is empty; expected words, since the HMM has no silence")
    graph = utterance_graph([tokenizer.spellings(word) for word in words], topology)
    states = hmm_states(graph, topology.self_loops.cpu().numpy())
    log_prob, path = _most_probable_path(states, emissions)
    found = [
        Span(None, SILENT_UNIT, some.first, some.last)
        if some.word < 0
        else Span(some.word, tokenizer.symbols[some.token], some.first, some.last)
        for some in token_spans(graph, path.tolist())
    ]
    pdfs = torch.from_numpy(graph.pdfs[path])
    posteriors = [
        some.log_softmax(1).gather(1, own[:, None])[:, 0]
        for some, own in zip(emissions.split(_AT_ONCE), pdfs.split(_AT_ONCE), strict=True)
    ]
    return _Path(path, found, torch.cat(posteriors).double().numpy(), 0.0, log_prob)


def _most_probable_path(states: "States", log_probs: Tensor) -> tuple[float, np.ndarray]:
    from asr.alignment.trellis import most_probable_path

    if len(log_probs) < states.shortest:
        raise InputError(
            f"has {counted(len(log_probs), 'frame')}; the text needs {states.shortest}"
        )
    log_prob, path = most_probable_path(states, log_probs.numpy())
    if not len(path):
        raise InputError("the model gives the text the probability 0; expected another text")
    return log_prob, path


def _check_duration(
    T: int, features: FeatureSettings, duration: float, acoustic: AcousticSettings | None
) -> None:
    """Raise InputError if T frames differ from the duration by more than half a window."""
    if acoustic and acoustic.pooling:
        return
    reduction = acoustic.frames_per_output if acoustic else 1
    samples, half = duration * features.sample_rate, features.win_length / 2
    fewest = features.win_length + (T - 1) * reduction * features.hop_length
    if not fewest - half <= samples < fewest + reduction * features.hop_length + half:
        raise InputError(
            f"has about {fewest / features.sample_rate:.2f} s of audio; its duration is given as"
            f" {duration:.2f} s"
        )
