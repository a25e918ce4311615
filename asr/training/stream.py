"""sentences -> one stream of units on disk -> chunks of parallel rows."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from asr.errors import InputError
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.text.sentences import read_sentences

BLOCK = 1 << 20
"""Units that are in memory at once while a corpus is encoded."""


@dataclass(frozen=True)
class Counts:
    """What a corpus has.

    Args:
        sentences: each of them ends in `EOS`.
        units: the ends included.
        unknown: units that are not in the vocabulary.
        empty: sentences left out, since nothing of them is left once they are normalised.
    """

    sentences: int
    units: int
    unknown: int
    empty: int


@dataclass(frozen=True)
class Stream:
    """A corpus as one stream of units, `EOS` after every sentence.

    It is a circle: behind the last sentence comes the first one, as any other might.

    Args:
        units: (U,), in a file that is mapped into memory, so that only what is read is there.
        counts: of the whole.
    """

    units: np.ndarray
    counts: Counts

    def __len__(self) -> int:
        return len(self.units)


def digest_of_file(path: str) -> str:
    """Of the sentences of a corpus, whatever its file's form."""
    sha256 = hashlib.sha256()
    for sentence in read_sentences(path):
        sha256.update(sentence.encode() + b"\n")
    return sha256.hexdigest()


def encode(source: str, vocabulary: Vocabulary, path: Path) -> Stream:
    """The stream of a corpus, from its file if that is there already.

    Args:
        source: a file of sentences.
        vocabulary: the units.
        path: where the stream goes: whole or not at all. Beside it stands a file of its counts.

    Raises:
        InputError: a line of the source can't be read, or the vocabulary knows no unit of it.
    """
    kind = np.dtype("<u2" if len(vocabulary.symbols) <= 1 << 16 else "<i4")
    beside = path.with_suffix(".json")
    if not beside.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")  # other processes may do the same
        try:
            counts = _write(source, vocabulary, partial, kind)
            os.replace(partial, path)
            partial.write_text(json.dumps(asdict(counts)) + "\n", "utf-8")
            os.replace(partial, beside)
        finally:
            partial.unlink(missing_ok=True)
    counts = Counts(**json.loads(beside.read_text("utf-8")))
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
    """Units, and how many empty sentences were left out among them."""
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
    """A piece of the stream in parallel rows, each going on from where its last chunk ended.

    Args:
        inputs: (T, N), int64: the unit before each target.
        targets: (T, N), int64.
        counted: (T, N), whether the target is of this row; only a last one may not be.
        begins: (N,), whether a row does not go on but begins anew.
        size: targets that are counted, those of other processes included.
    """

    inputs: Tensor
    targets: Tensor
    counted: Tensor
    begins: Tensor
    size: int


class ChunkDraw(NamedTuple):
    """One chunk of one pass."""

    place: int
    epoch: int


class Chunks(Dataset[Chunk]):
    """A stream cut into rows of equal length, and these into chunks of equal length.

    Row n of N is the nth of N equal parts of the stream; where they can't be equal, some are one
    unit longer. In each epoch the parts begin elsewhere on the circle, so that no unit always
    stands at a border. Every unit is a target once an epoch: the chunks share a row's length as
    equally as can be, and the last target of the shorter rows is not counted.

    All rows begin anew with an epoch's first chunk. Later ones do only where a chunk's beginning is
    a sentence's, and then by chance.

    Args:
        stream: the corpus.
        rows: N.
        chunk: targets of a row in a chunk, at most.
        restart: how probably a row begins anew where it may.
        seed: of what is drawn; None: all epochs begin at the corpus's beginning.
        share: (process, of how many): each has an equal share of the rows, `self.rows`.

    Raises:
        ValueError: there are more rows than units, or they can't be shared equally.
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
        """One of `ChunkSampler`'s draws."""
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
        """(rows,), of all processes."""
        generator = np.random.default_rng([self.seed or 0, draw.epoch, draw.place])
        return generator.random(len(self._lengths)) < self.restart


class ChunkSampler(Sampler[ChunkDraw]):
    """The chunks of an epoch in their order; can be taken up in the middle.

    Args:
        n_chunks: of an epoch.
    """

    def __init__(self, n_chunks: int) -> None:
        self.n_chunks = n_chunks
        self.epoch = 0
        self.taken = 0

    def __len__(self) -> int:
        return self.n_chunks

    def __iter__(self) -> Iterator[ChunkDraw]:
        """What is left of this epoch, or the next epoch where nothing is left."""
        # not at the end: a loader that counts its batches never asks for the one behind the last
        if self.taken == self.n_chunks:
            self.epoch, self.taken = self.epoch + 1, 0
        while self.taken < self.n_chunks:
            self.taken += 1
            yield ChunkDraw(self.taken - 1, self.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch the sampler stands."""
        return {"epoch": self.epoch, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of as many chunks stood."""
        self.epoch, self.taken = state["epoch"], state["taken"]
