"""sentences -> a trained recurrent language model: Lightning module and data module."""

import hashlib
import json
import math
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from asr.errors import InputError
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Unit, Vocabulary, vocabulary_from_dict
from asr.text.normalisation import TextSettings
from asr.text.sentences import read_sentences
from asr.training.optim import OptimSettings, clip_finite, scheduled_optimizer
from asr.training.run import AveragingSettings
from asr.training.stream import (
    Chunk,
    ChunkDraw,
    Chunks,
    ChunkSampler,
    Stream,
    digest_of_file,
    encode,
)


@dataclass(frozen=True)
class LMDataSettings:
    """What is read, and how.

    Args:
        train: file of the sentences trained on, see `asr.text.sentences.read_sentences`.
        dev: file of the sentences that tell epochs apart.
        unit: what the model counts in.
        max_size: at most so many units, the most frequent ones; null: all.
        min_count: rarer units are unknown.
        text: how sentences are normalised first.
        rows: parts of the corpus that are read side by side.
        chunk: units of a row that a step reads, at most; gradients reach back no further.
        restart: share of the sentences at chunks' beginnings that are read without what came before
            them, so that the model knows sentences that stand alone; 0: all go on.
    """

    train: str = "train.txt"
    dev: str = "dev.txt"
    unit: Unit = "word"
    max_size: int | None = None
    min_count: int = 1
    text: TextSettings = field(default_factory=TextSettings)
    rows: int = 32
    chunk: int = 35
    restart: float = 0.5

    def __post_init__(self) -> None:
        for name in ("min_count", "rows", "chunk"):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.restart <= 1:
            raise InputError(f"data.restart is {self.restart}; expected from 0 to 1")
        if self.max_size is not None and self.max_size < 3:
            raise InputError(
                f"data.max_size is {self.max_size}; expected 3 or more: <unk> and <eos> count"
            )


@dataclass(frozen=True)
class LMSettings:
    """All of a training run but Lightning's own settings."""

    seed: int = 1
    data: LMDataSettings = field(default_factory=LMDataSettings)
    model: RNNLMSettings = field(default_factory=RNNLMSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; expected from 0 to 2**32 - 1")


class LMData(pl.LightningDataModule):
    """Chunks of the training and the development corpus; a checkpoint says which are left.

    Raises:
        InputError: a corpus can't be read.
    """

    vocabulary: Vocabulary
    train: Stream
    dev: Stream

    def __init__(self, settings: LMSettings) -> None:
        super().__init__()
        self.settings = settings
        self.digests = {
            "train": digest_of_file(settings.data.train),
            "dev": digest_of_file(settings.data.dev),
        }
        self._sampler: ChunkSampler | None = None
        self._place: dict[str, Any] | None = None  # of the sampler, in the checkpoint

    def encode(self, folder: Path) -> None:
        """Learn the vocabulary and bring the corpora into a folder as streams of units.

        What an earlier process has left there of the same corpora and settings is taken as it is.
        However long a corpus is, no more of it than a block is in memory at once.

        Raises:
            InputError: the training corpus has fewer units than rows, or the vocabulary knows no
                unit of the development corpus.
        """
        data = self.settings.data
        kind = [data.unit, data.max_size, data.min_count, asdict(data.text)]
        key = hashlib.sha256(json.dumps([kind, self.digests]).encode()).hexdigest()[:16]
        self.vocabulary = self._vocabulary(folder / f"vocabulary-{key}.json")
        self.train = encode(data.train, self.vocabulary, folder / f"train-{key}.units")
        self.dev = encode(data.dev, self.vocabulary, folder / f"dev-{key}.units")
        if len(self.train) < data.rows:
            raise InputError(
                f"{data.train}: has {len(self.train)} units; expected at least one for each row:"
                f" lower data.rows ({data.rows})"
            )

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        data, processes = self.settings.data, self.trainer.world_size
        if data.rows % processes:
            raise InputError(
                f"data.rows is {data.rows}; expected a multiple of the {processes} processes"
            )
        chunks = Chunks(
            self.train,
            data.rows,
            data.chunk,
            data.restart,
            self.settings.seed,
            share=(self.trainer.global_rank, processes),
        )
        self._sampler = ChunkSampler(len(chunks))
        if self._place is not None:
            self._sampler.load_state_dict(self._place)
        return DataLoader(chunks, batch_size=None, sampler=self._sampler)

    # Lightning would restore a loader that has a state of its own, but not where something asks
    # for the number of steps before training begins, as the learning rate's schedule does

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sampler is None else self._sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._place = state_dict

    def val_dataloader(self) -> DataLoader:
        chunks = self.dev_chunks()
        return DataLoader(chunks, batch_size=None, sampler=ChunkSampler(len(chunks)))

    def dev_chunks(self) -> Chunks:
        """The development corpus from its beginning, in as many rows as training has, if it can."""
        data = self.settings.data
        return Chunks(self.dev, min(data.rows, len(self.dev)), data.chunk)

    def _vocabulary(self, path: Path) -> Vocabulary:
        data = self.settings.data
        if path.exists():
            return vocabulary_from_dict(json.loads(path.read_text("utf-8")), str(path))
        vocabulary = Vocabulary.from_texts(
            read_sentences(data.train), data.unit, data.max_size, data.min_count, data.text
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(vocabulary.to_dict()) + "\n", "utf-8")
        os.replace(partial, path)
        return vocabulary


class LMTraining(pl.LightningModule):
    """Truncated backpropagation through time: each chunk goes on from the state the last one left.

    Gradients end at a chunk's beginning, the state does not; it is in the checkpoints. Dropout is
    drawn anew from seed, epoch and chunk in every chunk. So a run that was interrupted goes on
    exactly as it would have.

    Each of several processes has its share of the rows and their states. The loss is the mean over
    the targets of all of them, as it is of one process that has all rows.

    Where the gradient is not finite, stderr says so, the step is not taken, and all rows begin
    anew, since what is not finite may be in their states.
    """

    def __init__(self, settings: LMSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings = settings
        self.model = RNNLM(vocabulary, settings.model)
        self._state: Tensor | None = None  # (rows, S)
        self._dev_state: Tensor | None = None
        self._dev_sum = 0.0
        self._dev_size = 0

    def on_train_batch_start(self, batch: Chunk, batch_idx: int) -> None:
        place = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Chunk, batch_idx: int) -> Tensor:
        losses, state = losses_of(self.model, batch, self._state)
        self._state = state.detach()
        # processes share the mean of their gradients: each has its part of the sum
        loss = losses.sum() * (self.trainer.world_size / batch.size)
        if loss.isfinite():
            # not summed over processes: the others would wait for one that has nothing to log
            self.log("train_loss", loss.detach(), on_epoch=True, batch_size=batch.size)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if not clip_finite(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
            step = self.trainer.global_step + 1
            print(
                f"step {step} not taken: the gradient is not finite; all rows begin anew",
                file=sys.stderr,
            )
            self._state = None

    def validation_step(self, batch: Chunk, batch_idx: int) -> None:
        losses, self._dev_state = losses_of(self.model, batch, self._dev_state)
        self._dev_sum += losses.sum().item()
        self._dev_size += batch.size

    def on_validation_epoch_end(self) -> None:
        dev_loss = self._dev_sum / self._dev_size
        self.log("dev_loss", dev_loss, prog_bar=True, sync_dist=True)
        for name, value in measures(dev_loss, self.model.vocabulary.unit).items():
            self.log(f"dev_{name}", value, prog_bar=True, sync_dist=True)
        self._dev_state, self._dev_sum, self._dev_size = None, 0.0, 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled_optimizer(self, self.settings.optim)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._state is not None:
            states = self.all_gather(self._state)  # of several processes: (processes, rows, S)
            assert isinstance(states, Tensor)
            checkpoint["recurrent_state"] = states.reshape(-1, self._state.shape[1])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "recurrent_state" in checkpoint:
            share = self.settings.data.rows // self.trainer.world_size
            state = checkpoint["recurrent_state"].split(share)[self.global_rank]
            self._state = state.to(self.device)


def losses_of(model: RNNLM, chunk: Chunk, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Negative log-probabilities of a chunk's targets, and the rows' states after it.

    Args:
        model: the model.
        chunk: (T, N).
        state: (N, S), after the chunk before; None where all rows begin anew.

    Returns:
        losses: (T, N), nats; 0 where a target is not counted.
        state: (N, S).
    """
    before = model.zero_state(chunk.inputs.shape[1])
    if state is not None:
        before = torch.where(chunk.begins[:, None], before, state)
    losses, state = model.losses(chunk.inputs, chunk.targets, before)
    return losses * chunk.counted, state


def measures(loss: float, unit: Unit) -> dict[str, float]:
    """A mean loss as people speak of it: perplexity, and bits where a unit is a character.

    Args:
        loss: nats a unit.
        unit: what a unit is.
    """
    found = {"perplexity": torch.tensor(loss, dtype=torch.float64).exp().item()}  # or infinity
    return found | {"bits": loss / math.log(2)} if unit in ("char", "jamo") else found


@torch.no_grad()
def mean_loss(model: RNNLM, chunks: Chunks) -> float:
    """Nats a unit of a stream, each row read from its beginning to its end.

    Args:
        model: in evaluation mode.
        chunks: all rows of the stream.
    """
    total, size = 0.0, 0
    state = None
    for place in range(len(chunks)):
        chunk = chunks[ChunkDraw(place, epoch=0)]
        losses, state = losses_of(model, chunk, state)
        total += losses.sum().item()
        size += chunk.size
    return total / size
