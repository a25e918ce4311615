"""manifests -> a trained acoustic model: CTC training as a Lightning module and its data module."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asr.acoustic import AcousticModel, AcousticSettings
from asr.audio import SUFFIXES, load_audio
from asr.augment import AugmentSettings, WaveformAugmenter, spec_augment
from asr.batching import BucketSampler
from asr.ctc import ctc_loss, frames_needed
from asr.dataset import Batch, SpeechDataset, collate
from asr.errors import InputError
from asr.features import Features, FeatureSettings, mask
from asr.manifest import Utterance, read_manifest
from asr.search import greedy_search
from asr.text import CharTokenizer, Tokenizer, UnitTokenizer
from asr.training.run import AveragingSettings
from asr.wer import ErrorCounts, character_errors, word_errors


@dataclass(frozen=True)
class DataSettings:
    """What is read.

    Args:
        train: manifest of the utterances trained on.
        dev: manifest of the utterances that choose among epochs.
        tokens: what CTC emits: characters, or units separated by blanks (phones).
        batch_s: seconds of audio in a batch, padding included.
    """

    train: str = "train.jsonl"
    dev: str = "dev.jsonl"
    tokens: Literal["char", "unit"] = "char"
    batch_s: float = 60.0


@dataclass(frozen=True)
class OptimSettings:
    """AdamW with linear warm-up, then decay along a cosine to 0 at the last step.

    Args:
        lr: the highest learning rate.
        weight_decay: of matrices, not of biases.
        warmup: share of all steps.
    """

    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1


@dataclass(frozen=True)
class CTCSettings:
    """All of a training run but Lightning's own settings."""

    seed: int = 1
    data: DataSettings = field(default_factory=DataSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: AcousticSettings = field(default_factory=AcousticSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)


class ResumableLoader(DataLoader):
    """A data loader whose place within an epoch Lightning saves, by its sampler's state."""

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler stands."""
        return self.batch_sampler.state_dict()  # type: ignore[union-attr]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.batch_sampler.load_state_dict(state)  # type: ignore[union-attr]


class CTCData(pl.LightningDataModule):
    """Batches of training and development utterances.

    Raises:
        InputError: a manifest can't be used, a dev text has a character that train has not, or an
            utterance has too few frames for its text; all such are named.
    """

    def __init__(self, settings: CTCSettings) -> None:
        super().__init__()
        self.settings = settings
        train = read_manifest(settings.data.train)
        dev = read_manifest(settings.data.dev)
        self.tokenizer: Tokenizer = _tokenizer(settings.data.tokens, train)
        augment = settings.augment
        sample_rate = settings.features.sample_rate
        self.dev = SpeechDataset(dev, self.tokenizer, sample_rate)
        self.train = SpeechDataset(
            train, self.tokenizer, sample_rate, augment.speeds, seed=settings.seed
        )
        if augment.noise_probability or augment.reverb_probability:
            self.train.augmenter = WaveformAugmenter(
                augment,
                sample_rate,
                noises=_recordings(augment.noise_dir, sample_rate),
                impulse_responses=_recordings(augment.reverb_dir, sample_rate),
                speech=self.train.waveforms,
            )
        refuse_short(self.train, settings, settings.data.train)
        refuse_short(self.dev, settings, settings.data.dev)

    @property
    def hours(self) -> float:
        """Of training speech."""
        return sum(utterance.duration for utterance in self.train.utterances) / 3600

    def train_dataloader(self) -> ResumableLoader:
        assert self.trainer is not None
        sampler = BucketSampler(
            [u.duration for u in self.train.utterances],
            self.settings.data.batch_s,
            self.settings.seed,
            self.train.duration,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return ResumableLoader(self.train, batch_sampler=sampler, collate_fn=collate)

    def val_dataloader(self) -> DataLoader:
        durations = [u.duration for u in self.dev.utterances]
        sampler = BucketSampler(durations, self.settings.data.batch_s, shuffle=False)
        return DataLoader(self.dev, batch_sampler=sampler, collate_fn=collate)


class CTCTraining(pl.LightningModule):
    """Features, acoustic model and CTC loss under AdamW.

    Dropout and masks are drawn anew from seed and step in every step, so that a run that was
    interrupted goes on exactly as it would have. Where a loss or a gradient is not finite, the
    utterances of its batch are named on stderr and the step is not taken.
    """

    def __init__(self, settings: CTCSettings, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.settings = settings
        self.tokenizer = tokenizer
        self.features = Features(settings.features)
        self.acoustic = AcousticModel(
            settings.features.n_features, len(tokenizer.symbols), settings.model
        )
        self._masks = torch.Generator()
        self._references: list[str] = []
        self._hypotheses: list[str] = []
        self._dev_loss = 0.0
        self._batch_ids: tuple[str, ...] = ()

    def on_fit_start(self) -> None:
        if self.settings.features.normalisation == "global" and not self.trainer.ckpt_path:
            self._estimate_moments(self.trainer.datamodule.train)  # type: ignore[attr-defined]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed = hash((self.settings.seed, self.trainer.global_step, self.global_rank)) % 2**63
        torch.manual_seed(seed)
        self._masks.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        with torch.no_grad():
            features, input_lengths = self.features(batch.waveforms, batch.sample_lengths)
            features = spec_augment(features, input_lengths, self.settings.augment, self._masks)
        log_probs, input_lengths = self.acoustic(features, input_lengths)
        losses = ctc_loss(log_probs, batch.targets, input_lengths, batch.target_lengths)
        loss = losses.sum() / batch.target_lengths.sum().cpu()
        self._batch_ids = batch.ids
        if not loss.isfinite():
            bad = [id for id, one in zip(batch.ids, losses, strict=True) if not one.isfinite()]
            self._refuse_step("the loss", bad)
            return None
        self.log("train_loss", loss.detach(), on_step=True, on_epoch=True, batch_size=len(losses))
        return loss.to(self.device)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not norm.isfinite():
            for parameter in parameters:
                parameter.grad = None  # which the optimiser leaves as they are
            self._refuse_step("the gradient", self._batch_ids)
        elif gradient_clip_val:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        self.log("gradient_norm", norm)

    def _refuse_step(self, what: str, ids: Sequence[str]) -> None:
        step = self.trainer.global_step
        print(f"step {step} not taken: {what} is not finite: {', '.join(ids)}", file=sys.stderr)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        log_probs, input_lengths = self.acoustic(
            *self.features(batch.waveforms, batch.sample_lengths)
        )
        losses = ctc_loss(log_probs, batch.targets, input_lengths, batch.target_lengths)
        self._dev_loss += losses.sum().item()
        rows = log_probs.float().cpu().numpy()
        for n, length in enumerate(input_lengths.tolist()):
            tokens = greedy_search(rows[:length, n]).tokens
            reference = batch.targets[n, : batch.target_lengths[n]].tolist()
            self._hypotheses.append(self.tokenizer.decode(tokens))
            self._references.append(self.tokenizer.decode(reference))

    def on_validation_epoch_end(self) -> None:
        words = sum(word_errors(self._references, self._hypotheses), ErrorCounts())
        characters = sum(character_errors(self._references, self._hypotheses), ErrorCounts())
        self.log("dev_loss", self._dev_loss / max(1, characters.words), prog_bar=True)
        self.log("dev_wer", words.rate, prog_bar=True)
        self.log("dev_cer", characters.rate)
        self._references, self._hypotheses, self._dev_loss = [], [], 0.0

    def configure_optimizers(self) -> dict[str, Any]:
        optim = self.settings.optim
        matrices = [p for p in self.parameters() if p.ndim > 1]
        biases = [p for p in self.parameters() if p.ndim <= 1]
        groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=optim.lr, weight_decay=optim.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_at(step, steps, optim.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @torch.no_grad()
    def _estimate_moments(self, dataset: SpeechDataset) -> None:
        """Mean and deviation of each dimension over the training set, as it is read."""
        durations = [u.duration for u in dataset.utterances]
        sampler = BucketSampler(durations, self.settings.data.batch_s, shuffle=False)
        count, sums, squares = 0, torch.zeros(()), torch.zeros(())
        for draws in sampler.batches(0):
            batch = collate([dataset[draw] for draw in draws])
            features, lengths = self.features.cpu().unnormalised(
                batch.waveforms, batch.sample_lengths
            )
            frames = features[mask(lengths, len(features))].double()  # (frames, F)
            count += len(frames)
            sums, squares = sums + frames.sum(0), squares + frames.square().sum(0)
        self.features.mean = (sums / count).float()
        self.features.std = (squares / count - (sums / count) ** 2).sqrt().clamp(min=1e-5).float()
        self.features.to(self.device)


def rate_at(step: int, steps: int, warmup: float) -> float:
    """The learning rate's share of its highest: up in a line, down along a cosine to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def refuse_short(dataset: SpeechDataset, settings: CTCSettings, manifest: str) -> None:
    """Raise InputError naming all utterances whose frames can't hold their text.

    Before the first step, since such an utterance's loss is infinite. Counted at the highest speed.
    """
    features, reduction = settings.features, settings.model.time_reduction
    short = []
    for utterance, tokens in zip(dataset.utterances, dataset.tokens, strict=True):
        samples = int(utterance.duration * features.sample_rate / max(dataset.speeds))
        n_frames = -(-features.n_frames(samples) // reduction)
        needed = max(1, frames_needed(tokens))
        if n_frames < needed:
            short.append(f"{utterance.id} ({n_frames} for {needed})")
    if short:
        raise InputError(
            f"{manifest}: {len(short)} of {len(dataset)} utterances have fewer frames than their"
            f" text takes: {', '.join(short)}; lower model.time_reduction ({reduction}) or"
            f" features.hop_ms ({features.hop_ms}), or take them out of the manifest"
        )


def _tokenizer(kind: Literal["char", "unit"], utterances: Sequence[Utterance]) -> Tokenizer:
    texts = [utterance.text for utterance in utterances]
    return (CharTokenizer if kind == "char" else UnitTokenizer).from_texts(texts)


def _recordings(folder: str, sample_rate: int) -> list[Any]:
    if not folder:
        return []
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: holds no audio file; expected recordings")
    return [load_audio(path, sample_rate) for path in paths]
