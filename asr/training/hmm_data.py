"""manifests and a lexicon -> batches of features and graphs, for EM."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.audio.features import Features, mask
from asr.corpus.cache import cache_of
from asr.corpus.dataset import SpeechDataset
from asr.corpus.manifest import Utterance
from asr.corpus.reading import BatchReader
from asr.errors import InputError, listed
from asr.files import file_digest
from asr.folder import WEIGHTS
from asr.hmm.gmm import Gmm, flat_start
from asr.hmm.graph import SILENCE, Graph, Graphs, pad_graphs
from asr.hmm.paths import viterbi
from asr.hmm.topology import left_to_right
from asr.hmm.trees import DecisionTrees, context_lexicon, trees_from_dict
from asr.text.lexicon import Lexicon, named_lexicon, parse_lexicon
from asr.text.normalisation import case_of
from asr.text.tokenizer import PhoneTokenizer
from asr.training.checkpoints import load_whole
from asr.training.graphs import refuse_impossible, refuse_short, text_graphs
from asr.training.hmm_settings import HmmSettings
from asr.training.stream import ChunkDraw, ChunkSampler
from asr.training.triphones import (
    Frames,
    grow,
    load_start,
    phone_topology,
    tied_gmm,
    tied_topology,
    unit_statistics,
)
from asr.training.utterances import (
    digests_of_utterances,
    hours,
    in_order,
    read_train_and_dev,
    refuse_unspoken,
    warn_of_constant_features,
)


class HmmBatch(NamedTuple):
    """Padded utterances with the graphs of their texts."""

    features: Tensor  # (T, N, F)
    input_lengths: Tensor  # (N,)
    graphs: Graphs
    ids: tuple[str, ...]
    counted: bool  # false for a batch that only fills up the last round of several processes


class HmmBatches(Dataset[HmmBatch]):
    """The batches of one process: every `world_size`th batch.

    If the last round has too few batches, it is filled with batches that do not count.

    Args:
        batches: of all processes.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(self, batches: Sequence[HmmBatch], rank: int = 0, world_size: int = 1) -> None:
        self._batches, self._rank, self._world_size = batches, rank, world_size

    def __len__(self) -> int:
        return -(-len(self._batches) // self._world_size)

    def __getitem__(self, draw: ChunkDraw) -> HmmBatch:
        """The batch of one of `ChunkSampler`'s draws."""
        index = draw.place * self._world_size + self._rank
        if index < len(self._batches):
            return self._batches[index]
        return self._batches[0]._replace(counted=False)


class HmmData(pl.LightningDataModule):
    """Batches that are the same in every pass; can resume in the middle of a pass.

    All features are computed once, when training begins, and stay in memory. Utterances with silent
    or otherwise constant audio are then named on stderr; they are used like all others.

    With `data.start` the tokens are the triphones of all words of the lexicon. They have the pdfs
    of their phones until `tie` ties their states.

    Raises:
        InputError: a manifest, the lexicon or the HMM `data.start` can't be used, words have no
            pronunciation, or utterances have too few frames for the states of their words. The
            message names the words or utterances.
    """

    def __init__(self, settings: HmmSettings) -> None:
        super().__init__()
        self.settings = settings
        self.train, self.dev = read_train_and_dev(settings.data.train, settings.data.dev)
        lexicon = _lexicon(settings.data.lexicon, [*self.train, *self.dev])
        self._start = load_start(settings, lexicon) if settings.data.start else None
        self._trees: DecisionTrees | None = None
        self.tokenizer = PhoneTokenizer.from_lexicon(
            context_lexicon(lexicon) if self._start else lexicon
        )
        refuse_unspoken([*self.train, *self.dev], self.tokenizer, settings.data.lexicon)
        symbols, model = self.tokenizer.symbols, settings.model
        if self._start:
            self.topology = phone_topology(self._start, symbols)
            self.features = self._start.features
        else:
            self.topology = left_to_right(len(symbols), model.n_states, model.n_silence_states)
            self.features = Features(settings.features)
        self._train: list[HmmBatch] = []
        self._dev: list[HmmBatch] = []
        self._make_graphs()
        self._sampler: ChunkSampler | None = None
        self._sampler_state: dict[str, Any] | None = None  # from the checkpoint

    @property
    def hours(self) -> float:
        """Hours of training speech."""
        return hours(self.train)

    @property
    def digests(self) -> dict[str, str]:
        """Name -> digest of the training data, independent of the folders of the audio files."""
        lines = "\n".join(self.tokenizer.lexicon.lines())
        found = digests_of_utterances(train=self.train, dev=self.dev)
        found["lexicon"] = hashlib.sha256(lines.encode()).hexdigest()
        if self._start:
            found["start"] = file_digest(Path(self.settings.data.start, WEIGHTS))
        return found

    def tie(self, checkpoint: Path | None) -> Gmm | None:
        """Tie the states of triphones; do nothing without `data.start`.

        The utterances are aligned with the monophone HMM, and decision trees are grown from the
        frames of each state of each triphone. A resumed training reads the trees from its
        checkpoint.

        Args:
            checkpoint: to resume from; None for a new training.

        Returns:
            gmm: initial mixtures; None if training resumes, or without `data.start`.
        """
        if not self._start:
            return None
        phones, symbols, gmm = self.topology, self.tokenizer.symbols, None
        if checkpoint is not None:
            saved = load_whole(checkpoint)
            self._trees = trees_from_dict(saved[type(self).__qualname__]["trees"], str(checkpoint))
            self.topology = tied_topology(phones, self._trees, symbols)
        else:
            self.setup("fit")
            shape = *phones.pdfs.shape, self.settings.features.n_features
            statistics = unit_statistics(self._aligned(self._start.gmm), *shape)
            self._trees = grow(statistics, symbols, self.settings.trees)
            self.topology = tied_topology(phones, self._trees, symbols)
            min_count = self.settings.model.min_count
            gmm = tied_gmm(self._start, phones, self.topology, statistics, min_count)
        self._make_graphs()
        return gmm

    def setup(self, stage: str) -> None:
        if self._train:  # `tie` has computed the features already
            return
        sample_rate = self.settings.features.sample_rate
        n_processes = self.trainer.num_devices if self.trainer else 1
        cache = cache_of(self.settings.data.cache_gb, n_processes)
        dev = SpeechDataset(self.dev, self.tokenizer, sample_rate, cache=cache)
        train = [
            SpeechDataset(self.train, self.tokenizer, sample_rate, (speed,), cache=cache)
            for speed in self.settings.data.speeds
        ]
        warn_of_constant_features(train[0], self.settings.data.train)
        warn_of_constant_features(dev, self.settings.data.dev)
        if self.settings.features.normalisation == "global" and not self._start:
            flat = flat_start(chain.from_iterable(map(self._unnormalised, train)), 1)
            self.features.mean = flat.means[0, 0].float()
            self.features.std = flat.variances[0, 0].sqrt().float()
        self._train = [
            batch for dataset in train for batch in self._batches(dataset, self._train_graphs)
        ]
        self._dev = self._batches(dev, self._dev_graphs)

    def frames(self) -> Iterator[Tensor]:
        """All training features, in parts of shape (B, F)."""
        for batch in self._train:
            yield batch.features[mask(batch.input_lengths, len(batch.features))]

    def quiet_frames(self) -> Iterator[Tensor]:
        """The features of the quietest tenth of each utterance's frames, in parts (B, F)."""
        for batch in self._train:
            loudness = self._loudness(batch.features)
            for number, length in enumerate(batch.input_lengths.tolist()):
                order = loudness[:length, number].argsort(stable=True)
                yield batch.features[order[: max(1, length // 10)], number]

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        batches = HmmBatches(self._train, self.trainer.global_rank, self.trainer.world_size)
        self._sampler = ChunkSampler(len(batches))
        if self._sampler_state is not None:
            self._sampler.load_state_dict(self._sampler_state)
        return DataLoader(batches, batch_size=None, sampler=self._sampler)

    def val_dataloader(self) -> DataLoader:
        draws = [ChunkDraw(place, epoch=0) for place in range(len(self._dev))]
        return DataLoader(HmmBatches(self._dev), batch_size=None, sampler=draws)

    def state_dict(self) -> dict[str, Any]:
        state = {} if self._sampler is None else self._sampler.state_dict()
        return state | ({"trees": self._trees.to_dict()} if self._trees else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._sampler_state = {name: value for name, value in state_dict.items() if name != "trees"}

    def _loudness(self, features: Tensor) -> Tensor:
        """A value that grows with a frame's energy: (T, N), from features (T, N, F)."""
        settings = self.features.settings
        n_values = 1 if settings.kind == "mfcc" else settings.n_mels
        # first feature of the frame itself, after those of the spliced frames before it
        first = settings.n_features * settings.n_spliced // (2 * settings.n_spliced + 1)
        return features[:, :, first : first + n_values].mean(2)

    def _make_graphs(self) -> None:
        """Make the graphs of all utterances for the current topology."""
        data = self.settings.data
        self._train_graphs = self._graphs(self.train, data.train, max(data.speeds))
        self._dev_graphs = self._graphs(self.dev, data.dev)
        self._train = [_with(batch, self._train_graphs) for batch in self._train]
        self._dev = [_with(batch, self._dev_graphs) for batch in self._dev]

    @torch.no_grad()
    def _aligned(self, gmm: Gmm) -> Iterator[Frames]:
        """The frames of each utterance that are not silence on the most probable path."""
        for batch in self._train:
            log_probs, alignment = viterbi(
                gmm.emissions(batch.features),
                batch.input_lengths,
                batch.graphs,
                self.topology.self_loops,
            )
            refuse_impossible(batch.ids, log_probs.isfinite())
            for n, (id, length) in enumerate(zip(batch.ids, batch.input_lengths, strict=True)):
                graph, path = self._train_graphs[id], alignment[:length, n].numpy()
                spoken = graph.words[path] != SILENCE
                tokens, states = (
                    torch.from_numpy(of[path[spoken]]) for of in (graph.tokens, graph.states)
                )
                yield Frames(batch.features[:length, n][torch.from_numpy(spoken)], tokens, states)

    def _graphs(
        self, utterances: Sequence[Utterance], manifest: str, fastest: float = 1.0
    ) -> dict[str, Graph]:
        """Utterance id -> graph; see `refuse_short` for `fastest`."""
        graphs = text_graphs(utterances, self.tokenizer, self.topology, manifest)
        features = self.settings.features
        lower = "model.n_states" if fastest == 1 else "model.n_states, the highest of data.speeds"
        remedy = f"lower {lower} or features.hop_ms ({features.hop_ms})"
        refuse_short(utterances, graphs, features, manifest, remedy, fastest)
        return {utterance.id: graph for utterance, graph in zip(utterances, graphs, strict=True)}

    @torch.no_grad()
    def _batches(self, dataset: SpeechDataset, graphs: Mapping[str, Graph]) -> list[HmmBatch]:
        batches: list[HmmBatch] = []
        finite: list[Tensor] = []
        for batch in BatchReader(dataset, in_order(dataset, self.settings.data.batch_s)):
            features, input_lengths = self.features(batch.waveforms, batch.sample_lengths)
            of_batch = [graphs[id] for id in batch.ids]
            shortest = torch.tensor([graph.shortest for graph in of_batch])
            finite.append((input_lengths >= shortest) & features.isfinite().all(2).all(0))
            padded = pad_graphs(of_batch)
            batches.append(HmmBatch(features, input_lengths, padded, batch.ids, counted=True))
        refuse_impossible([id for batch in batches for id in batch.ids], torch.cat(finite))
        return batches

    @torch.no_grad()
    def _unnormalised(self, dataset: SpeechDataset) -> Iterator[Tensor]:
        for batch in BatchReader(dataset, in_order(dataset, self.settings.data.batch_s)):
            features, lengths = self.features.unnormalised(batch.waveforms, batch.sample_lengths)
            yield features[mask(lengths, len(features))]


def _with(batch: HmmBatch, graphs: Mapping[str, Graph]) -> HmmBatch:
    return batch._replace(graphs=pad_graphs([graphs[id] for id in batch.ids]))


def _lexicon(name: str, utterances: Sequence[Utterance]) -> Lexicon:
    if name == "char":
        words = sorted({word for utterance in utterances for word in utterance.text.split()})
        if wrong := [word for word in words if not _can_be_in_dictionary(word)]:
            raise InputError(
                f"data.lexicon is char, and train and dev have words that no dictionary can keep:"
                f" {listed(wrong)}; expected words without # or a number in"
                " brackets, and no special words such as <unk>"
            )
        return Lexicon({word: (tuple(word),) for word in words})
    return named_lexicon(name).in_case(case_of(utterance.text for utterance in utterances))


def _can_be_in_dictionary(word: str) -> bool:
    """Whether a word and its characters are unchanged after a lexicon is written and read again."""
    lexicon = Lexicon({word: (tuple(word),)})
    try:
        return parse_lexicon(lexicon.lines(), "char").pronunciations == lexicon.pronunciations
    except InputError:
        return False
