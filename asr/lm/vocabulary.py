"""texts <-> units of a language model."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal

from asr.config import from_dict
from asr.errors import InputError
from asr.text.jamo import decompose
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
from asr.text.tokenizer import refuse_controls

UNK = 0
"""The unit for everything that is not in the vocabulary."""

EOS = 1
"""The end of a sentence; a recurrent model also reads it at the start of each sentence."""

UNK_SYMBOL, EOS_SYMBOL = "<unk>", "<eos>"

Unit = Literal["word", "char", "jamo", "bpe"]
"""Words; characters (Hangul: syllables); decomposed characters (Hangul: letters); subwords."""


@dataclass(frozen=True)
class Vocabulary:
    """The units of a language model: texts <-> units.

    Args:
        unit: the kind of unit.
        symbols: (V,), the text of each unit; the first two are `<unk>` and `<eos>`.
        text: settings of the normalisation of texts. If punctuation is kept, each punctuation mark
            is a word.
        subwords: for subwords, their model as from `SubwordModel.to_text`; otherwise empty.

    Raises:
        ValueError: the first two symbols are not `<unk>` and `<eos>`, a symbol occurs twice, or
            the symbols are not the pieces of the subword model.
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
        """Make a vocabulary of the most frequent units of texts, frequent ones first.

        Args:
            texts: one text for each sentence.
            unit: the kind of unit.
            max_size: largest number of units, `<unk>` and `<eos>` included; for subwords, the
                exact number.
            min_count: units that occur less often become `<unk>`; not for subwords.
            text: settings of the normalisation of texts.

        Raises:
            InputError: the texts have no unit, or none that is frequent enough, or can't be
                divided into that number of subwords.
        """
        if unit == "bpe":
            return _learn_pieces(texts, max_size, min_count, text)
        normalised = (normalise(line, text) for line in texts)
        counts = Counter(piece for line in normalised for piece in _units(line, unit, text))
        for mark in (UNK_SYMBOL, EOS_SYMBOL):
            counts.pop(mark, None)
        # equal counts are sorted by spelling, so that the order of the texts does not matter
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

    def with_symbols(self, symbols: Iterable[str]) -> "Vocabulary":
        """The vocabulary with further units after its own; those that it has are left out.

        Raises:
            ValueError: the units are subwords, which a text can't extend.
        """
        return replace(self, symbols=tuple(dict.fromkeys((*self.symbols, *symbols))))

    def encode(self, text: str) -> tuple[int, ...]:
        """The units of a text, without its end; `UNK` for units that are not in the vocabulary.

        Raises:
            InputError: the units are subwords, and the text has the character that marks the start
                of a word in them.
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
        """Normalise a text for `encode`; `encode` gives the same units before and after.

        A vocabulary from another program's ARPA file may have words with marks that normalisation
        removes ("'tis", "u.s.", "x-ray"). Such words stay if the text has them between spaces.
        """
        if not self._has_unusual:
            return normalise(text, self.text)
        found = []
        for word in canonical(text).split():
            cased = in_case(word, self.text.case)
            found.append(cased if cased in self._number else normalise(word, self.text))
        return " ".join(filter(None, found))

    def decode(self, units: Iterable[int]) -> str:
        """The normalised text of units. Punctuation marks that are words have spaces around them.

        `encode` turns the text into the same units, except for `<eos>`.
        """
        pieces = [self.symbols[unit] for unit in units]
        if self.unit == "bpe":
            return self._pieces.decode(pieces)
        joined = (" " if self.unit == "word" else "").join(pieces)
        return unicodedata.normalize("NFC", joined)

    def in_case(self, case: Case) -> "Vocabulary":
        """Convert the units to another case, for texts in lower or upper case.

        A unit keeps its spelling if the converted spelling belongs to another unit, or if units are
        characters and it is not a single character. Subwords are not changed.
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
        # without the first two units: "<eos>" in a text is not the end of the sentence
        return {symbol: number for number, symbol in enumerate(self.symbols) if number > EOS}

    @cached_property
    def _has_unusual(self) -> bool:
        """Whether normalisation changes or removes some of the vocabulary's words.

        It doesn't if the vocabulary was made from texts.
        """
        words = self.symbols[EOS + 1 :] if self.unit == "word" else ()
        return _units(normalise(" ".join(words), self.text), "word", self.text) != list(words)

    @cached_property
    def _pieces(self) -> SubwordModel:
        return SubwordModel.from_text(self.subwords)


def vocabulary_from_dict(values: Mapping[str, Any], place: str) -> Vocabulary:
    """Rebuild a vocabulary from the plain values of `to_dict`.

    Args:
        values: unit, symbols, text and, for subwords, subwords.
        place: the file they come from; the error message starts with it.

    Raises:
        InputError: a value is missing, unknown or invalid, or a symbol has a control character.
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
    refuse_controls(symbols, f"{place}: symbols")
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
        raise InputError(f"min_count is {min_count}; expected 1: all pieces are kept")
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
            return list(decompose(text))
    raise ValueError(f"unit is {unit!r}; expected word, char, jamo or bpe")
