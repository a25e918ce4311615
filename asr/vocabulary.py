"""Texts <-> the units of a language model; and what every language model can do."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor

from asr.config import from_dict
from asr.errors import InputError
from asr.text import DEFAULT, TextSettings, normalise

UNK = 0
"""Stands for every unit that is not in the vocabulary."""

EOS = 1
"""Ends each sentence; a recurrent model reads it as the beginning too."""

UNK_SYMBOL, EOS_SYMBOL = "<unk>", "<eos>"

Unit = Literal["word", "char", "jamo", "bpe"]
"""Words; characters (in Hangul: syllables); characters taken apart (in Hangul: letters); pieces."""


class LanguageModel(Protocol):
    """What search, rescoring and the bench ask of a language model, of whatever kind.

    A state is what the model remembers of the units so far: one tensor whose first dimension is
    that of the hypotheses, so that states are picked, repeated and joined by indexing.
    """

    vocabulary: "Vocabulary"

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at a sentence's beginning, once for each hypothesis."""

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,) natural log-probabilities of the next units, (rows,), and the states after."""

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V): the natural log-probability of every next unit."""

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence (U + 1,) natural log-probabilities: of its units, then of its end."""


@dataclass(frozen=True)
class Vocabulary:
    """Texts <-> the units that a language model counts in.

    Args:
        unit: what a unit is.
        symbols: (V,), what each unit stands for; the first two are `<unk>` and `<eos>`.
        text: how texts are normalised first. Where punctuation is kept, each mark is a word.

    Raises:
        ValueError: the first symbols are others, or one comes twice.
    """

    unit: Unit
    symbols: tuple[str, ...]
    text: TextSettings = DEFAULT

    def __post_init__(self) -> None:
        if self.symbols[:2] != (UNK_SYMBOL, EOS_SYMBOL):
            raise ValueError(
                f"symbols begin with {list(self.symbols[:2])}; expected {UNK_SYMBOL}, {EOS_SYMBOL}"
            )
        if len(self._number) != len(self.symbols):
            twice = next(s for s, count in Counter(self.symbols).items() if count > 1)
            raise ValueError(f"symbols has {twice!r} more than once")

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
            max_size: at most so many units, `<unk>` and `<eos>` among them.
            min_count: rarer ones are `<unk>`.
            text: how texts are normalised first.

        Raises:
            InputError: the texts have no unit at all.
        """
        counts = Counter(piece for line in texts for piece in _units(normalise(line, text), unit))
        # equal counts: by spelling, so that the order of the texts does not matter
        often = sorted((-count, piece) for piece, count in counts.items() if count >= min_count)
        kept = [piece for _, piece in often if piece not in (UNK_SYMBOL, EOS_SYMBOL)]
        if not kept:
            raise InputError("the texts have no unit; expected at least one word")
        return cls(unit, (UNK_SYMBOL, EOS_SYMBOL, *kept)[:max_size], text)

    def encode(self, text: str) -> tuple[int, ...]:
        """The units of a text, without the end; `UNK` for what is not in the vocabulary."""
        pieces = _units(normalise(text, self.text), self.unit)
        return tuple(self._number.get(piece, UNK) for piece in pieces)

    def decode(self, units: Iterable[int]) -> str:
        """The text of the units, as `encode` was given it where nothing was unknown."""
        pieces = [self.symbols[unit] for unit in units]
        joined = (" " if self.unit == "word" else "").join(pieces)
        return unicodedata.normalize("NFC", joined)

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain values, for `vocabulary_from_dict`."""
        return {"unit": self.unit, "symbols": list(self.symbols), "text": asdict(self.text)}

    @cached_property
    def _number(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols)}


def vocabulary_from_dict(values: Mapping[str, Any], place: str) -> Vocabulary:
    """The vocabulary that `to_dict` described.

    Args:
        values: unit, symbols and text.
        place: the file they come from; begins the error's line.

    Raises:
        InputError: a value is missing, unknown or no vocabulary.
    """
    if not isinstance(values, dict) or set(values) != {"unit", "symbols", "text"}:
        found = ", ".join(values) if isinstance(values, dict) else repr(values)
        raise InputError(f"{place}: vocabulary has {found}; expected unit, symbols, text")
    unit, symbols = values["unit"], values["symbols"]
    if unit not in ("word", "char", "jamo", "bpe"):
        raise InputError(f"{place}: unit is {unit!r}; expected word, char, jamo or bpe")
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise InputError(f"{place}: symbols is no list of texts; expected one")
    try:
        text = from_dict(TextSettings, values["text"], f"{place}: text")
        return Vocabulary(unit, tuple(symbols), text)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


def _units(text: str, unit: Unit) -> list[str]:
    """The units of a normalised text."""
    match unit:
        case "word":
            return text.split()
        case "char":
            return list(text)
        case "jamo":
            return list(unicodedata.normalize("NFD", text))
    raise ValueError(f"unit is {unit!r}; expected word, char or jamo")
