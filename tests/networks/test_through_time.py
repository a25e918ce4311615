import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asr.networks.equations import STEPS, initial_weights, state_size
from asr.networks.through_time import Network, Sequences, Weights, bptt, rtrl


def loss_of(states, targets, readout):
    """Cross-entropy of a linear readout of all values of the state; S is the same everywhere."""
    logits = F.linear(states, readout["weight"], readout["bias"])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def random_task(cell, T=7, N=3, n_inputs=2, H=4, n_classes=5, seed=0):
    """A network, its weights, and sequences with a target at each frame."""
    generator = torch.Generator().manual_seed(seed)
    S = state_size(cell, H)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    readout = {"weight": normal(n_classes, S), "bias": normal(n_classes)}
    weights = Weights(initial_weights(cell, n_inputs, H, generator), readout)
    targets = torch.randint(n_classes, (T, N), generator=generator)
    sequences = Sequences(normal(T, N, n_inputs), targets, normal(N, S))
    return Network(STEPS[cell], loss_of), weights, sequences


def assert_same(found, expected, rtol):
    pairs = [(found.loss, expected.loss), (found.state, expected.state)]
    pairs += zip(found.by_weights.tensors(), expected.by_weights.tensors(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()))


@pytest.mark.parametrize("cell", STEPS)
def test_rtrl_gives_the_gradient_of_bptt(cell):
    task = random_task(cell)
    assert_same(rtrl(*task), bptt(*task), rtol=1e-10)


@pytest.mark.parametrize("cell", STEPS)
def test_bptt_gives_the_slope_of_the_loss(cell):
    network, weights, sequences = random_task(cell)
    generator = torch.Generator().manual_seed(1)
    direction = [
        torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        for tensor in weights.tensors()
    ]

    def loss_at(distance):
        tensors = zip(weights.tensors(), direction, strict=True)
        moved = weights.replaced([tensor + distance * way for tensor, way in tensors])
        state, loss = sequences.state, 0.0
        for inputs, targets in zip(sequences.inputs, sequences.targets, strict=True):
            state = network.step(inputs, state, moved.cell)
            loss += network.loss(state[None], targets[None], moved.readout).item()
        return loss

    slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    found = bptt(network, weights, sequences).by_weights.tensors()
    expected = sum((one * way).sum().item() for one, way in zip(found, direction, strict=True))
    assert slope == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("chunk", [7, 8, 100])
@pytest.mark.parametrize("cell", STEPS)
def test_a_chunk_of_the_whole_sequence_gives_the_exact_gradient(cell, chunk):
    task = random_task(cell)
    assert_same(bptt(*task, chunk=chunk), bptt(*task), rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_chunks_equal_a_graph_that_is_cut_at_their_borders(cell, chunk):
    network, weights, sequences = random_task(cell)
    leaves = [tensor.clone().requires_grad_() for tensor in weights.tensors()]
    ours = weights.replaced(leaves)
    state, losses = sequences.state, []
    for t in range(7):
        if (7 - t) % chunk == 0:
            state = state.detach()
        state = network.step(sequences.inputs[t], state, ours.cell)
        losses.append(network.loss(state[None], sequences.targets[t : t + 1], ours.readout))
    sum(losses).backward()
    found = bptt(*random_task(cell), chunk=chunk)
    torch.testing.assert_close(found.loss, sum(losses).detach(), rtol=1e-12, atol=0.0)
    for one, leaf in zip(found.by_weights.tensors(), leaves, strict=True):
        torch.testing.assert_close(one, leaf.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("method", [bptt, rtrl])
def test_the_linear_unit_has_its_closed_form(method):
    """s_T = w_in * sum of x_t w_rec^(T - t), whose derivatives are sums as well."""
    T, w_in, w_rec = 6, 0.7, 0.9
    x = np.random.default_rng(0).normal(size=T)
    powers = np.arange(T)[::-1]
    state = w_in * (x * w_rec**powers).sum()
    by_input = 2 * state * (x * w_rec**powers).sum()
    by_state = 2 * state * w_in * (x * powers * w_rec ** (powers - 1.0)).sum()

    def squared_last(states, targets, readout):
        return (targets * states[:, :, 0] ** 2).sum()

    weights = Weights(
        {
            "weight_ih": torch.tensor([[w_in]], dtype=torch.float64),
            "weight_hh": torch.tensor([[w_rec]], dtype=torch.float64),
        },
        {},
    )
    last = torch.zeros(T, 1, dtype=torch.float64)
    last[-1] = 1
    inputs = torch.from_numpy(x)[:, None, None]
    sequences = Sequences(inputs, last, torch.zeros(1, 1, dtype=torch.float64))
    found = method(Network(STEPS["linear"], squared_last), weights, sequences)
    assert found.loss.item() == pytest.approx(state**2, rel=1e-12)
    assert found.by_weights.cell["weight_ih"].item() == pytest.approx(by_input, rel=1e-12)
    assert found.by_weights.cell["weight_hh"].item() == pytest.approx(by_state, rel=1e-12)


def test_a_short_chunk_misses_the_influence_of_early_weights():
    task = random_task("rnn")
    exact, cut = (bptt(*task, chunk=chunk).by_weights.cell["weight_hh"] for chunk in (None, 2))
    assert not torch.allclose(exact, cut, rtol=0.01)


@pytest.mark.parametrize("method", [bptt, rtrl])
def test_missing_frames_are_refused(method):
    network, weights, sequences = random_task("rnn")
    with pytest.raises(ValueError, match=r"targets have 6 frames; expected 7"):
        method(network, weights, sequences._replace(targets=sequences.targets[1:]))
    empty = sequences._replace(inputs=sequences.inputs[:0], targets=sequences.targets[:0])
    with pytest.raises(ValueError, match=r"inputs have 0 frames; expected 1 or more"):
        method(network, weights, empty)


def test_a_chunk_of_no_frames_is_refused():
    with pytest.raises(ValueError, match=r"chunk is 0; expected 1 or more"):
        bptt(*random_task("rnn"), chunk=0)
