"""recurrent language model and text -> activations -> the hidden units that follow a property."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asr.errors import InputError
from asr.lm.rnnlm import RNNLM
from asr.lm.vocabulary import Vocabulary
from asr.text.subword import WORD_START

MAX_UNITS = 20_000
"""Of a longer text the beginning is inspected: its activations are kept in memory."""


@dataclass(frozen=True)
class Reading:
    """What went on inside a model while it read a text.

    Args:
        pieces: (U,), what each unit spells, the blank before a word included.
        position: (U,), the units of the same sentence up to each, itself included: from 1.
        activations: (U, L, H), the outputs of all layers after each unit.
    """

    pieces: list[str]
    position: np.ndarray
    activations: np.ndarray


@dataclass(frozen=True)
class Property:
    """Something that holds at each unit of a text, or grows along it.

    Args:
        name: for people.
        measure: "AUC" of a property that holds or does not: how probable it is that a hidden unit
            is higher where it holds than where it does not. "Spearman" of one that grows: the
            correlation of ranks.
        values: (U,), bool or int.
    """

    name: str
    measure: Literal["AUC", "Spearman"]
    values: np.ndarray


@dataclass(frozen=True)
class Follower:
    """A hidden unit, and how well it follows a property.

    Args:
        layer: from 0.
        unit: from 0.
        sign: 1 where it rises with the property, -1 where it falls.
        chosen_by: the figure in the first half of the text, by which units are ranked; of a falling
            unit that of its negative, so that more is better: from 0.5 for AUC, 0 for Spearman.
        held_out: the same in the second half, where nothing was chosen: the one to believe.
    """

    layer: int
    unit: int
    sign: int
    chosen_by: float
    held_out: float


def read(model: RNNLM, texts: Iterable[str], place: str = "the text") -> Reading:
    """Let a model read texts; each begins anew. At most `MAX_UNITS` units are read.

    Args:
        model: its vocabulary's settings normalise the texts.
        texts: one a sentence.
        place: where they come from; begins the error's line.

    Raises:
        InputError: there is no word in them.
    """
    vocabulary = model.vocabulary
    pieces: list[str] = []
    positions, activations = [], []
    for text in texts:
        units = vocabulary.encode(text)[: MAX_UNITS - len(pieces)]
        if units:
            pieces += _pieces(vocabulary, units)
            positions.append(np.arange(1, len(units) + 1))
            activations.append(model.activations(units).float().cpu().numpy())
        if len(pieces) == MAX_UNITS:
            break
    if not pieces:
        raise InputError(f"{place}: has no word; expected at least one")
    return Reading(pieces, np.concatenate(positions), np.concatenate(activations))


def properties(reading: Reading, vocabulary: Vocabulary) -> tuple[list[Property], list[str]]:
    """The properties of a text that hidden units are compared with, and why others are left out.

    - inside quotes: after a mark that opens, up to the unit before the one that closes; the marks
      are " “ ” « », since ' is an apostrophe as well.
    - between words: the unit is a blank; where units are characters.
    - a word's beginning: the unit begins a word; where units are pieces of words.
    - position in the sentence: units so far.

    Returns:
        found: those that change in both halves of the text.
        left_out: a line for people for each that is left out.
    """
    possible = [Property("position in the sentence", "Spearman", reading.position)]
    left_out = []
    if vocabulary.unit in ("char", "jamo"):
        blanks = np.array([piece == " " for piece in reading.pieces])
        possible.insert(0, Property("between words", "AUC", blanks))
    elif vocabulary.unit == "bpe":
        begins = np.array([piece.startswith(" ") for piece in reading.pieces])
        begins |= reading.position == 1
        possible.insert(0, Property("a word's beginning", "AUC", begins))
    else:
        left_out.append("between words: the model's units are words")
    if vocabulary.text.punctuation == "keep":
        possible.insert(0, Property("inside quotes", "AUC", _inside_quotes(reading)))
    else:
        left_out.insert(0, "inside quotes: the model was trained without punctuation")
    found = []
    for property in possible:
        if all(len(np.unique(half)) > 1 for half in _halves(property.values)):
            found.append(property)
        else:
            left_out.append(f"{property.name}: it is the same all over one half of the text")
    return found, left_out


def followers(reading: Reading, property: Property, n_best: int = 10) -> list[Follower]:
    """The hidden units that follow a property best.

    Args:
        reading: of the text.
        property: of the same text; not constant in either half.
        n_best: how many.

    Returns:
        best: ranked by the first half of the text, best first, with the figure of the second.
    """
    figures = [
        _figures(activations, values, property.measure)
        for activations, values in zip(
            _halves(reading.activations.reshape(len(reading.pieces), -1)),
            _halves(property.values),
            strict=True,
        )
    ]
    middle = 0.5 if property.measure == "AUC" else 0.0
    signs = np.where(figures[0] >= middle, 1, -1)
    chosen_by, held_out = (middle + signs * (figure - middle) for figure in figures)
    hidden_size = reading.activations.shape[2]
    best = []
    for n in np.argsort(-chosen_by, kind="stable")[:n_best].tolist():
        layer, unit = divmod(n, hidden_size)
        best.append(Follower(layer, unit, int(signs[n]), float(chosen_by[n]), float(held_out[n])))
    return best


def _pieces(vocabulary: Vocabulary, units: Iterable[int]) -> list[str]:
    """What each unit spells; together, the sentence."""
    pieces = [vocabulary.symbols[unit].replace(WORD_START, " ") for unit in units]
    if vocabulary.unit == "word":
        pieces = [" " + piece for piece in pieces]
    pieces[0] = pieces[0].removeprefix(" ")
    return pieces


def _inside_quotes(reading: Reading) -> np.ndarray:
    inside = False
    found = []
    for piece, position in zip(reading.pieces, reading.position, strict=True):
        if position == 1:
            inside = False  # what was left open ends with its sentence
        for character in piece:
            if character in "“«":
                inside = True
            elif character in "”»":
                inside = False
            elif character == '"':
                inside = not inside
        found.append(inside)
    return np.array(found)


def _halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = len(values) // 2
    return values[:middle], values[middle:]


def _figures(activations: np.ndarray, values: np.ndarray, measure: str) -> np.ndarray:
    """AUC or Spearman's correlation of each column of (U, K) with (U,): (K,)."""
    ranks = np.stack([_ranks(column) for column in activations.T], axis=1)
    if measure == "AUC":
        # Mann and Whitney: the ranks' sum, less the least it can be, counts the pairs in order
        n_true, n_false = values.sum(), (~values).sum()
        return (ranks[values].sum(axis=0) - n_true * (n_true + 1) / 2) / (n_true * n_false)
    ranks -= ranks.mean(axis=0)
    wanted = _ranks(values)
    wanted -= wanted.mean()
    norms = np.linalg.norm(ranks, axis=0) * np.linalg.norm(wanted)
    return np.divide(wanted @ ranks, norms, out=np.zeros(len(norms)), where=norms > 0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
