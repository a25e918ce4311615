"""One frame of the peephole LSTM on a GPU, forward and backward, each in one Triton kernel.

Each kernel does what the function of the same name in `asr.networks.peephole_steps` does. A program
computes one block of rows and units: it adds up its part of the matrix product, and applies the
equations to the sums before they leave the registers.
"""

import triton
import triton.language as tl
from torch import Tensor

from asr.networks.peephole_steps import Slopes

ROWS, UNITS, INNER = 16, 32, 32
"""Sizes of a block: rows, units, and values that are multiplied and added at once."""


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
    """One frame, see `peephole_steps.forward_step`; all tensors are contiguous, float32."""
    N, H = output.shape
    grid = triton.cdiv(N, ROWS), triton.cdiv(H, UNITS)
    _forward[grid](
        from_input,
        output_before,
        cell_before,
        weight,
        peepholes,
        gates,
        output,
        cell,
        N,
        H,
        ROWS,
        UNITS,
        INNER,
    )


def backward_step(
    of_gates_after: Tensor,
    of_output: Tensor,
    of_cell: Tensor,
    weight: Tensor,
    peepholes: Tensor,
    slopes: Slopes,
    of_gates: Tensor,
) -> None:
    """One frame backwards, see `peephole_steps.backward_step`."""
    N, H = of_output.shape
    grid = triton.cdiv(N, ROWS), triton.cdiv(H, UNITS)
    _backward[grid](
        of_gates_after,
        of_output,
        of_cell,
        weight,
        peepholes,
        slopes.gates,
        slopes.cell,
        slopes.output_gate,
        slopes.forget,
        slopes.forget.stride(0),
        of_gates,
        N,
        H,
        ROWS,
        UNITS,
        INNER,
    )


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    from_input,
    output_before,
    cell_before,
    weight,
    peepholes,
    gates,
    output,
    cell,
    N,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    INNER: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    units = tl.program_id(1) * UNITS + tl.arange(0, UNITS)[None, :]
    inside = (rows < N) & (units < H)
    of_gate = rows * 4 * H + units  # of i; f, g and o are H, 2 H and 3 H values further
    i = tl.load(from_input + of_gate, inside)
    f = tl.load(from_input + of_gate + H, inside)
    g = tl.load(from_input + of_gate + 2 * H, inside)
    o = tl.load(from_input + of_gate + 3 * H, inside)
    for start in range(0, H, INNER):
        inner = start + tl.arange(0, INNER)
        before = tl.load(
            output_before + rows * H + inner[None, :], (rows < N) & (inner[None, :] < H), 0.0
        )
        at = weight + units * H + inner[:, None]  # (INNER, UNITS), of i
        of_weight = (inner[:, None] < H) & (units < H)
        i += tl.dot(before, tl.load(at, of_weight, 0.0), input_precision="ieee")
        f += tl.dot(before, tl.load(at + H * H, of_weight, 0.0), input_precision="ieee")
        g += tl.dot(before, tl.load(at + 2 * H * H, of_weight, 0.0), input_precision="ieee")
        o += tl.dot(before, tl.load(at + 3 * H * H, of_weight, 0.0), input_precision="ieee")
    last = tl.load(cell_before + rows * H + units, inside)
    i = tl.sigmoid(i + tl.load(peepholes + units, units < H) * last)
    f = tl.sigmoid(f + tl.load(peepholes + H + units, units < H) * last)
    g = 2 * tl.sigmoid(2 * g) - 1  # tanh
    new = f * last + i * g
    o = tl.sigmoid(o + tl.load(peepholes + 2 * H + units, units < H) * new)
    tl.store(gates + of_gate, i, inside)
    tl.store(gates + of_gate + H, f, inside)
    tl.store(gates + of_gate + 2 * H, g, inside)
    tl.store(gates + of_gate + 3 * H, o, inside)
    tl.store(cell + rows * H + units, new, inside)
    tl.store(output + rows * H + units, o * (2 * tl.sigmoid(2 * new) - 1), inside)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    of_gates_after,
    of_output,
    of_cell,
    weight,
    peepholes,
    slope_gates,
    slope_cell,
    slope_output_gate,
    slope_forget,
    forget_stride,
    of_gates,
    N,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    INNER: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    units = tl.program_id(1) * UNITS + tl.arange(0, UNITS)[None, :]
    inside = (rows < N) & (units < H)
    at = rows * H + units
    gradient = tl.load(of_output + at, inside)
    for start in range(0, 4 * H, INNER):
        inner = start + tl.arange(0, INNER)
        after = tl.load(
            of_gates_after + rows * 4 * H + inner[None, :],
            (rows < N) & (inner[None, :] < 4 * H),
            0.0,
        )
        part = tl.load(
            weight + inner[:, None] * H + units, (inner[:, None] < 4 * H) & (units < H), 0.0
        )
        gradient += tl.dot(after, part, input_precision="ieee")
    o = gradient * tl.load(slope_output_gate + at, inside)
    change = tl.load(of_cell + at, inside) + gradient * tl.load(slope_cell + at, inside)
    change += o * tl.load(peepholes + 2 * H + units, units < H)
    of_slope = rows * 3 * H + units
    i = change * tl.load(slope_gates + of_slope, inside)
    f = change * tl.load(slope_gates + of_slope + H, inside)
    g = change * tl.load(slope_gates + of_slope + 2 * H, inside)
    change *= tl.load(slope_forget + rows * forget_stride + units, inside)
    change += i * tl.load(peepholes + units, units < H)
    change += f * tl.load(peepholes + H + units, units < H)
    of_gate = rows * 4 * H + units
    tl.store(of_gates + of_gate, i, inside)
    tl.store(of_gates + of_gate + H, f, inside)
    tl.store(of_gates + of_gate + 2 * H, g, inside)
    tl.store(of_gates + of_gate + 3 * H, o, inside)
    tl.store(of_cell + at, change, inside)
