import itertools
import tracemalloc

import numpy as np
import pytest
import torch

from asr.alignment import trellis
from asr.alignment.trellis import ctc_states, hmm_states, most_probable_path
from asr.hmm.graph import pad_graphs, utterance_graph
from asr.hmm.paths import viterbi
from asr.hmm.topology import left_to_right
from asr.networks.ctc import ctc_align, frames_needed


@pytest.fixture
def many_checkpoints(monkeypatch):
    """Checkpoints every two frames and more, so that short utterances have several blocks."""
    monkeypatch.setattr(trellis, "_MIN_FRAMES", 2)
    monkeypatch.setattr(trellis, "MAX_CHECKPOINTS", 7)


def random_log_probs(generator, T, C):
    return np.log(generator.dirichlet(np.full(C, 0.3), size=T).clip(1e-20)).astype(np.float32)


def random_words(generator, C):
    """Up to seven words, each with one to four pronunciations of up to three tokens."""
    return [
        [tuple(generator.integers(1, C, generator.integers(1, 4))) for _ in range(n)]
        for n in generator.integers(1, 5, generator.integers(1, 8))
    ]


def test_ctc_paths_are_those_of_torchaudio(many_checkpoints):
    generator = np.random.default_rng(0)
    for _ in range(200):
        C = int(generator.integers(2, 6))
        tokens = generator.integers(1, C, generator.integers(0, 12)).tolist()
        T = max(1, frames_needed(tokens)) + int(generator.integers(0, 40))
        log_probs = random_log_probs(generator, T, C)
        states = ctc_states(tokens)
        assert states.shortest == max(1, frames_needed(tokens))
        log_prob, path = most_probable_path(states, log_probs)
        expected = ctc_align(log_probs, tokens)
        assert states.columns[path].tolist() == expected.tolist()
        due = log_probs[np.arange(T), expected].sum(dtype=np.float64)
        assert log_prob == pytest.approx(due, rel=1e-12)


def test_hmm_paths_are_those_of_the_unabridged_viterbi(many_checkpoints):
    generator = np.random.default_rng(1)
    for _ in range(150):
        C, n_silence = int(generator.integers(2, 5)), int(generator.integers(0, 5))
        topology = left_to_right(C, int(generator.integers(1, 4)), n_silence)
        S = len(topology.self_loops)
        self_loops = torch.from_numpy(np.log(generator.uniform(0.1, 0.9, S)))
        graph = utterance_graph(random_words(generator, C), topology)
        states = hmm_states(graph, self_loops.numpy())
        assert states.shortest == graph.shortest
        T = graph.shortest + int(generator.integers(0, 40))
        emissions = torch.from_numpy(5 * random_log_probs(generator, T, S))
        log_prob, path = most_probable_path(states, emissions.numpy())
        batch = emissions[:, None], torch.tensor([T]), pad_graphs([graph]), self_loops
        due, expected = viterbi(*batch)
        assert log_prob == pytest.approx(due.item(), rel=1e-12)
        # two pronunciations may be the same, and their paths equally probable
        assert graph.pdfs[path].tolist() == graph.pdfs[expected[:, 0]].tolist()


def test_a_short_path_is_the_best_of_all_enumerated():
    generator = np.random.default_rng(2)
    log_probs = random_log_probs(generator, 7, 3)
    sums = {
        path: sum(log_probs[t, token] for t, token in enumerate(path))
        for path in itertools.product(range(3), repeat=7)
        if [token for token, _ in itertools.groupby(path) if token] == [1, 1, 2]
    }
    states = ctc_states([1, 1, 2])
    _, path = most_probable_path(states, log_probs)
    assert tuple(states.columns[path]) == max(sums, key=sums.get)


def test_the_text_is_found_although_a_worse_place_comes_first():
    """A search that keeps only the states near the best one would lose the start of the text."""
    generator = np.random.default_rng(3)
    tokens = generator.integers(1, 5, 500)
    log_probs = np.full((20_000, 5), np.log(0.1), dtype=np.float32)
    log_probs[:, 0] = np.log(0.6)
    log_probs[0:1000:2, 0] = np.log(0.1)
    log_probs[np.arange(0, 1000, 2), tokens] = np.log(0.5)
    said = np.arange(15_000, 17_000, 4)
    log_probs[said] = np.log(1e-9)
    log_probs[said, tokens] = 0.0
    _, path = most_probable_path(ctc_states(tokens.tolist()), log_probs)
    assert path[said].tolist() == list(range(1, 1001, 2))


def test_no_path_is_possible_without_a_probability_or_frames():
    log_probs = np.log(np.full((4, 3), 1 / 3, dtype=np.float32))
    log_probs[:, 2] = -np.inf
    for tokens in ([2], [1, 1, 1]):
        log_prob, path = most_probable_path(ctc_states(tokens), log_probs)
        assert (log_prob, len(path)) == (-np.inf, 0)


def test_memory_grows_far_less_than_frames_times_states():
    generator = np.random.default_rng(4)
    T, U = 20_000, 8_000  # ten minutes
    tokens = generator.integers(1, 30, U).tolist()
    log_probs = random_log_probs(generator, T, 30)
    states = ctc_states(tokens)
    most_probable_path(ctc_states([1]), log_probs)  # compiled before, as that takes memory
    tracemalloc.start()
    _, path = most_probable_path(states, log_probs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6 < T * len(states.columns) / 15
    runs = itertools.groupby(states.columns[path].tolist())
    assert [token for token, _ in runs if token] == tokens
