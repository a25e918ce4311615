"""What was written -> what a model spells and a score compares."""

import re
import unicodedata
from collections.abc import Callable, Iterable
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
        text = unicodedata.normalize("NFC", text).translate(_SEEN)
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


Case = Literal["lower", "upper", "keep"]
"""All small letters; all capitals; as a text stands."""


def case_of(texts: Iterable[str]) -> Case:
    """Whether texts have small letters alone, capitals alone, or both.

    Texts in scripts that know no case, or without any letter, count as small letters.
    """
    small = capital = False
    for text in texts:
        small = small or text != text.upper()
        capital = capital or text != text.lower()
        if small and capital:
            return "keep"
    return "upper" if capital else "lower"


def in_case(text: str, case: Case) -> str:
    """A canonical text in small letters, in capitals, or as it stands."""
    match case:
        case "lower":
            return lower_case(text)
        case "upper":
            return unicodedata.normalize("NFC", text.upper())
    return text


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
    """The text as words alone, for language models and for scores that spelling shall not change.

    Always:

    - The canonical form (see `canonical`); ` and ´ are apostrophes too.
    - Letters, digits and marks of other widths and shapes are the usual ones, as in Unicode's NFKC:
      full-width and half-width forms, ligatures, presentation forms, letters of mathematics, units
      in one square. What NFKC would change in meaning stays: 10² is not 102, 3½ is 3 1/2.
    - Hangul's jamo that make a syllable are that syllable; letters that stand alone (ㅋㅋ) stay.

    As the settings say:

    - Case, see `lower_case`.
    - Punctuation out; it parts words: "customer,welcome" is two, and so are words with a hyphen or
      a slash. What stands in numbers stays: 3.5, .5, 1,000, 10:30, 1/2, -5. So do apostrophes
      inside words; at an edge they can't be told from quote marks ("'tis the dogs'" is "tis the
      dogs"). Marks that are written inside a word go without parting it: the dots of U.S. and p.m.,
      of Catalan's l·l, Armenian's accents, Hebrew's gershayim.

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
    text = canonical(text, place)
    if not text.isascii():
        text = canonical(text.translate(_USUAL_SHAPES))
    text = text.replace("`", "'")
    if settings.punctuation == "remove":
        if not text.isascii():
            text = _INSIDE_WORDS.sub("", text)
        if "." in text:
            text = _INITIALS.sub(lambda found: found.group().replace(".", ""), text)
        text = " ".join(word.strip("'") for word in _replaced(text, _PARTED).split())
    # a mark whose neighbour went may compose with the letter before, and case needs it composed
    if not text.isascii():
        text = canonical(text)
    return lower_case(text) if settings.case == "lower" else text


def words_and_marks(text: str) -> list[str]:
    """The words of a text and its punctuation, each mark by itself: "no, don't" is no , don't.

    A mark is what `normalise` takes out: an apostrophe is one at the edge of a word only, and what
    stands in a number is none.
    """
    found = []
    for word in _replaced(text, _APART).split():
        begins, ends = len(word) - len(word.lstrip("'")), len(word.rstrip("'"))
        inside = [word[begins:ends]] if begins < ends else []
        found += ["'"] * begins + inside + ["'"] * (len(word) - max(begins, ends))
    return found


# controls but white space, halves of surrogate pairs, and what Unicode says is never a character
_NO_TEXT = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_APOSTROPHES = "’‘ʼ＇"
# invisible though Unicode counts them as marks and letters: selectors of variants, fillers
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_VISIBLE_FORMAT = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_JOINERS = re.compile("[\u200c\u200d\u180e]+")
# scripts that shape letters by their neighbours; without Hangul's letters, which compose
_SHAPED = re.compile("[\u0600-\u10ff\u1200-\u1cff\ua800-\uabff\U00010a00-\U00011fff]")
# kinds of decompositions in Unicode's table; not <super>, <sub> and <circle>, which part numbers
_SHAPES = {"<wide>", "<narrow>", "<small>", "<vertical>", "<square>", "<font>", "<noBreak>"}
_SHAPES |= {"<initial>", "<medial>", "<final>", "<isolated>", "<compat>", "<fraction>"}
_INSIDE_WORDS = re.compile('[\u055a-\u055c\u055e\u05f4‧]|(?<=[א-ת])"(?=[א-ת])|(?<=[lL])·(?=[lL])')
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+[^\W\d_]?(?!\w)")
_DIGIT = re.compile(r"\d")
_IN_NUMBERS = re.compile(
    r"((?<=\d)[.,:/·\u066b\u066c](?=\d)"
    r"|(?<![^\s([{\"'“‘«$€£¥])-(?=[$€£¥]?\.?\d)"
    r"|(?<![^\s([{\"'“‘«$€£¥-])\.(?=\d))"
)
_READ_ALOUD = "%&@#§‰"  # Unicode calls them punctuation


class _Table(dict[int, str]):
    """For `str.translate`: what a function says of each character, which it is asked once."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def __missing__(self, code: int) -> str:
        self[code] = self.function(chr(code))
        return self[code]


def _seen(character: str) -> str:
    """What is left of a character in the canonical form; of an invisible one nothing."""
    if character in _APOSTROPHES:
        return "'"
    if unicodedata.category(character) == "Cf":
        goes = not (_JOINERS.match(character) or _VISIBLE_FORMAT.match(character))
    else:
        goes = _INVISIBLE.match(character) is not None
    return "" if goes else character


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


def _usual_shape(character: str) -> str:
    kind, *codes = unicodedata.decomposition(character).split() or [""]
    letters = "".join(chr(int(code, 16)) for code in codes)
    if character in "⁄´׳":
        return "/" if character == "⁄" else "'"
    if kind not in _SHAPES or letters.startswith(" ") or "ㄱ" <= character <= "ㆎ":
        return character
    if kind == "<compat>" and (character < "\u2000" or _is_mark(character)):
        return character  # letters of their own, such as Thai's ำ, and … which is one mark
    return " " * (kind == "<fraction>") + "".join(map(_usual_shape, letters))


def _replaced(text: str, table: _Table) -> str:
    """The text with other marks, but for those in numbers."""
    if not _DIGIT.search(text):
        return text.translate(table)
    pieces = _IN_NUMBERS.split(text)  # every second one is a mark
    return "".join(p if n % 2 else p.translate(table) for n, p in enumerate(pieces))


def _is_mark(character: str) -> bool:
    is_punctuation = unicodedata.category(character).startswith("P")
    return is_punctuation and character != "'" and character not in _READ_ALOUD


_SEEN = _Table(_seen)
_USUAL_SHAPES = _Table(_usual_shape)
_PARTED = _Table(lambda character: " " if _is_mark(character) else character)
_APART = _Table(lambda character: f" {character} " if _is_mark(character) else character)
