"""manifests -> batches of utterances for training networks; seeds of batches, steps."""

import hashlib
import math
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from asr.audio.augment import AugmentSettings, WaveformAugmenter
from asr.audio.features import Features, mask
from asr.audio.load import SUFFIXES, read_audio
from asr.corpus.batching import BucketSampler, UtteranceDraw
from asr.corpus.dataset import Batch, SpeechDataset
from asr.corpus.manifest import Utterance, check_audio, in_both, read_manifest
from asr.corpus.reading import BatchReader, Examples, read_ahead
from asr.corpus.recordings import check_durations
from asr.errors import InputError, listed
from asr.files import file_digest
from asr.text.normalisation import lower_case
from asr.text.tokenizer import PhoneTokenizer, Tokenizer
from asr.training.optim import clip_finite


def read_spoken(manifest: str) -> list[Utterance]:
    """The utterances of a manifest, after checking its audio files and their durations.

    Raises:
        InputError: the manifest can't be used, an audio file is missing, a duration in the manifest
            is wrong, or all texts are empty.
    """
    utterances = read_manifest(manifest)
    check_audio(manifest, utterances)
    if not any(utterance.text.split() for utterance in utterances):
        found = f"has no word in the texts of {len(utterances)} utterances"
        raise InputError(f"{manifest}: {found}; expected some to learn from")
    check_durations(manifest, utterances)
    return utterances


def read_train_and_dev(train: str, dev: str) -> tuple[list[Utterance], list[Utterance]]:
    """The utterances of two manifests, see `read_spoken`; stderr names those that are in both."""
    utterances = read_spoken(train), read_spoken(dev)
    if both := in_both(utterances[1], utterances[0]):
        print(
            f"{dev}: {len(both)} of {len(utterances[1])} utterances are in {train} too"
            f" ({listed(both)}), so its error rates are too low",
            file=sys.stderr,
        )
    return utterances


def refuse_unspoken(
    utterances: Sequence[Utterance], tokenizer: PhoneTokenizer, lexicon: str
) -> None:
    """Raise InputError naming words without a pronunciation, each with its first utterance."""
    first_id: dict[str, str] = {}
    for utterance in utterances:
        for word in tokenizer.lexicon.missing(utterance.text.split()):
            first_id.setdefault(word, utterance.id)
    if first_id:
        named = listed([f"{word} ({id})" for word, id in sorted(first_id.items())])
        in_lexicon = {lower_case(word) for word in tokenizer.lexicon.pronunciations}
        other_case = [word for word in sorted(first_id) if lower_case(word) in in_lexicon]
        hint = ""
        if other_case:
            hint = (
                f"; {len(other_case)} of them, such as {other_case[0]}, it has in another case,"
                " which is that of the texts only where these have small letters alone or capitals"
                " alone"
            )
        raise InputError(
            f"{lexicon}: has no pronunciation of {len(first_id)} words of the utterances: {named};"
            f" expected all words of train and dev{hint}"
        )


def refuse_unspelled(utterances: Sequence[Utterance], tokenizer: Tokenizer, manifest: str) -> None:
    """Raise InputError if the tokens can't spell some of the texts; `manifest` has them."""
    faults = []
    for utterance in utterances:
        try:
            tokenizer.encode(utterance.text, f"utterance {utterance.id}")
        except InputError as error:
            faults.append(str(error))
    if faults:
        found = f"the tokens of the training texts can't spell {len(faults)} of {len(utterances)}"
        raise InputError(f"{manifest}: {found} texts, such as that of {faults[0]}")


def varied(
    utterances: Sequence[Utterance],
    tokenizer: Tokenizer,
    sample_rate: int,
    augment: AugmentSettings,
    seed: int,
) -> SpeechDataset:
    """Utterances with random augmentation of speed, reverberation and noise, new in each epoch.

    Args:
        utterances: of a manifest.
        tokenizer: of their texts.
        sample_rate: in Hz.
        augment: settings of the augmentation.
        seed: of everything random.

    Raises:
        InputError: a text has a character that is not in the tokenizer's alphabet, or the folder of
            noises or of impulse responses has no recording.
    """
    dataset = SpeechDataset(utterances, tokenizer, sample_rate, augment.speeds, seed=seed)
    if augment.changes_waveforms:
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
    """The shuffled batches of this process, of about `batch_s` seconds of audio each.

    With several processes, each step takes one batch from each of them, so results differ from
    those of one process; a line on stderr says so.
    """
    n = trainer.world_size
    if n > 1 and trainer.is_global_zero:
        print(
            f"{n} processes: a step takes {n} batches of {batch_s:g} s together, so results differ"
            f" from those of one process; data.batch_s={batch_s / n:g} keeps steps as large",
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
    """All utterances in batches of at most `batch_s` seconds of padded audio, shortest first."""
    durations = [utterance.duration for utterance in dataset.utterances]
    return BucketSampler(durations, batch_s, shuffle=False).batches(0)


def reader(
    dataset: Examples,
    batch_sampler: BucketSampler | list[list[UtteranceDraw]],
    trainer: pl.Trainer | None,
) -> BatchReader:
    """The batches of a data set, read ahead by threads.

    When training on a CPU, the threads also compute the features, so that steps do not wait for
    them. Other devices compute them quickly in the step.
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
    """Features (T, N, F) and input lengths (N,) of a batch, computed if it does not have them."""
    if batch.features is None or batch.input_lengths is None:
        return features(batch.waveforms, batch.sample_lengths)
    return batch.features, batch.input_lengths


def hours(utterances: Sequence[Utterance]) -> float:
    """Total duration of utterances in hours."""
    return sum(utterance.duration for utterance in utterances) / 3600


def digests_of_utterances(**parts: Sequence[Utterance]) -> dict[str, str]:
    """SHA-256 digests of the training data, independent of the folders of the audio files.

    All files are read, 0.44 GB per second on two busy cores: 100 hours of FLAC in about 15 s.

    Args:
        parts: name of a part, such as train or dev -> its utterances.

    Returns:
        digests: for each part, NAME -> digest of ids, durations and texts, and NAME_audio -> digest
            of the contents of the audio files.

    Raises:
        OSError: a file can't be read.
    """
    digests: dict[str, str] = {}
    for name, utterances in parts.items():
        lines = hashlib.sha256()
        for one in utterances:
            offset = () if one.offset is None else (one.offset,)
            lines.update(repr((one.id, one.duration, one.text, *offset)).encode())
        files = {one.audio for one in utterances}  # a file may have several utterances
        with ThreadPoolExecutor() as pool:
            of_file = dict(zip(files, pool.map(file_digest, files), strict=True))
        audio = hashlib.sha256(b"".join(bytes.fromhex(of_file[one.audio]) for one in utterances))
        digests |= {name: lines.hexdigest(), f"{name}_audio": audio.hexdigest()}
    return digests


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
    """Set the features' mean and standard deviation from a data set, as augmented in epoch 0."""
    device = features.mean.device
    features.cpu()
    count, sums, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in BatchReader(dataset, in_order(dataset, batch_s)):
        values, lengths = features.unnormalised(batch.waveforms, batch.sample_lengths)
        frames = values[mask(lengths, len(values))].double()  # (frames, F)
        count += len(frames)
        sums, squares = sums + frames.sum(0), squares + frames.square().sum(0)
    mean = sums / count
    # the variance of a constant feature may be below 0 after rounding
    std = (squares / count - mean.square()).clamp(min=1e-10).sqrt()
    features.mean, features.std = mean.float(), std.float()
    features.to(device)


def seed_batch(task: pl.LightningModule, seed: int, batch_idx: int, masks: torch.Generator) -> None:
    """Seed the random generators for a batch from seed, epoch, batch and process alone.

    So a resumed training has the same dropout and masks as one without interruption.

    Args:
        task: gives the epoch and the number of the process.
        seed: of the run.
        batch_idx: number of the batch in the epoch.
        masks: generator of the masks; dropout uses torch's own.
    """
    entropy = [seed, task.current_epoch, batch_idx, task.global_rank]
    for_dropout, for_masks = np.random.SeedSequence(entropy).generate_state(2)
    torch.manual_seed(int(for_dropout))
    masks.manual_seed(int(for_masks))


EXPLODED = 10
"""A clipped gradient explodes if its norm is so many times the median of the steps before."""


class CheckedSteps:
    """Skips steps whose gradient is not finite, and names the utterances of conspicuous steps.

    A line on stderr names the utterances of a step that is skipped: those whose loss is not finite,
    if there are any, else all. It also names those of a step whose gradient explodes, which is
    clipped and taken; see `EXPLODED`. Steps are compared with the last 100 since the training
    began or was resumed, and the first 20 with none.
    """

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=100)
        self._ids: list[str] = []  # of the batches since the last step
        self._ids_not_finite: list[str] = []

    def note(self, ids: Sequence[str], losses: Tensor) -> bool:
        """Add a batch to the next step; return whether all losses are finite.

        Args:
            ids: of its utterances.
            losses: (N,), one for each of them.
        """
        finite = losses.isfinite().tolist()
        self._ids += ids
        pairs = zip(ids, finite, strict=True)
        self._ids_not_finite += [id for id, is_finite in pairs if not is_finite]
        return all(finite)

    def clip(
        self,
        task: pl.LightningModule,
        optimizer: torch.optim.Optimizer,
        value: float | None,
        algorithm: str | None,
    ) -> None:
        """Call `asr.training.optim.clip_finite`; a line on stderr if the step is conspicuous."""
        norm = clip_finite(task, optimizer, value, algorithm)
        step, usual = task.trainer.global_step + 1, median(self._norms) if self._norms else 0.0
        if not math.isfinite(norm):
            what = "the loss" if self._ids_not_finite else "the gradient"
            named = listed(self._ids_not_finite or self._ids)
            print(f"step {step} not taken: {what} is not finite: {named}", file=sys.stderr)
        else:
            is_clipped = not value or norm > value
            if is_clipped and len(self._norms) >= 20 and norm > EXPLODED * usual:
                what = f"the gradient's norm is {norm:.4g}, {norm / usual:.0f} times the median"
                print(f"step {step}: {what}: {listed(self._ids)}", file=sys.stderr)
            self._norms.append(norm)
        self._ids, self._ids_not_finite = [], []


def _recordings(folder: str, sample_rate: int) -> list[np.ndarray]:
    if not folder:
        return []
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: holds no audio file; expected recordings")
    return [read_audio(path, sample_rate) for path in paths]
