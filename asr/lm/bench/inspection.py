"""recurrent language model and text -> activations -> hidden units correlated with a property."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asr.errors import InputError
from asr.lm.rnnlm import RNNLM
from asr.lm.vocabulary import Vocabulary
from asr.text.subword import WORD_START

MAX_UNITS = 20_000
"""Maximum number of units to inspect, because all activations are kept in memory."""


@dataclass(frozen=True)
class Reading:
    """The activations of a model while it reads a text.

    Args:
        pieces: (U,), the text of each unit, with the space before a word.
        position: (U,), position of each unit in its sentence, from 1.
        activations: (U, L, H), the outputs of all layers after each unit.
    """

    pieces: list[str]
    position: np.ndarray
    activations: np.ndarray


@dataclass(frozen=True)
class Property:
    """A property of each unit of a text: true or false, or a number.

    Args:
        name: name for people to read.
        measure: "AUC" for a property that is true or false: the probability that a hidden unit's
            activation is higher where the property is true than where it is false. "Spearman" for
            a number: the rank correlation.
        values: (U,), bool or int.
    """

    name: str
    measure: Literal["AUC", "Spearman"]
    values: np.ndarray


@dataclass(frozen=True)
class Follower:
    """A hidden unit, with measures of how well its activation follows a property.

    Args:
        layer: index of the layer, from 0.
        unit: index of the hidden unit in its layer, from 0.
        sign: 1 if the activation rises with the property, -1 if it falls.
        chosen_by: the measure in the first half of the text, by which units are ranked. For a
            falling unit the activation is negated, so that higher is better: at least 0.5 for AUC,
            0 for Spearman.
        held_out: the same measure in the second half of the text. The second half is not used for
            the ranking, so this value is not biased by it.
    """

    layer: int
    unit: int
    sign: int
    chosen_by: float
    held_out: float


def read(model: RNNLM, texts: Iterable[str], place: str = "the text") -> Reading:
    """Read texts with a model, each from the initial state; at most `MAX_UNITS` units in all.

    Args:
        model: the language model; its vocabulary normalises the texts.
        texts: sentences.
        place: where the texts come from; the error message starts with it.

    Raises:
        InputError: the texts have no word.
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
    """The properties of a text to compare hidden units with.

    - inside quotes: from an opening mark to the unit before the closing mark; the marks are
      " “ ” « », but not ', which is also an apostrophe.
    - between words: the unit is a space; for units that are characters.
    - a word's beginning: the unit begins a word; for units that are subwords.
    - position in the sentence: number of units so far.

    Returns:
        found: the properties that are not constant in either half of the text.
        left_out: for each property that is left out, a line with the reason.
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
            left_out.append(f"{property.name}: constant in one half of the text")
    return found, left_out


def followers(reading: Reading, property: Property, n_best: int = 10) -> list[Follower]:
    """The hidden units that follow a property best.

    Args:
        reading: activations of the text.
        property: property of the same text; not constant in either half.
        n_best: number of hidden units.

    Returns:
        best: ranked by the first half of the text, best first, each with both halves' measures.
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
    """The text of each unit; together they spell the sentence."""
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
            inside = False  # an unclosed quote ends with its sentence
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
        # Mann-Whitney U: the sum of ranks minus its minimum is the number of ordered pairs
        n_true, n_false = values.sum(), (~values).sum()
        return (ranks[values].sum(axis=0) - n_true * (n_true + 1) / 2) / (n_true * n_false)
    ranks -= ranks.mean(axis=0)
    wanted = _ranks(values)
    wanted -= wanted.mean()
    norms = np.linalg.norm(ranks, axis=0) * np.linalg.norm(wanted)
    return np.divide(wanted @ ranks, norms, out=np.zeros(len(norms)), where=norms > 0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values get the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
