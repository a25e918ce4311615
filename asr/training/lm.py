"""sentences -> a trained recurrent language model: Lightning module and data module."""

import hashlib
import json
import math
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

from asr.errors import InputError, check_size, counted
from asr.files import read_json, write_json
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Unit, Vocabulary, vocabulary_from_dict
from asr.text.normalisation import TextSettings
from asr.text.sentences import read_sentences
from asr.training.ngram import check_vocabulary
from asr.training.optim import OptimSettings, clip_finite, scheduled_optimizer
from asr.training.run import AveragingSettings, check_seed
from asr.training.stream import (
    Chunk,
    ChunkDraw,
    Chunks,
    ChunkSampler,
    Stream,
    digest_of_sentences,
    encode,
)


@dataclass(frozen=True)
class LMDataSettings:
    """The training data.

    Args:
        train: file of training sentences, see `asr.text.sentences.read_sentences`.
        dev: file of development sentences, on which epochs are compared.
        unit: the model's units, such as words or characters.
        max_size: largest size of the vocabulary, which has the most frequent units; null for all.
        min_count: units that occur less often are out-of-vocabulary.
        text: how sentences are normalised first.
        rows: number of parts of the corpus that are read in parallel: the batch size.
        chunk: largest number of units of a row in a step. Gradients do not reach back further.
        restart: probability that a row starts from the initial state if a chunk starts with a
            sentence, so that the model also learns sentences without context; 0: never.
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
        check_vocabulary(self.min_count, self.max_size)
        for name in ("rows", "chunk"):
            check_size(f"data.{name}", getattr(self, name), 1, 2**16)
        if not 0 <= self.restart <= 1:
            raise InputError(f"data.restart is {self.restart}; expected from 0 to 1")


@dataclass(frozen=True)
class LMSettings:
    """All settings of a training run except Lightning's own.

    Args:
        seed: of everything random.
        data: the training data.
        model: size of the network.
        optim: optimiser and learning-rate schedule.
        averaging: which epochs are averaged, and when training ends.
    """

    seed: int = 1
    data: LMDataSettings = field(default_factory=LMDataSettings)
    model: RNNLMSettings = field(default_factory=RNNLMSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)

    def __post_init__(self) -> None:
        check_seed(self.seed)


class LMData(pl.LightningDataModule):
    """Chunks of the training and development corpora; can resume in the middle of an epoch.

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
            "train": digest_of_sentences(settings.data.train),
            "dev": digest_of_sentences(settings.data.dev),
        }
        self._sampler: ChunkSampler | None = None
        self._sampler_state: dict[str, Any] | None = None  # from the checkpoint

    def encode(self, folder: Path) -> None:
        """Make the vocabulary, and encode the corpora as streams of units in files of a folder.

        Files of an earlier process with the same corpora and settings are reused. Only one block of
        a corpus is in memory at a time, whatever its length.

        Raises:
            InputError: the training corpus has fewer units than rows, or all units of the
                development corpus are out-of-vocabulary.
        """
        data = self.settings.data
        kind = [data.unit, data.max_size, data.min_count, asdict(data.text)]
        key = hashlib.sha256(json.dumps([kind, self.digests]).encode()).hexdigest()[:16]
        self.vocabulary = self._vocabulary(folder / f"vocabulary-{key}.json")
        self.train = encode(data.train, self.vocabulary, folder / f"train-{key}.units")
        self.dev = encode(data.dev, self.vocabulary, folder / f"dev-{key}.units")
        if len(self.train) < data.rows:
            raise InputError(
                f"{data.train}: has {counted(len(self.train), 'unit')};"
                " expected at least one for each row:"
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
        if self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        return DataLoader(chunks, batch_size=None, sampler=self._sampler)

    # here, not in the loader: Lightning does not restore a loader's state if the number of steps is
    # asked for before training begins, as the learning-rate schedule does

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sampler is None else self._sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sampler_state = state_dict

    def val_dataloader(self) -> DataLoader:
        chunks = self.dev_chunks()
        return DataLoader(chunks, batch_size=None, sampler=ChunkSampler(len(chunks)))

    def dev_chunks(self) -> Chunks:
        """The development corpus from its start; `data.rows` rows, or one a unit if it is short."""
        data = self.settings.data
        return Chunks(self.dev, min(data.rows, len(self.dev)), data.chunk)

    def _vocabulary(self, path: Path) -> Vocabulary:
        data = self.settings.data
        if path.exists():
            return vocabulary_from_dict(read_json(path), str(path))
        vocabulary = Vocabulary.from_texts(
            read_sentences(data.train), data.unit, data.max_size, data.min_count, data.text
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, vocabulary.to_dict())
        return vocabulary


class LMTraining(pl.LightningModule):
    """Truncated backpropagation through time: a chunk starts from the state after the last one.

    Gradients end at the start of a chunk; the state is carried over. Checkpoints contain the state,
    and a chunk's dropout depends only on seed, epoch and number of the chunk (and of the process),
    so a resumed training gives the same weights as one without interruption.

    With several processes, each has an equal share of the rows and their states. The loss is the
    mean over the targets of all processes, the same as with one process.

    If the gradient is not finite, the step is skipped with a line on stderr, and all rows restart
    from the initial state, since their states may not be finite.

    Args:
        settings: of the run.
        vocabulary: the model's units.
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
        # DDP takes the mean of the processes' gradients, so each loss is multiplied by their number
        loss = losses.sum() * (self.trainer.world_size / batch.size)
        if loss.isfinite():
            # not summed over processes, which would wait for one that does not log this step
            self.log("train_loss", loss.detach(), on_epoch=True, batch_size=batch.size)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        norm = clip_finite(self, optimizer, gradient_clip_val, gradient_clip_algorithm)
        if not math.isfinite(norm):
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
            states = self.all_gather(self._state)  # with several processes: (processes, rows, S)
            assert isinstance(states, Tensor)
            checkpoint["recurrent_state"] = states.reshape(-1, self._state.shape[1])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "recurrent_state" in checkpoint:
            share = self.settings.data.rows // self.trainer.world_size
            state = checkpoint["recurrent_state"].split(share)[self.global_rank]
            self._state = state.to(self.device)


def losses_of(model: RNNLM, chunk: Chunk, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Negative log-probabilities of a chunk's targets, and the states of the rows after it.

    Args:
        model: the model.
        chunk: (T, N).
        state: (N, S), after the previous chunk; None: all rows start from the initial state.

    Returns:
        losses: (T, N), in nats; 0 for targets that are not counted.
        state: (N, S), after the chunk.
    """
    before = model.zero_state(chunk.inputs.shape[1])
    if state is not None:
        before = torch.where(chunk.begins[:, None], before, state)
    losses, state = model.losses(chunk.inputs, chunk.targets, before)
    return losses * chunk.counted, state


def measures(loss: float, unit: Unit) -> dict[str, float]:
    """Perplexity of a mean loss; for characters also bits per character.

    Args:
        loss: in nats per unit.
        unit: the model's units.

    Returns:
        measures: "perplexity", which may be infinite, and for "char" and "jamo" also "bits".
    """
    values = {"perplexity": torch.tensor(loss, dtype=torch.float64).exp().item()}
    return values | {"bits": loss / math.log(2)} if unit in ("char", "jamo") else values


@torch.no_grad()
def mean_loss(model: RNNLM, chunks: Chunks) -> float:
    """Mean loss over a stream, in nats per unit; each row is read without a restart.

    Args:
        model: in evaluation mode.
        chunks: all rows of the stream, with `restart` 0.
    """
    total, size = 0.0, 0
    state = None
    for place in range(len(chunks)):
        chunk = chunks[ChunkDraw(place, epoch=0)]
        losses, state = losses_of(model, chunk, state)
        total += losses.sum().item()
        size += chunk.size
    return total / size
