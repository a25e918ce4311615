"""Settings of an n-gram model; check whether a folder already has the model of these settings."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import InputError
from asr.folder import DESCRIPTION, read_description
from asr.lm.estimate import EstimateSettings
from asr.lm.ngram import KIND
from asr.lm.vocabulary import Unit
from asr.text.normalisation import TextSettings


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
class NgramSettings:
    """All settings of an n-gram model's training.

    Args:
        data: the training data.
        model: order, pruning by counts, and discounts.
        entropy: threshold of relative-entropy pruning afterwards, such as 1e-8: n-grams are removed
            whose removal raises the perplexity by a smaller share. 0 for none. See
            `asr.lm.estimate`.
        packed: whether the folder takes half the space and the log-probabilities have three digits.
    """

    data: NgramDataSettings = field(default_factory=NgramDataSettings)
    model: EstimateSettings = field(default_factory=EstimateSettings)
    entropy: float = 0.0
    packed: bool = False

    def __post_init__(self) -> None:
        if not self.entropy >= 0:
            raise InputError(f"entropy is {self.entropy}; expected 0 or more")


def check_vocabulary(min_count: int, max_size: int | None) -> None:
    """Raise InputError if the setting `data.min_count` or `data.max_size` is too small."""
    if min_count < 1:
        raise InputError(f"data.min_count is {min_count}; expected 1 or more")
    if max_size is not None and max_size < 3:
        raise InputError(f"data.max_size is {max_size}; expected 3 or more: <unk> and <eos> count")


def plain(settings: NgramSettings) -> dict[str, Any]:
    """The settings as plain values, as in `model.json`."""
    return json.loads(json.dumps(asdict(settings)))


def is_estimated(folder: Path, settings: NgramSettings, sha256: str) -> bool:
    """Whether a folder has the model of these settings and texts; the texts' path may differ.

    Args:
        folder: may not exist.
        settings: of the model.
        sha256: of the texts.

    Raises:
        InputError: the folder has another model.
    """
    if not (folder / DESCRIPTION).exists():
        return False
    values, now = read_description(folder), plain(settings)
    match values:
        case {"settings": {"data": dict(data), **rest}, "trained_on": {"sha256": there}}:
            # folders of earlier releases have no "packed"
            moved = {"packed": False, **rest, "data": {**data, "train": now["data"]["train"]}}
            if values.get("kind") == KIND and moved == now and there == sha256:
                return True
    raise InputError(
        f"{folder}: has another model, or one of other settings or texts; give another --out, or"
        " remove the folder"
    )
