"""input, state -> next state: recurrent cells as plain functions, for exact gradients.

The weights have the names, shapes and gate order of torch's cells. All functions take any leading
dimensions, so that one sequence works like a batch, and any floating-point type.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CellName = Literal["linear", "rnn", "gru", "lstm", "lstm-peephole"]
"""Linear units, tanh units (Elman), gated recurrent units, LSTM, LSTM with peepholes."""

CellWeights = dict[str, Tensor]
"""`weight_ih` (G * H, F) and `weight_hh` (G * H, H) for G gates; except for "linear", `bias_ih`
(G * H,) and `bias_hh` (G * H,); for "lstm-peephole" also `weight_peephole` (3, H)."""

Step = Callable[[Tensor, Tensor, CellWeights], Tensor]
"""Inputs (..., F), state (..., S) and weights -> the next state (..., S)."""


def linear_step(inputs: Tensor, state: Tensor, weights: CellWeights) -> Tensor:
    """The next state of linear units: h' = W x + U h.

    Args:
        inputs: (..., F), x.
        state: (..., H), h.
        weights: W and U.

    Returns:
        state: (..., H).
    """
    return F.linear(inputs, weights["weight_ih"]) + F.linear(state, weights["weight_hh"])


def rnn_step(inputs: Tensor, state: Tensor, weights: CellWeights) -> Tensor:
    """The next state of tanh units: h' = tanh(W x + b + U h + c).

    Args:
        inputs: (..., F), x.
        state: (..., H), h.
        weights: W, U, b and c.

    Returns:
        state: (..., H).

    Source: Elman 1990, "Finding structure in time"; as `torch.nn.RNNCell`.
    """
    return (_input_product(inputs, weights) + _recurrent_product(state, weights)).tanh()


def gru_step(inputs: Tensor, state: Tensor, weights: CellWeights) -> Tensor:
    """The next state of gated recurrent units.

    With p = W x + b and q = U h + c, each in three parts for the gates r, z and n:

        r = sigmoid(p_r + q_r)    z = sigmoid(p_z + q_z)
        n = tanh(p_n + r * q_n)   h' = (1 - z) * n + z * h

    Args:
        inputs: (..., F), x.
        state: (..., H), h.
        weights: W, U, b and c, with gates in the order r, z, n.

    Returns:
        state: (..., H).

    Source: Cho et al. 2014, arXiv:1406.1078; as `torch.nn.GRUCell`, which resets after the product
    with U, not before it, and exchanges z and 1 - z.
    """
    return gru_output(_input_product(inputs, weights), _recurrent_product(state, weights), state)


def gru_output(from_input: Tensor, from_output: Tensor, output: Tensor) -> Tensor:
    """The output of gated recurrent units, (..., H); see `gru_step`.

    Args:
        from_input: (..., 3 H), p.
        from_output: (..., 3 H), q.
        output: (..., H), h.
    """
    p, q = from_input.chunk(3, -1), from_output.chunk(3, -1)
    reset, update = (p[0] + q[0]).sigmoid(), (p[1] + q[1]).sigmoid()
    new = (p[2] + reset * q[2]).tanh()
    return torch.lerp(new, output, update)


def lstm_step(inputs: Tensor, state: Tensor, weights: CellWeights) -> Tensor:
    """The next state of long short-term memory.

    With a = W x + b + U h + d, in four parts for the gates i, f, g and o:

        c' = sigmoid(a_f) * c + sigmoid(a_i) * tanh(a_g)    h' = sigmoid(a_o) * tanh(c')

    Args:
        inputs: (..., F), x.
        state: (..., 2 H), the outputs h followed by the cells c.
        weights: W, U, b and d, with gates in the order i, f, g, o.

    Returns:
        state: (..., 2 H).

    Source: Hochreiter and Schmidhuber 1997, "Long short-term memory"; the forget gate f is from
    Gers, Schmidhuber and Cummins 2000, "Learning to forget"; as `torch.nn.LSTMCell`.
    """
    output, cell = state.chunk(2, -1)
    gates = _input_product(inputs, weights) + _recurrent_product(output, weights)
    return torch.cat(lstm_state(gates, cell), -1)


def lstm_state(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The output and the cell of long short-term memory, (..., H) each; see `lstm_step`.

    Args:
        gates: (..., 4 H), a.
        cell: (..., H), c.
    """
    i, f, g, o = gates.chunk(4, -1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def peephole_step(inputs: Tensor, state: Tensor, weights: CellWeights) -> Tensor:
    """The next state of long short-term memory whose gates see the cells.

    As `lstm_step`, but with p_i * c added to a_i, p_f * c to a_f, and p_o * c' to a_o.

    Args:
        inputs: (..., F), x.
        state: (..., 2 H), the outputs h followed by the cells c.
        weights: as for `lstm_step`, and the peephole weights p_i, p_f and p_o as three rows.

    Returns:
        state: (..., 2 H).

    Source: Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with LSTM recurrent
    networks"; as equations 7 to 11 of Graves 2013, arXiv:1308.0850.
    """
    output, cell = state.chunk(2, -1)
    gates = _input_product(inputs, weights) + _recurrent_product(output, weights)
    return torch.cat(peephole_state(gates, cell, weights["weight_peephole"]), -1)


def peephole_state(gates: Tensor, cell: Tensor, peepholes: Tensor) -> tuple[Tensor, Tensor]:
    """The output and the cell, (..., H) each; see `peephole_step`.

    Args:
        gates: (..., 4 H), a.
        cell: (..., H), c.
        peepholes: (3, H), p_i, p_f and p_o.
    """
    i, f, g, o = gates.chunk(4, -1)
    to_i, to_f, to_o = peepholes
    cell = (f + to_f * cell).sigmoid() * cell + (i + to_i * cell).sigmoid() * g.tanh()
    return (o + to_o * cell).sigmoid() * cell.tanh(), cell


STEPS: dict[CellName, Step] = {
    "linear": linear_step,
    "rnn": rnn_step,
    "gru": gru_step,
    "lstm": lstm_step,
    "lstm-peephole": peephole_step,
}
"""The step function of each cell."""

N_GATES: dict[CellName, int] = {"linear": 1, "rnn": 1, "gru": 3, "lstm": 4, "lstm-peephole": 4}
"""Number of gates of each cell."""


def state_size(cell: CellName, hidden_size: int) -> int:
    """Number of values in a state; the first `hidden_size` of them are the cell's outputs."""
    return hidden_size * (2 if cell in ("lstm", "lstm-peephole") else 1)


def initial_weights(
    cell: CellName, input_size: int, hidden_size: int, generator: torch.Generator
) -> CellWeights:
    """Random weights, uniform from -1 / sqrt(H) to 1 / sqrt(H) as in torch's cells.

    The two biases of a forget gate add up to 1, as in `asr.networks.recurrent`.

    Args:
        cell: name of the cell.
        input_size: F.
        hidden_size: H.
        generator: source of the random numbers.

    Returns:
        weights: float64.
    """
    rows = N_GATES[cell] * hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, hidden_size),
    }
    if cell != "linear":
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if cell == "lstm-peephole":
        shapes["weight_peephole"] = (3, hidden_size)
    bound = 1 / math.sqrt(hidden_size)
    weights = {
        name: bound * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
        for name, shape in shapes.items()
    }
    if cell in ("lstm", "lstm-peephole"):
        for name in ("bias_ih", "bias_hh"):
            weights[name][hidden_size : 2 * hidden_size] = 0.5
    return weights


def _input_product(inputs: Tensor, weights: CellWeights) -> Tensor:
    return F.linear(inputs, weights["weight_ih"], weights["bias_ih"])


def _recurrent_product(output: Tensor, weights: CellWeights) -> Tensor:
    return F.linear(output, weights["weight_hh"], weights["bias_hh"])
