"""Settings and texts -> an n-gram model; whether a folder already has it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import InputError, counted
from asr.folder import DESCRIPTION, read_description
from asr.lm.estimate import EstimateSettings, estimate, prune_by_entropy
from asr.lm.mixture import mix
from asr.lm.ngram import KIND, NgramModel
from asr.lm.ngram_trie import NgramTrie
from asr.lm.vocabulary import UNK, Unit, Vocabulary
from asr.text.normalisation import TextSettings
from asr.text.sentences import read_sentences
from asr.training.stream import digest_of_sentences


@dataclass(frozen=True)
class NgramDataSettings:
    """The training data.

    Args:
        train: file of sentences, see `asr.text.sentences.read_sentences`.
        unit: the model's units, such as words or characters.
        max_size: largest size of the vocabulary, which has the most frequent units; null for all.
        min_count: units that occur less often are out-of-vocabulary.
        text: how sentences are normalised first.
    """

    train: str = "train.txt"
    unit: Unit = "word"
    max_size: int | None = None
    min_count: int = 1
    text: TextSettings = field(default_factory=TextSettings)

    def __post_init__(self) -> None:
        check_vocabulary(self.min_count, self.max_size)


@dataclass(frozen=True)
class MixtureSettings:
    """Further texts, from each of which a model is estimated and mixed with that of `data.train`.

    Texts of a domain, such as commands, count where the words so far are of that domain; see
    `asr.lm.mixture.mix`. All their words are in the vocabulary.

    Args:
        texts: files of sentences, like `data.train`.
        weights: how probable each is; the rest, which is above 0, belongs to `data.train`.
    """

    texts: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.weights):
            raise InputError(
                f"mixture.weights has {counted(len(self.weights), 'number')}; expected one for each"
                f" of the {len(self.texts)} texts"
            )
        if not all(0 < weight < 1 for weight in self.weights) or sum(self.weights) >= 1:
            raise InputError(
                f"mixture.weights is {list(self.weights)}; expected numbers above 0, of a sum below"
                " 1"
            )


@dataclass(frozen=True)
class NgramSettings:
    """All settings of an n-gram model's training.

    Args:
        data: the training data.
        model: order, pruning by counts, and discounts.
        mixture: further texts; their models have the same order, no pruning by counts, and fixed
            discounts where their counts give none.
        entropy: threshold of relative-entropy pruning afterwards, such as 1e-8: n-grams are removed
            whose removal raises the perplexity by a smaller share. 0 for none. See
            `asr.lm.estimate`.
        packed: whether the folder takes a third of the space and the log-probabilities have three
            digits.
    """

    data: NgramDataSettings = field(default_factory=NgramDataSettings)
    model: EstimateSettings = field(default_factory=EstimateSettings)
    mixture: MixtureSettings = field(default_factory=MixtureSettings)
    entropy: float = 0.0
    packed: bool = False

    def __post_init__(self) -> None:
        if not self.entropy >= 0:
            raise InputError(f"entropy is {self.entropy}; expected 0 or more")
        if self.mixture.texts and self.data.unit == "bpe":
            raise InputError("mixture.texts: data.unit is bpe; expected another with a mixture")


def check_vocabulary(min_count: int, max_size: int | None) -> None:
    """Raise InputError if the setting `data.min_count` or `data.max_size` is too small."""
    if min_count < 1:
        raise InputError(f"data.min_count is {min_count}; expected 1 or more")
    if max_size is not None and max_size < 3:
        raise InputError(f"data.max_size is {max_size}; expected 3 or more: <unk> and <eos> count")


def plain(settings: NgramSettings) -> dict[str, Any]:
    """The settings as plain values, as in `model.json`."""
    return json.loads(json.dumps(asdict(settings)))


def estimated(settings: NgramSettings) -> tuple[NgramModel, dict[str, Any]]:
    """The model of the settings' texts, and what it was estimated from, as plain values.

    Raises:
        InputError: a file of texts can't be used, or has too few to estimate from.
    """
    data, mixture = settings.data, settings.mixture
    vocabulary = Vocabulary.from_texts(
        read_sentences(data.train), data.unit, data.max_size, data.min_count, data.text
    )
    for path in mixture.texts:
        more = Vocabulary.from_texts(read_sentences(path), data.unit, text=data.text)
        vocabulary = vocabulary.with_symbols(more.symbols)
    facts = dict.fromkeys(("sentences", "empty", "units", "unknown"), 0)
    tries: list[NgramTrie] = []
    for path in (data.train, *mixture.texts):
        encoded = [vocabulary.encode(sentence) for sentence in read_sentences(path)]
        sentences = [units for units in encoded if units]
        facts["sentences"] += len(sentences)
        facts["empty"] += len(encoded) - len(sentences)
        facts["units"] += sum(map(len, sentences)) + len(sentences)
        facts["unknown"] += sum(sentence.count(UNK) for sentence in sentences)
        few = EstimateSettings(settings.model.order, discount_fallback=True)
        try:
            tries.append(
                estimate(sentences, len(vocabulary.symbols), few if tries else settings.model)
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    trie = tries[0]
    if len(tries) > 1:
        trie = mix(tries, [1 - sum(mixture.weights), *mixture.weights])
    if settings.entropy:
        trie = prune_by_entropy(trie, settings.entropy)
    return NgramModel(vocabulary, trie), facts


def digests(settings: NgramSettings) -> dict[str, Any]:
    """Digests of the texts, independent of their files' format, as plain values."""
    return {
        "sha256": digest_of_sentences(settings.data.train),
        "mixture_sha256": [digest_of_sentences(path) for path in settings.mixture.texts],
    }


def is_estimated(folder: Path, settings: NgramSettings, digests: Mapping[str, Any]) -> bool:
    """Whether a folder has the model of these settings and texts; the texts' paths may differ.

    Args:
        folder: may not exist.
        settings: of the model.
        digests: of the texts.

    Raises:
        InputError: the folder has another model.
    """
    if not (folder / DESCRIPTION).exists():
        return False
    match read_description(folder):
        case {"kind": kind, "settings": {"data": dict()} as there, "trained_on": dict(made)}:
            same_settings = _without_paths(there) == _without_paths(plain(settings))
            # folders of earlier releases have no mixture
            same_texts = all(made.get(name, []) == value for name, value in digests.items())
            if kind == KIND and same_settings and same_texts:
                return True
    raise InputError(
        f"{folder}: has another model, or one of other settings or texts; give another --out, or"
        " remove the folder"
    )


def _without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Plain settings without the texts' paths, and with what earlier releases did not have."""
    data = {**settings["data"], "train": ""}
    mixture = {"weights": [], **settings.get("mixture", {}), "texts": []}
    return {"packed": False, **settings, "data": data, "mixture": mixture}
