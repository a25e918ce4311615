"""Texts <-> the units of a language model."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal

from asr.config import from_dict
from asr.errors import InputError
from asr.text.normalisation import (
    DEFAULT,
    Case,
    TextSettings,
    canonical,
    in_case,
    normalise,
    words_and_marks,
)
from asr.text.subword import SubwordModel

UNK = 0
"""Stands for every unit that is not in the vocabulary."""

EOS = 1
"""Ends each sentence; a recurrent model reads it as the beginning too."""

UNK_SYMBOL, EOS_SYMBOL = "<unk>", "<eos>"

Unit = Literal["word", "char", "jamo", "bpe"]
"""Words; characters (in Hangul: syllables); characters taken apart (in Hangul: letters); pieces."""


@dataclass(frozen=True)
class Vocabulary:
    """Texts <-> the units that a language model counts in.

    Args:
        unit: what a unit is.
        symbols: (V,), what each unit stands for; the first two are `<unk>` and `<eos>`.
        text: how texts are normalised first. Where punctuation is kept, each mark is a word.
        subwords: of pieces, the model that makes them: `SubwordModel.to_text`.

    Raises:
        ValueError: the first symbols are others, one comes twice, or those of pieces are not the
            model's.
    """

    unit: Unit
    symbols: tuple[str, ...]
    text: TextSettings = DEFAULT
    subwords: str = ""

    def __post_init__(self) -> None:
        if self.symbols[:2] != (UNK_SYMBOL, EOS_SYMBOL):
            raise ValueError(
                f"symbols begin with {list(self.symbols[:2])}; expected {UNK_SYMBOL}, {EOS_SYMBOL}"
            )
        twice = [symbol for symbol, count in Counter(self.symbols).items() if count > 1]
        if twice:
            raise ValueError(f"symbols has {twice[0]!r} more than once")
        if (self.unit == "bpe") != bool(self.subwords):
            found = "there" if self.subwords else "missing"
            raise ValueError(f"subwords is {found} and unit {self.unit}; bpe alone has subwords")
        if self.subwords and self._pieces.pieces != self.symbols[2:]:
            raise ValueError("symbols are other pieces than those of subwords")

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        unit: Unit = "word",
        max_size: int | None = None,
        min_count: int = 1,
        text: TextSettings = DEFAULT,
    ) -> "Vocabulary":
        """The most frequent units of the texts, frequent ones first.

        Args:
            texts: one a sentence.
            unit: what a unit is.
            max_size: at most so many units, `<unk>` and `<eos>` among them; exactly so many pieces.
            min_count: rarer ones are `<unk>`; not of pieces.
            text: how texts are normalised first.

        Raises:
            InputError: the texts have no unit at all, or none so often, or can't have so many
                pieces.
        """
        if unit == "bpe":
            return _learn_pieces(texts, max_size, min_count, text)
        normalised = (normalise(line, text) for line in texts)
        counts = Counter(piece for line in normalised for piece in _units(line, unit, text))
        for mark in (UNK_SYMBOL, EOS_SYMBOL):
            counts.pop(mark, None)
        # equal counts: by spelling, so that the order of the texts does not matter
        often = sorted((-count, piece) for piece, count in counts.items() if count >= min_count)
        kept = [piece for _, piece in often]
        if not counts:
            raise InputError("the texts have no unit; expected at least one word")
        if not kept:
            most = max(counts.values())
            raise InputError(
                f"min_count is {min_count}; the most frequent unit of the texts comes {most} times;"
                f" expected {most} or less"
            )
        return cls(unit, (UNK_SYMBOL, EOS_SYMBOL, *kept)[:max_size], text)

    def encode(self, text: str) -> tuple[int, ...]:
        """The units of a text, without the end; `UNK` for what is not in the vocabulary.

        Raises:
            InputError: the units are pieces, and the text has the sign that begins words in them.
        """
        normalised = self.normalise(text)
        if self.unit == "bpe":
            pieces = self._pieces.encode(normalised)
        elif self._has_unusual:
            words = normalised.split()
            parts = ([w] if w in self._number else _units(w, "word", self.text) for w in words)
            pieces = list(chain.from_iterable(parts))
        else:
            pieces = _units(normalised, self.unit, self.text)
        return tuple(self._number.get(piece, UNK) for piece in pieces)

    def normalise(self, text: str) -> str:
        """A text as `encode` reads it; given that, `encode` gives the same units.

        Words that the vocabulary has with marks which normalised texts lack, as the ARPA files of
        other programs may ("'tis", "u.s.", "x-ray"), stay where a text has them between blanks.
        """
        if not self._has_unusual:
            return normalise(text, self.text)
        found = []
        for word in canonical(text).split():
            cased = in_case(word, self.text.case)
            found.append(cased if cased in self._number else normalise(word, self.text))
        return " ".join(filter(None, found))

    def decode(self, units: Iterable[int]) -> str:
        """The text of the units, normalised; punctuation stands apart where it is a word.

        `encode` gives the units again, but for `<eos>`.
        """
        pieces = [self.symbols[unit] for unit in units]
        if self.unit == "bpe":
            return self._pieces.decode(pieces)
        joined = (" " if self.unit == "word" else "").join(pieces)
        return unicodedata.normalize("NFC", joined)

    def in_case(self, case: Case) -> "Vocabulary":
        """The same units for texts in another case than the model's: small letters or capitals.

        A unit keeps its spelling where that of the other case is another unit's, or is not one
        character where units are characters. Pieces of words stay as they are.
        """
        if case in ("keep", self.text.case) or self.unit == "bpe":
            return self
        symbols, taken = [], set(self.symbols)
        for number, symbol in enumerate(self.symbols):
            cased = in_case(symbol, case)
            fits = self.unit == "word" or len(cased) == len(symbol)
            if number > EOS and cased not in taken and fits:
                symbol = cased
                taken.add(cased)
            symbols.append(symbol)
        return replace(self, symbols=tuple(symbols), text=replace(self.text, case="keep"))

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain values, for `vocabulary_from_dict`."""
        values = {"unit": self.unit, "symbols": list(self.symbols), "text": asdict(self.text)}
        return values | ({"subwords": self.subwords} if self.subwords else {})

    @cached_property
    def _number(self) -> dict[str, int]:
        # without the first two: a text that has "<eos>" in it does not end there
        return {symbol: number for number, symbol in enumerate(self.symbols) if number > EOS}

    @cached_property
    def _has_unusual(self) -> bool:
        """Whether some words are others, or none, once they are normalised.

        In a vocabulary that was made of texts none are.
        """
        words = self.symbols[EOS + 1 :] if self.unit == "word" else ()
        return _units(normalise(" ".join(words), self.text), "word", self.text) != list(words)

    @cached_property
    def _pieces(self) -> SubwordModel:
        return SubwordModel.from_text(self.subwords)


def vocabulary_from_dict(values: Mapping[str, Any], place: str) -> Vocabulary:
    """The vocabulary that `to_dict` described.

    Args:
        values: unit, symbols and text.
        place: the file they come from; begins the error's line.

    Raises:
        InputError: a value is missing, unknown or no vocabulary.
    """
    found = set(values) if isinstance(values, dict) else set()
    if found - {"subwords"} != {"unit", "symbols", "text"}:
        shown = ", ".join(values) if isinstance(values, dict) else repr(values)
        raise InputError(f"{place}: vocabulary has {shown}; expected unit, symbols, text")
    unit, symbols, subwords = values["unit"], values["symbols"], values.get("subwords", "")
    if unit not in ("word", "char", "jamo", "bpe"):
        raise InputError(f"{place}: unit is {unit!r}; expected word, char, jamo or bpe")
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise InputError(f"{place}: symbols is no list of texts; expected one")
    if not isinstance(subwords, str):
        raise InputError(f"{place}: subwords is {subwords!r}; expected a text")
    text = from_dict(TextSettings, values["text"], f"{place}: text")
    try:
        return Vocabulary(unit, tuple(symbols), text, subwords)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


def _learn_pieces(
    texts: Iterable[str], max_size: int | None, min_count: int, text: TextSettings
) -> Vocabulary:
    if max_size is None:
        raise InputError(
            "data.max_size is null; expected how many pieces there are, with <unk> and <eos>"
        )
    if min_count != 1:
        raise InputError(f"min_count is {min_count}; expected 1: of pieces none is left out")
    if max_size < 3:
        raise InputError(f"max_size is {max_size}; expected 3 or more: <unk> and <eos> count")
    try:
        model = SubwordModel.train((normalise(line, text) for line in texts), max_size - 2)
    except InputError as error:
        raise InputError(f"max_size is {max_size}, <unk> and <eos> among them: {error}") from None
    return Vocabulary("bpe", (UNK_SYMBOL, EOS_SYMBOL, *model.pieces), text, model.to_text())


def _units(text: str, unit: Unit, settings: TextSettings) -> list[str]:
    """The units of a normalised text."""
    match unit:
        case "word":
            return words_and_marks(text) if settings.punctuation == "keep" else text.split()
        case "char":
            return list(text)
        case "jamo":
            return list(unicodedata.normalize("NFD", text))
    raise ValueError(f"unit is {unit!r}; expected word, char, jamo or bpe")
