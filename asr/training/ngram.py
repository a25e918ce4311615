"""Settings of an n-gram model; whether a folder has the model of these settings already."""

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
    """What is read, and how.

    Args:
        train: file of sentences, see `asr.text.sentences.read_sentences`.
        unit: what the model counts in.
        max_size: at most so many units, the most frequent ones; null: all.
        min_count: rarer units are unknown.
        text: how sentences are normalised first.
    """

    train: str = "train.txt"
    unit: Unit = "word"
    max_size: int | None = None
    min_count: int = 1
    text: TextSettings = field(default_factory=TextSettings)

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise InputError(f"data.min_count is {self.min_count}; expected 1 or more")
        if self.max_size is not None and self.max_size < 3:
            raise InputError(
                f"data.max_size is {self.max_size}; expected 3 or more: <unk> and <eos> count"
            )


@dataclass(frozen=True)
class NgramSettings:
    """All that an n-gram model is estimated with.

    Args:
        data: what is read.
        model: order, and what is left out by its counts.
        entropy: afterwards, n-grams go that raise the perplexity by a smaller share than this if
            they go, such as 1e-8; 0: none. See `asr.lm.estimate`.
    """

    data: NgramDataSettings = field(default_factory=NgramDataSettings)
    model: EstimateSettings = field(default_factory=EstimateSettings)
    entropy: float = 0.0

    def __post_init__(self) -> None:
        if not self.entropy >= 0:
            raise InputError(f"entropy is {self.entropy}; expected 0 or more")


def plain(settings: NgramSettings) -> dict[str, Any]:
    """Settings as `model.json` has them."""
    return json.loads(json.dumps(asdict(settings)))


def is_estimated(folder: Path, settings: NgramSettings, sha256: str) -> bool:
    """Whether a folder has the model of these settings and texts, wherever the texts lie.

    Args:
        folder: that may not be there.
        settings: of the model.
        sha256: of the texts.

    Raises:
        InputError: it has another model.
    """
    if not (folder / DESCRIPTION).exists():
        return False
    values, now = read_description(folder), plain(settings)
    match values:
        case {"settings": {"data": dict(data), **rest}, "trained_on": {"sha256": there}}:
            moved = {**rest, "data": {**data, "train": now["data"]["train"]}}
            if values.get("kind") == KIND and moved == now and there == sha256:
                return True
    raise InputError(
        f"{folder}: holds another model, or one of other settings or texts; give another --out, or"
        " remove the folder"
    )
