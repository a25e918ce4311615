"""settings -> generated sequences -> small networks, trained to count or to remember a symbol."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.errors import InputError
from asr.networks.equations import STEPS, CellName, initial_weights, state_size
from asr.networks.through_time import Gradient, Network, Sequences, Weights, bptt, rtrl
from asr.training.remember_settings import (
    CountingSettings,
    GradientName,
    RecallSettings,
    RememberSettings,
    UpdateSettings,
)

GradientFunction = Callable[[Network, Weights, Sequences], Gradient]
"""One of the ways of computing the gradient of a batch."""

NO_TARGET = -100
"""Target of a frame without loss, as in torch's cross-entropy."""


@dataclass(frozen=True)
class CountingResult:
    """The weights that one way of computing the gradient found; exact counting takes 1 and 1.

    Args:
        gradient: its name.
        input_weight: w_in.
        recurrent_weight: w_rec.
        seconds: of training.
    """

    gradient: GradientName
    input_weight: float
    recurrent_weight: float
    seconds: float


@dataclass(frozen=True)
class RecallResult:
    """How often a trained network names the symbol.

    Args:
        cell: name of the network.
        gradient: name of the way it was trained.
        distance: number of distractors, in training and test.
        accuracy: share of test sequences whose symbol is named.
        n_updates: number of updates.
        seconds: of training.
    """

    cell: CellName
    gradient: GradientName
    distance: int
    accuracy: float
    n_updates: int
    seconds: float


def train_counting(settings: RememberSettings, gradient: GradientName) -> CountingResult:
    """Train a linear unit of two weights to count ones.

    The state is w_in * x + w_rec * state. Its target at each frame is the number of ones so far, so
    that w_in = w_rec = 1 is the only exact solution.

    Raises:
        InputError: the loss is not finite any more.

    Source: the task is that of Roelants 2015, "How to implement a recurrent neural network", part
    1, with a target at each frame.
    """
    start = time.monotonic()
    generator = torch.Generator().manual_seed(settings.seed)
    sequences = counting_sequences(settings.counting, generator)
    weights = Weights(initial_weights("linear", 1, 1, generator), {})
    network = Network(STEPS["linear"], _counting_loss)
    compute = gradient_function(gradient, settings.chunk)
    _train(network, weights, lambda: sequences, compute, settings.counting.updates)
    w_in, w_rec = (weights.cell[name].item() for name in ("weight_ih", "weight_hh"))
    return CountingResult(gradient, w_in, w_rec, time.monotonic() - start)


def train_recall(
    settings: RememberSettings, cell: CellName, gradient: GradientName, distance: int
) -> RecallResult:
    """Train a network to name a symbol after `distance` distractors, and test it.

    The first weights and all sequences are the same for every way of computing the gradient.

    Raises:
        InputError: the loss is not finite any more.
    """
    start = time.monotonic()
    generator = torch.Generator().manual_seed(settings.seed)
    recall = settings.recall
    test = recall_sequences(recall, cell, distance, recall.n_test, generator)
    network, weights = recall_network(recall, cell, generator)
    draw = partial(recall_sequences, recall, cell, distance, recall.batch_size, generator)
    compute = gradient_function(gradient, settings.chunk)
    n_updates = _train(network, weights, draw, compute, recall.updates)
    seconds = time.monotonic() - start
    return RecallResult(
        cell, gradient, distance, _accuracy(network, weights, test), n_updates, seconds
    )


def gradient_function(name: GradientName, chunk: int) -> GradientFunction:
    """The function that computes a gradient; only "truncated" uses `chunk`."""
    if name == "rtrl":
        return rtrl
    return partial(bptt, chunk=chunk) if name == "truncated" else bptt


def counting_sequences(settings: CountingSettings, generator: torch.Generator) -> Sequences:
    """Random zeros and ones; the target of a frame is the number of ones so far.

    Returns:
        sequences: inputs (T, N, 1) and targets (T, N), float64.
    """
    shape = settings.length, settings.n_sequences, 1
    inputs = torch.randint(2, shape, generator=generator).double()
    return Sequences(inputs, inputs.cumsum(0)[:, :, 0], inputs.new_zeros(shape[1:]))


def recall_sequences(
    settings: RecallSettings, cell: CellName, distance: int, rows: int, generator: torch.Generator
) -> Sequences:
    """A symbol, then `distance` distractors, then a mark that asks for the symbol.

    Args:
        settings: number of symbols and distractors.
        cell: of the network that will read them, for its state.
        distance: D.
        rows: N.
        generator: source of the random numbers.

    Returns:
        sequences: inputs (D + 2, N, F), one-hot: symbols, then distractors, then the mark. The
            target of the last frame is the symbol; the other frames have none.

    Source: a variant of experiment 2 of Hochreiter and Schmidhuber 1997, "Long short-term memory",
    with one distance for all sequences and more than two symbols.
    """
    n_symbols, n_distractors = settings.n_symbols, settings.n_distractors
    symbols = torch.randint(n_symbols, (1, rows), generator=generator)
    between = n_symbols + torch.randint(n_distractors, (distance, rows), generator=generator)
    mark = torch.full((1, rows), n_symbols + n_distractors)
    numbers = torch.cat([symbols, between, mark])
    targets = torch.full_like(numbers, NO_TARGET)
    targets[-1] = symbols
    inputs = F.one_hot(numbers, _input_size(settings)).double()
    return Sequences(
        inputs, targets, inputs.new_zeros(rows, state_size(cell, settings.hidden_size))
    )


def recall_network(
    settings: RecallSettings, cell: CellName, generator: torch.Generator
) -> tuple[Network, Weights]:
    """A network with random weights whose outputs are scores of the symbols."""
    size = settings.hidden_size
    weights = initial_weights(cell, _input_size(settings), size, generator)
    shape = settings.n_symbols, size
    scale = size**-0.5
    readout = {
        "weight": scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1),
        "bias": torch.zeros(settings.n_symbols, dtype=torch.float64),
    }
    return Network(STEPS[cell], _recall_loss), Weights(weights, readout)


def _input_size(settings: RecallSettings) -> int:
    return settings.n_symbols + settings.n_distractors + 1


def _counting_loss(states: Tensor, targets: Tensor, readout: dict[str, Tensor]) -> Tensor:
    """Squared error, summed over frames, as the mean of the sequences."""
    return (states[:, :, 0] - targets).square().sum() / targets.shape[1]


def _recall_loss(states: Tensor, targets: Tensor, readout: dict[str, Tensor]) -> Tensor:
    """Cross-entropy in nats, summed over frames, as the mean of the sequences."""
    scores = _scores(states, readout).flatten(0, 1)
    losses = F.cross_entropy(scores, targets.flatten(), ignore_index=NO_TARGET, reduction="sum")
    return losses / targets.shape[1]


def _scores(states: Tensor, readout: dict[str, Tensor]) -> Tensor:
    """(..., n_symbols): scores from the outputs, which are the first values of a state."""
    outputs = states[..., : readout["weight"].shape[1]]
    return F.linear(outputs, readout["weight"], readout["bias"])


def _accuracy(network: Network, weights: Weights, sequences: Sequences) -> float:
    """Share of the sequences whose last target has the best score."""
    state = sequences.state
    for inputs in sequences.inputs:
        state = network.step(inputs, state, weights.cell)
    named = _scores(state, weights.readout).argmax(1)
    return (named == sequences.targets[-1]).double().mean().item()


def _train(
    network: Network,
    weights: Weights,
    draw: Callable[[], Sequences],
    compute: GradientFunction,
    settings: UpdateSettings,
) -> int:
    """Update the weights in place; return the number of updates."""
    tensors = weights.tensors()
    optimizer = torch.optim.Adam(tensors, settings.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.n_updates)
    n_solved = 0
    for n_updates in range(settings.n_updates):
        found = compute(network, weights, draw())
        if not found.loss.isfinite():
            raise InputError(
                f"updates.lr is {settings.lr}, with which the loss is {found.loss.item()} after"
                f" {n_updates} updates; expected one that keeps it finite"
            )
        n_solved = n_solved + 1 if found.loss < settings.solved_loss else 0
        if n_solved == 10:
            return n_updates
        for tensor, gradient in zip(tensors, found.by_weights.tensors(), strict=True):
            tensor.grad = gradient
        torch.nn.utils.clip_grad_norm_(tensors, settings.max_grad_norm)
        optimizer.step()
        schedule.step()
    return settings.n_updates
