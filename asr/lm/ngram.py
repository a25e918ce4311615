"""units -> log-probabilities of the next units, from an n-gram model; its folder and ARPA file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError, counted
from asr.folder import (
    DESCRIPTION,
    WEIGHTS,
    check_parts,
    read_description,
    read_weights,
    write_folder,
)
from asr.lm.arpa import MARKS, read_arpa, write_arpa
from asr.lm.ngram_packed import empty_packed, pack, unpack
from asr.lm.ngram_trie import MAX_NODES, MAX_ORDER, NgramTrie, check_trie, empty_tables
from asr.lm.protocol import text_log_prob
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK_SYMBOL, Unit, Vocabulary, vocabulary_from_dict
from asr.text.lexicon import is_special_symbol
from asr.text.normalisation import DEFAULT, TextSettings, case_of, lower_case

BLANK_WORD = "▁"
"""The space between words in the ARPA file of a model of characters."""

KIND = "ngram"
"""The value of `kind` in `model.json`."""

_ROWS = 4096  # maximum number of sentences scored at once


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A back-off n-gram model.

    The state is a node of the trie: the longest suffix of the units so far that makes a difference
    to the model. Hypotheses with equal states have the same probabilities of all further units.

    Args:
        vocabulary: the units.
        trie: the n-grams.

    Raises:
        ValueError: the trie has another number of units.
    """

    vocabulary: Vocabulary
    trie: NgramTrie

    def __post_init__(self) -> None:
        if len(self.vocabulary.symbols) != self.trie.n_units:
            symbols, units = len(self.vocabulary.symbols), self.trie.n_units
            raise ValueError(
                f"vocabulary has {counted(symbols, 'symbol')}; expected the trie's {units}"
            )

    @property
    def order(self) -> int:
        """Number of units of the longest n-grams."""
        return self.trie.order

    def to(self, device: str | torch.device) -> "NgramModel":
        """The same model on a device."""
        return replace(self, trie=self.trie.to(device))

    def start(self, rows: int) -> Tensor:
        """(rows,), int64: the state at the start of a sentence, for each hypothesis."""
        return self.trie.start(rows)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,), float32: natural log-probabilities of the next units; and the new states."""
        return self.trie.score(state, units.to(state.device))

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V), float32: natural log-probabilities of all next units."""
        return self.trie.distribution(state)

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence, (U + 1,): natural log-probabilities of its units and of its end.

        Raises:
            ValueError: a unit is not one of the V units.
        """
        found: list[np.ndarray] = [np.zeros(0)] * len(sentences)
        by_length = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
        for first in range(0, len(by_length), _ROWS):
            batch = by_length[first : first + _ROWS]
            units = np.full((len(sentences[batch[-1]]) + 1, len(batch)), EOS)
            for row, n in enumerate(batch):
                units[: len(sentences[n]), row] = sentences[n]
            if units.min() < 0 or units.max() >= self.trie.n_units:
                wrong = units[(units < 0) | (units >= self.trie.n_units)][0]
                raise ValueError(
                    f"sentences have the unit {wrong}; expected 0 to {self.trie.n_units - 1}"
                )
            state, scores = self.start(len(batch)), []
            for column in torch.from_numpy(units):
                score, state = self.score(state, column)
                scores.append(score)
            log_probs = torch.stack(scores).T.cpu().numpy()
            for row, n in enumerate(batch):
                found[n] = log_probs[row, : len(sentences[n]) + 1].copy()
        return found

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end; see `text_log_prob`."""
        return text_log_prob(self, text)


def read_ngram(path: str | Path, vocabulary: Vocabulary | None = None) -> NgramModel:
    """Read the model of an ARPA file, plain or compressed (gzip, xz, bzip2).

    Without a vocabulary, the units follow from the file's words. The units are characters if all
    words are single characters and `▁`, the space, is one of them; otherwise they are words. Texts
    are converted to lower case by default, and the units of a file in upper case are too. The case
    is kept if the file's words are in mixed case, or if two words differ only in case. Punctuation
    is removed from texts, except in words that the file has with punctuation.

    Args:
        path: path of the file.
        vocabulary: the units; the file must have exactly these. A space is spelled `▁` in the
            file.

    Raises:
        InputError: the file is not a valid ARPA file; see `asr.lm.arpa.read_arpa`.
        OSError: the file can't be read.
    """
    if vocabulary is not None:
        return NgramModel(vocabulary, read_arpa(path, arpa_words(vocabulary, str(path)))[1])
    words, trie = read_arpa(path)
    try:
        return NgramModel(_vocabulary(words), trie)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def write_ngram(path: str | Path, model: NgramModel) -> None:
    """Write an ARPA file, either completely or not at all; see `asr.lm.arpa.write_arpa`.

    Raises:
        InputError: a unit can't be written as a word of an ARPA file.
    """
    write_arpa(path, arpa_words(model.vocabulary, str(path)), model.trie)


def save_ngram(
    folder: str | Path,
    model: NgramModel,
    settings: dict[str, Any],
    trained_on: dict[str, Any],
    packed: bool = False,
) -> None:
    """Write a model's folder: `model.json`, and the trie's tables in `weights.safetensors`.

    Args:
        folder: created if it doesn't exist.
        model: the estimated model.
        settings: settings of the estimation, as plain values.
        trained_on: a description of the training texts, as plain values.
        packed: whether the tables are written in a third of the space; see `asr.lm.ngram_packed`.

    Raises:
        InputError: the folder already has a model.
    """
    if (Path(folder) / DESCRIPTION).exists():
        raise InputError(f"{folder}: has a model already; expected a new folder")
    description = {
        "kind": KIND,
        "sizes": list(model.trie.sizes),
        "packed": packed,
        "vocabulary": model.vocabulary.to_dict(),
        "settings": settings,
        "trained_on": trained_on,
    }
    write_folder(folder, description, pack(model.trie) if packed else model.trie.tables)


def load_ngram(folder: str | Path) -> NgramModel:
    """Load a model from a folder written by `save_ngram`.

    The tables are mapped into memory, not copied, unless they are packed.

    Raises:
        InputError: a file is missing or damaged, or the two files don't fit each other.
    """
    folder = Path(folder)
    values = read_description(folder)
    if values.get("kind") != KIND:
        raise InputError(f"{folder}: is no n-gram model's folder; expected one")
    check_parts(folder, values, ("vocabulary", "settings", "trained_on"))
    vocabulary = vocabulary_from_dict(values["vocabulary"], f"{folder / DESCRIPTION}")
    n_units = len(vocabulary.symbols)
    sizes = _sizes(values.get("sizes"), n_units, f"{folder / DESCRIPTION}")
    packed = values.get("packed", False) is True
    expected = empty_packed(n_units, sizes) if packed else empty_tables(sizes)
    tables = read_weights(folder, expected)
    try:
        trie = unpack(n_units, sizes, tables) if packed else NgramTrie(n_units, sizes, **tables)
        check_trie(trie)
    except ValueError as error:
        raise InputError(f"{folder / WEIGHTS}: {error}") from None
    return NgramModel(vocabulary, trie)


def arpa_words(vocabulary: Vocabulary, place: str) -> tuple[str, ...]:
    """(V,), the spellings of the units in ARPA and KenLM files.

    Args:
        vocabulary: the units.
        place: the file that is written or read; the error message starts with it.

    Raises:
        InputError: the units have both the space and `▁`.
    """
    symbols = vocabulary.symbols[2:]
    if " " in symbols and BLANK_WORD in symbols:
        raise InputError(f"{place}: units are ' ' and {BLANK_WORD!r}, its spelling in the file")
    return (*MARKS[:2], *(BLANK_WORD if symbol == " " else symbol for symbol in symbols))


def _sizes(found: Any, n_units: int, place: str) -> tuple[int, ...]:
    """Check the numbers of n-grams of each order, as read from `model.json`."""
    sizes = tuple(found) if isinstance(found, list) and len(found) <= MAX_ORDER else ()
    counts = all(type(size) is int and size >= 0 for size in sizes)
    if not counts or sizes[:1] != (n_units + 1,) or sum(sizes) >= MAX_NODES:
        shown = repr(found) if len(repr(found)) <= 200 else f"{repr(found)[:199]}…"
        raise InputError(
            f"{place}: sizes is {shown}; expected how many n-grams each order has, the first"
            f" {n_units + 1}, and fewer than {MAX_NODES} in all, of at most {MAX_ORDER} orders"
        )
    return sizes


def _vocabulary(words: Sequence[str]) -> Vocabulary:
    """The vocabulary that follows from the words of an ARPA file."""
    unit: Unit = "word"
    symbols, text = list(words[2:]), DEFAULT
    if BLANK_WORD in symbols and all(len(symbol) == 1 for symbol in symbols):
        unit = "char"
        symbols[symbols.index(BLANK_WORD)] = " "
    case = case_of(symbol for symbol in symbols if not is_special_symbol(symbol))
    small = [symbol if is_special_symbol(symbol) else lower_case(symbol) for symbol in symbols]
    if case == "keep" or len(set(small)) < len(small):
        text = TextSettings(case="keep")
    else:
        symbols = small
    return Vocabulary(unit, (UNK_SYMBOL, EOS_SYMBOL, *symbols), text)
