"""batches of draws -> padded batches, read by threads ahead of the step that takes them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from asr.corpus.batching import BucketSampler, UtteranceDraw
from asr.corpus.dataset import Batch, Example, collate

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

MOST_THREADS = 8
"""More hardly help: what they do between decoding and resampling is done by one at a time."""


def usable_cpus() -> int:
    """How many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_ahead(
    load: Callable[[Item], Loaded], items: Iterable[Item], n_threads: int | None = None
) -> Iterator[Loaded]:
    """What `load` gives for each item, in their order; threads load the next ones meanwhile.

    An error is raised where its item would have come; nothing more is loaded then, nor once the
    iterator is closed.

    Args:
        load: may run in several threads at once.
        items: what is loaded.
        n_threads: at most one item more is loaded ahead. 0: none; each item is loaded when it is
            asked for. None: one for each CPU, up to `MOST_THREADS`.
    """
    if n_threads is None:
        n_threads = min(MOST_THREADS, usable_cpus())
    if not n_threads:
        yield from map(load, items)
        return
    pool = ThreadPoolExecutor(n_threads, "read_ahead")
    waiting: deque[Future[Loaded]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Examples(Protocol):
    """A data set that draws can be taken from, by several threads at once."""

    def __getitem__(self, draw: UtteranceDraw) -> Example: ...


class BatchReader:
    """A data set's batches, read ahead; each pass is over what the sampler has left of an epoch.

    The sampler stands where training is, not where reading is: a run that goes on from its state
    has each batch exactly once.

    Args:
        dataset: of the examples.
        batch_sampler: the draws of each batch; a plain list is the same in every pass.
        prepare: what else is done with a batch ahead of its step, by the same threads.
        n_threads: see `read_ahead`.
    """

    def __init__(
        self,
        dataset: Examples,
        batch_sampler: BucketSampler | Sequence[list[UtteranceDraw]],
        prepare: Callable[[Batch], Batch] | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_sampler = batch_sampler
        self.prepare = prepare
        self.n_threads = n_threads

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        sampler = self.batch_sampler
        if not isinstance(sampler, BucketSampler):
            yield from read_ahead(self._load, sampler, self.n_threads)
            return
        for batch in read_ahead(self._load, sampler.remaining(), self.n_threads):
            sampler.taken += 1
            yield batch

    def _load(self, draws: list[UtteranceDraw]) -> Batch:
        batch = collate([self.dataset[draw] for draw in draws])
        return self.prepare(batch) if self.prepare else batch
