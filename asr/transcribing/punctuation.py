"""transcript -> the same words with punctuation and capitals, by a tagger's folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.alignment.transcript import Transcript
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
from asr.transcribing.writers import Format

KIND = "punctuation"
"""The value of `kind` in `model.json`."""

FOLDER = "punctuation"
"""The tagger's folder in that of an acoustic model."""

SUBTITLES: tuple[Format, ...] = ("srt", "vtt")
"""The formats that have punctuation if the model has a tagger."""


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


@dataclass(frozen=True)
class FormatPunctuation:
    """Which formats have punctuation.

    Args:
        punctuation: None for no punctuation in any format.
        formats: the formats that have it.
    """

    punctuation: Punctuation | None = None
    formats: tuple[Format, ...] = ()

    def versions(
        self, transcript: Transcript, formats: Sequence[Format]
    ) -> dict[Format, Transcript]:
        """The transcript for each of some formats."""
        found = dict.fromkeys(formats, transcript)
        if self.punctuation and (marked := [one for one in formats if one in self.formats]):
            found |= dict.fromkeys(marked, self.punctuation.punctuate(transcript))
        return found


def choose_punctuation(
    model: str | Path, formats: Sequence[Format], asked: bool | None = None
) -> FormatPunctuation:
    """The punctuation of transcripts by an acoustic model.

    Args:
        model: the acoustic model's folder. Its folder `punctuation` has the tagger.
        formats: the formats of the transcripts.
        asked: whether all formats are to have punctuation, or none; None: subtitles, srt and vtt,
            if the folder has a tagger.

    Raises:
        InputError: the tagger's folder is damaged, or is missing and `asked` is true.
    """
    marked = tuple(one for one in formats if asked or (asked is None and one in SUBTITLES))
    if not marked:
        return FormatPunctuation()
    folder = inside(model, FOLDER)
    if folder.exists():
        return FormatPunctuation(load_punctuation(folder), marked)
    if asked:
        raise InputError(
            f"{folder}: does not exist; expected a punctuation model, or --no-punctuate"
        )
    return FormatPunctuation()


def _words(words: Any, place: str) -> list[str]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{place}: words is {shortened(words)}; expected a list of words")
    if twice := [word for word, count in Counter(words).items() if count > 1]:
        raise InputError(f"{place}: words has {shortened(twice[0])} twice; expected each word once")
    return words
