"""an HMM's alignment -> a network that classifies frames as states of the HMM."""

import sys

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from asr.audio.augment import spec_augment
from asr.audio.features import Features, mask
from asr.corpus.dataset import Batch
from asr.errors import listed
from asr.hmm.emissions import HybridEmissions
from asr.hmm.topology import pdf_names
from asr.training.hybrid_data import HybridSettings
from asr.training.optim import scheduled_optimizer
from asr.training.utterances import CheckedSteps, estimate_moments, features_of, seed_batch

FEWEST_FRAMES = 10.0
"""Lower bound of a pdf's number of frames in its prior; see `log_priors`."""


class HybridTraining(pl.LightningModule):
    """Frame-by-frame training: features, network, cross-entropy and optimiser.

    The target of a frame is the HMM state that it is aligned with, also if the frame is masked.

    It logs `train_loss` and `dev_loss`, in nats per frame, and `dev_fer`, the frame error rate on
    the development set: the share of frames whose most probable state is not the aligned one.

    The dropout and masks of a batch depend only on seed, epoch and number of the batch, so a
    resumed training gives the same weights as one without interruption.

    States that are aligned with few frames are named on stderr; see `log_priors`.

    Args:
        settings: of the run.
        n_pdfs: S, number of pdfs of the HMM.
    """

    monitor = "dev_fer"

    def __init__(self, settings: HybridSettings, n_pdfs: int) -> None:
        super().__init__()
        self.settings = settings
        self.features = Features(settings.features)
        self.emissions = HybridEmissions(settings.features.n_features, n_pdfs, settings.model)
        self._masks = torch.Generator()
        self._steps = CheckedSteps()
        self._dev = torch.zeros(3, dtype=torch.float64)  # loss, errors, frames

    def on_fit_start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        counts = data.counts
        self.emissions.log_priors.copy_(log_priors(counts))
        names = pdf_names(data.topology, data.tokenizer.symbols)
        pairs = zip(names, counts.tolist(), strict=True)
        rare = [name for name, count in pairs if count < FEWEST_FRAMES]
        if rare and self.trainer.is_global_zero:
            few = f"fewer than {FEWEST_FRAMES:g} frames get the prior of so many"
            print(f"states aligned with {few}: {listed(rare)}", file=sys.stderr)
        if self.settings.features.normalisation == "global" and not self.trainer.ckpt_path:
            estimate_moments(self.features, data.train, self.settings.data.batch_s)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed_batch(self, self.settings.seed, batch_idx, self._masks)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        features, input_lengths = features_of(batch, self.features)
        with torch.no_grad():
            features = spec_augment(features, input_lengths, self.settings.augment, self._masks)
        log_probs, _ = self.emissions.network(features, input_lengths)
        losses = frame_losses(log_probs, batch.targets, input_lengths)
        loss = losses.sum() / input_lengths.sum()
        if self._steps.note(batch.ids, losses):
            # not summed over processes, which would wait for one that does not log this step
            self.log("train_loss", loss.detach(), on_epoch=True, batch_size=len(losses))
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        self._steps.clip(self, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        features, input_lengths = features_of(batch, self.features)
        log_probs, _ = self.emissions.network(features, input_lengths)
        loss = frame_losses(log_probs, batch.targets, input_lengths).sum()
        inside = mask(input_lengths, len(log_probs))
        errors = ((log_probs.argmax(2) != batch.targets.T) & inside).sum()
        self._dev += torch.stack([loss.double(), errors, inside.sum()]).cpu()

    def on_validation_epoch_end(self) -> None:
        loss, errors, n_frames = self._dev.tolist()
        self.log("dev_loss", loss / n_frames, prog_bar=True, sync_dist=True)
        self.log(self.monitor, errors / n_frames, prog_bar=True, sync_dist=True)
        self._dev.zero_()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled_optimizer(self, self.settings.optim)


def frame_losses(log_probs: Tensor, targets: Tensor, input_lengths: Tensor) -> Tensor:
    """Cross-entropy of each utterance, summed over its frames.

    Args:
        log_probs: (T, N, S), of the pdfs; padding is ignored.
        targets: (N, T), int64, the pdf of each frame.
        input_lengths: (N,).

    Returns:
        losses: (N,), in nats.

    Raises:
        ValueError: the shapes of `targets` and `log_probs` do not match.
    """
    if targets.shape != log_probs.shape[1::-1]:
        expected = tuple(log_probs.shape[1::-1])
        raise ValueError(f"targets has shape {tuple(targets.shape)}; expected {expected}")
    of_targets = log_probs.gather(2, targets.T[:, :, None])[:, :, 0]
    return -of_targets.masked_fill(~mask(input_lengths, len(log_probs)), 0.0).sum(0)


def log_priors(counts: Tensor) -> Tensor:
    """Log prior of each pdf, from its number of aligned frames.

    Counts below `FEWEST_FRAMES` are raised to it. This keeps the logarithms finite. It also keeps
    the search from finding rare pdfs everywhere: the network's probability is divided by the prior,
    and the network has not learned to give these pdfs probabilities as tiny as their priors.

    Args:
        counts: (S,), number of frames.

    Returns:
        log_priors: (S,), float64; their probabilities sum to 1.
    """
    counts = counts.double().clamp(min=FEWEST_FRAMES)
    return (counts / counts.sum()).log()
