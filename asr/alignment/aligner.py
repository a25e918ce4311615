"""model, log_probs and a text -> start and end of each unit and word (forced alignment)."""

from typing import NamedTuple

import numpy as np
import torch

from asr.alignment.times import (
    SILENT_UNIT,
    Span,
    TimedLabel,
    ctc_spans,
    frame_times,
    spell,
    unit_segments,
    word_segments,
)
from asr.audio.features import FeatureSettings
from asr.errors import InputError
from asr.hmm.graph import pad_graphs, token_spans, utterance_graph
from asr.hmm.paths import viterbi
from asr.hmm.topology import Topology
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.ctc import ctc_align, frames_needed
from asr.text.normalisation import canonical
from asr.text.tokenizer import PhoneTokenizer

SPREAD = 0.06
"""Seconds by which a CTC token is extended beyond its spike on either side, if there is room."""


class Aligned(NamedTuple):
    """A text aligned with a recording."""

    path: np.ndarray  # (T,), the number of the HMM's state in the text's graph, or CTC's token
    spans: list[Span]  # in frames
    times: np.ndarray  # (T + 1,), seconds: frame t lasts from times[t] to times[t + 1]
    units: list[TimedLabel]  # with an HMM's silences
    words: list[TimedLabel]


def align_text(model: Model, log_probs: np.ndarray, text: str, duration: float) -> Aligned:
    """The most probable alignment of a text; an HMM also chooses among the words' pronunciations.

    Args:
        model: of any kind.
        log_probs: (T, C), or an HMM's emissions, (T, S).
        text: normalised as the training texts were.
        duration: of the recording, in seconds.

    Raises:
        InputError: a word can't be spelled; the text is empty and the HMM has no silence; there
            are too few frames for the text; or their number does not match the duration.
    """
    words = canonical(text).split()
    if model.topology is None:
        path, spans = _ctc(model, log_probs, words)
    else:
        path, spans = _hmm(model, model.topology, log_probs, words)
    acoustic = model.acoustic.settings if isinstance(model.acoustic, AcousticModel) else None
    _check_duration(len(log_probs), model.features.settings, duration, acoustic)
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
    path, _ = ctc_align(torch.from_numpy(log_probs), tokens)
    return path.numpy(), ctc_spans(path, model.tokenizer.symbols, word_of)


def _hmm(
    model: Model, topology: Topology, emissions: np.ndarray, words: list[str]
) -> tuple[np.ndarray, list[Span]]:
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, PhoneTokenizer)
    if missing := tokenizer.lexicon.missing(words):
        raise InputError(f"no pronunciation in the model's lexicon for {', '.join(missing)}")
    if not words and not topology.silence:
        raise InputError("the text is empty; expected words, since the HMM has no silence")
    graph = utterance_graph([tokenizer.pronunciations(word) for word in words], topology)
    if len(emissions) < graph.shortest:
        raise _too_short(len(emissions), graph.shortest)
    lengths = torch.tensor([len(emissions)])
    graphs = pad_graphs([graph])
    _, path = viterbi(torch.from_numpy(emissions)[:, None], lengths, graphs, topology.self_loops)
    found = [
        Span(None, SILENT_UNIT, some.first, some.last)
        if some.word < 0
        else Span(some.word, tokenizer.symbols[some.token], some.first, some.last)
        for some in token_spans(graph, path[:, 0].tolist())
    ]
    return path[:, 0].numpy(), found


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
    return InputError(f"has {found} frames; the text needs {needed}")
