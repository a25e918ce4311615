"""Texts <-> tokens: characters, units, pieces of words, or phones."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from asr.errors import InputError
from asr.text.lexicon import Lexicon, parse_lexicon
from asr.text.normalisation import Case, case_of
from asr.text.subword import WORD_START, SubwordModel

BLANK = 0
"""CTC's empty token."""

BLANK_SYMBOL = "<blank>"
"""How it is called among the symbols."""


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

    @property
    def separator(self) -> int | None:
        """The token of the blank between words; None where no text has one."""
        return self._token.get(" ")

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @cached_property
    def _token(self) -> dict[str, int]:
        return _numbered(self.symbols)


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
    separator: ClassVar[None] = None

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
        return _numbered(self.symbols)


@dataclass(frozen=True)
class BpeTokenizer:
    """Pieces of words <-> tokens.

    Args:
        model: what takes words apart; its pieces are the tokens from 1 on.
    """

    model: SubwordModel
    kind: ClassVar = "bpe"
    separator: ClassVar[None] = None  # a word's first piece says that it begins one

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """(C,), what each token stands for; `symbols[0]` is CTC's blank."""
        return (BLANK_SYMBOL, *self.model.pieces)

    @classmethod
    def from_texts(cls, texts: Iterable[str], n_pieces: int) -> "BpeTokenizer":
        """The tokenizer of so many pieces learned from the texts.

        Raises:
            InputError: the texts can't give that number.
        """
        composed = (unicodedata.normalize("NFC", text) for text in texts)
        return cls(SubwordModel.train(composed, n_pieces))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one a piece.

        Args:
            text: normalised as the texts were that the pieces come from.
            place: whose text it is, such as "utterance an251-fash-b"; begins the error's line.

        Raises:
            InputError: the text has a character that those texts had not.
        """
        try:
            pieces = self.model.encode(unicodedata.normalize("NFC", text))
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        return _encode(pieces, self._token, "piece", place)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens: what `encode` was given.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return self.model.decode(_decode(tokens, self.symbols))

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "model": self.model.to_text()}

    @cached_property
    def _token(self) -> dict[str, int]:
        return _numbered(self.symbols)


@dataclass(frozen=True)
class PhoneTokenizer:
    """Words -> the phones that they are spoken with <-> tokens.

    Back from tokens there are phones only: which words they are is for a search with the lexicon.

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.
        lexicon: the words; all their phones are among the symbols.

    Raises:
        ValueError: the first symbol is not the blank, one comes twice, or a phone has none.
    """

    symbols: tuple[str, ...]
    lexicon: Lexicon
    kind: ClassVar = "phone"
    separator: ClassVar[None] = None

    def __post_init__(self) -> None:
        _check_symbols(self.symbols)
        if unknown := sorted(set(self.lexicon.phones) - self._token.keys()):
            raise ValueError(f"the lexicon has phone {unknown[0]!r}, which is not in symbols")

    @classmethod
    def from_lexicon(cls, lexicon: Lexicon) -> "PhoneTokenizer":
        """The tokenizer whose symbols are all phones of the lexicon, sorted."""
        return cls((BLANK_SYMBOL, *lexicon.phones), lexicon)

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text: of each word the first pronunciation.

        Args:
            text: words, written as in the lexicon.
            place: whose text it is, such as "utterance an251-fash-b"; begins the error's line.

        Raises:
            InputError: words have no pronunciation; all are named.
        """
        words = unicodedata.normalize("NFC", text).split()
        if missing := self.lexicon.missing(words):
            named = ", ".join(map(repr, missing))
            raise InputError(f"{place}: no pronunciation in the lexicon for {named}")
        return tuple(token for word in words for token in self.pronunciations(word)[0])

    def pronunciations(self, word: str) -> tuple[tuple[int, ...], ...]:
        """The tokens of each of a word's pronunciations; none where it is not in the lexicon."""
        spoken = self.lexicon.pronunciations.get(word, ())
        return tuple(tuple(self._token[phone] for phone in phones) for phones in spoken)

    def decode(self, tokens: Iterable[int]) -> str:
        """The phones of the tokens, joined by blanks.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return " ".join(_decode(tokens, self.symbols))

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        lines = self.lexicon.lines()
        return {"kind": self.kind, "symbols": list(self.symbols), "lexicon": lines}

    @cached_property
    def _token(self) -> dict[str, int]:
        return _numbered(self.symbols)


Tokenizer = CharTokenizer | UnitTokenizer | BpeTokenizer | PhoneTokenizer

_FIELDS = {
    "char": ("symbols",),
    "unit": ("symbols",),
    "bpe": ("model",),
    "phone": ("symbols", "lexicon"),
}


def tokenizer_from_dict(values: Mapping[str, Any], place: str) -> Tokenizer:
    """The tokenizer that `to_dict` described.

    Args:
        values: its kind, and what that kind has.
        place: the file they come from; begins the error's line.

    Raises:
        InputError: the kind is unknown, or the values are none of it.
    """
    kind = values.get("kind")
    if kind not in _FIELDS:
        kinds = ", ".join(_FIELDS)
        raise InputError(f"{place}: tokenizer is of kind {kind!r}; expected one of {kinds}")
    if set(values) != {"kind", *_FIELDS[kind]}:
        expected = ", ".join(("kind", *_FIELDS[kind]))
        raise InputError(f"{place}: tokenizer has {', '.join(values)}; expected {expected}")
    for name in _FIELDS[kind]:
        if not _is_texts(values[name] if name != "model" else [values[name]]):
            what = "text" if name == "model" else "a list of texts"
            raise InputError(f"{place}: {name} is {_shortened(values[name])}; expected {what}")
    try:
        match kind:
            case "char":
                return CharTokenizer(tuple(values["symbols"]))
            case "unit":
                return UnitTokenizer(tuple(values["symbols"]))
            case "bpe":
                return BpeTokenizer(SubwordModel.from_text(values["model"]))
        lexicon = parse_lexicon(values["lexicon"], f"{place}: lexicon")
        return PhoneTokenizer(tuple(values["symbols"]), lexicon)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


def tokenizer_of(symbols: Sequence[str] | Tokenizer, lexicon: Lexicon | None = None) -> Tokenizer:
    """The tokenizer of a model of which the symbols are known; a tokenizer is given back.

    Args:
        symbols: (C,), what each token stands for; the first is CTC's blank, whatever it is called.
            Where all others are single characters they spell words, with " " between words. Other
            symbols are units, such as phones. Pieces of words take a tokenizer.
        lexicon: of units, words with their pronunciations.

    Raises:
        ValueError: a symbol comes twice, is empty or has white space in it, is a piece of a word,
            or a phone of the lexicon is not among them.
    """
    if isinstance(symbols, Tokenizer):
        return symbols
    names = (BLANK_SYMBOL, *list(symbols)[1:])
    for token, symbol in enumerate(names):
        if not isinstance(symbol, str):
            raise ValueError(f"symbols[{token}] is {symbol!r}; expected a text")
        if symbol.startswith(WORD_START):
            raise ValueError(
                f"symbols[{token}] is {symbol!r}, a piece of a word; expected characters or units:"
                " for pieces give the model's tokenizer"
            )
    if all(len(symbol) == 1 for symbol in names[1:]):
        return CharTokenizer(names)
    return UnitTokenizer(names) if lexicon is None else PhoneTokenizer(names, lexicon)


def spellings(words: Iterable[str], tokenizer: Tokenizer) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The token sequences that stand for each word, for a search among words.

    Args:
        words: the vocabulary.
        tokenizer: of the acoustic model. Where its `separator` is a token, that stands between
            words and is in no spelling.

    Returns:
        spellings: in the order of the words. With phones one for each pronunciation, usual ones
            first, else one. A word that the tokens can't spell (a strange character; no
            pronunciation) has none.

    Raises:
        ValueError: a word is empty or has white space in it.
    """
    return {word: _spellings(word, tokenizer) for word in words}


def text_case(tokenizer: Tokenizer) -> Case:
    """The case of the texts that a tokenizer was made of: of its letters, or its lexicon's words.

    Units such as phones, which are no letters, have none: words stay as they stand.
    """
    if isinstance(tokenizer, UnitTokenizer):
        return "keep"
    if isinstance(tokenizer, PhoneTokenizer):
        return case_of(tokenizer.lexicon.pronunciations)
    return case_of(tokenizer.symbols[BLANK + 1 :])


def _spellings(word: str, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    if word.split() != [word]:
        raise ValueError(f"words has {word!r}; expected words without white space")
    if isinstance(tokenizer, PhoneTokenizer):
        return tokenizer.pronunciations(word)
    try:
        return (tokenizer.encode(word),)
    except InputError:
        return ()


def _is_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _numbered(symbols: Sequence[str]) -> dict[str, int]:
    return {symbol: token for token, symbol in enumerate(symbols) if token}


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
