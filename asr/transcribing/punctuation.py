"""transcript -> the same words with punctuation and capitals, by a tagger's folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.config import from_dict
from asr.errors import InputError, shortened
from asr.folder import (
    DESCRIPTION,
    check_parts,
    inside,
    read_description,
    read_weights,
    write_folder,
)
from asr.networks.tagger import Tagger, TaggerSettings
from asr.text.normalisation import lower_case
from asr.text.punctuation import punctuated
from asr.transcript import Transcript

KIND = "punctuation"
"""The value of `kind` in `model.json`."""

FOLDER = "punctuation"
"""The tagger's folder in that of an acoustic model."""


@dataclass(frozen=True)
class Punctuation:
    """A trained tagger, ready to punctuate.

    Args:
        tagger: words -> marks and cases.
        spellings: words whose capital is not simply the first letter, such as "mcnab": "McNab".
        trained_on: a description of the training, as plain values.
    """

    tagger: Tagger
    spellings: Mapping[str, str] = field(default_factory=dict)
    trained_on: Mapping[str, Any] = field(default_factory=dict)

    def punctuate(self, transcript: Transcript) -> Transcript:
        """The transcript with each word in its case, followed by its mark.

        Times, confidences and the number of words stay. Marks and case that the words have already
        are replaced. The words of a long recording are read together, across its segments.
        """
        words = [lower_case(word) for word in transcript.text.split()]
        return transcript.respelled(punctuated(words, self.tagger.tags(words), self.spellings))


def save_punctuation(folder: str | Path, punctuation: Punctuation, half: bool = True) -> None:
    """Write a tagger's folder; other files in it stay.

    Args:
        folder: created if it doesn't exist.
        punctuation: the trained tagger.
        half: see `asr.folder.write_folder`.
    """
    tagger = punctuation.tagger
    description = {
        "kind": KIND,
        "model": asdict(tagger.settings),
        "words": list(tagger.words),
        "spellings": dict(punctuation.spellings),
        "trained_on": dict(punctuation.trained_on),
    }
    write_folder(folder, description, tagger.state_dict(), half)


def load_punctuation(folder: str | Path) -> Punctuation:
    """Load a tagger from its folder, on the CPU.

    Raises:
        InputError: a file is missing or damaged, or the two files don't fit each other.
    """
    values = read_description(folder, "a punctuation model's folder")
    place = f"{Path(folder) / DESCRIPTION}"
    if values.get("kind") != KIND:
        found = shortened(values["kind"]) if "kind" in values else "missing"
        raise InputError(f"{place}: kind is {found}; expected {KIND}")
    check_parts(folder, values, ("model", "spellings", "trained_on"))
    settings = from_dict(TaggerSettings, values["model"], f"{place}: model")
    words, spellings = _words(values.get("words"), place), values["spellings"]
    for word, spelling in spellings.items():
        if not isinstance(spelling, str) or lower_case(spelling) != word:
            raise InputError(
                f"{place}: the spelling of {shortened(word)} is {shortened(spelling)};"
                " expected the same letters"
            )
    with torch.device("meta"):  # shapes without memory, until the weights are known to fit
        try:
            tagger = Tagger(words, settings)
        except InputError as error:
            raise InputError(f"{place}: model: {error}") from None
    tagger.load_state_dict(read_weights(folder, tagger.state_dict()), assign=True)
    return Punctuation(tagger.eval(), spellings, values["trained_on"])


def punctuation_folder(model: str | Path) -> Path | None:
    """The folder of the tagger in that of an acoustic model; None if it has none.

    Raises:
        InputError: the folder leads out of the model's.
    """
    folder = inside(model, FOLDER)
    return folder if folder.exists() else None


def _words(words: Any, place: str) -> list[str]:
    is_list = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not is_list or len(set(words)) < len(words):
        found = "a list with something else" if isinstance(words, list) else shortened(words)
        raise InputError(f"{place}: words is {found}; expected a list of words, each once")
    return words
