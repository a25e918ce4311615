"""a recurrent network and an utterance -> how far back it remembers, and what its gates do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from asr.networks.acoustic import AcousticModel
from asr.networks.cells import input_product, is_lstm, read, recurrent_product
from asr.networks.equations import peephole_state
from asr.networks.peephole import PeepholeLSTM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_PROBES = 32
"""Number of output frames of an utterance whose gradients are measured."""

REACH_S = 2.0
"""Distance up to which gradients are measured, in seconds."""


class LayerRun(NamedTuple):
    """A layer of one direction that has read an utterance, or a chunk of it, from a state of zeros.

    Args:
        name: such as "layer 2 backward".
        layer: the layer.
        inputs: (T, 1, F), in the order in which the layer reads them.
        frame_s: seconds from one frame to the next.
    """

    name: str
    layer: nn.Module
    inputs: Tensor
    frame_s: float


@torch.no_grad()
def layer_runs(network: AcousticModel, features: Tensor, hop_s: float) -> list[LayerRun]:
    """What each layer of a network reads of an utterance.

    Args:
        network: in evaluation mode.
        features: (T, F).
        hop_s: seconds from one frame of features to the next.

    Returns:
        runs: of each layer and direction, from the lowest layer on. The backward direction of a
            network that reads chunk by chunk has a run for each chunk with its right context.
    """
    seen: dict[nn.Module, list[Tensor]] = {}

    def keep(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.setdefault(layer, []).append(given[0])

    stack = network.stack
    layers = [*stack.forwards, *stack.backwards]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    network(features[:, None], torch.tensor([len(features)], device=features.device))
    for hook in hooks:
        hook.remove()
    # a right context is a part of its own, after its chunk, and read anew in the next chunk
    n_parts = 2 if network.settings.right_frames else 1
    runs = []
    frame_s = hop_s * network.settings.time_reduction
    for depth, factor in enumerate(stack.factors):
        frame_s *= factor
        forward = stack.forwards[depth]
        whole = torch.cat(seen[forward][::n_parts])
        runs.append(LayerRun(f"layer {depth + 1} forward", forward, whole, frame_s))
        for backward in stack.backwards[depth : depth + 1]:
            name = f"layer {depth + 1} backward"
            runs += [LayerRun(name, backward, chunk, frame_s) for chunk in seen[backward]]
    return runs


def squared_gradients(
    outputs_of: Callable[[Tensor], Tensor], inputs: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """How much single frames of the output depend on each frame of the input.

    The square of the Jacobian's Frobenius norm is estimated without bias: as the squared norm of
    the gradient of the output's product with a random vector, whose values have variance 1.

    Args:
        outputs_of: inputs, (T, N, F), to outputs, (T', N, H), of N rows that do not depend on each
            other.
        inputs: (T, 1, F), of an utterance.
        generator: of the random vectors.

    Returns:
        frames: (P,), int64, numbers of output frames, spread evenly over the utterance.
        squares: (P, T), for each of them and each input frame, the sum of the squared derivatives
            of all its values with respect to all values of the input frame.

    Source: Hutchinson 1989 (random vectors); Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063
    (gradients that vanish or explode).
    """
    rows = inputs.detach().expand(-1, N_PROBES, -1).clone().requires_grad_()
    # cuDNN's recurrent layers have no gradient outside training
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        outputs = outputs_of(rows)
        frames = torch.linspace(0, len(outputs) - 1, N_PROBES).round().long()
        probed = outputs[frames, torch.arange(N_PROBES)]
        vectors = torch.randn(probed.shape, generator=generator).to(probed)
        (gradients,) = torch.autograd.grad((probed * vectors).sum(), rows)
    return frames, gradients.square().sum(2).T.cpu()


def network_gradients(
    network: AcousticModel, features: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`squared_gradients` of a network's log-probabilities, with respect to its features.

    For a network that classifies whole utterances, they are those of its frames before pooling.

    Args:
        network: in evaluation mode, unless dropout is wanted.
        features: (T, 1, F), of an utterance.
        generator: of the random vectors.

    Returns:
        centres: (P,), int64, the middle of the features' frames that an output frame stands for.
        squares: (P, T).
    """

    def log_probs(rows: Tensor) -> Tensor:
        lengths = torch.full((rows.shape[1],), len(rows), device=rows.device)
        return network.log_probs(network.recurrent(*network.reduced(rows, lengths))[0])

    frames, squares = squared_gradients(log_probs, features, generator)
    n = network.settings.frames_per_output
    return (frames * n + (n - 1) // 2).clamp(max=len(features) - 1), squares


class MemoryCurve:
    """The mean over frames and utterances of `squared_gradients`, by distance.

    Args:
        n_distances: K; distances from -K to K are kept, in frames of the input; below 0 is before.
    """

    def __init__(self, n_distances: int) -> None:
        self.distances = torch.arange(-n_distances, n_distances + 1)
        self._sums = torch.zeros(len(self.distances), dtype=torch.float64)
        self._counts = torch.zeros(len(self.distances), dtype=torch.float64)

    def add(self, centres: Tensor, squares: Tensor) -> None:
        """Add an utterance.

        Args:
            centres: (P,), the input frame at which each output frame is.
            squares: (P, T), from `squared_gradients`.
        """
        distances = torch.arange(squares.shape[1]) - centres[:, None]
        near = distances.abs() <= self.distances[-1]
        places = distances[near] + self.distances[-1]
        self._sums.index_add_(0, places, squares[near].double())
        self._counts.index_add_(0, places, torch.ones(len(places), dtype=torch.float64))

    @property
    def norms(self) -> Tensor:
        """(2 K + 1,), float64: root mean squares; NaN at distances that no utterance has."""
        return (self._sums / self._counts).sqrt()

    def reach(self, direction: int, share: float = 0.1) -> int:
        """The largest distance at which the norm is at least `share` of the highest.

        Args:
            direction: 1 for frames after the output, -1 for frames before it.
            share: from 0 to 1.
        """
        norms = self.norms.nan_to_num(0.0)
        far = (norms >= share * norms.max()) & (self.distances * direction >= 0)
        return int(self.distances[far].abs().max()) if far.any() else 0

    def draw(self, plot: "Axes", frame_s: float, is_backward: bool = False) -> None:
        """Draw the norms over the distance in ms.

        Args:
            plot: to draw in.
            frame_s: seconds from one frame of the input to the next.
            is_backward: whether frames that are read before are later in time.
        """
        ms = 1000 * frame_s * self.distances.numpy() * (-1 if is_backward else 1)
        plot.semilogy(ms, self.norms.numpy(), linewidth=1.4)
        plot.set_xlabel("input frame, ms before (-) or after the output frame")
        plot.set_ylabel("norm of the gradient")
        plot.grid(alpha=0.3)

    def factor(self) -> float:
        """The mean factor by which the norm changes with each frame further before the output.

        It is the geometric mean from distance 0 to the reach, or to distance 1 if that is 0.
        """
        far = max(1, self.reach(-1))
        here, there = (self.norms[self.distances == -distance].item() for distance in (0, far))
        return (there / here) ** (1 / far) if here else 0.0


@torch.no_grad()
def gates(run: LayerRun) -> dict[str, Tensor]:
    """The values of a layer's gates, outputs and cells at every frame.

    Returns:
        values: (T, H) each by name: "input", "forget", "output" gate of an LSTM; "reset" and
            "update" gate of a GRU; "outputs" of every layer; "cells" of an LSTM.
    """
    layer = run.layer
    outputs, _ = read(layer, run.inputs)
    outputs = outputs[:, 0]
    total = input_product(layer, run.inputs[:, 0])
    from_output = recurrent_product(layer, torch.cat([torch.zeros_like(outputs[:1]), outputs[:-1]]))
    if isinstance(layer, nn.RNN):
        return {"outputs": outputs}
    total = total + from_output
    if isinstance(layer, nn.GRU):
        reset, update = total.sigmoid().chunk(3, 1)[:2]
        return {"reset": reset, "update": update, "outputs": outputs}
    assert is_lstm(layer)
    peepholes = (
        layer.weight_peephole_l0
        if isinstance(layer, PeepholeLSTM)
        else total.new_zeros(3, total.shape[1] // 4)
    )
    states = [torch.zeros_like(peepholes[0])]
    for row in total:
        states.append(peephole_state(row, states[-1], peepholes)[1])
    before, cells = torch.stack(states[:-1]), torch.stack(states[1:])
    i, f, _, o = total.chunk(4, 1)
    return {
        "input": (i + peepholes[0] * before).sigmoid(),
        "forget": (f + peepholes[1] * before).sigmoid(),
        "output": (o + peepholes[2] * cells).sigmoid(),
        "cells": cells,
        "outputs": outputs,
    }
