"""sequence -> sequence: an LSTM whose gates also see the cell, which torch does not have."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from asr.networks.peephole_steps import Slopes, backward_step, forward_step, slopes_of


class PeepholeLSTM(nn.Module):
    """One LSTM layer of one direction with peepholes, called like `nn.LSTM`.

    With x the input, h and c the last output and cell, h' and c' the next ones:

        i = sigmoid(W_i x + U_i h + p_i c + b_i)
        f = sigmoid(W_f x + U_f h + p_f c + b_f)
        c' = f c + i tanh(W_g x + U_g h + b_g)
        o = sigmoid(W_o x + U_o h + p_o c' + b_o)
        h' = o tanh(c')

    The peepholes p multiply value by value. Names, shapes and the order of the gates (i, f, g, o)
    are those of `nn.LSTM`; `weight_peephole_l0` holds p_i, p_f and p_o.

    Args:
        input_size: number of values in a frame of the input.
        hidden_size: H, number of units.

    Source: Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with LSTM recurrent
    networks"; Graves, Mohamed and Hinton 2013, arXiv:1303.5778, equations 3 to 7.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih_l0 = _uniform(hidden_size, 4 * hidden_size, input_size)
        self.weight_hh_l0 = _uniform(hidden_size, 4 * hidden_size, hidden_size)
        self.bias_ih_l0 = _uniform(hidden_size, 4 * hidden_size)
        self.bias_hh_l0 = _uniform(hidden_size, 4 * hidden_size)
        self.weight_peephole_l0 = _uniform(hidden_size, 3, hidden_size)

    def forward(
        self,
        inputs: Tensor,
        state: tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs of all frames, and the state after each sequence's last frame.

        Args:
            inputs: (T, N, input_size).
            state: output and cell before the first frame, (1, N, H) each; None for zeros.
            lengths: (N,), int64, from 1 to T; None if all sequences have T frames.

        Returns:
            outputs: (T, N, H); undefined after a sequence's end.
            state: output and cell after the last frame, (1, N, H) each.
        """
        weight = self.weight_hh_l0
        from_input = F.linear(inputs, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        from_input = from_input.to(
            weight.dtype
        )  # the recurrence has full precision under autocast too
        if state is None:
            output = cell = weight.new_zeros(inputs.shape[1], self.hidden_size)
        else:
            output, cell = (part[0].to(weight.dtype) for part in state)
        outputs, cells = _Recurrence.apply(
            from_input, weight, self.weight_peephole_l0, output, cell
        )
        if lengths is None:
            return outputs, (outputs[-1:], cells[-1:])
        last = lengths - 1, torch.arange(len(lengths), device=lengths.device)
        return outputs, (outputs[last][None], cells[last][None])


class _Recurrence(torch.autograd.Function):
    """What the gates get from the inputs -> outputs and cells, (T, N, H) each.

    Autograd would record a dozen operations for each frame. Here a frame is one matrix product and
    a few operations in place, and the gradient of the weights is one product over all frames.
    """

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        from_input, weight, peepholes, output, cell = given
        T, N, H = *from_input.shape[:2], weight.shape[1]
        from_input = from_input.contiguous()
        gates = from_input.new_empty(T, N, 4, H)
        outputs, cells = from_input.new_empty(T, N, H), from_input.new_empty(T, N, H)
        forward_step, _ = _steps(from_input)
        before = output.contiguous(), cell.contiguous()
        for t in range(T):
            forward_step(from_input[t], *before, weight, peepholes, gates[t], outputs[t], cells[t])
            before = outputs[t], cells[t]
        ctx.save_for_backward(weight, peepholes, output, cell, gates, outputs, cells)
        return outputs, cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        weight, peepholes, output, cell, gates, outputs, cells = ctx.saved_tensors
        of_outputs, of_cells = (part.contiguous() for part in gradients)
        T, N, _, H = gates.shape
        outputs_before = torch.cat([output[None], outputs[:-1]])
        cells_before = torch.cat([cell[None], cells[:-1]])
        slopes = slopes_of(gates, cells, cells_before)

        of_gates = gates.new_empty(T + 1, N, 4, H)  # gradients of what the gates get
        of_gates[T] = 0
        of_cell = torch.zeros_like(cell)  # from the frames after
        _, backward_step = _steps(gates)
        for t in reversed(range(T)):
            of_cell += of_cells[t]
            at = Slopes(*(part[t] for part in slopes))
            backward_step(
                of_gates[t + 1], of_outputs[t], of_cell, weight, peepholes, at, of_gates[t]
            )

        of_output = of_gates[0].flatten(1) @ weight
        of_input = of_gates[:T].flatten(2)
        of_weight = of_input.flatten(0, 1).T @ outputs_before.flatten(0, 1)
        i, f, _, o = of_gates[:T].unbind(2)
        products = i * cells_before, f * cells_before, o * cells
        of_peepholes = torch.stack([product.sum((0, 1)) for product in products])
        return of_input, of_weight, of_peepholes, of_output, of_cell


def _steps(tensor: Tensor) -> tuple[Any, Any]:
    """The functions for one frame: those for a GPU fuse all operations into one kernel."""
    if tensor.is_cuda and tensor.dtype == torch.float32 and find_spec("triton"):
        from asr.networks import peephole_gpu

        return peephole_gpu.forward_step, peephole_gpu.backward_step
    return forward_step, backward_step


def _uniform(hidden_size: int, *shape: int) -> nn.Parameter:
    """Values as those of torch's own layers."""
    bound = hidden_size**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
