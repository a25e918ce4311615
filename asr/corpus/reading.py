"""batches of draws -> padded batches, read by threads ahead of the step that needs them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import NamedTuple, Protocol, TypeVar

from asr.corpus.batching import BucketSampler, UtteranceDraw
from asr.corpus.dataset import Batch, Example, collate

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

MOST_THREADS = 8
"""More threads hardly help: between decoding and resampling, only one of them runs at a time."""


def usable_cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_ahead(
    load: Callable[[Item], Loaded], items: Iterable[Item], n_threads: int | None = None
) -> Iterator[Loaded]:
    """Yield `load(item)` for each item in order, while threads load the next ones.

    An error of `load` is raised in the place of its item. After it, or when the iterator is closed,
    no more items are loaded.

    Args:
        load: function that may run in several threads at once.
        items: arguments of `load`.
        n_threads: number of threads; at most one more item than this is loaded ahead. 0: each item
            is loaded when it is asked for. None: one thread for each CPU, up to `MOST_THREADS`.
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


def made_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items, made by a thread: one is ready while the thread makes another.

    An error in making them is raised after the items before it.
    """
    made: Queue[Item | _End] = Queue(maxsize=1)
    stopped = Event()

    def make() -> None:
        end = _End(None)
        try:
            for item in items:
                made.put(item)
                if stopped.is_set():
                    return
        except BaseException as error:
            end = _End(error)
        made.put(end)

    # a daemon, as it may wait for a pipe that nobody writes to
    Thread(target=make, daemon=True).start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error:
            raise item.error
    finally:
        stopped.set()
        with suppress(Empty):
            made.get_nowait()  # the thread may wait for room


class _End(NamedTuple):
    error: BaseException | None


class Examples(Protocol):
    """A data set that is indexed with draws; threads may share it."""

    def __getitem__(self, draw: UtteranceDraw) -> Example: ...


class BatchReader:
    """The batches of a data set, read ahead; a pass has the remaining batches of an epoch.

    The sampler's state counts the batches that training has used, not those that were read ahead.
    So a training that resumes from this state gets each batch exactly once.

    Args:
        dataset: gives the examples.
        batch_sampler: the draws of each batch; with a list, every pass is the same.
        prepare: function that the threads apply to each batch, such as computing features.
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
