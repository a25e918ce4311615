"""What was written -> what a model spells and a score compares."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from asr.errors import InputError


def canonical(text: str, place: str = "text") -> str:
    """The one form of a text that is learned and compared, whoever wrote it.

    Every text, word and phrase that comes from outside goes through here first. Two texts that
    look the same are the same behind it; case and punctuation stay (see `lower_case` and
    `normalise`).

    - Unicode's composed form (NFC).
    - White space of every kind (tabs, line ends, U+00A0, U+2028, ...) is one blank between words;
      there is none at the ends.
    - Curly, modifier and full-width apostrophes (U+2018, U+2019, U+02BC, U+FF07) are '.
    - Invisible characters are dropped: byte order mark, soft hyphen, zero-width space, word joiner,
      direction marks, variation selectors, fillers. The joiners U+200C, U+200D and Mongolian's
      U+180E stay where they are part of the spelling: behind a letter of a script from Arabic to
      Mongolian, U+200C only with another letter behind it.
    - Control characters are refused, since they mean that the text was damaged.

    Applied twice it gives the same as once.

    Args:
        text: of any length.
        place: where it stands, such as "train.jsonl:7"; begins the error's line.

    Raises:
        InputError: the text has a control character that is no white space, half of a surrogate
            pair, or a code point that is never a character.
    """
    if found := _NO_TEXT.search(text):
        code = ord(found.group())
        kind = {"Cc": "a control character", "Cs": "half of a surrogate pair"}
        what = kind.get(unicodedata.category(chr(code)), "never a character")
        raise InputError(f"{place}: has U+{code:04X}, {what}; expected a text")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
        text = text.translate({ord(c): None for c in set(text) if _is_invisible(c)})
        # a mark whose neighbour went may compose with the letter before
        text = unicodedata.normalize("NFC", _JOINERS.sub(_joiner, text))
    return " ".join(text.split())


def lower_case(text: str) -> str:
    """The text in small letters; an i has one dot, whatever its capital was.

    Python makes two code points of "İ", an i under a loose dot. Final sigma is Python's.
    Of a canonical text it gives a canonical one.
    """
    if text.isascii():
        return text.lower()
    text = text.replace("İ", "i").lower().replace("i\u0307", "i")
    return unicodedata.normalize("NFC", text)


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


def normalise(text: str, settings: TextSettings = DEFAULT, place: str = "text") -> str:
    """The text as it is spoken of everywhere else: one spelling, one case, words and blanks.

    Always: the canonical form (see `canonical`), ` as an apostrophe. As the settings say: case;
    punctuation out, where dashes, slashes and ellipses part words, and apostrophes stay inside
    words only ("'tis the dogs'" becomes "tis the dogs": at an edge they can't be told from quote
    marks).

    Signs that are read aloud (% & @ # and currencies) stay, and so do digits: how they are
    spoken is for the corpus to say, and a tokenizer that has not seen them refuses them by name.
    Applied twice it gives the same as once.

    Args:
        text: of any length.
        settings: of case and punctuation.
        place: where the text stands; begins the error's line.

    Raises:
        InputError: `canonical` refuses the text.
    """
    text = canonical(text, place).replace("`", "'")
    if settings.punctuation == "remove":
        text = _ELLIPSIS.sub(" ", text)
        text = text.translate({ord(c): _without_punctuation(c) for c in set(text)})
        text = " ".join(word.strip("'") for word in text.split())
    # a mark whose neighbour went may compose with the letter before, and case needs it composed
    text = canonical(text)
    if settings.case == "lower":
        text = lower_case(text)
    return canonical(text)


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


# controls but white space, halves of surrogate pairs, and what Unicode says is never a character
_NO_TEXT = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_APOSTROPHES = str.maketrans("’‘ʼ＇", "''''")
# invisible though Unicode counts them as marks and letters: selectors of variants, fillers
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_VISIBLE_FORMAT = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_JOINERS = re.compile("[\u200c\u200d\u180e]+")
# scripts that shape letters by their neighbours; without Hangul's letters, which compose
_SHAPED = re.compile("[\u0600-\u10ff\u1200-\u1cff\ua800-\uabff\U00010a00-\U00011fff]")
_ELLIPSIS = re.compile(r"\.{2,}")
_BETWEEN_WORDS = "/\\…‥・፡་"  # besides dashes and low lines
_READ_ALOUD = "%&@#§‰"  # Unicode calls them punctuation


def _is_invisible(character: str) -> bool:
    if unicodedata.category(character) == "Cf":
        return not (_JOINERS.match(character) or _VISIBLE_FORMAT.match(character))
    return _INVISIBLE.match(character) is not None


def _joiner(found: re.Match[str]) -> str:
    """Of joiners in a row the first, where it is part of the spelling."""
    text, first = found.string, found.group()[0]
    if not _is_shaped(text[found.start() - 1 : found.start()]):
        return ""
    if first != "\u200d" and not _is_shaped(text[found.end() : found.end() + 1]):
        return ""
    return first


def _is_shaped(character: str) -> bool:
    shaped = _SHAPED.match(character) is not None
    return shaped and unicodedata.category(character)[0] in "LM"


def _without_punctuation(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Pd", "Pc") or character in _BETWEEN_WORDS:
        return " "
    if category.startswith("P") and character != "'" and character not in _READ_ALOUD:
        return ""
    return character
