"""Utterances -> examples, and examples -> padded batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asr.audio.augment import WaveformAugmenter, change_speed
from asr.corpus.batching import UtteranceDraw
from asr.corpus.cache import WaveformCache
from asr.corpus.manifest import Utterance, check_duration
from asr.corpus.recordings import load_utterance
from asr.errors import InputError
from asr.text.tokenizer import Tokenizer


class Example(NamedTuple):
    """One utterance for training."""

    id: str
    waveform: np.ndarray  # (samples,) float32
    tokens: tuple[int, ...]


class Batch(NamedTuple):
    """Padded utterances."""

    waveforms: Tensor  # (N, samples), padded with 0
    sample_lengths: Tensor  # (N,)
    targets: Tensor  # (N, U), padded with 0
    target_lengths: Tensor  # (N,)
    ids: tuple[str, ...]
    features: Tensor | None = None  # (T, N, F), if computed ahead of the step
    input_lengths: Tensor | None = None  # (N,), of `features`


class SpeechDataset(Dataset[Example]):
    """Utterances with their tokens; audio is read when an example is indexed. Threads may share it.

    Args:
        utterances: their texts must be in the tokenizer's alphabet.
        tokenizer: text -> tokens.
        sample_rate: in Hz, of all waveforms.
        speeds: speed factors; each draw has one of them, chosen at random.
        augmenter: adds reverberation and noise.
        seed: together with a draw's epoch and index it fixes the random augmentation.
        cache: for decoded recordings; None for none. Data sets may share it. It does not change the
            examples.

    Raises:
        InputError: a text has a character that is not in the alphabet.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        tokenizer: Tokenizer,
        sample_rate: int,
        speeds: Sequence[float] = (1.0,),
        augmenter: WaveformAugmenter | None = None,
        seed: int = 0,
        cache: WaveformCache | None = None,
    ) -> None:
        self.utterances = utterances
        self.tokens = [tokenizer.encode(u.text, f"utterance {u.id}") for u in utterances]
        self.sample_rate = sample_rate
        self.speeds = speeds
        self.augmenter = augmenter
        self.seed = seed
        self.cache = cache or WaveformCache(0)

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, draw: UtteranceDraw) -> Example:
        """The utterance with the augmentation of the draw's epoch."""
        generator = self._generator(draw)
        waveform = self.waveform(draw.index, self._speed(generator))
        if self.augmenter is not None:
            waveform = self.augmenter(waveform, generator)
        return Example(self.utterances[draw.index].id, waveform, self.tokens[draw.index])

    def duration(self, draw: UtteranceDraw) -> float:
        """Duration of the example in seconds, computed without reading the audio."""
        return self.utterances[draw.index].duration / self._speed(self._generator(draw))

    @property
    def waveforms(self) -> "Waveforms":
        """The waveforms without augmentation, read when indexed."""
        return Waveforms(self)

    def waveform(self, index: int, speed: float = 1.0) -> np.ndarray:
        """The waveform of one utterance, (samples,) float32, read-only.

        Args:
            index: of the utterance.
            speed: factor; 1.1 is faster and higher.

        Raises:
            InputError: the file can't be used, or its duration differs from the manifest's.
        """
        utterance = self.utterances[index]
        key = utterance, self.sample_rate
        waveform = self.cache.get(key)
        if waveform is None:
            waveform = self._read(utterance)
            self.cache.put(key, waveform)
        waveform = change_speed(waveform, speed)
        waveform.flags.writeable = False  # it may be the cache's, which all draws share
        return waveform

    def _read(self, utterance: Utterance) -> np.ndarray:
        try:
            waveform = load_utterance(utterance, self.sample_rate)
        except InputError as error:
            raise InputError(f"utterance {utterance.id}: {error}") from None
        check_duration(utterance, len(waveform) / self.sample_rate)
        return waveform

    def _generator(self, draw: UtteranceDraw) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, draw.epoch, draw.index]))

    def _speed(self, generator: np.random.Generator) -> float:
        return self.speeds[int(generator.integers(len(self.speeds)))]


class Waveforms(Sequence[np.ndarray]):
    """The recordings of a data set as a sequence that reads each when it is indexed."""

    def __init__(self, dataset: SpeechDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return self._dataset.waveform(index)


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples and join them to a batch."""
    sample_lengths = torch.tensor([len(example.waveform) for example in examples])
    waveforms = np.zeros((len(examples), int(sample_lengths.max())), dtype=np.float32)
    for row, example in zip(waveforms, examples, strict=True):
        row[: len(example.waveform)] = example.waveform
    target_lengths = torch.tensor([len(example.tokens) for example in examples])
    targets = torch.zeros(len(examples), int(target_lengths.max()), dtype=torch.int64)
    for n, example in enumerate(examples):
        targets[n, : len(example.tokens)] = torch.tensor(example.tokens, dtype=torch.int64)
    ids = tuple(example.id for example in examples)
    return Batch(torch.from_numpy(waveforms), sample_lengths, targets, target_lengths, ids)
