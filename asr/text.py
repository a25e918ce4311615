"""What was written -> what a model spells and a score compares -> tokens, and back."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from asr.errors import InputError

BLANK = 0
"""CTC's empty token."""

BLANK_SYMBOL = "<blank>"
"""How it is called among the symbols."""


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


@dataclass(frozen=True)
class CharTokenizer:
    """Characters <-> tokens; the blank between words is a character like any other.

    A character is a code point of the text's composed form (NFC).

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, one comes twice or is not one character.
    """

    symbols: tuple[str, ...]
    kind: ClassVar = "char"

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)
        for token, symbol in enumerate(self.symbols[1:], 1):
            if len(symbol) != 1:
                raise ValueError(f"symbols[{token}] is {symbol!r}; expected one character")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """The tokenizer whose symbols are the characters of the texts, sorted."""
        seen: set[str] = set()
        for text in texts:
            seen.update(unicodedata.normalize("NFC", text))
        return cls((BLANK_SYMBOL, *sorted(seen)))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one a character.

        Args:
            text: normalised as the texts were that the symbols come from.
            place: whose text it is, such as "utterance an251-fash-b"; begins the error's line.

        Raises:
            InputError: a character is not among the symbols.
        """
        return _encode(unicodedata.normalize("NFC", text), self._token, "character", place)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens: what `encode` was given.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return "".join(_decode(tokens, self.symbols))

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @cached_property
    def _token(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.symbols) if token}


@dataclass(frozen=True)
class UnitTokenizer:
    """Units separated by blanks <-> tokens, such as phones: "h# k aw n".

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, one comes twice, is empty or has white
            space in it.
    """

    symbols: tuple[str, ...]
    kind: ClassVar = "unit"

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)
        for token, symbol in enumerate(self.symbols):
            if symbol.split() != [symbol]:
                raise ValueError(f"symbols[{token}] is {symbol!r}; expected no white space")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "UnitTokenizer":
        """The tokenizer whose symbols are the units of the texts, sorted."""
        seen = {unit for text in texts for unit in unicodedata.normalize("NFC", text).split()}
        return cls((BLANK_SYMBOL, *sorted(seen)))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one a unit.

        Args:
            text: units with white space between them.
            place: whose text it is, such as "utterance FADG0_SA1"; begins the error's line.

        Raises:
            InputError: a unit is not among the symbols.
        """
        return _encode(unicodedata.normalize("NFC", text).split(), self._token, "unit", place)

    def decode(self, tokens: Iterable[int]) -> str:
        """The units of the tokens, joined by blanks.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return " ".join(_decode(tokens, self.symbols))

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @cached_property
    def _token(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.symbols) if token}


Tokenizer = CharTokenizer | UnitTokenizer


def tokenizer_from_dict(values: Mapping[str, Any], place: str) -> Tokenizer:
    """The tokenizer that `to_dict` described.

    Args:
        values: `{"kind": "char" or "unit", "symbols": [...]}`.
        place: the file they come from; begins the error's line.

    Raises:
        InputError: the kind is unknown, or the symbols are no alphabet of it.
    """
    if set(values) != {"kind", "symbols"}:
        raise InputError(f"{place}: tokenizer has {', '.join(values)}; expected kind, symbols")
    symbols = values["symbols"]
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise InputError(f"{place}: symbols is {_shortened(symbols)}; expected a list of texts")
    try:
        match values["kind"]:
            case "char":
                return CharTokenizer(tuple(symbols))
            case "unit":
                return UnitTokenizer(tuple(symbols))
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    raise InputError(f"{place}: tokenizer is of kind {values['kind']!r}; expected char or unit")


def _check_symbols(symbols: tuple[str, ...]) -> None:
    if symbols[:1] != (BLANK_SYMBOL,):
        found = repr(symbols[0]) if symbols else "missing"
        raise ValueError(f"symbols[0] is {found}; expected {BLANK_SYMBOL!r}")
    first: dict[str, int] = {}
    for token, symbol in enumerate(symbols):
        if symbol in first:
            raise ValueError(
                f"symbols[{token}] is {symbol!r}, like symbols[{first[symbol]}]; expected it once"
            )
        first[symbol] = token


def _encode(pieces: Iterable[str], token: dict[str, int], what: str, place: str) -> tuple[int, ...]:
    pieces = tuple(pieces)
    try:
        return tuple(token[piece] for piece in pieces)
    except KeyError as error:
        piece = error.args[0]
    code = f" (U+{ord(piece):04X})" if len(piece) == 1 else ""
    alphabet = ("" if what == "character" else " ").join(token)
    raise InputError(
        f"{place}: {what} {piece!r}{code} is not in the alphabet;"
        f" expected one of the {len(token)} of {_shortened(alphabet)}"
    )


def _decode(tokens: Iterable[int], symbols: Sequence[str]) -> list[str]:
    pieces = []
    for token in tokens:
        if not 1 <= token < len(symbols):
            raise ValueError(f"token {token} stands for no text; expected 1 to {len(symbols) - 1}")
        pieces.append(symbols[token])
    return pieces


def _shortened(value: object, width: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
