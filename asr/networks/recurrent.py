"""sequence -> sequence: deep recurrent networks, exact under padding and chunk by chunk."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.audio.features import stack_frames
from asr.errors import check_size
from asr.networks.cells import (
    LSTMS,
    N_GATES,
    Cell,
    Initialisation,
    State,
    initialise,
    input_product,
    new_layer,
    read,
    step,
)

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


@dataclass(frozen=True)
class StackSettings:
    """Size and kind of a stack of recurrent layers.

    Args:
        cell: the kind of recurrent units.
        hidden_size: units of one layer in one direction.
        n_layers: number of layers.
        bidirectional: whether every layer reads in both directions; their outputs are concatenated.
        projection_size: size of an LSTM's output after a learned projection; 0 for none.
        pyramid: for each layer but the first, the number of frames of the layer below that it reads
            as one; () for one frame each.
        residual: whether a layer's input is added to its output, where both have the same size.
        layer_norm: whether each frame of a layer's output is normalised to mean 0 and variance 1,
            then scaled and shifted by learned values. CTC training converges in half the epochs.
        initialisation: initial values of the matrices.
        forget_bias: initial bias of the forget gates of an LSTM.
        dropout: shares of values that are set to 0 in training.

    Raises:
        ValueError: the cell is unknown, or a size is impossible.

    Source: Graves, Mohamed and Hinton 2013, arXiv:1303.5778 (deep bidirectional LSTM); Chan et al.
    2016, arXiv:1508.01211 (pyramid); Wu et al. 2016, arXiv:1609.08144, section 3.1 (residual); Ba,
    Kiros and Hinton 2016, arXiv:1607.06450 (layer normalisation, there within the cells).
    """

    cell: Cell = "lstm"
    hidden_size: int = 320
    n_layers: int = 3
    bidirectional: bool = True
    projection_size: int = 0
    pyramid: tuple[int, ...] = ()
    residual: bool = False
    layer_norm: bool = False
    initialisation: Initialisation = "torch"
    forget_bias: float = 1.0
    dropout: Dropout = Dropout()

    def __post_init__(self) -> None:
        if self.cell not in N_GATES:
            raise ValueError(f"cell is {self.cell!r}; expected one of {', '.join(N_GATES)}")
        for name in ("hidden_size", "n_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.projection_size and self.cell != "lstm":
            raise ValueError(
                f"projection_size is {self.projection_size}; expected 0 for {self.cell}"
            )
        if not 0 <= self.projection_size < self.hidden_size:
            raise ValueError(
                f"projection_size is {self.projection_size}; expected from 0 to below hidden_size,"
                f" {self.hidden_size}"
            )
        if self.pyramid and len(self.pyramid) != self.n_layers - 1:
            raise ValueError(
                f"pyramid is {self.pyramid}; expected {self.n_layers - 1} numbers, one for each"
                " layer but the first"
            )
        if any(factor < 1 for factor in self.pyramid):
            raise ValueError(f"pyramid is {self.pyramid}; expected numbers from 1 on")

    @property
    def direction_size(self) -> int:
        """Number of values in a frame of one direction's output."""
        return self.projection_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Number of values in a frame of the output."""
        return self.direction_size * (2 if self.bidirectional else 1)

    @property
    def time_reduction(self) -> int:
        """Number of frames of the input for each frame of the output."""
        return prod(self.pyramid)


class RecurrentStack(nn.Module):
    """Recurrent layers over padded sequences; outputs do not depend on padding or on the batch.

    Each direction runs as its own padded layer. In the forward direction, padding after the end of
    a sequence can't influence the sequence. For the backward direction, each sequence is reversed
    within its own length, so that its last frame comes first. This is exact, and on a CPU several
    times faster than packed sequences; on a GPU it still uses cuDNN's fused kernel.

    A state, (N, S), is what the forward direction carries from frame to frame: the outputs of all
    layers, followed by the cells of all layers of an LSTM.

    Args:
        input_size: number of values in a frame of the input.
        settings: size and kind of the layers.

    Raises:
        ValueError: `input_size` is below 1.
        InputError: there are more than `MAX_WEIGHTS` weights.
    """

    def __init__(self, input_size: int, settings: StackSettings) -> None:
        super().__init__()
        if input_size < 1:
            raise ValueError(f"input_size is {input_size}; expected 1 or more")
        self.settings = settings
        self.factors = (1, *(settings.pyramid or (1,) * (settings.n_layers - 1)))
        inputs = [input_size, *(settings.output_size * factor for factor in self.factors[1:])]
        n_units = settings.hidden_size * (2 if settings.bidirectional else 1)
        n_read = sum(inputs) + settings.n_layers * settings.direction_size
        n_weights = N_GATES[settings.cell] * n_units * n_read
        check_size("number of recurrent weights", n_weights, 1, MAX_WEIGHTS)
        self.forwards = nn.ModuleList(self._new_layer(size) for size in inputs)
        self.backwards = nn.ModuleList(
            self._new_layer(size) for size in inputs if settings.bidirectional
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(settings.output_size) if settings.layer_norm else nn.Identity()
            for _ in inputs
        )
        initialise(self, settings.initialisation)

    @property
    def output_size(self) -> int:
        """Number of values in a frame of the output."""
        return self.settings.output_size

    @property
    def state_size(self) -> int:
        """S, number of values of a state."""
        settings = self.settings
        cells = settings.hidden_size if settings.cell in LSTMS else 0
        return settings.n_layers * (settings.direction_size + cells)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of whole sequences.

        Args:
            inputs: (T, N, input_size).
            lengths: (N,), int64.

        Returns:
            outputs: (T', N, output_size); undefined after the end of a sequence.
            lengths: (N,), of the outputs: divided by `time_reduction` and rounded up.
        """
        outputs, lengths, _ = self._read(inputs, lengths)
        return outputs, lengths

    def zero_state(self, rows: int) -> Tensor:
        """(rows, S): the state before the first frame, on the device of the weights."""
        return self.forwards[0].get_parameter("weight_hh_l0").new_zeros(rows, self.state_size)

    def carry(
        self, inputs: Tensor, state: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs of the next chunk, the same as if the whole sequence were computed at once.

        Args:
            inputs: (T, N, input_size), where T is a multiple of `time_reduction` in every chunk but
                the last.
            state: (N, S), from `zero_state` or the previous call.
            lengths: (N,), int64, from 0 to T; None if all rows have T frames.

        Returns:
            outputs: (T', N, output_size); undefined after the end of a row.
            state: (N, S), after the last frame of each row.

        Raises:
            ValueError: the stack is bidirectional, or the state's shape is wrong.
        """
        self._check_one_direction()
        if lengths is None:
            outputs, _, after = self._read(inputs, _all_frames(inputs), state)
            return outputs, after
        going = lengths[:, None] > 0
        outputs, _, after = self._read(inputs, lengths.clamp(min=1), state, at_ends=True)
        return outputs, torch.where(going, after, state)

    def carry_chunk(
        self, inputs: Tensor, state: Tensor, lengths: Tensor, n_frames: int
    ) -> tuple[Tensor, Tensor]:
        """Outputs of the next chunk, where the backward direction sees no more than `inputs`.

        The state is that of the forward direction. The backward direction starts anew at the end of
        each chunk's right context: a network of both directions then waits for the right context
        only, not for the end of the sequence.

        Args:
            inputs: (T, N, input_size), a chunk and its right context.
            state: (N, S), from `zero_state` or the previous call.
            lengths: (N,), int64, from 1 to T, number of frames of each row; a row can end in the
                chunk or in the right context.
            n_frames: number of frames in the chunk; the next chunk begins with the frame after
                them. A multiple of `time_reduction`, except in the last chunk.

        Returns:
            outputs: (T', N, output_size), of the chunk and its right context, which is read anew
                with the next chunk.
            state: (N, S), after the chunk; undefined for rows that have ended.

        Raises:
            ValueError: the state's shape is wrong.

        Source: Zhang et al. 2016, arXiv:1510.08983, latency-controlled bidirectional LSTM.
        """
        outputs, _, after = self._read(inputs, lengths, state, until=n_frames)
        return outputs, after

    def input_product(self, inputs: Tensor) -> Tensor:
        """The first layer's input-to-hidden product, for `step`.

        Args:
            inputs: (N, input_size).

        Returns:
            from_input: (N, R).

        Raises:
            ValueError: the stack is bidirectional.
        """
        self._check_one_direction()
        return input_product(self.forwards[0], inputs)

    def step(self, from_input: Tensor, state: Tensor) -> Tensor:
        """The state one frame later, the same as from `carry`, but without dropout.

        For single frames on a CPU this is several times faster than torch's own layers, which
        rearrange their weights in each call. An input that occurs several times, such as a unit of
        a language model, needs only one call of `input_product`.

        Args:
            from_input: (N, R), from `input_product`.
            state: (N, S).

        Returns:
            state: (N, S).

        Raises:
            ValueError: the layers read several frames as one, or have residual links, for which the
                input of the first layer is missing.
        """
        if self.settings.time_reduction > 1 or self.settings.residual:
            raise ValueError("settings have a pyramid or residual links; expected neither")
        after: list[State] = []
        for depth, (layer, before) in enumerate(
            zip(self.forwards, self._split(state), strict=True)
        ):
            if depth:
                from_input = input_product(layer, self.norms[depth - 1](after[-1][0]))
            after.append(step(layer, from_input, before))
        return _joined(after)

    def _check_one_direction(self) -> None:
        if self.backwards:
            raise ValueError("bidirectional is True; expected a stack of one direction")

    def _new_layer(self, input_size: int) -> nn.Module:
        settings = self.settings
        return new_layer(
            settings.cell,
            input_size,
            settings.hidden_size,
            settings.projection_size,
            settings.forget_bias,
        )

    def _read(
        self,
        inputs: Tensor,
        lengths: Tensor,
        state: Tensor | None = None,
        at_ends: bool = False,
        until: int | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, their lengths, and the state.

        The state is that after the last frame; with `at_ends`, after each row's own end; with
        `until`, after so many frames.
        """
        size = inputs.shape[1], self.state_size
        if state is not None and state.shape != size:
            raise ValueError(f"state has shape {tuple(state.shape)}; expected {size}")
        begins = [None] * len(self.forwards) if state is None else self._split(state)
        ends: list[State] = []
        outputs = inputs
        for depth, factor in enumerate(self.factors):
            if factor > 1:
                outputs, lengths = stack_frames(outputs, lengths, factor)
                until = until and -(-until // factor)
            below = outputs
            ahead, end = self._ahead(
                depth, below, begins[depth], lengths if at_ends else None, until
            )
            behind = [self._behind(depth, below, lengths)] if self.backwards else []
            outputs = self.norms[depth](torch.cat([ahead, *behind], dim=2))
            if self.settings.residual and outputs.shape == below.shape:
                outputs = outputs + below
            outputs = self._drop(outputs, depth)
            ends.append(end)
        after = _joined(ends)
        return outputs, lengths, after if state is None else after.to(state.dtype)

    def _ahead(
        self,
        depth: int,
        inputs: Tensor,
        begin: State | None,
        lengths: Tensor | None,
        until: int | None,
    ) -> tuple[Tensor, State]:
        """A layer's outputs in the forward direction, and its state."""
        layer, dropout = self.forwards[depth], self._recurrent_dropout
        if until is None or until >= len(inputs):
            return read(layer, inputs, begin, lengths, dropout)
        first, end = read(layer, inputs[:until], begin, None, dropout)
        rest, _ = read(layer, inputs[until:], end, None, dropout)
        return torch.cat([first, rest]), end

    def _behind(self, depth: int, inputs: Tensor, lengths: Tensor) -> Tensor:
        """A layer's outputs in the backward direction."""
        reversal = _reversed_frames(lengths, len(inputs))
        reversed_inputs = _reordered(inputs, reversal)
        outputs, _ = read(
            self.backwards[depth], reversed_inputs, recurrent_dropout=self._recurrent_dropout
        )
        return _reordered(outputs, reversal)

    @property
    def _recurrent_dropout(self) -> float:
        return self.settings.dropout.recurrent if self.training else 0.0

    def _drop(self, outputs: Tensor, depth: int) -> Tensor:
        dropout = self.settings.dropout
        share = dropout.output if depth == len(self.forwards) - 1 else dropout.hidden
        return drop(outputs, share, dropout.variational, self.training)

    def _split(self, state: Tensor) -> list[State]:
        """(N, S) -> each layer's output and, for an LSTM, its cell."""
        n_layers, size = self.settings.n_layers, self.settings.direction_size
        outputs = state[:, : n_layers * size].split(size, 1)
        if self.settings.cell not in LSTMS:
            return [(output,) for output in outputs]
        cells = state[:, n_layers * size :].split(self.settings.hidden_size, 1)
        return list(zip(outputs, cells, strict=True))


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


def _joined(states: list[State]) -> Tensor:
    """The states of all layers -> (N, S)."""
    return torch.cat([part for parts in zip(*states, strict=True) for part in parts], 1)


def _all_frames(inputs: Tensor) -> Tensor:
    """(N,): the length of every row of (T, N, F) without padding."""
    return torch.full((inputs.shape[1],), len(inputs), device=inputs.device)


def _reversed_frames(lengths: Tensor, T: int) -> Tensor:
    """(T, N): frame numbers that reverse each sequence within its length."""
    frames = torch.arange(T, device=lengths.device)[:, None]
    return torch.where(frames < lengths, lengths - 1 - frames, frames)


def _reordered(sequences: Tensor, reversal: Tensor) -> Tensor:
    return sequences.gather(0, reversal[:, :, None].expand(-1, -1, sequences.shape[2]))
