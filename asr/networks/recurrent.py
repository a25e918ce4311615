"""sequence -> sequence: deep recurrent networks, exact under padding and chunk by chunk."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from asr.errors import check_size

Cell = Literal["rnn", "gru", "lstm"]
"""Tanh units (Elman), gated recurrent units, or long short-term memory."""

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
"""Number of gates of each cell; each has a matrix for the input and one for the last output."""

MAX_HIDDEN = 2**16
"""Maximum number of units of a layer."""

MAX_LAYERS = 100
"""Maximum number of layers."""

MAX_WEIGHTS = 2**31
"""Maximum number of weights of a stack: 8 GiB in float32."""


@dataclass(frozen=True)
class Dropout:
    """Dropout rates: shares of values set to 0 in training; the rest is scaled by 1 / (1 - share).

    Args:
        hidden: rate for the output of each layer except the last.
        output: rate for the output of the last layer.
        recurrent: rate for the recurrent (hidden-to-hidden) weights (DropConnect).
        variational: whether all frames of a sequence share one mask, instead of one mask per frame.

    Raises:
        ValueError: a share is not from 0 to below 1.

    Source: Gal and Ghahramani 2016, arXiv:1512.05287 (one mask for all frames); Merity, Keskar and
    Socher 2018, arXiv:1708.02182, section 2 (recurrent weights).
    """

    hidden: float = 0.0
    output: float = 0.0
    recurrent: float = 0.0
    variational: bool = False

    def __post_init__(self) -> None:
        for name in ("hidden", "output", "recurrent"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"dropout.{name} is {getattr(self, name)}; expected from 0 to below 1"
                )


class RecurrentStack(nn.Module):
    """Recurrent layers over padded sequences; outputs do not depend on padding or on the batch.

    Each direction runs as its own padded layer. In the forward direction, padding after the end of
    a sequence can't influence the sequence. For the backward direction, each sequence is reversed
    within its own length, so that its last frame comes first. This is exact, and on a CPU several
    times faster than packed sequences; on a GPU it still uses cuDNN's fused kernel.

    Args:
        input_size: number of values in a frame of the input.
        cell: the kind of recurrent units.
        hidden_size: units of one layer in one direction.
        n_layers: number of layers.
        bidirectional: whether every layer reads in both directions; their outputs are concatenated.
        dropout: share of each layer's output that is set to 0 in training; or a `Dropout`.
        layer_norm: whether each frame of a layer's output is normalised to mean 0 and variance 1,
            then scaled and shifted by learned values. CTC training converges in half the epochs.

    Raises:
        ValueError: the cell is unknown, a size is below 1, or a share is not from 0 to below 1.
        InputError: there are more than `MAX_WEIGHTS` weights.

    Source: Graves, Mohamed and Hinton 2013, arXiv:1303.5778 (deep bidirectional LSTM). The bias of
    a forget gate is initialised to 1 (Jozefowicz et al. 2015). Layer normalisation: Ba, Kiros and
    Hinton 2016, arXiv:1607.06450, who apply it within the cells.
    """

    def __init__(
        self,
        input_size: int,
        cell: Cell = "lstm",
        hidden_size: int = 320,
        n_layers: int = 3,
        bidirectional: bool = True,
        dropout: float | Dropout = 0.0,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}; expected one of {', '.join(CELLS)}")
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "n_layers": n_layers}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; expected 1 or more")
        outputs = hidden_size * (2 if bidirectional else 1)
        in_all = input_size + (n_layers - 1) * outputs + n_layers * hidden_size
        check_size("number of recurrent weights", GATES[cell] * outputs * in_all, 1, MAX_WEIGHTS)
        self.dropout = dropout if isinstance(dropout, Dropout) else Dropout(dropout, dropout)
        self.output_size = outputs
        parts = 2 if cell == "lstm" else 1
        self.state_size = parts * n_layers * hidden_size
        inputs = [input_size] + [self.output_size] * (n_layers - 1)
        self.forwards = nn.ModuleList(_layer(cell, size, hidden_size) for size in inputs)
        self.backwards = nn.ModuleList(
            _layer(cell, size, hidden_size) for size in inputs if bidirectional
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(self.output_size) if layer_norm else nn.Identity() for _ in inputs
        )

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Outputs of whole sequences.

        Args:
            inputs: (T, N, input_size).
            lengths: (N,), int64.

        Returns:
            outputs: (T, N, output_size); undefined after the end of a sequence.
        """
        reversal = _reversed_frames(lengths, len(inputs))
        outputs = inputs
        for depth, forwards in enumerate(self.forwards):
            directions = [self._outputs(forwards, outputs)]
            if self.backwards:
                backwards = self.backwards[depth]
                directions.append(
                    _reordered(self._outputs(backwards, _reordered(outputs, reversal)), reversal)
                )
            outputs = self._drop(self.norms[depth](torch.cat(directions, dim=2)), depth)
        return outputs

    def zero_state(self, rows: int) -> Tensor:
        """(rows, S): the initial state for `carry`, on the device of the weights.

        Raises:
            ValueError: the stack is bidirectional, so its outputs depend on later frames as well.
        """
        self._check_one_direction()
        weights = self.forwards[0].get_parameter("weight_hh_l0")
        return weights.new_zeros(rows, self.state_size)

    def carry(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of the next chunk, the same as if the whole sequence were computed at once.

        Args:
            inputs: (T, N, input_size), without padding.
            state: (N, S), from `zero_state` or the previous call: the outputs of all layers,
                followed by the cell states of all layers of an LSTM.

        Returns:
            outputs: (T, N, output_size).
            state: (N, S), after the last frame.

        Raises:
            ValueError: the stack is bidirectional, or the state's shape is wrong.
        """
        self._check_one_direction()
        if state.shape != (inputs.shape[1], self.state_size):
            expected = (inputs.shape[1], self.state_size)
            raise ValueError(f"state has shape {tuple(state.shape)}; expected {expected}")
        # (N, S) -> for each layer (1 or 2, N, H)
        before = state.unflatten(1, (-1, len(self.forwards), self.output_size)).permute(2, 1, 0, 3)
        after = []
        outputs = inputs
        for depth, layer in enumerate(self.forwards):
            outputs, last = self._read(layer, outputs, before[depth].contiguous())
            after.append(last.to(state.dtype))
            outputs = self._drop(self.norms[depth](outputs), depth)
        return outputs, torch.stack(after).permute(2, 1, 0, 3).flatten(1)

    def receive(self, inputs: Tensor) -> Tensor:
        """The first layer's input-to-hidden product, for `step`.

        Args:
            inputs: (N, input_size).

        Returns:
            received: (N, R).

        Raises:
            ValueError: the stack is bidirectional.
        """
        self._check_one_direction()
        return _product(self.forwards[0], "ih", inputs)

    def step(self, received: Tensor, state: Tensor) -> Tensor:
        """The state one frame later, the same as from `carry`, but without dropout.

        For single frames on a CPU this is several times faster than torch's own layers, which
        rearrange their weights in each call. An input that occurs several times, such as a unit of
        a language model, needs only one call of `receive`.

        Args:
            received: (N, R), from `receive`.
            state: (N, S).

        Returns:
            state: (N, S).
        """
        before = state.unflatten(1, (-1, len(self.forwards), self.output_size)).permute(2, 1, 0, 3)
        after: list[Tensor] = []
        for depth, layer in enumerate(self.forwards):
            if depth:
                received = _product(layer, "ih", self.norms[depth - 1](after[-1][0]))
            after.append(_step(layer, received, before[depth]))
        return torch.stack(after, 1).permute(2, 0, 1, 3).flatten(1)

    def _check_one_direction(self) -> None:
        if self.backwards:
            raise ValueError("bidirectional is True; expected a stack of one direction")

    def _outputs(self, layer: nn.Module, inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(layer, self._dropped(layer), (inputs,))[0]
        return outputs

    def _read(self, layer: nn.Module, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One layer's outputs and its state: (1, N, H), or (2, N, H) for an LSTM."""
        is_lstm = isinstance(layer, nn.LSTM)
        begin = tuple(state.split(1)) if is_lstm else state
        outputs, end = functional_call(layer, self._dropped(layer), (inputs, begin))
        return outputs, torch.cat(end) if is_lstm else end

    def _dropped(self, layer: nn.Module) -> dict[str, Tensor]:
        """The layer's recurrent weights with dropout; empty outside training or without dropout."""
        if not (self.training and self.dropout.recurrent):
            return {}
        return {
            "weight_hh_l0": F.dropout(layer.get_parameter("weight_hh_l0"), self.dropout.recurrent)
        }

    def _drop(self, outputs: Tensor, depth: int) -> Tensor:
        last = depth == len(self.forwards) - 1
        share = self.dropout.output if last else self.dropout.hidden
        return drop(outputs, share, self.dropout.variational, self.training)


def drop(outputs: Tensor, share: float, variational: bool, training: bool) -> Tensor:
    """Set a share of the outputs to 0, and scale the rest by 1 / (1 - share).

    Args:
        outputs: (T, N, H).
        share: the dropout rate, from 0 to below 1.
        variational: whether the same values of a sequence are set to 0 in all its frames.
        training: if false, the outputs are returned unchanged.
    """
    if not variational:
        return F.dropout(outputs, share, training)
    return outputs * F.dropout(torch.ones_like(outputs[:1]), share, training)


def _layer(cell: Cell, input_size: int, hidden_size: int) -> nn.Module:
    layer = CELLS[cell](input_size, hidden_size)
    if cell == "lstm":
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0):  # gates in the order i, f, g, o
            nn.init.constant_(bias[hidden_size : 2 * hidden_size], 0.5)
    return layer


def _step(layer: nn.Module, received: Tensor, state: Tensor) -> Tensor:
    """One layer's state one frame later: (1, N, H), or (2, N, H) for an LSTM."""
    output, *cells = state
    received = received.to(state.dtype)
    recalled = _product(layer, "hh", output)
    if isinstance(layer, nn.RNN):
        return (received + recalled).tanh()[None]
    if isinstance(layer, nn.GRU):
        reset, update = (received + recalled).sigmoid().chunk(3, 1)[:2]
        new = (received.chunk(3, 1)[2] + reset * recalled.chunk(3, 1)[2]).tanh()
        return torch.lerp(new, output, update)[None]
    enter, forget, new, leave = (received + recalled).chunk(4, 1)
    cell = forget.sigmoid() * cells[0] + enter.sigmoid() * new.tanh()
    return torch.stack([leave.sigmoid() * cell.tanh(), cell])


def _product(layer: nn.Module, kind: str, values: Tensor) -> Tensor:
    names = f"weight_{kind}_l0", f"bias_{kind}_l0"
    return F.linear(values, *map(layer.get_parameter, names))


def _reversed_frames(lengths: Tensor, T: int) -> Tensor:
    """(T, N): frame numbers that reverse each sequence within its length."""
    frames = torch.arange(T, device=lengths.device)[:, None]
    return torch.where(frames < lengths, lengths - 1 - frames, frames)


def _reordered(sequences: Tensor, reversal: Tensor) -> Tensor:
    return sequences.gather(0, reversal[:, :, None].expand(-1, -1, sequences.shape[2]))
