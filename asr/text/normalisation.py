"""Written text -> the canonical form, and the normalised form for models and scores."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from asr.errors import InputError


def canonical(text: str, place: str = "text") -> str:
    """The canonical form of a text, in which texts are learned and compared.

    Every text, word and phrase from outside is converted first. Texts that look the same become
    the same; case and punctuation stay (see `lower_case` and `normalise`).

    - The text is composed (Unicode's NFC).
    - White space of every kind (tabs, line ends, U+00A0, U+2028, ...) becomes one space between
      words, and is removed at both ends.
    - Curly, modifier and full-width apostrophes (U+2018, U+2019, U+02BC, U+FF07) become '.
    - Invisible characters are removed: byte order mark, soft hyphen, zero-width space, word joiner,
      direction marks, variation selectors, fillers. The joiners U+200C, U+200D and Mongolian's
      U+180E stay where they are part of the spelling: after a letter of a script from Arabic to
      Mongolian; U+200C also needs a letter after it.
    - Control characters are an error, because they show that the text is damaged.

    Applying it twice gives the same as once.

    Args:
        text: of any length.
        place: where the text comes from, such as "train.jsonl:7"; the error message starts with it.

    Raises:
        InputError: the text has a control character other than white space, half of a surrogate
            pair, or a code point that is never a character.
    """
    if found := _NO_TEXT.search(text):
        code = ord(found.group())
        kind = {"Cc": "a control character", "Cs": "half of a surrogate pair"}
        what = kind.get(unicodedata.category(chr(code)), "never a character")
        raise InputError(f"{place}: has U+{code:04X}, {what}; expected a text")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_SEEN)
        # after the removals, a combining mark may follow another letter, so compose again
        text = unicodedata.normalize("NFC", _JOINERS.sub(_joiner, text))
    return " ".join(text.split())


def lower_case(text: str) -> str:
    """The text in lower case, where "İ" becomes a plain i.

    Python's `lower` turns "İ" into two code points, an i and a combining dot. The final sigma is
    as in Python. The lower case of a canonical text is canonical.
    """
    if text.isascii():
        return text.lower()
    text = _DOTTED_I.sub("i", text.replace("İ", "i").lower())
    return unicodedata.normalize("NFC", text)


Case = Literal["lower", "upper", "keep"]
"""Lower case, upper case, or unchanged."""


def case_of(texts: Iterable[str]) -> Case:
    """The case of texts: only lower case, only upper case, or "keep" for both.

    Texts without letters, or in scripts without case, count as lower case.
    """
    small = capital = False
    for text in texts:
        small = small or text != text.upper()
        capital = capital or text != text.lower()
        if small and capital:
            return "keep"
    return "upper" if capital else "lower"


def in_case(text: str, case: Case) -> str:
    """A canonical text in lower case, in upper case, or unchanged."""
    match case:
        case "lower":
            return lower_case(text)
        case "upper":
            return unicodedata.normalize("NFC", text.upper())
    return text


@dataclass(frozen=True)
class TextSettings:
    """Settings of `normalise`."""

    case: Literal["lower", "keep"] = "lower"
    punctuation: Literal["remove", "keep"] = "remove"

    def __post_init__(self) -> None:
        if self.case not in ("lower", "keep"):
            raise ValueError(f"case is {self.case!r}; expected lower or keep")
        if self.punctuation not in ("remove", "keep"):
            raise ValueError(f"punctuation is {self.punctuation!r}; expected remove or keep")


DEFAULT = TextSettings()


def normalise(text: str, settings: TextSettings = DEFAULT, place: str = "text") -> str:
    """The text as plain words, for language models and for scores that ignore spelling variants.

    Always:

    - The text is converted to the canonical form (see `canonical`); ` and ´ become apostrophes.
    - Letters, digits and marks of other widths and shapes become the usual ones, as in NFKC:
      full-width and half-width forms, ligatures, presentation forms, mathematical letters, unit
      symbols. What NFKC would change in meaning stays: 10² does not become 102; 3½ is 3 1/2.
    - The minus sign U+2212 before a number becomes the - of -5.
    - Hangul's jamo that form a syllable become this syllable; single letters (ㅋㅋ) stay.

    Depending on the settings:

    - The text is converted to lower case, see `lower_case`.
    - Punctuation is removed and separates words: "customer,welcome" becomes two words, and so do
      words with a hyphen or a slash. Marks in numbers stay: 3.5, .5, 1,000, 10:30, 1/2, -5. So do
      apostrophes inside words; at the edge of a word they can't be distinguished from quotation
      marks ("'tis the dogs'" is "tis the dogs"). Marks that belong to a word are removed without
      separating it: the dots of U.S. and p.m., the dot of Catalan's l·l, Armenian accents, Hebrew
      gershayim.

    Symbols that are read aloud (% & @ # and currencies) and digits stay. The corpus decides how
    they are spoken, and a tokenizer refuses those that it doesn't know.
    Applying it twice gives the same as once.

    Args:
        text: of any length.
        settings: case and punctuation.
        place: where the text comes from; the error message starts with it.

    Raises:
        InputError: `canonical` refuses the text.
    """
    text = canonical(text, place)
    if not text.isascii():
        text = _MINUS.sub("-", canonical(text.translate(_USUAL_SHAPES)))
    text = text.replace("`", "'")
    if settings.punctuation == "remove":
        if not text.isascii():
            text = _INSIDE_WORDS.sub("", text)
        if "." in text:
            text = _INITIALS.sub(lambda found: found.group().replace(".", ""), text)
        words = (word.strip("'") for word in _replaced(text, _PARTED).split())
        text = " ".join(word for word in words if word)
    # compose again after the removals; the conversion of case needs composed text
    if not text.isascii():
        text = canonical(text)
    return lower_case(text) if settings.case == "lower" else text


def words_and_marks(text: str) -> list[str]:
    """The words and the punctuation marks of a text: "no, don't" gives "no", ",", "don't".

    Marks are what `normalise` removes: not those in numbers, and apostrophes only at the edge of a
    word.
    """
    found = []
    for word in _replaced(text, _APART).split():
        begins, ends = len(word) - len(word.lstrip("'")), len(word.rstrip("'"))
        inside = [word[begins:ends]] if begins < ends else []
        found += ["'"] * begins + inside + ["'"] * (len(word) - max(begins, ends))
    return found


_DOTTED_I = re.compile("i\u0307+")
# controls except white space, halves of surrogate pairs, and noncharacters
_NO_TEXT = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_APOSTROPHES = "’‘ʼ＇"
# invisible, but marks or letters in Unicode: variation selectors, fillers
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_VISIBLE_FORMAT = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_JOINERS = re.compile("[\u200c\u200d\u180e]+")
# scripts that shape letters by their neighbours; Hangul is excluded because its letters compose
_SHAPED = re.compile("[\u0600-\u10ff\u1200-\u1cff\ua800-\uabff\U00010a00-\U00011fff]")
# kinds of Unicode decompositions; not <super>, <sub> and <circle>, which change numbers
_SHAPES = {"<wide>", "<narrow>", "<small>", "<vertical>", "<square>", "<font>", "<noBreak>"}
_SHAPES |= {"<initial>", "<medial>", "<final>", "<isolated>", "<compat>", "<fraction>"}
_INSIDE_WORDS = re.compile('[\u055a-\u055c\u055e\u05f4‧]|(?<=[א-ת])"(?=[א-ת])|(?<=[lL])·(?=[lL])')
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+[^\W\d_]?(?!\w)")
_DIGIT = re.compile(r"\d")
_WORD_BEGINS, _AMOUNT = r"(?<![^\s([{\"'“‘«$€£¥])", r"(?=[$€£¥]?\.?\d)"
_MINUS = re.compile(f"{_WORD_BEGINS}\u2212{_AMOUNT}")
_IN_NUMBERS = re.compile(
    r"((?<=\d)[.,:/·\u066b\u066c](?=\d)"
    rf"|{_WORD_BEGINS}-{_AMOUNT}"
    r"|(?<![^\s([{\"'“‘«$€£¥-])\.(?=\d))"
)
_READ_ALOUD = "%&@#§‰"  # punctuation in Unicode


class _Table(dict[int, str]):
    """A table for `str.translate` that calls a function once for each character."""

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function

    def __missing__(self, code: int) -> str:
        self[code] = self.function(chr(code))
        return self[code]


def _seen(character: str) -> str:
    """The canonical form of a character; empty for an invisible one."""
    if character in _APOSTROPHES:
        return "'"
    if unicodedata.category(character) == "Cf":
        goes = not (_JOINERS.match(character) or _VISIBLE_FORMAT.match(character))
    else:
        goes = _INVISIBLE.match(character) is not None
    return "" if goes else character


def _joiner(found: re.Match[str]) -> str:
    """The first of several joiners if it is part of the spelling, else nothing."""
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
        return character  # separate letters, such as Thai's ำ, and marks such as …
    return " " * (kind == "<fraction>") + "".join(map(_usual_shape, letters))


def _replaced(text: str, table: _Table) -> str:
    """Translate the marks of a text, except those in numbers."""
    if not _DIGIT.search(text):
        return text.translate(table)
    pieces = _IN_NUMBERS.split(text)  # every second piece is a mark in a number
    return "".join(p if n % 2 else p.translate(table) for n, p in enumerate(pieces))


def _is_mark(character: str) -> bool:
    is_punctuation = unicodedata.category(character).startswith("P")
    return is_punctuation and character != "'" and character not in _READ_ALOUD


_SEEN = _Table(_seen)
_USUAL_SHAPES = _Table(_usual_shape)
_PARTED = _Table(lambda character: " " if _is_mark(character) else character)
_APART = _Table(lambda character: f" {character} " if _is_mark(character) else character)
