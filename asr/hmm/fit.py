"""features in memory and their texts -> a trained HMM and its forced alignments."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.errors import check_dense, counted, expecting, listed, texts_of
from asr.hmm.em import (
    Expected,
    expect,
    flat_hmm,
    grown,
    improve,
    n_components_after,
    starved_line,
)
from asr.hmm.gmm import Gmm
from asr.hmm.graph import Graph, Graphs, pad_graphs, token_spans, utterance_graph
from asr.hmm.paths import viterbi
from asr.hmm.topology import Topology, left_to_right, pdf_names
from asr.text.normalisation import canonical, case_of
from asr.text.tokenizer import PhoneTokenizer
from asr.text.words import AnyLexicon, as_lexicon

BATCH = 6000
"""Maximum number of frames in a batch, padding included."""

MIN_COUNT = 10.0
"""A Gaussian with fewer frames is removed; a state with fewer frames is left unchanged."""

MAX_COMPONENTS = 32
"""Maximum number of Gaussians of a state."""

FRAMES_A_COMPONENT = 200
"""Frames of data for each Gaussian, if the number of Gaussians is not given."""

FLOOR_SHARE = 0.01
"""Lower bound of the Gaussians' variances, as a share of the variance of all frames."""

GROWING = 0.75
"""Share of the passes in which Gaussians are split; these are the first ones."""


class UnitSpan(NamedTuple):
    """The frames of a unit, such as a phone, or of a silence."""

    word: str  # the word that the unit belongs to; "" for silence
    unit: str  # "" for silence
    first: int  # first frame
    last: int  # last frame, inclusive


@dataclass(frozen=True, eq=False)
class Hmm:
    """An HMM of phones with a mixture of Gaussians for each state.

    Args:
        gmm: the mixtures of all states, in float64.
        topology: the states of each phone and of silence, and their self-loop probabilities.
        tokenizer: the phones and the lexicon.
        log_likelihoods: for each pass of training, the log-likelihood of the data under the model
            before the pass, in nats per frame.
    """

    gmm: Gmm
    topology: Topology
    tokenizer: PhoneTokenizer
    log_likelihoods: tuple[float, ...] = ()

    def align(self, features: Tensor | np.ndarray, text: str) -> tuple[float, list[UnitSpan]]:
        """Forced alignment: the most probable path through a text's pronunciations and silences.

        >>> log_prob, spans = hmm.align(features[0], "three five")
        >>> spans[0].word, spans[0].unit, spans[0].first, spans[0].last

        Args:
            features: (T, F), features of one utterance.
            text: words of the lexicon.

        Returns:
            log_prob: natural log p(features, path | text).
            spans: spans of phones and silences in order of time; together they cover all frames.

        Raises:
            ValueError: `features` is not (T, F) or has too few frames for the text, or a word has
                no pronunciation.
        """
        _refuse_missing([text], self.tokenizer)
        data = _utterance(features, text, self.tokenizer, self.topology)
        _check_width(data.features, self.gmm.means.shape[2])
        emissions = self.gmm.emissions(data.features)[:, None]
        lengths, graphs = torch.tensor([len(emissions)]), pad_graphs([data.graph])
        log_probs, path = viterbi(emissions, lengths, graphs, self.topology.self_loops)
        words, symbols = data.words, self.tokenizer.symbols
        spans = [
            UnitSpan("", "", span.first, span.last)
            if span.word < 0
            else UnitSpan(words[span.word], symbols[span.token], span.first, span.last)
            for span in token_spans(data.graph, path[:, 0].tolist())
        ]
        return log_probs.item(), spans


def fit_hmm(
    features: Sequence[Tensor | np.ndarray],
    texts: Sequence[str],
    lexicon: AnyLexicon,
    n_states: int = 3,
    n_silence_states: int = 3,
    n_components: int | None = None,
    n_passes: int = 20,
) -> Hmm:
    """Train an HMM of phones by expectation-maximisation (Baum-Welch), from a flat start.

    There may be silence before the first word, between words and after the last. The silence
    states start from the mean of a tenth of each utterance's frames: those with the lowest first
    value. With MFCCs or log energies these are the quietest frames.

    >>> features = [asr.mfcc(waveform, 16000, n_deltas=2) for waveform in waveforms]
    >>> hmm = asr.fit_hmm(features, texts, {"three": "TH R IY", "five": "F AY V"})
    >>> log_prob, spans = hmm.align(features[0], texts[0])

    Args:
        features: one array for each utterance, (T, F), all with the same F and on the CPU.
        texts: one text for each utterance, of words in the lexicon.
        lexicon: a dictionary of words and their phones, a `Lexicon`, or the path of a
            pronunciation dictionary. For a list of words, the letters are the phones. Words are
            converted to lower or upper case if all texts are in that case.
        n_states: number of states of each phone.
        n_silence_states: number of states of the silence; 0 for no silence.
        n_components: final number of Gaussians of all states together; None for one per 200
            frames. States with too few frames for their share get fewer.
        n_passes: number of passes over all data. Gaussians are added in the first three quarters.

    Returns:
        hmm: the trained model; see `Hmm.align`. States with fewer than 10 frames keep their
            initial values; a line on stderr names them.

    Raises:
        InputError: the lexicon's file can't be used.
        ValueError: shapes do not match, there is no utterance, an utterance has too few frames for
            the states of its words, words have no pronunciation, or a number is out of range.

    Source: Rabiner 1989, "A tutorial on hidden Markov models", section III.
    """
    least = {"n_states": 1, "n_silence_states": 0, "n_components": 1, "n_passes": 1}
    for (name, lowest), value in zip(
        least.items(), (n_states, n_silence_states, n_components, n_passes), strict=True
    ):
        if value is not None and value < lowest:
            raise ValueError(f"{name} is {value}; expected {lowest} or more")
    tokenizer = PhoneTokenizer.from_lexicon(as_lexicon(lexicon).in_case(case_of(texts)))
    topology = left_to_right(len(tokenizer.symbols), n_states, n_silence_states)
    data = _utterances(features, texts, tokenizer, topology)
    S, n_frames = len(topology.self_loops), sum(len(one.features) for one in data)
    total = max(S, n_frames // FRAMES_A_COMPONENT if n_components is None else n_components)
    frames, quiet_frames = (one.features for one in data), map(_quiet_frames, data)
    gmm, floor = flat_hmm(frames, quiet_frames, topology, FLOOR_SHARE)
    self_loops, history = topology.self_loops.double(), []
    batches = list(_batches(data))
    for number in range(1, n_passes + 1):
        found = _expect_all(gmm, self_loops, batches)
        gmm, self_loops, starved, _ = improve(gmm, self_loops, found, floor, MIN_COUNT)
        history.append(float(found.log_likelihoods.sum()) / n_frames)
        if number <= GROWING * n_passes:
            due = n_components_after(number, S, total, max(1, int(GROWING * n_passes)))
            gmm = grown(gmm, found.statistics.counts.sum(1), due, MAX_COMPONENTS, MIN_COUNT)
    if line := starved_line(starved, pdf_names(topology, tokenizer.symbols), MIN_COUNT):
        print(f"fit_hmm: {line}", file=sys.stderr)
    trained = Topology(topology.pdfs, topology.silence, self_loops)
    return Hmm(gmm, trained, tokenizer, tuple(history))


class _Utterance(NamedTuple):
    features: Tensor  # (T, F)
    words: list[str]
    graph: Graph


class _Batch(NamedTuple):
    features: Tensor  # (T, N, F)
    input_lengths: Tensor  # (N,)
    graphs: Graphs


def _utterances(
    features: Sequence[Tensor | np.ndarray],
    texts: Sequence[str],
    tokenizer: PhoneTokenizer,
    topology: Topology,
) -> list[_Utterance]:
    """Check the input of `fit_hmm`; the error names all words without a pronunciation."""
    texts = texts_of("texts", texts)
    if len(features) != len(texts) or not texts:
        found = f"there are {len(features)} features and {len(texts)} texts"
        raise ValueError(f"{found}; expected one for each")
    _refuse_missing(texts, tokenizer)
    utterances = [
        _utterance(rows, text, tokenizer, topology, f"[{n}]")
        for n, (rows, text) in enumerate(zip(features, texts, strict=True))
    ]
    F = utterances[0].features.shape[1]
    for n, utterance in enumerate(utterances):
        _check_width(utterance.features, F, f"[{n}]")
    return utterances


def _utterance(
    features: Tensor | np.ndarray,
    text: str,
    tokenizer: PhoneTokenizer,
    topology: Topology,
    place: str = "",
) -> _Utterance:
    """Check one utterance; `place` is its index in error messages."""
    check_dense(f"features{place}", features)
    with expecting(f"features{place}", features, "a tensor or an array, (T, F)"):
        rows = torch.as_tensor(features).detach()
    words = _words(text)
    if rows.ndim != 2 or not rows.is_floating_point():
        found = f"features{place} has shape {tuple(rows.shape)} and type {rows.dtype}"
        raise ValueError(f"{found}; expected (T, F), floats")
    if not rows.isfinite().all():
        raise ValueError(f"features{place} has values that are not finite; expected numbers")
    if not words and not topology.silence:
        raise ValueError(f"texts{place} has no word; expected some, since there is no silence")
    graph = utterance_graph([tokenizer.pronunciations(word) for word in words], topology)
    if len(rows) < graph.shortest:
        states = f"the states of {' '.join(words)!r} take {graph.shortest}"
        raise ValueError(f"features{place} has {counted(len(rows), 'frame')}; {states}")
    return _Utterance(rows, words, graph)


def _words(text: str) -> list[str]:
    return canonical(text).split()


def _refuse_missing(texts: Sequence[str], tokenizer: PhoneTokenizer) -> None:
    if missing := tokenizer.lexicon.missing(word for text in texts for word in _words(text)):
        raise ValueError(f"no pronunciation in the lexicon for {listed(missing)}")


def _check_width(features: Tensor, F: int, place: str = "") -> None:
    if features.shape[1] != F:
        shape = tuple(features.shape)
        raise ValueError(f"features{place} has shape {shape}; expected (T, {F})")


def _quiet_frames(utterance: _Utterance) -> Tensor:
    """The tenth of the frames with the lowest first value."""
    order = utterance.features[:, 0].argsort(stable=True)
    return utterance.features[order[: max(1, len(order) // 10)]]


def _batches(data: Sequence[_Utterance]) -> Iterator[_Batch]:
    """Put all utterances into batches; utterances of similar length share a batch."""
    batch: list[_Utterance] = []
    for utterance in sorted(data, key=lambda one: len(one.features)):
        if batch and (len(batch) + 1) * len(utterance.features) > BATCH:
            yield _padded(batch)
            batch = []
        batch.append(utterance)
    yield _padded(batch)


def _padded(batch: Sequence[_Utterance]) -> _Batch:
    features = pad_sequence([one.features for one in batch])
    lengths = torch.tensor([len(one.features) for one in batch])
    return _Batch(features, lengths, pad_graphs([one.graph for one in batch]))


def _expect_all(gmm: Gmm, self_loops: Tensor, batches: Sequence[_Batch]) -> Expected:
    """The E-step of a pass over all batches."""
    found = [expect(gmm, self_loops, *batch) for batch in batches]
    total = found[0].statistics
    for batch in found[1:]:
        total = total + batch.statistics
    return Expected(
        total,
        sum((batch.stays for batch in found[1:]), found[0].stays),
        sum((batch.leaves for batch in found[1:]), found[0].leaves),
        torch.cat([batch.log_likelihoods for batch in found]),
    )
