import numpy as np
import pytest
import torch

from asr.networks.equations import STEPS, initial_weights, state_size

TORCH_CELLS = {"rnn": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}


def random_step(cell, N=4, F=3, H=5, seed=0):
    """Weights, inputs (N, F) and a state (N, S)."""
    generator = torch.Generator().manual_seed(seed)
    weights = initial_weights(cell, F, H, generator)
    inputs = torch.randn(N, F, generator=generator, dtype=torch.float64)
    state = torch.randn(N, state_size(cell, H), generator=generator, dtype=torch.float64)
    return weights, inputs, state


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_steps_equal_the_cells_of_torch(cell):
    weights, inputs, state = random_step(cell)
    module = TORCH_CELLS[cell](3, 5).double()
    module.load_state_dict(weights)
    expected = (
        torch.cat(module(inputs, state.chunk(2, 1)), 1) if cell == "lstm" else module(inputs, state)
    )
    found = STEPS[cell](inputs, state, weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_peephole_step_equals_the_equations_in_numpy():
    weights, inputs, state = random_step("lstm-peephole")
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}

    def gate(number, n):  # W x + U h + b of one gate
        rows = slice(5 * number, 5 * number + 5)
        bias = arrays["bias_ih"][rows] + arrays["bias_hh"][rows]
        recurrent = arrays["weight_hh"][rows] @ state[n, :5].numpy()
        return arrays["weight_ih"][rows] @ inputs[n].numpy() + recurrent + bias

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    found = STEPS["lstm-peephole"](inputs, state, weights).numpy()
    peepholes = arrays["weight_peephole"]
    for n in range(4):
        cell = state[n, 5:].numpy()
        enter = sigmoid(gate(0, n) + peepholes[0] * cell)
        forget = sigmoid(gate(1, n) + peepholes[1] * cell)
        cell = forget * cell + enter * np.tanh(gate(2, n))
        output = sigmoid(gate(3, n) + peepholes[2] * cell) * np.tanh(cell)
        np.testing.assert_allclose(found[n], np.r_[output, cell], rtol=1e-12)


def test_without_peephole_weights_it_is_an_lstm():
    weights, inputs, state = random_step("lstm-peephole")
    weights["weight_peephole"].zero_()
    found, expected = (STEPS[cell](inputs, state, weights) for cell in ("lstm-peephole", "lstm"))
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)


def test_linear_steps_add_up():
    weights, inputs, state = random_step("linear")
    found = STEPS["linear"](2 * inputs, 3 * state, weights).numpy()
    expected = 2 * inputs.numpy() @ weights["weight_ih"].numpy().T
    expected += 3 * state.numpy() @ weights["weight_hh"].numpy().T
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("cell", STEPS)
def test_one_sequence_steps_like_its_batch(cell):
    weights, inputs, state = random_step(cell)
    batch = STEPS[cell](inputs, state, weights)
    for n in range(4):
        alone = STEPS[cell](inputs[n], state[n], weights)
        torch.testing.assert_close(alone, batch[n], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "lstm-peephole"])
def test_biases_of_the_forget_gate_add_up_to_1(cell):
    weights = random_step(cell)[0]
    both = weights["bias_ih"] + weights["bias_hh"]
    assert both[5:10].tolist() == [1.0] * 5
    assert both.abs().sum() > 5
