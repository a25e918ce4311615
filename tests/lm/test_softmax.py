from itertools import pairwise

import numpy as np
import pytest
import torch

from asr.lm.softmax import Softmax

E = 5
EACH_KIND = pytest.mark.parametrize("kind", ["full", "adaptive"])
EACH_SIZE = pytest.mark.parametrize("n_units", [1, 2, 3, 9, 10, 11, 40, 57])


def softmax_of(n_units, kind):
    softmax = Softmax(E, n_units, kind).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in softmax.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    return softmax


def some(n_units, N=30):
    generator = torch.Generator().manual_seed(2)
    outputs = torch.randn(N, E, generator=generator).double()
    return outputs, torch.randint(n_units, (N,), generator=generator)


def in_numpy(outputs, weights, n_units, kind):
    """The definition: the probability of a group times that within the group."""
    weight, bias, *of_groups = [value.detach().numpy() for value in weights.values()]

    def shares(matrix, offset):
        powers = np.exp(matrix @ outputs.T + offset[:, None])
        return powers / powers.sum(0)

    if kind == "full":
        return shares(weight, bias).T
    edges = [n_units // 10, 4 * n_units // 10, n_units]
    groups = [(a, b) for a, b in pairwise(edges) if a < b]
    frequent = edges[0]
    first = shares(
        np.concatenate([weight[:frequent], of_groups[0]]),
        np.concatenate([bias[:frequent], of_groups[1]]),
    )
    parts = [first[:frequent]]
    for number, (a, b) in enumerate(groups):
        parts.append(first[frequent + number] * shares(weight[a:b], bias[a:b]))
    return np.concatenate(parts).T


@EACH_KIND
@EACH_SIZE
def test_probabilities_equal_the_definition_and_sum_to_1(n_units, kind):
    softmax = softmax_of(n_units, kind)
    outputs, _ = some(n_units)
    found = softmax.log_probs(outputs).exp().detach().numpy()
    weights = dict(softmax.named_parameters())
    np.testing.assert_allclose(found, in_numpy(outputs.numpy(), weights, n_units, kind), rtol=1e-11)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)


@EACH_KIND
@EACH_SIZE
def test_scores_of_single_units_equal_those_of_log_probs(n_units, kind):
    softmax = softmax_of(n_units, kind)
    outputs, units = some(n_units)
    all_units = softmax.log_probs(outputs)
    expected = all_units.gather(1, units[:, None])[:, 0]
    torch.testing.assert_close(softmax.score(outputs, units), expected, rtol=1e-12, atol=1e-12)
    rows = torch.tensor([7, 7, 0, 29, 7, 3])
    units = torch.arange(6) * 11 % n_units
    found = softmax.score(outputs, units, rows)
    torch.testing.assert_close(found, all_units[rows, units], rtol=1e-12, atol=1e-12)


@EACH_KIND
def test_gradients_of_single_units_equal_those_of_log_probs(kind):
    softmax = softmax_of(40, kind)
    outputs, units = some(40)
    outputs.requires_grad_()
    over = [outputs, *softmax.parameters()]
    found = torch.autograd.grad(softmax.score(outputs, units).sum(), over)
    scores = softmax.log_probs(outputs).gather(1, units[:, None])
    for one, expected in zip(found, torch.autograd.grad(scores.sum(), over), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-11, atol=1e-12)


@EACH_KIND
def test_half_precision_stays_close_and_normalised(kind):
    softmax = softmax_of(40, kind).float()
    outputs, units = some(40)
    expected = softmax.log_probs(outputs.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = softmax.log_probs(outputs.float())
        scores = softmax.score(outputs.float(), units)
    assert found.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(1), torch.ones(30))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)  # bfloat16 has 8 bits
    torch.testing.assert_close(scores, found.gather(1, units[:, None])[:, 0])


def test_frequent_units_are_in_no_group():
    assert Softmax(E, 20_000, "adaptive").groups == [(2000, 8000), (8000, 20_000)]
    assert Softmax(E, 20_000, "full").groups == []
