"""sentences -> one stream of units on disk -> chunks of parallel rows."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from asr.config import from_dict
from asr.errors import InputError
from asr.files import read_json, replacing, write_json
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.text.sentences import read_sentences

BLOCK = 1 << 20
"""Number of units kept in memory while a corpus is encoded."""


@dataclass(frozen=True)
class Counts:
    """Counts of a corpus.

    Args:
        sentences: number of sentences; each ends in `EOS`.
        units: number of units, with the ends.
        unknown: number of out-of-vocabulary units.
        empty: number of sentences that are skipped, since normalisation leaves nothing of them.
    """

    sentences: int
    units: int
    unknown: int
    empty: int


@dataclass(frozen=True)
class Stream:
    """A corpus as one stream of units, with `EOS` after every sentence.

    It is circular: the first sentence follows the last one.

    Args:
        units: (U,), a memory-mapped file: only the parts that are read take memory.
        counts: of the whole corpus.
    """

    units: np.ndarray
    counts: Counts

    def __len__(self) -> int:
        return len(self.units)


def digest_of_sentences(path: str) -> str:
    """SHA-256 of a corpus's sentences, independent of the file's format."""
    sha256 = hashlib.sha256()
    for sentence in read_sentences(path):
        sha256.update(sentence.encode() + b"\n")
    return sha256.hexdigest()


def encode(source: str, vocabulary: Vocabulary, path: Path) -> Stream:
    """The stream of a corpus, read from `path` if that exists already.

    Args:
        source: a file of sentences.
        vocabulary: the units.
        path: file of the stream, written whole or not at all. A file of its counts is beside it.

    Raises:
        InputError: a line of the source can't be read, or all its units are out-of-vocabulary.
    """
    kind = np.dtype("<u2" if len(vocabulary.symbols) <= 1 << 16 else "<i4")
    beside = path.with_suffix(".json")
    if not beside.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:  # other processes may do the same
            counts = _write(source, vocabulary, partial, kind)
        write_json(beside, asdict(counts))
    counts = from_dict(Counts, read_json(beside), str(beside))
    return Stream(np.memmap(path, kind, mode="r", shape=(counts.units,)), counts)


def _write(source: str, vocabulary: Vocabulary, path: Path, kind: np.dtype) -> Counts:
    counts = Counts(0, 0, 0, 0)
    with path.open("wb") as file:
        for block, empty in _blocks(source, vocabulary):
            units = np.array(block, dtype=np.int64)
            units.astype(kind).tofile(file)
            counts = Counts(
                counts.sentences + int(np.count_nonzero(units == EOS)),
                counts.units + len(units),
                counts.unknown + int(np.count_nonzero(units == UNK)),
                counts.empty + empty,
            )
    if counts.unknown == counts.units - counts.sentences:
        raise InputError(f"{source}: has no unit of the vocabulary; expected a text of its units")
    return counts


def _blocks(source: str, vocabulary: Vocabulary) -> Iterator[tuple[list[int], int]]:
    """Blocks of units, each with the number of empty sentences skipped in it."""
    block: list[int] = []
    empty = 0
    for sentence in read_sentences(source):
        if units := vocabulary.encode(sentence):
            block += [*units, EOS]
        else:
            empty += 1
        if len(block) >= BLOCK:
            yield block, empty
            block, empty = [], 0
    yield block, empty


class Chunk(NamedTuple):
    """A part of the stream in parallel rows; each row continues where its last chunk ended.

    Args:
        inputs: (T, N), int64: the unit before each target.
        targets: (T, N), int64.
        counted: (T, N), whether the target counts in the loss; only the last one of a row may not.
        begins: (N,), whether a row starts from the initial state instead of continuing.
        size: number of counted targets, of all processes.
    """

    inputs: Tensor
    targets: Tensor
    counted: Tensor
    begins: Tensor
    size: int


class ChunkDraw(NamedTuple):
    """One chunk of one epoch."""

    place: int
    epoch: int


class Chunks(Dataset[Chunk]):
    """A stream cut into rows of equal length, and these into chunks of equal length.

    Row n of N is the nth of N parts of the stream; their lengths differ by at most one unit. In
    each epoch the parts start at another point of the circle, so that no unit is always at a
    border. Every unit is a target once in an epoch: the chunks share a row's length as equally as
    possible, and the last target of the shorter rows is not counted.

    In the first chunk of an epoch all rows start from the initial state. In later chunks a row does
    so with probability `restart`, but only if the chunk starts with a sentence.

    Args:
        stream: the corpus.
        rows: N.
        chunk: largest number of targets of a row in a chunk.
        restart: probability that a row starts from the initial state at a sentence's start.
        seed: of the random numbers; None: all epochs start at the start of the corpus.
        share: (number of this process, number of processes); each has an equal share of the rows,
            `self.rows`.

    Raises:
        ValueError: there are more rows than units, or the processes can't share them equally.
    """

    def __init__(
        self,
        stream: Stream,
        rows: int,
        chunk: int,
        restart: float = 0.0,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if not 1 <= rows <= len(stream):
            raise ValueError(f"rows is {rows}; expected from 1 to {len(stream)}, the units")
        process, processes = share
        if rows % processes:
            raise ValueError(f"rows is {rows}; expected a multiple of the {processes} processes")
        self.stream = stream
        self.restart = restart
        self.seed = seed
        borders = np.arange(rows + 1) * len(stream) // rows
        self._begins, self._lengths = borders[:-1], np.diff(borders)
        self._longest = -(-len(stream) // rows)
        self._n_chunks = -(-self._longest // chunk)
        self.rows = rows // processes
        self._share = slice(process * self.rows, (process + 1) * self.rows)

    def __len__(self) -> int:
        return self._n_chunks

    def __getitem__(self, draw: ChunkDraw) -> Chunk:
        """The chunk of one of `ChunkSampler`'s draws."""
        start, end = (n * self._longest // self._n_chunks for n in (draw.place, draw.place + 1))
        positions = self._offset(draw.epoch) + self._begins[self._share] - 1
        positions = positions + np.arange(start, end + 1)[:, None]  # (T + 1, N), the input first
        units = self.stream.units[positions % len(self.stream)].astype(np.int64)
        counted = np.arange(start, end)[:, None] < self._lengths
        begins = (units[0] == EOS) & self._restarts(draw)[self._share] if draw.place else True
        return Chunk(
            torch.from_numpy(units[:-1]),
            torch.from_numpy(units[1:]),
            torch.from_numpy(counted[:, self._share]),
            torch.from_numpy(np.full(self.rows, begins)),
            int(counted.sum()),
        )

    def _offset(self, epoch: int) -> int:
        if self.seed is None:
            return 0
        return int(np.random.default_rng([self.seed, epoch]).integers(len(self.stream)))

    def _restarts(self, draw: ChunkDraw) -> np.ndarray:
        """(rows,), bool: which rows may start anew in a chunk, of all processes."""
        generator = np.random.default_rng([self.seed or 0, draw.epoch, draw.place])
        return generator.random(len(self._lengths)) < self.restart


class ChunkSampler(Sampler[ChunkDraw]):
    """The chunks of an epoch in order; can resume in the middle of an epoch.

    Args:
        n_chunks: number of chunks in an epoch.
    """

    def __init__(self, n_chunks: int) -> None:
        self.n_chunks = n_chunks
        self.epoch = 0
        self.taken = 0

    def __len__(self) -> int:
        return self.n_chunks

    def __iter__(self) -> Iterator[ChunkDraw]:
        """The remaining chunks of this epoch; if none remains, those of the next."""
        # here, not after the last chunk: a loader that counts its batches stops before that
        if self.taken == self.n_chunks:
            self.epoch, self.taken = self.epoch + 1, 0
        while self.taken < self.n_chunks:
            self.taken += 1
            yield ChunkDraw(self.taken - 1, self.epoch)

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the number of chunks taken from it."""
        return {"epoch": self.epoch, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where another sampler of the same number of chunks was."""
        self.epoch, self.taken = state["epoch"], state["taken"]
