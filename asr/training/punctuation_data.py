"""punctuated texts -> batches of windows of words with their tags."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.errors import InputError, check_size
from asr.networks.tagger import N_INPUTS, Tagger, TaggerSettings
from asr.training.optim import OptimSettings
from asr.training.run import AveragingSettings, check_seed
from asr.training.stream import ChunkDraw, ChunkSampler, digest_of_sentences
from asr.training.tagged_text import (
    NOT_COUNTED,
    PunctuatedText,
    TaggedWords,
    frequent_words,
    read_punctuated,
    windows,
    with_errors,
)


@dataclass(frozen=True)
class PunctuationDataSettings:
    """The training data.

    Args:
        train: file of training sentences with marks and capitals, in the order of the text.
        dev: file of development sentences, on which epochs are compared.
        max_size: largest number of words with embeddings of their own, the most frequent ones.
        min_count: words that occur less often have no embedding of their own.
        window: largest number of words that are read at once, in whole sentences.
        rows: number of windows in a batch.
        replaced: probability that a word is replaced by another one of the text.
        dropped: probability that a word is left out.
    """

    train: str = "train.txt"
    dev: str = "dev.txt"
    max_size: int = 12_000
    min_count: int = 2
    window: int = 200
    rows: int = 16
    replaced: float = 0.02
    dropped: float = 0.01

    def __post_init__(self) -> None:
        check_size("data.max_size", self.max_size, 1, 2**20)
        for name in ("min_count", "window", "rows"):
            check_size(f"data.{name}", getattr(self, name), 1, 2**16)
        for name in ("replaced", "dropped"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"data.{name} is {getattr(self, name)}; expected from 0 to below 1"
                )


@dataclass(frozen=True)
class PunctuationSettings:
    """All settings of a training run except Lightning's own.

    Args:
        seed: of everything random.
        data: the training data.
        model: size of the network.
        optim: optimiser and learning-rate schedule.
        averaging: which epochs are averaged, and when training ends.
    """

    seed: int = 1
    data: PunctuationDataSettings = field(default_factory=PunctuationDataSettings)
    model: TaggerSettings = field(default_factory=TaggerSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)

    def __post_init__(self) -> None:
        check_seed(self.seed)


class TagBatch(NamedTuple):
    """Windows of a text.

    Args:
        inputs: (T, N, I), int64, see `Tagger.inputs`.
        marks: (T, N), int64, indices in `MARKS`; `NOT_COUNTED` after the end of a window.
        cases: (T, N), int64, indices in `CASES`; likewise, and for replaced words.
        lengths: (N,), int64, numbers of words.
        size: number of words, of all processes.
    """

    inputs: Tensor
    marks: Tensor
    cases: Tensor
    lengths: Tensor
    size: int


class TagBatches(Dataset[TagBatch]):
    """The windows of a text in batches, in each epoch in another order and with other errors.

    In training, windows that don't fill the last batch are left out, in each epoch others.

    Args:
        text: the text.
        tagger: gives the inputs of the words.
        data: lengths and numbers of windows, and the rates of errors.
        seed: of everything random; None: windows in order, without errors.
        share: (number of this process, number of processes); each has an equal share of the rows.
    """

    def __init__(
        self,
        text: PunctuatedText,
        tagger: Tagger,
        data: PunctuationDataSettings,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.text = text
        self.data = data
        self.seed = seed
        self._inputs = tagger.inputs(text.distinct)  # (V, I)
        self._windows = windows(text.ends, data.window)
        self._order: tuple[int, np.ndarray] | None = None  # epoch, and its order of windows
        process, processes = share
        rows = data.rows // processes
        self._share = slice(process * rows, (process + 1) * rows)

    def __len__(self) -> int:
        n_full, more = divmod(len(self._windows), self.data.rows)
        return n_full + (self.seed is None and more > 0)

    def __getitem__(self, draw: ChunkDraw) -> TagBatch:
        """The batch of one of `ChunkSampler`'s draws."""
        first = draw.place * self.data.rows
        numbers = self._numbers(draw.epoch)[first : first + self.data.rows]
        parts = [self.text.tagged[slice(*self._windows[number])] for number in numbers]
        if self.seed is not None:
            generator = np.random.default_rng([self.seed, draw.epoch, draw.place])
            pool, data = self.text.tagged.words, self.data
            parts = [
                with_errors(part, data.replaced, data.dropped, pool, generator) for part in parts
            ]
        return self._batch(parts[self._share], sum(map(len, parts)))

    def _numbers(self, epoch: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(len(self._windows))
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._order = epoch, generator.permutation(len(self._windows))
        return self._order[1]

    def _batch(self, parts: Sequence[TaggedWords], size: int) -> TagBatch:
        lengths = torch.tensor([len(part) for part in parts])
        T, N = int(lengths.max()), len(parts)
        inputs = torch.zeros(T, N, N_INPUTS, dtype=torch.int64)
        marks = torch.full((T, N), NOT_COUNTED)
        cases = torch.full((T, N), NOT_COUNTED)
        for n, part in enumerate(parts):
            U = len(part)
            inputs[:U, n] = self._inputs[torch.from_numpy(part.words)]
            marks[:U, n] = torch.from_numpy(part.marks)
            cases[:U, n] = torch.from_numpy(part.cases)
        return TagBatch(inputs, marks, cases, lengths, size)


class PunctuationData(pl.LightningDataModule):
    """Windows of the training and development texts; can resume in the middle of an epoch.

    Raises:
        InputError: a text can't be read.
    """

    train: PunctuatedText
    dev: PunctuatedText

    def __init__(self, settings: PunctuationSettings) -> None:
        super().__init__()
        self.settings = settings
        self.digests = {
            "train": digest_of_sentences(settings.data.train),
            "dev": digest_of_sentences(settings.data.dev),
        }
        self._sampler: ChunkSampler | None = None
        self._sampler_state: dict[str, Any] | None = None  # from the checkpoint

    def read(self) -> list[str]:
        """Read the texts, and return the words that get embeddings of their own.

        Raises:
            InputError: a text is not punctuated, or has too few windows for a batch.
        """
        data = self.settings.data
        self.train, self.dev = read_punctuated(data.train), read_punctuated(data.dev)
        found = len(windows(self.train.ends, data.window))
        if found < data.rows:
            raise InputError(
                f"{data.train}: has {found} windows of {data.window} words; expected enough for a"
                f" batch: lower data.rows ({data.rows})"
            )
        return frequent_words(self.train, data.max_size, data.min_count)

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        rows, processes = self.settings.data.rows, self.trainer.world_size
        if rows % processes:
            raise InputError(
                f"data.rows is {rows}; expected a multiple of the {processes} processes"
            )
        share = self.trainer.global_rank, processes
        batches = self._batches(self.train, self.settings.seed, share)
        self._sampler = ChunkSampler(len(batches))
        if self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        return DataLoader(batches, batch_size=None, sampler=self._sampler)

    # here, not in the loader, as in `asr.training.lm.LMData`

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sampler is None else self._sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sampler_state = state_dict

    def val_dataloader(self) -> DataLoader:
        batches = self._batches(self.dev)
        return DataLoader(batches, batch_size=None, sampler=ChunkSampler(len(batches)))

    def _batches(
        self, text: PunctuatedText, seed: int | None = None, share: tuple[int, int] = (0, 1)
    ) -> TagBatches:
        assert self.trainer is not None
        tagger: Tagger = self.trainer.lightning_module.model  # type: ignore[assignment]
        return TagBatches(text, tagger, self.settings.data, seed, share)
