"""One frame of the peephole LSTM, forward and backward; see the equations in `peephole`."""

from typing import NamedTuple

import torch
from torch import Tensor


class Slopes(NamedTuple):
    """Derivatives of the equations, of every frame or of one.

    Args:
        gates: (..., 3, H), of the cell with respect to what i, f and g get.
        cell: of the output with respect to the cell, with o held fixed.
        output_gate: of the output with respect to what o gets.
        forget: of the cell with respect to the cell before, with the gates held fixed.
    """

    gates: Tensor
    cell: Tensor
    output_gate: Tensor
    forget: Tensor


def slopes_of(gates: Tensor, cells: Tensor, cells_before: Tensor) -> Slopes:
    """The derivatives at frames with these gates, (..., 4, H), and cells, (..., H)."""
    i, f, g, o = gates.unbind(-2)
    squashed = cells.tanh()
    of_gates = [g * i * (1 - i), cells_before * f * (1 - f), i * (1 - g * g)]
    of_cell = o * (1 - squashed * squashed)
    return Slopes(torch.stack(of_gates, -2), of_cell, squashed * o * (1 - o), f)


def forward_step(
    from_input: Tensor,
    output_before: Tensor,
    cell_before: Tensor,
    weight: Tensor,
    peepholes: Tensor,
    gates: Tensor,
    output: Tensor,
    cell: Tensor,
) -> None:
    """One frame: fill `gates`, (N, 4, H), `output` and `cell`, (N, H) each.

    Args:
        from_input: (N, 4 H), what the gates get from the input, with biases.
        output_before: (N, H).
        cell_before: (N, H).
        weight: (4 H, H).
        peepholes: (3, H).
        gates: to be filled with i, f, tanh(...) and o.
        output: to be filled.
        cell: to be filled.
    """
    torch.addmm(from_input, output_before, weight.T, out=gates.view_as(from_input))
    i, f, g, o = gates.unbind(1)
    gates[:, :2].addcmul_(cell_before[:, None], peepholes[:2]).sigmoid_()
    torch.mul(f, cell_before, out=cell).addcmul_(i, g.tanh_())
    o.addcmul_(cell, peepholes[2]).sigmoid_()
    torch.tanh(cell, out=output).mul_(o)


def backward_step(
    of_gates_after: Tensor,
    of_output: Tensor,
    of_cell: Tensor,
    weight: Tensor,
    peepholes: Tensor,
    slopes: Slopes,
    of_gates: Tensor,
) -> None:
    """One frame backwards: fill `of_gates`, (N, 4, H), and change `of_cell` to that before.

    Args:
        of_gates_after: (N, 4, H), gradients of what the gates get one frame later.
        of_output: (N, H), gradient of the output, without what comes through the next frame.
        of_cell: (N, H), gradient of the cell, without what comes through this frame's output.
        weight: (4 H, H).
        peepholes: (3, H).
        slopes: of this frame.
        of_gates: to be filled with the gradients of what i, f, g and o get.
    """
    of_output = torch.addmm(of_output, of_gates_after.flatten(1), weight)
    i, f, _, o = of_gates.unbind(1)
    torch.mul(of_output, slopes.output_gate, out=o)
    of_cell.addcmul_(of_output, slopes.cell).addcmul_(o, peepholes[2])
    torch.mul(of_cell[:, None], slopes.gates, out=of_gates[:, :3])
    of_cell.mul_(slopes.forget).addcmul_(i, peepholes[0]).addcmul_(f, peepholes[1])
