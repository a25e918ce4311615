"""lengths -> batches of about the same length, which can resume in the middle of an epoch."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from asr.errors import InputError


@dataclass(frozen=True)
class UtteranceDraw:
    """One utterance in one epoch; together with the seed it fixes the random augmentation."""

    index: int
    epoch: int


def bucket_sizes(lengths: Sequence[float], max_total: float) -> list[int]:
    """Number of utterances in each batch, in order from the shortest to the longest.

    Args:
        lengths: one for each utterance, in any unit.
        max_total: upper bound of (utterances x longest length) in a batch; a longer utterance is a
            batch of its own.

    Returns:
        sizes: they sum to the number of lengths.

    Raises:
        ValueError: `max_total` is not above 0.
    """
    if not max_total > 0:
        raise ValueError(f"max_total is {max_total}; expected above 0")
    sizes: list[int] = []
    size = 0
    for length in sorted(lengths):
        if size and length * (size + 1) > max_total:
            sizes.append(size)
            size = 0
        size += 1
    return [*sizes, size] if size else sizes


def batches_by_length(lengths: Sequence[float], max_total: float) -> list[list[int]]:
    """Batches of utterances of about the same length, shortest first.

    Args:
        lengths: as for `bucket_sizes`.
        max_total: as for `bucket_sizes`.

    Returns:
        batches: indices of the utterances in each batch.

    Raises:
        ValueError: `max_total` is not above 0.
    """
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(bucket_sizes(lengths, max_total), dtype=np.int64)
    return [batch.tolist() for batch in np.split(order, ends[:-1]) if len(batch)]


def check_batch_s(batch_s: float) -> None:
    """Raise InputError if the setting `data.batch_s` is not above 0, or not finite."""
    if not 0 < batch_s < math.inf:
        raise InputError(f"data.batch_s is {batch_s}; expected more than 0 seconds, finite")


class BucketSampler(Sampler[list[UtteranceDraw]]):
    """Batches of utterances of about the same length, different in each epoch, in random order.

    The original lengths fix the number of batches and their sizes. Each epoch sorts the utterances
    by their lengths in that epoch, times a random factor near 1, and cuts them into batches of
    these sizes. So a batch's total is near `max_total`, not always below it. With several
    processes, those of one step have batches of about the same length, so that none waits long for
    the others; if the last step lacks batches, it has the shortest ones again.

    Args:
        lengths: one for each utterance, without augmentation.
        max_total: see `bucket_sizes`.
        seed: of the order.
        length_in_epoch: an utterance's length in one epoch, if augmentation changes it.
        shuffle: if false, every epoch is the same, shortest first.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        ValueError: there are no lengths, `max_total` is not above 0, or `rank` is not from 0 to
            below `world_size`.
    """

    def __init__(
        self,
        lengths: Sequence[float],
        max_total: float,
        seed: int = 0,
        length_in_epoch: Callable[[UtteranceDraw], float] | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(lengths):
            raise ValueError("lengths is empty; expected at least one utterance")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; expected from 0 to below world_size, {world_size}")
        self.lengths = lengths
        self.sizes = bucket_sizes(lengths, max_total)
        self.seed = seed
        self.length_in_epoch = length_in_epoch
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.taken = 0

    def __len__(self) -> int:
        return -(-len(self.sizes) // self.world_size)

    def __iter__(self) -> Iterator[list[UtteranceDraw]]:
        """The remaining batches of this epoch; if none remains, those of the next."""
        for batch in self.remaining():
            self.taken += 1
            yield batch

    def remaining(self) -> list[list[UtteranceDraw]]:
        """The remaining batches of this epoch; if none remains, those of the next.

        None of them is taken yet: whoever uses a batch adds 1 to `taken`.
        """
        # here, not after the last batch: a loader that counts its batches stops before that
        if self.taken == len(self):
            self.epoch, self.taken = self.epoch + 1, 0
        return self.batches(self.epoch)[self.taken :]

    def batches(self, epoch: int) -> list[list[UtteranceDraw]]:
        """This process's batches of an epoch."""
        draws = [UtteranceDraw(index, epoch) for index in range(len(self.lengths))]
        generator = np.random.default_rng([self.seed, epoch])
        length = self.length_in_epoch or (lambda draw: self.lengths[draw.index])
        keys = np.array([length(draw) for draw in draws])
        if self.shuffle:
            keys = keys * generator.uniform(0.95, 1.05, len(keys))
        order = np.argsort(keys, kind="stable")
        cuts = np.cumsum(self.sizes)[:-1]
        batches = [[draws[index] for index in batch] for batch in np.split(order, cuts)]
        own = list(islice(cycle(batches), self.rank, self.world_size * len(self), self.world_size))
        return [own[step] for step in generator.permutation(len(own))] if self.shuffle else own

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the number of batches taken from it."""
        return {"epoch": self.epoch, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where another sampler of the same utterances and seed was.

        Raises:
            ValueError: the state has more batches than an epoch has here.
        """
        if state["taken"] > len(self):
            raise ValueError(
                f"state has taken {state['taken']} batches; an epoch has {len(self)}: expected the"
                " state of a sampler of the same utterances"
            )
        self.epoch, self.taken = state["epoch"], state["taken"]
