from dataclasses import replace

import pytest
import torch

from asr.errors import InputError
from asr.training.remember import (
    NO_TARGET,
    counting_sequences,
    gradient_function,
    recall_network,
    recall_sequences,
    train_counting,
    train_recall,
)
from asr.training.remember_settings import (
    CountingSettings,
    RecallSettings,
    RememberSettings,
    UpdateSettings,
)

GRADIENTS = ("bptt", "truncated", "rtrl")
SMALL = RememberSettings(
    chunk=3,
    counting=CountingSettings(
        length=4, n_sequences=10, updates=UpdateSettings(n_updates=120, lr=0.1, solved_loss=0.0)
    ),
    recall=RecallSettings(
        n_symbols=2,
        n_distractors=2,
        hidden_size=4,
        batch_size=8,
        n_test=200,
        updates=UpdateSettings(n_updates=80, lr=0.05, solved_loss=0.05),
    ),
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_counting_finds_two_weights_of_1(gradient):
    found = train_counting(SMALL, gradient)
    assert found.gradient == gradient
    assert found.input_weight == pytest.approx(1, abs=1e-3)
    assert found.recurrent_weight == pytest.approx(1, abs=1e-3)


def test_targets_of_counting_are_counts():
    inputs, targets, state = counting_sequences(SMALL.counting, generator())
    assert inputs.shape == (4, 10, 1)
    assert set(inputs.flatten().tolist()) == {0.0, 1.0}
    for n in range(10):
        ones = 0.0
        for t in range(4):
            ones += inputs[t, n, 0].item()
            assert targets[t, n] == ones
    assert state.tolist() == [[0.0]] * 10


def test_the_symbol_comes_first_and_is_asked_for_last():
    sequences = recall_sequences(SMALL.recall, "lstm", 3, 50, generator())
    assert sequences.inputs.shape == (5, 50, 5)
    assert sequences.state.shape == (50, 8)
    numbers = sequences.inputs.argmax(2)
    assert torch.equal(sequences.inputs.sum(2), torch.ones(5, 50, dtype=torch.float64))
    assert torch.equal(sequences.targets[-1], numbers[0])
    assert set(sequences.targets[:-1].flatten().tolist()) == {NO_TARGET}
    assert set(numbers[0].tolist()) == {0, 1}
    assert set(numbers[1:4].flatten().tolist()) == {2, 3}
    assert set(numbers[4].tolist()) == {4}


def test_a_symbol_is_recalled_after_training():
    found = train_recall(SMALL, "gru", "bptt", 2)
    assert found.accuracy == 1
    assert found.n_updates < 80


def test_both_exact_gradients_train_the_same_network():
    settings = replace(
        SMALL, recall=replace(SMALL.recall, updates=UpdateSettings(n_updates=10, lr=0.05))
    )
    one, other = (train_recall(settings, "gru", name, 2) for name in ("bptt", "rtrl"))
    assert (one.accuracy, one.n_updates) == (other.accuracy, other.n_updates)


def test_a_short_chunk_has_no_gradient_from_the_symbol():
    network, weights = recall_network(SMALL.recall, "lstm", generator())
    sequences = recall_sequences(SMALL.recall, "lstm", 3, 6, generator())

    def by_symbol(gradient, chunk):  # the input weights that only the first frame uses
        compute = gradient_function(gradient, chunk)
        return compute(network, weights, sequences).by_weights.cell["weight_ih"][:, :2]

    assert by_symbol("bptt", 4).abs().max() > 0
    assert by_symbol("truncated", 5).abs().max() > 0
    assert by_symbol("truncated", 4).abs().max() == 0


def test_a_loss_that_is_not_finite_is_refused():
    updates = UpdateSettings(n_updates=100, lr=1e200, max_grad_norm=1e300)
    settings = replace(SMALL, counting=replace(SMALL.counting, updates=updates))
    with pytest.raises(
        InputError, match=r"updates.lr is 1e\+200, with which the loss is (inf|nan)"
    ):
        train_counting(settings, "bptt")
