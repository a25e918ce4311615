"""model, log_probs and a text -> when each unit and each word of it was said."""

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
from asr.errors import InputError
from asr.hmm.graph import pad_graphs, token_spans, utterance_graph
from asr.hmm.paths import viterbi
from asr.hmm.topology import Topology
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.ctc import ctc_align, frames_needed
from asr.search.nbest import Hypothesis
from asr.text.normalisation import canonical
from asr.text.tokenizer import PhoneTokenizer

SPREAD = 0.06
"""Seconds that a token of CTC lasts longer than its spike, on either side, where there is room."""


class Aligned(NamedTuple):
    """A text's place in a recording."""

    path: np.ndarray  # (T,), the number of the HMM's state in the text, or CTC's token
    spans: list[Span]  # of frames
    times: np.ndarray  # (T + 1,), seconds: frame t lasts from times[t] to times[t + 1]
    units: list[TimedLabel]  # an HMM's silences among them
    words: list[TimedLabel]


def align_text(model: Model, log_probs: Tensor | np.ndarray, text: str, duration: float) -> Aligned:
    """The most probable alignment of a text, of an HMM among all its words' pronunciations.

    Args:
        model: of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        text: normalised as the training texts were.
        duration: of the recording, in seconds.

    Raises:
        InputError: a word can't be spelled, the model has nothing to say without words, there are
            too few frames for the text, or other ones than the recording's duration has.
    """
    words = canonical(text).split()
    rows = torch.as_tensor(log_probs)
    if model.topology is None:
        tokens, word_of = spell(words, model.tokenizer)
        if len(rows) < frames_needed(tokens):
            raise _too_short(len(rows), frames_needed(tokens))
        path, spans = _ctc(model, rows, tokens, word_of)
    else:
        path, spans, _ = _hmm(model, model.topology, rows, words)
    return _timed(model, path, spans, words, duration)


def recognised_words(
    model: Model, log_probs: Tensor | np.ndarray, hypothesis: Hypothesis, duration: float
) -> tuple[Word, ...]:
    """The words of a hypothesis, with their times and how sure the acoustic model is of them.

    Args:
        model: of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        hypothesis: that a search found in them, with its words.
        duration: of the recording, in seconds.

    Returns:
        words: see `Word` for what their confidence is.
    """
    words = list(hypothesis.words or ())
    if not words:
        return ()
    rows = torch.as_tensor(log_probs)
    if model.topology is None:
        word_of = words_of_tokens(hypothesis.tokens, words, model.tokenizer)
        path, spans = _ctc(model, rows, hypothesis.tokens, word_of)
        posteriors, columns = rows, torch.from_numpy(path)
    else:
        path, spans, pdfs = _hmm(model, model.topology, rows, words)
        posteriors, columns = rows.log_softmax(1), torch.from_numpy(pdfs)
    scores = posteriors.gather(1, columns[:, None])[:, 0].double().numpy()
    frames: list[list[int]] = [[] for _ in words]
    for span in spans:
        if span.word is not None:
            frames[span.word] += range(span.first, span.last + 1)
    timed = _timed(model, path, spans, words, duration).words
    return tuple(
        Word(*label, confidence=float(np.exp(scores[own].mean())))
        for label, own in zip(timed, frames, strict=True)
    )


def _timed(
    model: Model, path: np.ndarray, spans: list[Span], words: list[str], duration: float
) -> Aligned:
    acoustic = model.acoustic.settings if isinstance(model.acoustic, AcousticModel) else None
    _check_duration(len(path), model.features.settings, duration, acoustic)
    times = frame_times(len(path), model.features.settings, duration, acoustic)
    spread = SPREAD if model.topology is None else 0.0
    return Aligned(
        path,
        spans,
        times,
        unit_segments(spans, times, spread),
        word_segments(spans, words, times, spread),
    )


def _ctc(
    model: Model, log_probs: Tensor, tokens: Sequence[int], word_of: Sequence[int | None]
) -> tuple[np.ndarray, list[Span]]:
    path = ctc_align(log_probs, tokens)
    return path.numpy(), ctc_spans(path, model.tokenizer.symbols, word_of)


def _hmm(
    model: Model, topology: Topology, emissions: Tensor, words: list[str]
) -> tuple[np.ndarray, list[Span], np.ndarray]:
    """State of the graph in each frame, spans, and pdf in each frame."""
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, PhoneTokenizer)
    if missing := tokenizer.lexicon.missing(words):
        raise InputError(f"no pronunciation in the model's lexicon for {', '.join(missing)}")
    if not words and not topology.silence:
        raise InputError("nothing is said; expected words, since the HMM has no silence")
    graph = utterance_graph([tokenizer.pronunciations(word) for word in words], topology)
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
    return path, found, graph.pdfs[path]


def _check_duration(
    T: int, features: FeatureSettings, duration: float, acoustic: AcousticSettings | None
) -> None:
    """Raise InputError where T frames are more than half a window off the duration."""
    reduction = acoustic.time_reduction if acoustic else 1
    samples, half = duration * features.sample_rate, features.win_length / 2
    fewest = features.win_length + (T - 1) * reduction * features.hop_length
    if not fewest - half <= samples < fewest + reduction * features.hop_length + half:
        raise InputError(
            f"has audio of about {fewest / features.sample_rate:.2f} s; its duration is said to be"
            f" {duration:.2f} s"
        )


def _too_short(found: int, needed: int) -> InputError:
    return InputError(f"has {found} frames; the text takes {needed}")
