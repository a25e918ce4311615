"""manifests and an HMM -> batches of audio with the pdf of each frame; settings of a hybrid run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asr.audio.augment import AugmentSettings
from asr.audio.features import MFCC, FeatureSettings
from asr.corpus.batching import UtteranceDraw, check_batch_s
from asr.corpus.cache import check_cache_gb
from asr.corpus.dataset import Batch, Example, SpeechDataset, collate
from asr.corpus.reading import read_ahead
from asr.errors import InputError
from asr.folder import WEIGHTS, read_description
from asr.hmm.graph import Graph, pad_graphs
from asr.hmm.paths import viterbi
from asr.hmm.topology import Topology
from asr.model import Model, load_model
from asr.networks.acoustic import AcousticSettings
from asr.text.tokenizer import PhoneTokenizer
from asr.training.graphs import refuse_impossible, refuse_short, text_graphs
from asr.training.optim import OptimSettings
from asr.training.run import AveragingSettings, check_seed
from asr.training.speech_data import SpeechData
from asr.training.utterances import (
    digests_of_utterances,
    in_order,
    read_train_and_dev,
    refuse_unspoken,
    varied,
    warn_of_constant_features,
)


@dataclass(frozen=True)
class HybridDataSettings:
    """The training data.

    Args:
        train: manifest of the training utterances.
        dev: manifest of the development utterances, on which epochs are compared.
        hmm: folder of the HMM that aligns the utterances; it may be a hybrid model.
        batch_s: seconds of audio in a batch, padding included.
        cache_gb: GB of memory for decoded audio; audio that does not fit is read again in each
            epoch. Null: half of the memory that is free when training begins. It changes no result.
    """

    train: str = "train.jsonl"
    dev: str = "dev.jsonl"
    hmm: str = "hmm"
    batch_s: float = 60.0
    cache_gb: float | None = None

    def __post_init__(self) -> None:
        check_batch_s(self.batch_s)
        check_cache_gb(self.cache_gb)


def _without_time_reduction() -> AcousticSettings:
    return AcousticSettings(time_reduction=1)


@dataclass(frozen=True)
class HybridSettings:
    """All settings of a training run except Lightning's own.

    Args:
        seed: of everything random.
        data: the training data.
        features: how they are computed; with the HMM's sample rate, window and hop.
        augment: changes of speed, rooms, noise and masks.
        model: size of the network.
        optim: optimiser and learning-rate schedule.
        averaging: which epochs are averaged, and when training ends.
    """

    seed: int = 1
    data: HybridDataSettings = field(default_factory=HybridDataSettings)
    features: FeatureSettings = MFCC
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: AcousticSettings = field(default_factory=_without_time_reduction)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)

    def __post_init__(self) -> None:
        check_seed(self.seed)


class AlignedDataset(Dataset[Example]):
    """Utterances whose tokens are the pdfs of their frames, at the speed of each draw.

    Args:
        speech: the utterances.
        alignments: for each utterance (T,), the pdfs of its frames at the recorded speed.
        features: how frames are computed.
    """

    def __init__(
        self, speech: SpeechDataset, alignments: Sequence[np.ndarray], features: FeatureSettings
    ) -> None:
        self._speech, self._alignments, self._features = speech, alignments, features

    def __len__(self) -> int:
        return len(self._speech)

    def __getitem__(self, draw: UtteranceDraw) -> Example:
        """The utterance with the augmentation of the draw's epoch."""
        example = self._speech[draw]
        speed = self._speech.utterances[draw.index].duration / self._speech.duration(draw)
        alignment = self._alignments[draw.index]
        T = self._features.n_frames(len(example.waveform))
        frames = recorded_frames(T, len(alignment), speed, self._features)
        return example._replace(tokens=tuple(alignment[frames].tolist()))


class HybridData(SpeechData):
    """The utterances of a hybrid's training as batches, with the pdf of each frame.

    The HMM aligns all utterances once, before training begins; the alignments stay in memory.
    Utterances with silent or otherwise constant audio are then named on stderr; they are used like
    all others.

    Raises:
        InputError: a manifest or the HMM can't be used, the HMM's frames differ from the network's,
            words have no pronunciation in the HMM's lexicon, or utterances have too few frames for
            the states of their words. The message names the words or utterances.
    """

    def __init__(self, settings: HybridSettings) -> None:
        data = settings.data
        hmm, tokenizer, topology = _load_hmm(data.hmm)
        _refuse_other_frames(settings, hmm.features.settings)
        train, dev = read_train_and_dev(data.train, data.dev)
        refuse_unspoken([*train, *dev], tokenizer, data.hmm)
        rate, augment, seed = settings.features.sample_rate, settings.augment, settings.seed
        train_set = varied(train, tokenizer, rate, augment, seed)
        super().__init__(train_set, SpeechDataset(dev, tokenizer, rate), data, seed)
        self.settings = settings
        self.hmm, self.tokenizer, self.topology = hmm, tokenizer, topology
        self._train_graphs = self._graphs(self.train, data.train)
        self._dev_graphs = self._graphs(self.dev, data.dev)

    @property
    def digests(self) -> dict[str, str]:
        """Name -> digest of the training data, independent of the folders of the audio files."""
        found = digests_of_utterances(train=self.train.utterances, dev=self.dev.utterances)
        return found | {"hmm": _hmm_digest(self.settings.data.hmm)}

    @property
    def counts(self) -> Tensor:
        """(S,), int64: number of training frames aligned with each pdf, at the recorded speed."""
        frames = torch.from_numpy(np.concatenate(self._train_alignments))
        return frames.bincount(minlength=len(self.topology.self_loops))

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = self.settings.data
        warn_of_constant_features(self.train, data.train)
        warn_of_constant_features(self.dev, data.dev)
        hmm, batch_s = self.hmm, data.batch_s
        self._train_alignments = align_with_hmm(hmm, self.train, self._train_graphs, batch_s)
        self._dev_alignments = align_with_hmm(hmm, self.dev, self._dev_graphs, batch_s)

    def train_examples(self) -> AlignedDataset:
        """The training utterances with the pdfs of their frames."""
        return AlignedDataset(self.train, self._train_alignments, self.settings.features)

    def dev_examples(self) -> AlignedDataset:
        """The development utterances with the pdfs of their frames."""
        return AlignedDataset(self.dev, self._dev_alignments, self.settings.features)

    def _graphs(self, dataset: SpeechDataset, manifest: str) -> list[Graph]:
        utterances, fastest = dataset.utterances, max(dataset.speeds)
        graphs = text_graphs(utterances, self.tokenizer, self.topology, manifest)
        remedy = f"lower the highest of augment.speeds ({fastest:g})"
        refuse_short(utterances, graphs, self.settings.features, manifest, remedy, fastest)
        return graphs


@torch.no_grad()
def align_with_hmm(
    hmm: Model, dataset: SpeechDataset, graphs: Sequence[Graph], batch_s: float
) -> list[np.ndarray]:
    """The pdfs on the most probable path through each utterance, without augmentation.

    Args:
        hmm: on the CPU.
        dataset: the utterances; its augmentation is not used.
        graphs: for each utterance, that of its text.
        batch_s: seconds of audio in a batch.

    Returns:
        alignments: for each utterance (T,), int32.

    Raises:
        InputError: utterances have no path with a finite probability; the message names them.
        ValueError: `hmm` is not an HMM.
    """
    if hmm.topology is None:
        raise ValueError("hmm is a CTC model; expected an HMM")
    found: dict[int, np.ndarray] = {}
    ids: list[str] = []
    finite: list[Tensor] = []

    def load(indices: list[int]) -> Batch:
        return collate(
            [Example(dataset.utterances[i].id, dataset.waveform(i), ()) for i in indices]
        )

    batches = [[draw.index for draw in draws] for draws in in_order(dataset, batch_s)]
    for indices, batch in zip(batches, read_ahead(load, batches), strict=True):
        features, input_lengths = hmm.features(batch.waveforms, batch.sample_lengths)
        emissions, input_lengths = hmm.acoustic(features, input_lengths)
        padded = pad_graphs([graphs[i] for i in indices])
        log_probs, states = viterbi(emissions, input_lengths, padded, hmm.topology.self_loops)
        for n, (i, length) in enumerate(zip(indices, input_lengths.tolist(), strict=True)):
            found[i] = graphs[i].pdfs[states[:length, n].numpy()].astype(np.int32)
        ids += batch.ids
        finite.append(log_probs.isfinite())
    refuse_impossible(ids, torch.cat(finite))
    return [found[i] for i in range(len(dataset))]


def recorded_frames(T: int, n_recorded: int, speed: float, features: FeatureSettings) -> np.ndarray:
    """For each frame after a change of speed, the frame of the recording at the same place.

    The middle of frame t, times `speed`, is a time in the recording; the function gives the frame
    of the recording whose middle is nearest to it. This is about t * speed.

    Args:
        T: number of frames after the change of speed.
        n_recorded: number of frames of the recording.
        speed: factor; 1.1 is faster.
        features: how frames are computed.

    Returns:
        frames: (T,), int64, from 0 to below `n_recorded`.
    """
    to_middle = features.win_length / 2 / features.hop_length  # of a window, in hops
    positions = (np.arange(T) + to_middle) * speed - to_middle
    return np.floor(positions + 0.5).astype(np.int64).clip(0, n_recorded - 1)


def _load_hmm(folder: str) -> tuple[Model, PhoneTokenizer, Topology]:
    model = load_model(folder)
    if model.topology is None or not isinstance(model.tokenizer, PhoneTokenizer):
        raise InputError(f"{folder}: is a CTC model's folder; expected an HMM's")
    return model, model.tokenizer, model.topology


def _hmm_digest(folder: str) -> str:
    """Digest of everything that an HMM's alignments depend on."""
    values = {name: v for name, v in read_description(folder).items() if name != "trained_on"}
    sha256 = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    sha256.update((Path(folder) / WEIGHTS).read_bytes())
    return sha256.hexdigest()


def _refuse_other_frames(settings: HybridSettings, of_hmm: FeatureSettings) -> None:
    """Raise InputError if the network's frames would differ from those of the HMM."""

    def sizes(features: FeatureSettings) -> tuple[int, int, int]:
        return features.sample_rate, features.win_length, features.hop_length

    def shown(features: FeatureSettings) -> str:
        window, hop = features.window_ms, features.hop_ms
        return f"windows of {window:g} ms every {hop:g} ms at {features.sample_rate} Hz"

    if sizes(settings.features) != sizes(of_hmm):
        raise InputError(
            f"features has {shown(settings.features)}; the HMM {settings.data.hmm} has"
            f" {shown(of_hmm)}: expected the same"
        )
