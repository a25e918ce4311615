"""settings -> time and memory that gradients take, by the length of the sequences."""

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from asr.training.remember import gradient_function, recall_network, recall_sequences
from asr.training.remember_settings import GradientName, RememberSettings

N_REPEATS = 3
"""Number of times that each gradient is computed; the shortest time counts."""


@dataclass(frozen=True)
class GradientCost:
    """What the gradient of one batch takes.

    Args:
        gradient: name of the way of computing it.
        length: frames of the sequences.
        seconds: shortest of `N_REPEATS` times.
        peak_bytes: most bytes in tensors at the same time; see `peak_bytes`.
    """

    gradient: GradientName
    length: int
    seconds: float
    peak_bytes: int


def gradient_costs(settings: RememberSettings) -> list[GradientCost]:
    """Time and memory of each way of computing the gradient, on sequences of the recall task."""
    recall, cell = settings.recall, settings.costs.cell
    costs = []
    for length in settings.costs.lengths:
        generator = torch.Generator().manual_seed(settings.seed)
        network, weights = recall_network(recall, cell, generator)
        sequences = recall_sequences(recall, cell, length - 2, recall.batch_size, generator)
        for name in settings.gradients:
            function = gradient_function(name, settings.chunk)
            compute = partial(function, network, weights, sequences)
            peak = peak_bytes(compute)  # also the first call, which is slower than the others
            seconds = min(_seconds(compute) for _ in range(N_REPEATS))
            costs.append(GradientCost(name, length, seconds, peak))
    return costs


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most bytes that the tensors made by a computation had at the same time.

    Every operation's result counts until its storage is freed, so that what autograd saves for the
    backward pass counts too. What was there before, and what exists only within an operation, does
    not count. The number does not depend on the machine. Other ways do not work here: the peak of a
    process includes torch itself and what its allocator keeps, and hooks on the tensors that
    autograd saves are not allowed within `torch.func`.

    Args:
        compute: runs on the CPU, in this thread.
    """
    with _LiveBytes() as live:
        compute()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._sizes: dict[int, int] = {}  # address of a storage -> its bytes
        self._total = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {storage.data_ptr() for storage in _storages([args, kwargs])}
        results = operation(*args, **(kwargs or {}))
        for storage in _storages(results):
            address, size = storage.data_ptr(), storage.nbytes()
            if size and address not in given and address not in self._sizes:
                self._sizes[address] = size
                self._total += size
                weakref.finalize(storage, self._free, address)
        self.peak = max(self.peak, self._total)
        return results

    def _free(self, address: int) -> None:
        self._total -= self._sizes.pop(address)


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    """The storages of all tensors in nested lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values.untyped_storage()
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _storages(value)
    elif isinstance(values, dict):
        yield from _storages(list(values.values()))


def _seconds(compute: Callable[[], object]) -> float:
    start = time.perf_counter()
    compute()
    return time.perf_counter() - start
