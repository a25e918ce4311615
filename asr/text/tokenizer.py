"""Texts <-> tokens: characters, Hangul's letters, units, subword pieces, or phones."""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from typing import Any, ClassVar

from asr.errors import InputError, listed, printable, shortened
from asr.text.jamo import compose, decompose, first_incomplete, position_of
from asr.text.lexicon import Lexicon, parse_lexicon
from asr.text.normalisation import Case, case_of
from asr.text.subword import WORD_START, SubwordModel

BLANK = 0
"""CTC's empty token."""

BLANK_SYMBOL = "<blank>"
"""The symbol of `BLANK`."""


@dataclass(frozen=True)
class SymbolTokenizer(ABC):
    """What the tokenizers with a list of symbols have in common.

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, or a symbol is repeated.
    """

    symbols: tuple[str, ...]
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.symbols[:1] != (BLANK_SYMBOL,):
            found = repr(self.symbols[0]) if self.symbols else "missing"
            raise ValueError(f"symbols[0] is {found}; expected {BLANK_SYMBOL!r}")
        first: dict[str, int] = {}
        for token, symbol in enumerate(self.symbols):
            if symbol in first:
                raise ValueError(
                    f"symbols[{token}] is {symbol!r}, like symbols[{first[symbol]}];"
                    " expected each symbol once"
                )
            first[symbol] = token

    @abstractmethod
    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text; `place` begins the message of an InputError."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the lexicon that is needed to decode words."""
        return ()

    @property
    def separator(self) -> int | None:
        """The token of the space between words; None if it is not among the symbols."""
        return self._token.get(" ")

    def spellings(self, text: str, place: str = "text") -> list[tuple[int, ...]]:
        """Every token sequence that says the text: one, that of `encode`."""
        return [self.encode(text, place)]

    @property
    def case(self) -> Case:
        """The case of the symbols."""
        return case_of(self.symbols[BLANK + 1 :])

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @cached_property
    def _token(self) -> dict[str, int]:
        return _numbered(self.symbols)


@dataclass(frozen=True)
class CharTokenizer(SymbolTokenizer):
    """Characters <-> tokens; the space between words is a character like any other.

    A character is a code point of the text's composed form (NFC).

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, or a symbol is repeated or not one character.
    """

    kind: ClassVar = "char"

    def __post_init__(self) -> None:
        super().__post_init__()
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
        """The tokens of a text, one per character.

        Args:
            text: normalised like the texts of `from_texts`.
            place: such as "utterance an251-fash-b"; the error message starts with it.

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


@dataclass(frozen=True)
class JamoTokenizer(SymbolTokenizer):
    """Hangul's letters (jamo), and all other characters <-> tokens.

    Initial and final consonants are different tokens. Any tokens are decoded to whole syllables;
    see `asr.text.jamo`. The tokens are the units of a language model of jamo.

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, or a symbol is repeated, is not one character
            or is not decomposed.
    """

    kind: ClassVar = "jamo"

    def __post_init__(self) -> None:
        super().__post_init__()
        for token, symbol in enumerate(self.symbols[1:], 1):
            if len(symbol) != 1 or decompose(symbol) != symbol:
                raise ValueError(
                    f"symbols[{token}] is {symbol!r}; expected one letter or other character"
                )

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "JamoTokenizer":
        """The tokenizer whose symbols are the letters and other characters of the texts, sorted."""
        seen: set[str] = set()
        for text in texts:
            seen.update(decompose(text))
        return cls((BLANK_SYMBOL, *sorted(seen)))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one per letter or other character.

        Args:
            text: normalised like the texts of `from_texts`.
            place: such as "utterance an251-fash-b"; the error message starts with it.

        Raises:
            InputError: a letter is not among the symbols, or is in no whole syllable of modern
                Hangul. Single letters such as ㅋ (U+314B) count as other characters.
        """
        letters = decompose(text)
        if lone := first_incomplete(letters):
            codes = " ".join(f"U+{ord(letter):04X}" for letter in lone)
            raise InputError(
                f"{place}: jamo {lone!r} ({codes}) are no whole syllable; expected modern Hangul"
            )
        return _encode(letters, self._token, "letter", place)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of the tokens, in whole syllables: for those of `encode`, what it was given.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return compose("".join(_decode(tokens, self.symbols)))


@dataclass(frozen=True)
class UnitTokenizer(SymbolTokenizer):
    """Units separated by spaces <-> tokens, such as phones: "h# k aw n".

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.

    Raises:
        ValueError: the first symbol is not the blank, or a symbol is repeated, is empty or has
            white space.
    """

    kind: ClassVar = "unit"

    def __post_init__(self) -> None:
        super().__post_init__()
        for token, symbol in enumerate(self.symbols):
            if symbol.split() != [symbol]:
                raise ValueError(f"symbols[{token}] is {symbol!r}; expected no white space")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "UnitTokenizer":
        """The tokenizer whose symbols are the units of the texts, sorted."""
        seen = {unit for text in texts for unit in unicodedata.normalize("NFC", text).split()}
        return cls((BLANK_SYMBOL, *sorted(seen)))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one per unit.

        Args:
            text: units separated by white space.
            place: such as "utterance FADG0_SA1"; the error message starts with it.

        Raises:
            InputError: a unit is not among the symbols.
        """
        return _encode(unicodedata.normalize("NFC", text).split(), self._token, "unit", place)

    def decode(self, tokens: Iterable[int]) -> str:
        """The units of the tokens, joined by spaces.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return " ".join(_decode(tokens, self.symbols))

    @property
    def case(self) -> Case:
        """Units have no case: texts are kept unchanged."""
        return "keep"


@dataclass(frozen=True)
class BpeTokenizer:
    """Subword pieces <-> tokens.

    Args:
        model: splits words into pieces; its pieces are the tokens from 1 on.
    """

    model: SubwordModel
    kind: ClassVar = "bpe"
    words: ClassVar[tuple[str, ...]] = ()
    separator: ClassVar[None] = None  # the first piece of a word marks its beginning

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """(C,), what each token stands for; `symbols[0]` is CTC's blank."""
        return (BLANK_SYMBOL, *self.model.pieces)

    @classmethod
    def from_texts(cls, texts: Iterable[str], n_pieces: int) -> "BpeTokenizer":
        """Train a tokenizer with this number of pieces.

        Raises:
            InputError: the number of pieces is impossible for these texts.
        """
        composed = (unicodedata.normalize("NFC", text) for text in texts)
        return cls(SubwordModel.train(composed, n_pieces))

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, one per piece.

        Args:
            text: normalised like the training texts.
            place: such as "utterance an251-fash-b"; the error message starts with it.

        Raises:
            InputError: the text has a character that is not in the training texts.
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

    def spellings(self, text: str, place: str = "text") -> list[tuple[int, ...]]:
        """Every token sequence that says the text: one, that of `encode`."""
        return [self.encode(text, place)]

    @property
    def case(self) -> Case:
        """The case of the pieces."""
        return case_of(self.symbols[BLANK + 1 :])

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return {"kind": self.kind, "model": self.model.to_text()}

    @cached_property
    def _token(self) -> dict[str, int]:
        return _numbered(self.symbols)


@dataclass(frozen=True)
class PhoneTokenizer(SymbolTokenizer):
    """Words -> phones <-> tokens.

    Tokens are decoded to phones only; a search with the lexicon finds the words.

    Args:
        symbols: (C,), what each token stands for; `symbols[0]` is CTC's blank.
        lexicon: words with their pronunciations; all phones must be among the symbols.

    Raises:
        ValueError: the first symbol is not the blank, a symbol is repeated, or a phone is not
            among the symbols.
    """

    lexicon: Lexicon
    kind: ClassVar = "phone"

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.lexicon.phones) - self._token.keys()):
            word = next(
                word
                for word, spoken in self.lexicon.pronunciations.items()
                if any(unknown[0] in phones for phones in spoken)
            )
            raise ValueError(
                f"the lexicon has phone {unknown[0]!r} in {word!r}, which is not in symbols;"
                f" expected {shortened(' '.join(self.symbols[1:]))}"
            )

    @classmethod
    def from_lexicon(cls, lexicon: Lexicon) -> "PhoneTokenizer":
        """The tokenizer whose symbols are all phones of the lexicon, sorted."""
        return cls((BLANK_SYMBOL, *lexicon.phones), lexicon)

    def encode(self, text: str, place: str = "text") -> tuple[int, ...]:
        """The tokens of a text, with the first pronunciation of each word.

        Args:
            text: words, written as in the lexicon.
            place: such as "utterance an251-fash-b"; the error message starts with it.

        Raises:
            InputError: words have no pronunciation; the message names them.
        """
        words = unicodedata.normalize("NFC", text).split()
        if missing := self.lexicon.missing(words):
            named = listed([repr(one) for one in missing])
            raise InputError(f"{place}: no pronunciation in the lexicon for {named}")
        return tuple(token for word in words for token in self.pronunciations(word)[0])

    def pronunciations(self, word: str) -> tuple[tuple[int, ...], ...]:
        """The tokens of each pronunciation of a word; empty if it is not in the lexicon."""
        spoken = self.lexicon.pronunciations.get(word, ())
        return tuple(tuple(self._token[phone] for phone in phones) for phones in spoken)

    def decode(self, tokens: Iterable[int]) -> str:
        """The phones of the tokens, joined by spaces.

        Raises:
            ValueError: a token is the blank or has no symbol.
        """
        return " ".join(_decode(tokens, self.symbols))

    def spellings(self, text: str, place: str = "text") -> list[tuple[int, ...]]:
        """Every token sequence for the text, most usual pronunciations first; see `encode`."""
        spoken = [self.pronunciations(word) for word in unicodedata.normalize("NFC", text).split()]
        if not all(spoken):
            self.encode(text, place)  # raises an error that names the missing words
        return [tuple(chain.from_iterable(one)) for one in product(*spoken)]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the lexicon."""
        return tuple(self.lexicon.pronunciations)

    @property
    def case(self) -> Case:
        """The case of the lexicon's words."""
        return case_of(self.lexicon.pronunciations)

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain values, for `tokenizer_from_dict`."""
        return super().to_dict() | {"lexicon": self.lexicon.lines()}


Tokenizer = CharTokenizer | JamoTokenizer | UnitTokenizer | BpeTokenizer | PhoneTokenizer
"""All tokenizers have `symbols`, `separator`, `encode`, `decode`, `spellings` (all token sequences
of a text), `words` (of the lexicon that is needed to decode words; else empty), `case` (of the
training texts) and `to_dict`."""

_FIELDS = {
    "char": ("symbols",),
    "jamo": ("symbols",),
    "unit": ("symbols",),
    "bpe": ("model",),
    "phone": ("symbols", "lexicon"),
}


def tokenizer_from_dict(values: Mapping[str, Any], place: str) -> Tokenizer:
    """The tokenizer from the output of `to_dict`.

    Args:
        values: the kind, and the fields of this kind.
        place: the file they come from; the error message starts with it.

    Raises:
        InputError: the kind is unknown, the fields are wrong for it, or a symbol or word has a
            control character, which must not reach a terminal.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        kinds = ", ".join(_FIELDS)
        raise InputError(
            f"{place}: tokenizer is of kind {shortened(kind)}; expected one of {kinds}"
        )
    if set(values) != {"kind", *_FIELDS[kind]}:
        expected = ", ".join(("kind", *_FIELDS[kind]))
        raise InputError(f"{place}: tokenizer has {', '.join(values)}; expected {expected}")
    for name in _FIELDS[kind]:
        if not _is_texts(values[name] if name != "model" else [values[name]]):
            what = "text" if name == "model" else "a list of texts"
            raise InputError(f"{place}: {name} is {shortened(values[name])}; expected {what}")
    try:
        match kind:
            case "char":
                made: Tokenizer = CharTokenizer(tuple(values["symbols"]))
            case "jamo":
                made = JamoTokenizer(tuple(values["symbols"]))
            case "unit":
                made = UnitTokenizer(tuple(values["symbols"]))
            case "bpe":
                made = BpeTokenizer(SubwordModel.from_text(values["model"]))
            case _:
                lexicon = parse_lexicon(values["lexicon"], f"{place}: lexicon")
                made = PhoneTokenizer(tuple(values["symbols"]), lexicon)
                refuse_controls(lexicon.pronunciations, f"{place}: lexicon")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    refuse_controls(made.symbols, f"{place}: symbols")
    return made


def refuse_controls(symbols: Iterable[str], place: str) -> None:
    """Check that symbols have no control characters; see `asr.errors.printable`.

    Args:
        symbols: symbols of tokens or units, or words.
        place: the file and the part of it they come from; the error message starts with it.

    Raises:
        InputError: a symbol has a control character.
    """
    for symbol in symbols:
        if printable(symbol) != symbol:
            raise InputError(f"{place}: {symbol[:80]!r} has a control character; expected none")


def tokenizer_of(symbols: Sequence[str] | Tokenizer, lexicon: Lexicon | None = None) -> Tokenizer:
    """The tokenizer for a model's symbols; a tokenizer is returned unchanged.

    Args:
        symbols: (C,), what each token stands for; the first is CTC's blank, whatever its name. If
            all others are single characters, they spell words, with " " between words; Hangul's
            letters (U+1100 and so on) spell syllables. Otherwise they are units, such as phones.
            For subword pieces, give a tokenizer.
        lexicon: words with their pronunciations, if the symbols are units.

    Raises:
        ValueError: a symbol is repeated, is empty, has white space or is a subword piece, or a
            phone of the lexicon is not among the symbols.
    """
    if isinstance(symbols, Tokenizer):
        return symbols
    if not isinstance(symbols, Iterable):
        raise ValueError(f"symbols is {symbols!r}; expected the text of each token")
    names = (BLANK_SYMBOL, *list(symbols)[1:])
    for token, symbol in enumerate(names):
        if not isinstance(symbol, str):
            raise ValueError(f"symbols[{token}] is {symbol!r}; expected a text")
        if symbol.startswith(WORD_START):
            raise ValueError(
                f"symbols[{token}] is {symbol!r}, a subword piece; expected characters or units;"
                " for subword pieces give the model's tokenizer"
            )
    if all(len(symbol) == 1 for symbol in names[1:]):
        has_jamo = any(map(position_of, names[1:]))
        return JamoTokenizer(names) if has_jamo else CharTokenizer(names)
    return UnitTokenizer(names) if lexicon is None else PhoneTokenizer(names, lexicon)


def spelled_words(tokens: Sequence[int], tokenizer: Tokenizer) -> list[tuple[str, int, int]]:
    """Each word that tokens spell, with the places of its first and its last token.

    >>> spelled_words(tokenizer.encode("no way"), tokenizer)
    [('no', 0, 1), ('way', 3, 5)]

    Raises:
        ValueError: a token is the blank or has no symbol.
    """
    texts = _decode(tokens, tokenizer.symbols)
    if tokenizer.kind == "bpe":
        texts = [text.replace(WORD_START, " ") for text in texts]
    elif tokenizer.kind not in ("char", "jamo"):
        texts = [f" {text}" for text in texts]
    places = [place for place, text in enumerate(texts) for _ in text]
    written = compose if tokenizer.kind == "jamo" else str
    words = re.finditer(r"\S+", "".join(texts))
    return [(written(word[0]), places[word.start()], places[word.end() - 1]) for word in words]


def spellings(words: Iterable[str], tokenizer: Tokenizer) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The token sequences of each word, for a search with a vocabulary.

    Args:
        words: the vocabulary.
        tokenizer: of the acoustic model. If its `separator` is a token, it comes between words and
            is in no spelling.

    Returns:
        spellings: in the order of the words. With phones, one for each pronunciation, the most
            usual one first; otherwise one. Words with unknown characters, or without a
            pronunciation, have none.

    Raises:
        ValueError: a word is empty or has white space.
    """
    return {word: _spellings(word, tokenizer) for word in words}


def _spellings(word: str, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    if word.split() != [word]:
        raise ValueError(f"words has {word!r}; expected words without white space")
    try:
        return tuple(tokenizer.spellings(word))
    except InputError:
        return ()


def _is_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _numbered(symbols: Sequence[str]) -> dict[str, int]:
    return {symbol: token for token, symbol in enumerate(symbols) if token}


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
        f" expected one of the {len(token)} of {shortened(alphabet)}"
    )


def _decode(tokens: Iterable[int], symbols: Sequence[str]) -> list[str]:
    tokens = tuple(tokens)
    if tokens and not 1 <= min(tokens) <= max(tokens) < len(symbols):
        wrong = next(token for token in tokens if not 1 <= token < len(symbols))
        raise ValueError(f"token {wrong} stands for no text; expected 1 to {len(symbols) - 1}")
    return [symbols[token] for token in tokens]
