"""model, log_probs and a text -> when each unit and each word of it was said."""

from typing import NamedTuple

import numpy as np
import torch

from asr.acoustic import AcousticModel
from asr.alignment import (
    SILENCE,
    Segment,
    Span,
    ctc_spans,
    frame_times,
    spell,
    unit_segments,
    word_segments,
)
from asr.checkpoint import Model
from asr.ctc import align, frames_needed
from asr.errors import InputError
from asr.hmm import Topology
from asr.hmm_graph import pad_graphs, token_spans, utterance_graph
from asr.hmm_paths import viterbi
from asr.tokenizer import PhoneTokenizer

SPREAD = 0.06
"""Seconds that a token of CTC lasts longer than its spike, on either side, where there is room."""


class Aligned(NamedTuple):
    """A text's place in a recording."""

    path: np.ndarray  # (T,), the number of the HMM's state in the text, or CTC's token
    spans: list[Span]  # of frames
    times: np.ndarray  # (T + 1,), seconds: frame t lasts from times[t] to times[t + 1]
    units: list[Segment]  # an HMM's silences among them
    words: list[Segment]


def align_text(model: Model, log_probs: np.ndarray, text: str, duration: float) -> Aligned:
    """The most probable alignment of a text, of an HMM among all its words' pronunciations.

    Args:
        model: of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        text: normalised as the training texts were.
        duration: of the recording, in seconds.

    Raises:
        InputError: a word can't be spelled, or there are too few frames for the text.
    """
    words = text.split()
    if model.topology is None:
        path, spans = _ctc(model, log_probs, words)
    else:
        path, spans = _hmm(model, model.topology, log_probs, words)
    acoustic = model.acoustic.settings if isinstance(model.acoustic, AcousticModel) else None
    times = frame_times(len(log_probs), model.features.settings, duration, acoustic)
    spread = SPREAD if model.topology is None else 0.0
    return Aligned(
        path,
        spans,
        times,
        unit_segments(spans, times, spread),
        word_segments(spans, words, times, spread),
    )


def _ctc(model: Model, log_probs: np.ndarray, words: list[str]) -> tuple[np.ndarray, list[Span]]:
    tokens, word_of = spell(words, model.tokenizer)
    if len(log_probs) < frames_needed(tokens):
        raise _too_short(len(log_probs), frames_needed(tokens))
    path, _ = align(torch.from_numpy(log_probs), tokens)
    return path.numpy(), ctc_spans(path, model.tokenizer.symbols, word_of)


def _hmm(
    model: Model, topology: Topology, emissions: np.ndarray, words: list[str]
) -> tuple[np.ndarray, list[Span]]:
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, PhoneTokenizer)
    if missing := tokenizer.lexicon.missing(words):
        raise InputError(f"no pronunciation in the model's lexicon for {', '.join(missing)}")
    graph = utterance_graph([tokenizer.pronunciations(word) for word in words], topology)
    if len(emissions) < graph.shortest:
        raise _too_short(len(emissions), graph.shortest)
    lengths = torch.tensor([len(emissions)])
    graphs = pad_graphs([graph])
    _, path = viterbi(torch.from_numpy(emissions)[:, None], lengths, graphs, topology.self_loops)
    found = [
        Span(None, SILENCE, some.first, some.last)
        if some.word < 0
        else Span(some.word, tokenizer.symbols[some.token], some.first, some.last)
        for some in token_spans(graph, path[:, 0].tolist())
    ]
    return path[:, 0].numpy(), found


def _too_short(found: int, needed: int) -> InputError:
    return InputError(f"has {found} frames; the text takes {needed}")
