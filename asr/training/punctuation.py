"""punctuated text -> a trained tagger of marks and cases: the Lightning module."""

import math
import sys

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from asr.networks.tagger import Tagger, TagLogProbs, decided, tag_counts
from asr.scoring.detection import DetectionCounts
from asr.training.optim import clip_finite, scheduled_optimizer
from asr.training.punctuation_data import PunctuationSettings, TagBatch
from asr.training.tagged_text import NOT_COUNTED

_LOGGED = ("sentence_ends", "commas", "case")


class PunctuationTraining(pl.LightningModule):
    """Cross-entropy of the mark and the case of each word.

    It logs `train_loss` and `dev_loss`, in nats per word, and on the development text the F1 of
    `tag_counts` as `dev_sentence_ends`, `dev_commas` and `dev_case`, without the first and the last
    words of windows.

    The dropout and the errors of a batch depend only on seed, epoch and number of the batch, so a
    resumed training gives the same weights as one without interruption. With several processes,
    each has an equal share of a batch's windows.

    Args:
        settings: of the run.
        words: the words with embeddings of their own.
    """

    monitor = "dev_loss"

    def __init__(self, settings: PunctuationSettings, words: list[str]) -> None:
        super().__init__()
        self.settings = settings
        self.model = Tagger(words, settings.model)
        self._dev_loss, self._dev_words = 0.0, 0
        self._dev_counts = dict.fromkeys(_LOGGED, DetectionCounts())

    def on_train_batch_start(self, batch: TagBatch, batch_idx: int) -> None:
        place = [self.settings.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: TagBatch, batch_idx: int) -> Tensor:
        total = total_loss(self.model(batch.inputs, batch.lengths), batch)
        # DDP takes the mean of the processes' gradients, so each loss is multiplied by their number
        loss = total * (self.trainer.world_size / batch.size)
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
            print(f"step {step} not taken: the gradient is not finite", file=sys.stderr)

    def validation_step(self, batch: TagBatch, batch_idx: int) -> None:
        log_probs = self.model(batch.inputs, batch.lengths)
        self._dev_loss += total_loss(log_probs, batch).item()
        self._dev_words += batch.size
        thresholds = self.model.get_buffer("thresholds")
        inside = (batch.marks != NOT_COUNTED).cpu()
        inside[0] = False  # where a window begins and ends, so does a sentence
        inside[batch.lengths.cpu() - 1, range(len(batch.lengths))] = False
        found = (tags.cpu()[inside].numpy() for tags in decided(log_probs, thresholds))
        expected = (tags.cpu()[inside].numpy() for tags in (batch.marks, batch.cases))
        counts = tag_counts(*expected, *found)
        for name in _LOGGED:
            self._dev_counts[name] += counts[name]

    def on_validation_epoch_end(self) -> None:
        loss = self._dev_loss / self._dev_words
        self.log(self.monitor, loss, prog_bar=True, sync_dist=True)
        for name, counts in self._dev_counts.items():
            self.log(f"dev_{name}", counts.f1, prog_bar=True, sync_dist=True)
            self._dev_counts[name] = DetectionCounts()
        self._dev_loss, self._dev_words = 0.0, 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled_optimizer(self, self.settings.optim)


def total_loss(log_probs: TagLogProbs, batch: TagBatch) -> Tensor:
    """(), the negative log-probability of all tags that are counted, in nats."""
    pairs = (log_probs.marks, batch.marks), (log_probs.cases, batch.cases)
    losses = [
        F.nll_loss(rows.flatten(0, 1), targets.flatten(), ignore_index=NOT_COUNTED, reduction="sum")
        for rows, targets in pairs
    ]
    return losses[0] + losses[1]
