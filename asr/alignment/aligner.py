"""model, log_probs and a text -> start and end of each unit and word, by forced alignment."""

from collections.abc import Sequence
from typing import NamedTuple

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
from asr.hmm.graph import pad_graphs, token_spans, utterance_graph
from asr.hmm.paths import viterbi
from asr.hmm.topology import Topology
from asr.model import Model, check_log_probs
from asr.networks.acoustic import AcousticSettings
from asr.networks.ctc import ctc_align, frames_needed
from asr.search.nbest import Hypothesis
from asr.text.normalisation import canonical
from asr.text.tokenizer import Tokenizer

SPREAD = 0.06
"""Seconds by which a CTC token is extended beyond its spike on either side, if there is room."""


class Aligned(NamedTuple):
    """A text aligned with a recording."""

    path: np.ndarray  # (T,), CTC's token, or the HMM state's number in the text's graph
    spans: list[Span]  # in frames
    times: np.ndarray  # (T + 1,), seconds: frame t lasts from times[t] to times[t + 1]
    units: list[TimedLabel]  # for an HMM also the silences
    words: list[TimedLabel]


def align_text(model: Model, log_probs: Tensor | np.ndarray, text: str, duration: float) -> Aligned:
    """Forced alignment of a text. An HMM also chooses the most probable pronunciations.

    Args:
        model: a model of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        text: the text, normalised like the training texts.
        duration: duration of the recording, in seconds.

    Raises:
        InputError: a word can't be spelled; the text is empty and the HMM has no silence; there
            are too few frames for the text; the number of frames does not match the duration; or
            `log_probs` has NaN.
    """
    check_log_probs(log_probs, "alignment")
    words = canonical(text).split()
    return _timed(model, _align(model, torch.as_tensor(log_probs), words), words, duration)


def recognised_words(
    model: Model, log_probs: Tensor | np.ndarray, hypothesis: Hypothesis, duration: float
) -> tuple[Word, ...]:
    """The words of a hypothesis, with their times and the acoustic model's confidence.

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
    frames: list[list[int]] = [[] for _ in words]
    for span in path.spans:
        if span.word is not None:
            frames[span.word] += range(span.first, span.last + 1)
    timed = _timed(model, path, words, duration).words
    return tuple(
        Word(*label, confidence=float(np.exp(path.log_probs[own].mean())))
        for label, own in zip(timed, frames, strict=True)
    )


class _Path(NamedTuple):
    """The most probable alignment of words."""

    numbers: np.ndarray  # (T,), CTC's token, or the HMM state's number in the text's graph
    spans: list[Span]
    log_probs: np.ndarray  # (T,), float64, posterior of each frame's token, or of its state
    spread: float  # seconds by which a unit is extended on either side


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
    return Aligned(
        path.numbers,
        path.spans,
        times,
        unit_segments(path.spans, times, path.spread),
        word_segments(path.spans, words, times, path.spread),
    )


def _ctc(
    tokenizer: Tokenizer, log_probs: Tensor, words: list[str], tokens: Sequence[int] | None
) -> _Path:
    if tokens is None:
        tokens, word_of = spell(words, tokenizer)
        if len(log_probs) < frames_needed(tokens):
            raise _too_short(len(log_probs), frames_needed(tokens))
    else:
        word_of = words_of_tokens(tokens, words, tokenizer)
    path = ctc_align(log_probs, tokens)
    own = log_probs.gather(1, path[:, None])[:, 0].double().numpy()
    return _Path(path.numpy(), ctc_spans(path, tokenizer.symbols, word_of), own, SPREAD)


def _hmm(tokenizer: Tokenizer, topology: Topology, emissions: Tensor, words: list[str]) -> _Path:
    if missing := sorted(set(words) - set(tokenizer.words)):
        raise InputError(f"no pronunciation in the model's lexicon for {listed(missing)}")
    if not words and not topology.silence:
        raise InputError("the text is empty; expected words, since the HMM has no silence")
    graph = utterance_graph([tokenizer.spellings(word) for word in words], topology)
    if len(emissions) < graph.shortest:
        raise _too_short(len(emissions), graph.shortest)
    lengths = torch.tensor([len(emissions)])
    graphs = pad_graphs([graph])
    _, alignment = viterbi(emissions[:, None], lengths, graphs, topology.self_loops)
    path = alignment[:, 0].numpy()
    found = [
        Span(None, SILENT_UNIT, some.first, some.last)
        if some.word < 0
        else Span(some.word, tokenizer.symbols[some.token], some.first, some.last)
        for some in token_spans(graph, path.tolist())
    ]
    pdfs = torch.from_numpy(graph.pdfs[path])
    own = emissions.log_softmax(1).gather(1, pdfs[:, None])[:, 0].double().numpy()
    return _Path(path, found, own, 0.0)


def _check_duration(
    T: int, features: FeatureSettings, duration: float, acoustic: AcousticSettings | None
) -> None:
    """Raise InputError if T frames differ from the duration by more than half a window."""
    reduction = acoustic.time_reduction if acoustic else 1
    samples, half = duration * features.sample_rate, features.win_length / 2
    fewest = features.win_length + (T - 1) * reduction * features.hop_length
    if not fewest - half <= samples < fewest + reduction * features.hop_length + half:
        raise InputError(
            f"has about {fewest / features.sample_rate:.2f} s of audio; its duration is given as"
            f" {duration:.2f} s"
        )


def _too_short(found: int, needed: int) -> InputError:
    return InputError(f"has {counted(found, 'frame')}; the text needs {needed}")
