"""Settings of recipes/remember.py: what small recurrent networks can remember."""

from dataclasses import dataclass, field
from typing import Literal

from asr.errors import InputError, check_size
from asr.networks.equations import CellName
from asr.training.run import check_seed

GradientName = Literal["bptt", "truncated", "rtrl"]
"""Backpropagation through time, the same in chunks, or real-time recurrent learning."""

MAX_FRAMES = 10_000
"""Maximum length of a sequence."""

MAX_HIDDEN = 128
"""Maximum number of units; the memory of RTRL grows with their cube."""


@dataclass(frozen=True)
class UpdateSettings:
    """How the weights change.

    Args:
        n_updates: maximum number of updates by Adam.
        lr: first learning rate; it falls linearly to 0.
        max_grad_norm: a gradient of greater norm is scaled down to it.
        solved_loss: training ends early when the loss is below this in 10 updates in a row.
    """

    n_updates: int = 400
    lr: float = 0.01
    max_grad_norm: float = 1.0
    solved_loss: float = 0.03

    def __post_init__(self) -> None:
        check_size("updates.n_updates", self.n_updates, 1, 10**9)
        for name in ("lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise InputError(f"updates.{name} is {value}; expected above 0, and finite")
        if not self.solved_loss >= 0:
            raise InputError(f"updates.solved_loss is {self.solved_loss}; expected 0 or more")


@dataclass(frozen=True)
class CountingSettings:
    """Counting ones with a linear unit of two weights.

    Args:
        length: frames of a sequence.
        n_sequences: number of sequences; each update uses all.
        updates: see `UpdateSettings`.
    """

    length: int = 10
    n_sequences: int = 20
    updates: UpdateSettings = UpdateSettings(n_updates=500, lr=0.05, solved_loss=0.0)

    def __post_init__(self) -> None:
        check_size("counting.length", self.length, 2, MAX_FRAMES)
        check_size("counting.n_sequences", self.n_sequences, 1, 10**6)


@dataclass(frozen=True)
class RecallSettings:
    """Naming a symbol after a number of distractors.

    Args:
        cells: the networks.
        distances: numbers of distractors between the symbol and the question.
        n_symbols: symbols to remember.
        n_distractors: kinds of distractors.
        hidden_size: units of each network.
        batch_size: new sequences in each update.
        n_test: sequences that the accuracy is measured with.
        updates: see `UpdateSettings`.
    """

    cells: tuple[CellName, ...] = ("linear", "rnn", "gru", "lstm", "lstm-peephole")
    distances: tuple[int, ...] = (1, 2, 4, 8, 16, 24)
    n_symbols: int = 4
    n_distractors: int = 4
    hidden_size: int = 8
    batch_size: int = 32
    n_test: int = 1000
    updates: UpdateSettings = UpdateSettings()

    def __post_init__(self) -> None:
        check_lengths("recall.distances", self.distances, 1)
        if not self.cells:
            raise InputError("recall.cells is empty; expected one or more")
        check_size("recall.n_symbols", self.n_symbols, 2, 1000)
        check_size("recall.n_distractors", self.n_distractors, 1, 1000)
        check_size("recall.hidden_size", self.hidden_size, 1, MAX_HIDDEN)
        check_size("recall.batch_size", self.batch_size, 1, 10_000)
        check_size("recall.n_test", self.n_test, 1, 10**6)


@dataclass(frozen=True)
class CostSettings:
    """The network and the lengths whose gradients are timed.

    Args:
        cell: the network; its other sizes are those of `RecallSettings`.
        lengths: frames of the sequences.
    """

    cell: CellName = "lstm"
    lengths: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)

    def __post_init__(self) -> None:
        check_lengths("costs.lengths", self.lengths, 3)


@dataclass(frozen=True)
class RememberSettings:
    """All settings of recipes/remember.py.

    Args:
        seed: of everything random.
        gradients: ways of computing the gradient.
        chunk: frames in a chunk of truncated backpropagation.
        counting: the first task.
        recall: the second task.
        costs: measurement of time and memory.
    """

    seed: int = 1
    gradients: tuple[GradientName, ...] = ("bptt", "truncated", "rtrl")
    chunk: int = 8
    counting: CountingSettings = field(default_factory=CountingSettings)
    recall: RecallSettings = field(default_factory=RecallSettings)
    costs: CostSettings = field(default_factory=CostSettings)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_size("chunk", self.chunk, 1, MAX_FRAMES)
        if not self.gradients:
            raise InputError("gradients is empty; expected one or more")


def check_lengths(name: str, lengths: tuple[int, ...], least: int) -> None:
    """Raise InputError if a setting has no numbers, or one below `least` or above `MAX_FRAMES`."""
    if not lengths:
        raise InputError(f"{name} is empty; expected one or more")
    for length in lengths:
        check_size(name, length, least, MAX_FRAMES)
