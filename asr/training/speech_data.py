"""data sets -> batches for training networks, in an order that a resumed training continues."""

from typing import Any, Protocol

import pytorch_lightning as pl

from asr.corpus.batching import BucketSampler
from asr.corpus.cache import cache_of
from asr.corpus.dataset import SpeechDataset
from asr.corpus.reading import BatchReader, Examples
from asr.training.utterances import hours, in_order, reader, shuffled


class BatchSettings(Protocol):
    """The settings of training data that all networks have."""

    @property
    def batch_s(self) -> float:
        """Seconds of audio in a batch, padding included."""

    @property
    def cache_gb(self) -> float | None:
        """GB of memory for decoded audio; None for half of what is free when training begins."""


class SpeechData(pl.LightningDataModule):
    """Batches of training and development utterances; can resume in the middle of an epoch.

    Args:
        train: training utterances.
        dev: development utterances.
        data: size of the batches and of the cache.
        seed: of the order of the batches.
    """

    def __init__(
        self,
        train: SpeechDataset,
        dev: SpeechDataset,
        data: BatchSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.train, self.dev = train, dev
        self._batch_s, self._cache_gb, self._seed = data.batch_s, data.cache_gb, seed
        self._sampler: BucketSampler | None = None
        self._sampler_state: dict[str, Any] | None = None  # from the checkpoint

    @property
    def hours(self) -> float:
        """Hours of training speech."""
        return hours(self.train.utterances)

    def setup(self, stage: str) -> None:
        n_processes = self.trainer.num_devices if self.trainer else 1
        self.train.cache = self.dev.cache = cache_of(self._cache_gb, n_processes)

    def train_examples(self) -> Examples:
        """What the training batches are made of."""
        return self.train

    def dev_examples(self) -> Examples:
        """What the development batches are made of."""
        return self.dev

    def train_dataloader(self) -> BatchReader:
        assert self.trainer is not None
        self._sampler = shuffled(self.train, self._batch_s, self._seed, self.trainer)
        if self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        return reader(self.train_examples(), self._sampler, self.trainer)

    def val_dataloader(self) -> BatchReader:
        return reader(self.dev_examples(), in_order(self.dev, self._batch_s), self.trainer)

    # here, not in the loader: Lightning does not restore a loader's state if the number of steps is
    # asked for before training begins, as the learning-rate schedule does

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sampler is None else self._sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sampler_state = state_dict
