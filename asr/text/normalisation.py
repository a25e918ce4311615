"""What was written -> what a model spells and a score compares."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TextSettings:
    """How `normalise` treats a text."""

    case: Literal["lower", "keep"] = "lower"
    punctuation: Literal["remove", "keep"] = "remove"

    def __post_init__(self) -> None:
        if self.case not in ("lower", "keep"):
            raise ValueError(f"case is {self.case!r}; expected lower or keep")
        if self.punctuation not in ("remove", "keep"):
            raise ValueError(f"punctuation is {self.punctuation!r}; expected remove or keep")


DEFAULT = TextSettings()


def normalise(text: str, settings: TextSettings = DEFAULT) -> str:
    """The text as it is spoken of everywhere else: one spelling, one case, words and blanks.

    Always: Unicode's composed form (NFC), apostrophes as ', invisible format characters out,
    words separated by one blank. As the settings say: case; punctuation out, where dashes,
    slashes and ellipses part words, and apostrophes stay inside words only ("'tis the dogs'"
    becomes "tis the dogs": at an edge they can't be told from quote marks).

    Signs that are read aloud (% & @ # and currencies) stay, and so do digits: how they are
    spoken is for the corpus to say, and a tokenizer that has not seen them refuses them by name.
    Applied twice it gives the same as once.
    """
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
    text = text.translate({ord(c): _without_format(c) for c in set(text)})
    if settings.punctuation == "remove":
        text = _ELLIPSIS.sub(" ", text)
        text = text.translate({ord(c): _without_punctuation(c) for c in set(text)})
        text = " ".join(word.strip("'") for word in text.split())
    # a mark whose neighbour went may compose with the letter before, and case needs it composed
    text = unicodedata.normalize("NFC", text)
    if settings.case == "lower":
        # "İ".lower() is two code points, an i under a loose dot. Final sigma is Python's.
        text = text.replace("İ", "i").lower()
    return " ".join(unicodedata.normalize("NFC", text).split())


def words_and_marks(text: str) -> list[str]:
    """The words of a text and its punctuation, each mark by itself: "no, don't" is no , don't.

    A mark is what `normalise` takes out: an apostrophe is one at the edge of a word only.
    """
    text = "".join(c if _without_punctuation(c) == c else f" {c} " for c in text)
    found = []
    for word in text.split():
        begins, ends = len(word) - len(word.lstrip("'")), len(word.rstrip("'"))
        inside = [word[begins:ends]] if begins < ends else []
        found += ["'"] * begins + inside + ["'"] * (len(word) - max(begins, ends))
    return found


_APOSTROPHES = str.maketrans("’‘ʼ＇`", "'''''")
_ELLIPSIS = re.compile(r"\.{2,}")
_BETWEEN_WORDS = "/\\…‥・፡་"  # besides dashes and low lines
_READ_ALOUD = "%&@#§‰"  # Unicode calls them punctuation
_JOINERS = "\u200c\u200d"  # part of the spelling in Persian and Indic scripts


def _without_format(character: str) -> str:
    if unicodedata.category(character) == "Cf" and character not in _JOINERS:
        return ""
    return character


def _without_punctuation(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Pd", "Pc") or character in _BETWEEN_WORDS:
        return " "
    if category.startswith("P") and character != "'" and character not in _READ_ALOUD:
        return ""
    return character
