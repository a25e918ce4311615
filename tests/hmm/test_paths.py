import math
import warnings

import numpy as np
import pytest
import torch
from hmmlearn.hmm import GMMHMM
from utterances import paths

from asr.hmm.gmm import Gmm, maximise, statistics
from asr.hmm.graph import pad_graphs, utterance_graph
from asr.hmm.paths import OUTSIDE, best_path, forward_backward, log_likelihoods, viterbi
from asr.hmm.topology import Topology, left_to_right, update_self_loops

A, B, C = (1,), (2,), (3,)
TEXTS = [
    [[A]],
    [[A, B + C]],
    [[A], [A]],
    [[B, C], [A + A, C]],
    [],
]


def topology(n_states=2, n_silent=1, seed=0):
    """A topology with a shared pdf (the last of c is the first of b) and different self-loops."""
    own = left_to_right(4, n_states, n_silent)
    pdfs = own.pdfs.clone()
    pdfs[3, -1] = pdfs[2, 0]
    generator = torch.Generator().manual_seed(seed)
    stays = torch.rand(len(own.self_loops), generator=generator, dtype=torch.float64) * 0.6 + 0.2
    return Topology(pdfs, own.silence, stays.log())


def random_emissions(T, N, hmm, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    shape = T, N, len(hmm.self_loops)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * scale - 3


def brute_force(emissions, words, hmm):
    """Log-likelihood, occupancies, stays, leaves and best path, by enumerating all paths."""
    T, S = emissions.shape
    found = []
    for log_prob, path in paths(words, hmm, T):
        acoustic = sum(float(emissions[t, state[0]]) for t, state in enumerate(path))
        found.append((log_prob + acoustic, path))
    occupancies, stays, visits = np.zeros((T, S)), np.zeros(S), np.zeros(S)
    total = np.logaddexp.reduce([-np.inf, *(log_prob for log_prob, _ in found)])
    for log_prob, path in found:
        share = math.exp(log_prob - total)
        for t, state in enumerate(path):
            occupancies[t, state[0]] += share
            visits[state[0]] += share
            # two successive states of a path are equal only where the self-loop is taken
            if t and path[t - 1] == state:
                stays[state[0]] += share
    best = max(found, key=lambda one: one[0], default=(-np.inf, None))
    return total, occupancies, stays, visits - stays, best


def arguments(emissions, lengths, texts, hmm):
    graphs = pad_graphs([utterance_graph(words, hmm) for words in texts])
    return emissions, torch.tensor(lengths), graphs, hmm.self_loops


@pytest.mark.parametrize("n_silent", [1, 2])
@pytest.mark.parametrize("n_states", [1, 2])
@pytest.mark.parametrize("scale", [2.0, 3000.0])
def test_forward_backward_equals_the_enumeration_of_all_paths(n_states, n_silent, scale):
    """Also where the log-probabilities of paths differ by thousands of nats."""
    hmm, lengths = topology(n_states, n_silent), [8, 5, 7, 8, 3]
    emissions = random_emissions(8, len(TEXTS), hmm, scale=scale)
    given = arguments(emissions, lengths, TEXTS, hmm)
    found = forward_backward(*given)
    stays, leaves = np.zeros((2, len(hmm.self_loops)))
    for n, (words, length) in enumerate(zip(TEXTS, lengths, strict=True)):
        total, occupancies, stayed, left, _ = brute_force(emissions[:length, n], words, hmm)
        assert float(found.log_likelihoods[n]) == pytest.approx(total, rel=1e-12)
        own = found.occupancies[:, n].numpy()
        np.testing.assert_allclose(own[:length], occupancies, rtol=1e-9, atol=1e-12)
        assert (own[length:] == 0).all()
        stays, leaves = stays + stayed, leaves + left
    np.testing.assert_allclose(found.stays.numpy(), stays, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.leaves.numpy(), leaves, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(log_likelihoods(*given), found.log_likelihoods, rtol=1e-13, atol=0)


@pytest.mark.parametrize("n_silent", [0, 1, 2])
@pytest.mark.parametrize("n_states", [1, 2])
def test_viterbi_finds_the_best_of_all_paths(n_states, n_silent):
    hmm, lengths = topology(n_states, n_silent), [8, 5, 7, 8]
    emissions = random_emissions(8, 4, hmm)
    log_probs, alignment = viterbi(*arguments(emissions, lengths, TEXTS[:4], hmm))
    counted = best_path(*arguments(emissions, lengths, TEXTS[:4], hmm))
    torch.testing.assert_close(counted.log_likelihoods, log_probs, rtol=0, atol=0)
    stays, visits = np.zeros((2, len(hmm.self_loops)))
    for n, (words, length) in enumerate(zip(TEXTS[:4], lengths, strict=True)):
        expected, path = brute_force(emissions[:length, n], words, hmm)[-1]
        assert float(log_probs[n]) == pytest.approx(expected, rel=1e-12)
        graph = utterance_graph(words, hmm)
        tables = graph.pdfs, graph.words, graph.positions, graph.tokens, graph.states
        states = alignment[:length, n].tolist()
        assert [tuple(int(table[state]) for table in tables) for state in states] == path
        assert (alignment[length:, n] == OUTSIDE).all()
        for t, state in enumerate(path):
            visits[state[0]] += 1
            stays[state[0]] += t > 0 and path[t - 1] == state
            row = counted.occupancies[t, n]
            assert row[state[0]] == row.sum() == 1
        assert (counted.occupancies[length:, n] == 0).all()
    assert counted.stays.tolist() == stays.tolist()
    assert counted.leaves.tolist() == (visits - stays).tolist()


@pytest.mark.parametrize("padding", [1e4, -torch.inf, torch.nan])
def test_a_batch_with_padding_equals_single_utterances(padding):
    hmm, lengths = topology(n_states=3), [30, 12, 25, 28, 9]
    emissions = random_emissions(30, len(TEXTS), hmm)
    for n, length in enumerate(lengths):
        emissions[length:, n] = padding
    given = arguments(emissions, lengths, TEXTS, hmm)
    together, best, (_, path) = forward_backward(*given), best_path(*given), viterbi(*given)
    scores, stays, leaves = log_likelihoods(*given), 0, 0
    for n, (words, length) in enumerate(zip(TEXTS, lengths, strict=True)):
        given = arguments(emissions[:length, n : n + 1], [length], [words], hmm)
        alone = forward_backward(*given)
        exact = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(alone.log_likelihoods[0], scores[n], **exact)
        torch.testing.assert_close(
            together.occupancies[:length, n], alone.occupancies[:, 0], **exact
        )
        assert (together.occupancies[length:, n] == 0).all()
        assert torch.equal(path[:length, n], viterbi(*given)[1][:, 0])
        torch.testing.assert_close(best.log_likelihoods[n], best_path(*given).log_likelihoods[0])
        stays, leaves = stays + alone.stays, leaves + alone.leaves
    torch.testing.assert_close(together.stays, stays, **exact)
    torch.testing.assert_close(together.leaves, leaves, **exact)
    torch.testing.assert_close(together.log_likelihoods, scores, **exact)


def test_an_utterance_that_is_too_short_has_no_path_and_no_counts():
    hmm = topology(n_states=2)
    graph = utterance_graph([[A], [B]], hmm)
    assert graph.shortest == 4
    emissions = random_emissions(4, 3, hmm)
    lengths = [3, 4, 0]
    graphs = pad_graphs([graph] * 3)
    given = emissions, torch.tensor(lengths), graphs, hmm.self_loops
    found = forward_backward(*given)
    assert found.log_likelihoods.isfinite().tolist() == [False, True, False]
    assert (found.log_likelihoods[[0, 2]] == -torch.inf).all()
    assert found.occupancies.sum((0, 2)).tolist() == pytest.approx([0, 4, 0], rel=1e-12)
    assert float(found.stays.sum()) == pytest.approx(0, abs=1e-12)
    assert float(found.leaves.sum()) == pytest.approx(4, rel=1e-12)
    torch.testing.assert_close(log_likelihoods(*given), found.log_likelihoods)
    log_probs, alignment = viterbi(*given)
    assert (log_probs[[0, 2]] == -torch.inf).all()
    assert (alignment[:, [0, 2]] == OUTSIDE).all()
    assert best_path(*given).leaves.sum() == 4


class ExactGMMHMM(GMMHMM):
    """hmmlearn computes variances around the old means; exact EM takes them around the new ones."""

    def _do_mstep(self, stats):
        before = self.means_.copy()
        super()._do_mstep(stats)
        self.covars_ -= (self.means_ - before) ** 2


def left_to_right_data(F=4, n_states=3, n_components=2, seed=0):
    """Sequences of frames, and a model's initial weights, means and variances, (states, ...)."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(0, 1.5, (n_states, n_components, F))
    sequences = []
    for _ in range(12):
        durations = generator.integers(2, 9, n_states)
        states = np.repeat(np.arange(n_states), durations)
        picked = centres[states, generator.integers(n_components, size=len(states))]
        sequences.append(picked + generator.normal(0, 1, picked.shape))
    weights = generator.dirichlet(np.full(n_components, 5.0), n_states)
    means = centres + generator.normal(0, 0.7, centres.shape)
    return sequences, weights, means, generator.uniform(0.5, 2.0, centres.shape)


def em_step_of_hmmlearn(sequences, weights, means, variances, stay):
    """Log-likelihood before the step; the weights, means, variances and stays after it.

    hmmlearn has no end state. So each sequence gets one more frame, far from all others, and the
    model one more state for such frames; their likelihood is subtracted again.
    """
    (S, M), F = weights.shape, means.shape[2]
    ends = 300 + np.random.default_rng(9).normal(0, 1, (len(sequences), 1, F))
    longer = [np.concatenate(pair) for pair in zip(sequences, ends, strict=True)]
    model = ExactGMMHMM(S + 1, M, n_iter=1, init_params="", params="tmcw", implementation="log")
    model.startprob_ = np.eye(S + 1)[0]
    model.transmat_ = np.diag([*stay, 1.0]) + np.diag(1 - stay, 1)
    model.weights_ = np.concatenate([weights, np.full((1, M), 1 / M)])
    model.means_ = np.concatenate([means, np.full((1, M, F), 300.0)])
    model.covars_ = np.concatenate([variances, np.ones((1, M, F))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # log 0
        model.fit(np.concatenate(longer), [len(one) for one in longer])
    of_ends = -0.5 * ((ends - 300) ** 2).sum() - 0.5 * ends.size * math.log(2 * math.pi)
    stays = np.diag(model.transmat_)[:S]
    after = model.weights_[:S], model.means_[:S], model.covars_[:S], stays
    return model.monitor_.history[0] - of_ends, after


@pytest.mark.parametrize("seed", range(2))
def test_a_step_of_em_equals_hmmlearns(seed):
    sequences, weights, means, variances = left_to_right_data(seed=seed)
    stay = np.array([0.6, 0.8, 0.7])
    expected, parts = em_step_of_hmmlearn(sequences, weights, means, variances, stay)

    hmm = Topology(torch.tensor([[-1] * 3, [0, 1, 2]]), (), torch.from_numpy(np.log(stay)))
    gmm = Gmm(*map(torch.from_numpy, (np.log(weights), means, variances)))
    frames = [torch.from_numpy(sequence) for sequence in sequences]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    features = torch.nn.utils.rnn.pad_sequence(frames)
    graphs = pad_graphs([utterance_graph([[A]], hmm)] * len(frames))
    found = forward_backward(gmm.emissions(features), lengths, graphs, hmm.self_loops)
    assert float(found.log_likelihoods.sum()) == pytest.approx(expected, rel=1e-10)

    inside = torch.arange(len(features))[:, None] < lengths
    counted = statistics(gmm, features[inside], found.occupancies[inside])
    after = maximise(gmm, counted, torch.tensor(0.0), min_count=0).gmm
    self_loops = update_self_loops(hmm.self_loops, found.stays, found.leaves, 0, lowest=0)
    ours = after.log_weights.exp(), after.means, after.variances, self_loops.exp()
    for one, other in zip(ours, parts, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-8, atol=1e-10)


def test_the_likelihood_never_falls_over_ten_steps():
    hmm = topology(n_states=2, n_silent=1)
    S, generator = len(hmm.self_loops), torch.Generator().manual_seed(0)
    features = torch.randn(25, 8, 3, generator=generator, dtype=torch.float64).cumsum(0)
    lengths = torch.randint(12, 26, (8,), generator=generator)
    graphs = pad_graphs([utterance_graph(TEXTS[n % 4], hmm) for n in range(8)])
    means = torch.randn(S, 2, 3, generator=generator, dtype=torch.float64) * 3
    gmm = Gmm(torch.full((S, 2), math.log(0.5)), means, torch.ones(S, 2, 3))
    inside = torch.arange(25)[:, None] < lengths
    self_loops, totals = hmm.self_loops, []
    for _ in range(10):
        found = forward_backward(gmm.emissions(features), lengths, graphs, self_loops)
        totals.append(float(found.log_likelihoods.sum()))
        counted = statistics(gmm, features[inside], found.occupancies[inside])
        gmm = maximise(gmm, counted, torch.tensor(0.05), min_count=0).gmm
        self_loops = update_self_loops(self_loops, found.stays, found.leaves, 0)
    assert (np.diff(totals) > 0).all()


def test_single_precision_is_enough_for_emissions():
    hmm = topology(n_states=3)
    emissions = random_emissions(200, 1, hmm, scale=20.0) - 80
    given = arguments(emissions, [200], [TEXTS[3]], hmm)
    expected, found = forward_backward(*given), forward_backward(emissions.float(), *given[1:])
    assert found.occupancies.dtype == torch.float32
    torch.testing.assert_close(found.occupancies.double(), expected.occupancies, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.log_likelihoods, expected.log_likelihoods, rtol=1e-7, atol=0)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    hmm = topology(n_states=3)
    emissions = random_emissions(30, len(TEXTS), hmm)
    given = arguments(emissions, [30, 12, 25, 28, 9], TEXTS, hmm)
    there = tuple(part.to("cuda") for part in given)
    for one, other in zip(forward_backward(*given), forward_backward(*there), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-9, atol=1e-12)
    for one, other in zip(viterbi(*given), viterbi(*there), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-12, atol=0)
    torch.testing.assert_close(log_likelihoods(*there).cpu(), log_likelihoods(*given))


@pytest.mark.parametrize("function", [forward_backward, viterbi, log_likelihoods])
def test_arguments_that_do_not_match_are_refused(function):
    hmm = topology()
    S = len(hmm.self_loops)
    emissions, lengths, graphs, loops = arguments(
        random_emissions(5, 2, hmm), [5, 5], TEXTS[:2], hmm
    )
    with pytest.raises(
        ValueError, match=rf"emissions has shape \(5, {S}\); expected \(T, 2, {S}\)"
    ):
        function(emissions[:, 0], lengths, graphs, loops)
    with pytest.raises(ValueError, match=rf"emissions has shape \(0, 2, {S}\)"):
        function(emissions[:0], lengths, graphs, loops)
    with pytest.raises(ValueError, match=r"input_lengths has shape \(3,\); expected \(2,\)"):
        function(emissions, torch.tensor([5, 5, 5]), graphs, loops)
    with pytest.raises(ValueError, match="input_lengths has 6; expected from 0 to 5"):
        function(emissions, torch.tensor([5, 6]), graphs, loops)
    with pytest.raises(ValueError, match="input_lengths has -1; expected from 0 to 5"):
        function(emissions, torch.tensor([5, -1]), graphs, loops)
    with pytest.raises(ValueError, match="graphs has pdf 6; expected below 6"):
        function(emissions[:, :, :6], lengths, graphs, loops[:6])
