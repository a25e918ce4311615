"""sequences, targets -> gradient: backpropagation through time, truncated or not, and RTRL."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from asr.networks.equations import CellWeights, Step

Loss = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]
"""States (T, N, S), targets (T, N) and the readout's weights -> a scalar, summed over frames.

The loss of all frames must be the sum of the losses of single frames."""


class Network(NamedTuple):
    """A recurrent network with a loss at each frame."""

    step: Step
    loss: Loss


class Weights(NamedTuple):
    """The weights of a network, or their gradient."""

    cell: CellWeights  # of the step function
    readout: dict[str, Tensor]  # of the loss

    def tensors(self) -> list[Tensor]:
        """All weights in a fixed order."""
        return [*self.cell.values(), *self.readout.values()]

    def replaced(self, tensors: Sequence[Tensor]) -> "Weights":
        """Other weights with the same names.

        Args:
            tensors: in the order of `tensors()`.
        """
        n_cell = len(self.cell)
        return Weights(
            dict(zip(self.cell, tensors[:n_cell], strict=True)),
            dict(zip(self.readout, tensors[n_cell:], strict=True)),
        )


class Sequences(NamedTuple):
    """A batch of sequences of the same length."""

    inputs: Tensor  # (T, N, F)
    targets: Tensor  # (T, N)
    state: Tensor  # (N, S), before the first frame


class Gradient(NamedTuple):
    """The loss of a batch and its gradient."""

    loss: Tensor  # scalar, summed over all frames
    by_weights: Weights
    state: Tensor  # (N, S), after the last frame


def bptt(
    network: Network, weights: Weights, sequences: Sequences, chunk: int | None = None
) -> Gradient:
    """The gradient by backpropagation through time; memory grows with the length T.

    With `chunk`, the sequences are read in chunks of so many frames, and the state goes from chunk
    to chunk without its gradient (truncated backpropagation through time). Memory then grows with
    the chunk only, but the gradient lacks all influence of weights on later chunks. The first chunk
    is the shorter one if T is not a multiple of `chunk`, so that a loss at the last frame always
    reaches back `chunk` frames.

    Args:
        network: step and loss.
        weights: of the network.
        sequences: the batch.
        chunk: frames in a chunk; None for the exact gradient.

    Raises:
        ValueError: `chunk` is below 1, or the sequences have no frames or no targets for each.

    Source: Werbos 1990, "Backpropagation through time: what it does and how to do it"; Williams
    and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories".
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}; expected 1 or more")
    T = _checked_length(sequences)
    leaves = [tensor.detach().requires_grad_() for tensor in weights.tensors()]
    cell, readout = weights.replaced(leaves)
    sums = [torch.zeros_like(leaf) for leaf in leaves]
    total, state = sequences.state.new_zeros(()), sequences.state
    for start, end in _chunks(T, chunk or T):
        states = []
        for inputs in sequences.inputs[start:end]:
            state = network.step(inputs, state, cell)
            states.append(state)
        loss = network.loss(torch.stack(states), sequences.targets[start:end], readout)
        found = torch.autograd.grad(loss, leaves, materialize_grads=True)
        sums = [before + new for before, new in zip(sums, found, strict=True)]
        total, state = total + loss.detach(), state.detach()
    return Gradient(total, weights.replaced(sums), state)


@torch.no_grad()
def rtrl(network: Network, weights: Weights, sequences: Sequences) -> Gradient:
    """The exact gradient by real-time recurrent learning; memory does not grow with the length T.

    The influence of the cell's weights on the state is carried forward beside the state:

        influence[t] = d step / d state @ influence[t - 1] + d step / d weights

    Each frame takes time for N S^2 P products and memory for N S P numbers, for P weights of the
    cell: this suits small cells. The weights stay the same for all frames. In on-line learning,
    where they change after each frame, the influence would be an approximation.

    Args:
        network: step and loss.
        weights: of the network.
        sequences: the batch.

    Raises:
        ValueError: the sequences have no frames or no targets for each.

    Source: Williams and Zipser 1989, "A learning algorithm for continually running fully recurrent
    neural networks".
    """
    _checked_length(sequences)
    jacobians = vmap(
        jacrev(_returned_twice(network.step), argnums=(1, 2), has_aux=True), in_dims=(0, 0, None)
    )
    names, state = list(weights.cell), sequences.state
    influence = state.new_zeros(*state.shape, sum(w.numel() for w in weights.cell.values()))
    total, by_cell = state.new_zeros(()), influence.new_zeros(influence.shape[2])
    by_readout = [torch.zeros_like(tensor) for tensor in weights.readout.values()]
    for inputs, targets in zip(sequences.inputs, sequences.targets, strict=True):
        (from_state, from_weights), state = jacobians(inputs, state, weights.cell)
        direct = torch.cat([from_weights[name].flatten(2) for name in names], 2)
        influence = torch.baddbmm(direct, from_state, influence)  # (N, S, P)
        loss, by_state, *new = _loss_gradient(network.loss, state, targets, weights.readout)
        by_cell += by_state.flatten() @ influence.flatten(0, 1)
        by_readout = [before + one for before, one in zip(by_readout, new, strict=True)]
        total += loss
    pieces = by_cell.split([weights.cell[name].numel() for name in names])
    cell = [piece.view_as(weights.cell[name]) for name, piece in zip(names, pieces, strict=True)]
    return Gradient(total, weights.replaced([*cell, *by_readout]), state)


def _loss_gradient(
    loss_of: Loss, state: Tensor, targets: Tensor, readout: dict[str, Tensor]
) -> list[Tensor]:
    """The loss of one frame, and its gradient by the state and by each weight of the readout."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (state, *readout.values())]
        weights = dict(zip(readout, leaves[1:], strict=True))
        loss = loss_of(leaves[0][None], targets[None], weights)
    return [loss.detach(), *torch.autograd.grad(loss, leaves, materialize_grads=True)]


def _checked_length(sequences: Sequences) -> int:
    """T; at least 1 and the same for inputs and targets."""
    T, n_targets = len(sequences.inputs), len(sequences.targets)
    if T < 1:
        raise ValueError("inputs have 0 frames; expected 1 or more")
    if n_targets != T:
        raise ValueError(f"targets have {n_targets} frames; expected {T}, as many as the inputs")
    return T


def _chunks(T: int, chunk: int) -> list[tuple[int, int]]:
    """First frame and end of each chunk; the first chunk may be shorter."""
    ends = range((T - 1) % chunk + 1, T + 1, chunk)
    return [(max(end - chunk, 0), end) for end in ends]


def _returned_twice(step: Step) -> Callable[..., tuple[Tensor, Tensor]]:
    """A step that returns its state twice: to be differentiated, and as it is."""

    def twice(inputs: Tensor, state: Tensor, weights: CellWeights) -> tuple[Tensor, Tensor]:
        after = step(inputs, state, weights)
        return after, after

    return twice
