"""manifests -> recordings to train networks on, in batches; steps that can be told and repeated."""

import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from asr.audio.augment import AugmentSettings, WaveformAugmenter
from asr.audio.features import Features, mask
from asr.audio.load import SUFFIXES, load_audio
from asr.corpus.batching import BucketSampler, UtteranceDraw
from asr.corpus.dataset import Batch, SpeechDataset
from asr.corpus.manifest import Utterance, check_audio, read_manifest
from asr.corpus.reading import BatchReader, Examples, read_ahead
from asr.corpus.recordings import check_durations
from asr.errors import InputError, listed
from asr.text.tokenizer import Tokenizer
from asr.training.optim import clip_finite


def read_spoken(manifest: str) -> list[Utterance]:
    """The utterances of a manifest, whose audio files are there and as long as it says.

    Raises:
        InputError: the manifest can't be used, audio is missing or of another duration, or nothing
            is said in any.
    """
    utterances = read_manifest(manifest)
    check_audio(manifest, utterances)
    if not any(utterance.text.split() for utterance in utterances):
        found = f"has no word in the texts of {len(utterances)} utterances"
        raise InputError(f"{manifest}: {found}; expected some to learn from")
    check_durations(manifest, utterances)
    return utterances


def varied(
    utterances: Sequence[Utterance],
    tokenizer: Tokenizer,
    sample_rate: int,
    augment: AugmentSettings,
    seed: int,
) -> SpeechDataset:
    """Utterances with other speeds, rooms and noises in each epoch, as the settings have it.

    Raises:
        InputError: a text has a character that is not in the tokenizer's alphabet, or a folder of
            recordings has none.
    """
    dataset = SpeechDataset(utterances, tokenizer, sample_rate, augment.speeds, seed=seed)
    if augment.noise_probability or augment.reverb_probability:
        dataset.augmenter = WaveformAugmenter(
            augment,
            sample_rate,
            noises=_recordings(augment.noise_dir, sample_rate),
            impulse_responses=_recordings(augment.reverb_dir, sample_rate),
            speech=dataset.waveforms,
        )
    return dataset


def shuffled(
    dataset: SpeechDataset, batch_s: float, seed: int, trainer: pl.Trainer
) -> BucketSampler:
    """This process's batches of each epoch, of so many seconds of audio.

    Several processes take a batch each for one step. That is another training than one process's,
    with steps as many times larger, and stderr says so.
    """
    n = trainer.world_size
    if n > 1 and trainer.is_global_zero:
        print(
            f"{n} processes: a step takes {n} batches of {batch_s:g} s together, so results are"
            f" others than those of one process; data.batch_s={batch_s / n:g} keeps steps as large",
            file=sys.stderr,
        )
    return BucketSampler(
        [utterance.duration for utterance in dataset.utterances],
        batch_s,
        seed,
        dataset.duration,
        rank=trainer.global_rank,
        world_size=trainer.world_size,
    )


def in_order(dataset: SpeechDataset, batch_s: float) -> list[list[UtteranceDraw]]:
    """All utterances in batches of so many seconds of audio, shortest first."""
    durations = [utterance.duration for utterance in dataset.utterances]
    return BucketSampler(durations, batch_s, shuffle=False).batches(0)


def reader(
    dataset: Examples,
    batch_sampler: BucketSampler | list[list[UtteranceDraw]],
    trainer: pl.Trainer | None,
) -> BatchReader:
    """A data set's batches, read ahead; on a CPU with the features of the task under training.

    There a step would wait for them; another device computes them from the waveforms in a moment.
    """
    if trainer is None or trainer.strategy.root_device.type != "cpu":
        return BatchReader(dataset, batch_sampler)

    @torch.no_grad()
    def with_features(batch: Batch) -> Batch:
        of_task: Features = trainer.lightning_module.features  # type: ignore[assignment]
        features, input_lengths = features_of(batch, of_task)
        return batch._replace(features=features, input_lengths=input_lengths)

    return BatchReader(dataset, batch_sampler, with_features)


@torch.no_grad()
def features_of(batch: Batch, features: Features) -> tuple[Tensor, Tensor]:
    """A batch's features, (T, N, F), and their lengths, (N,); computed now if they aren't there."""
    if batch.features is None or batch.input_lengths is None:
        return features(batch.waveforms, batch.sample_lengths)
    return batch.features, batch.input_lengths


def hours(utterances: Sequence[Utterance]) -> float:
    """How long all utterances are together."""
    return sum(utterance.duration for utterance in utterances) / 3600


def digests_of_utterances(**parts: Sequence[Utterance]) -> dict[str, str]:
    """Of what is trained on, by name: the utterances of each part, and its audio files' contents.

    All files are read, 0.44 GB a second on two busy cores: 100 hours of FLAC in about 15 s.
    Where the files lie does not count.

    Raises:
        OSError: a file can't be read.
    """
    found: dict[str, str] = {}
    for name, utterances in parts.items():
        spoken = hashlib.sha256()
        for one in utterances:
            part = () if one.offset is None else (one.offset,)
            spoken.update(repr((one.id, one.duration, one.text, *part)).encode())
        files = {one.audio for one in utterances}  # some may hold several utterances
        with ThreadPoolExecutor() as pool:
            of_file = dict(zip(files, pool.map(_file_digest, files), strict=True))
        audio = hashlib.sha256(b"".join(of_file[one.audio] for one in utterances))
        found |= {name: spoken.hexdigest(), f"{name}_audio": audio.hexdigest()}
    return found


@rank_zero_only
def warn_of_constant_features(dataset: SpeechDataset, manifest: str) -> None:
    """Name on stderr the utterances whose samples are all the same, such as digital silence."""
    waveforms = read_ahead(dataset.waveform, range(len(dataset)))
    pairs = zip(dataset.utterances, waveforms, strict=True)
    if same := [utterance.id for utterance, waveform in pairs if np.ptp(waveform) == 0]:
        found = f"silent or constant audio in {len(same)} of {len(dataset)} utterances"
        named = f"{listed(same)}; they count like all others"
        print(f"{manifest}: {found}: {named}", file=sys.stderr)


@torch.no_grad()
def estimate_moments(features: Features, dataset: SpeechDataset, batch_s: float) -> None:
    """Give features the mean and deviation of each dimension over a data set, as it is read."""
    device = features.mean.device
    features.cpu()
    count, sums, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in BatchReader(dataset, in_order(dataset, batch_s)):
        values, lengths = features.unnormalised(batch.waveforms, batch.sample_lengths)
        frames = values[mask(lengths, len(values))].double()  # (frames, F)
        count += len(frames)
        sums, squares = sums + frames.sum(0), squares + frames.square().sum(0)
    mean = sums / count
    # a constant's variance may come out below 0
    std = (squares / count - mean.square()).clamp(min=1e-10).sqrt()
    features.mean, features.std = mean.float(), std.float()
    features.to(device)


def seed_batch(task: pl.LightningModule, seed: int, batch_idx: int, masks: torch.Generator) -> None:
    """Draw a batch's dropout and masks from seed, epoch and batch alone.

    So a run that was interrupted goes on exactly as it would have.

    Args:
        task: in whose epoch the batch is.
        seed: of the run.
        batch_idx: number of the batch in the epoch.
        masks: the generator of what dropout does not draw.
    """
    place = [seed, task.current_epoch, batch_idx, task.global_rank]
    for_dropout, for_masks = np.random.SeedSequence(place).generate_state(2)
    torch.manual_seed(int(for_dropout))
    masks.manual_seed(int(for_masks))


class FiniteSteps:
    """Takes no step with a gradient that is not finite, and names its utterances on stderr.

    Those whose loss is not finite, if there are some; else all of the step's batches.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []  # of the batches since the last step
        self._ids_not_finite: list[str] = []

    def note(self, ids: Sequence[str], losses: Tensor) -> bool:
        """Put a batch, with each utterance's loss, to the next step; are all losses finite?"""
        finite = losses.isfinite().tolist()
        self._ids += ids
        self._ids_not_finite += [id for id, one in zip(ids, finite, strict=True) if not one]
        return all(finite)

    def clip(
        self,
        task: pl.LightningModule,
        optimizer: torch.optim.Optimizer,
        value: float | None,
        algorithm: str | None,
    ) -> None:
        """Do as `asr.training.optim.clip_finite` does, and say where there is no step."""
        if not clip_finite(task, optimizer, value, algorithm):
            what = "the loss" if self._ids_not_finite else "the gradient"
            named = listed(self._ids_not_finite or self._ids)
            step = task.trainer.global_step + 1
            print(f"step {step} not taken: {what} is not finite: {named}", file=sys.stderr)
        self._ids, self._ids_not_finite = [], []


def _file_digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _recordings(folder: str, sample_rate: int) -> list[np.ndarray]:
    if not folder:
        return []
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: holds no audio file; expected recordings")
    return [load_audio(path, sample_rate) for path in paths]
