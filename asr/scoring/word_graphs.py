"""Two word graphs -> aligned words, with the fewest errors and then the most hits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr.errors import InputError

MAX_CELLS = 200_000_000
"""Maximum number of pairs of arcs: 1.6 GB."""

# An error costs a million times more than a unit of sclite's costs, and a unit a million times more
# than a hit: fewest errors first, then sclite's lowest cost, then most hits.
_ERROR, _PART = 10**12, 10**6
_SUBSTITUTION, _GAP, _OPTIONAL_GAP = _ERROR + 4 * _PART, _ERROR + 3 * _PART, 2 * _PART
_HIT = -1
_NEVER = 2**62


class Arc(NamedTuple):
    """A word in a graph.

    Args:
        word: in the form that is compared.
        before: indices of the arcs that may directly precede it.
        optional: whether it may be left out without an error.
    """

    word: str
    before: tuple[int, ...]
    optional: bool = False


START = Arc("", ())
"""The first arc of every graph."""


@dataclass(frozen=True)
class WordGraph:
    """All texts that a transcript allows.

    Args:
        arcs: in topological order; the first is `START`, which has no word.
        ends: indices of the arcs that may end a text; 0 if the text may be empty.
    """

    arcs: list[Arc]
    ends: tuple[int, ...]


def linear(words: Sequence[str]) -> WordGraph:
    """The graph of a single text."""
    arcs = [START] + [Arc(word, (index,)) for index, word in enumerate(words)]
    return WordGraph(arcs, (len(words),))


def cheapest_pairs(
    reference: WordGraph,
    hypothesis: WordGraph,
    same: Callable[[str, str], bool] = str.__eq__,
) -> list[tuple[Arc | None, Arc | None]]:
    """Align the texts of two graphs: of all texts and alignments, the one with the fewest errors.

    Of several with the fewest errors, the one with the lowest cost in sclite is chosen: 4 for a
    substitution, 3 for a deletion or insertion and 2 for an omitted optional word, which is not an
    error. Without optional words, this is one with the most hits.

    Args:
        reference: graph of the reference.
        hypothesis: graph of the hypothesis.
        same: whether two words are a hit.

    Returns:
        pairs: in order; None for the missing word of a deletion or an insertion.

    Raises:
        InputError: the graphs are too large.

    Source: NIST sclite's alignment of word networks, which minimises only its costs.
    """
    costs = _costs(reference, hypothesis, same)
    i, j = min(
        ((i, j) for i in reference.ends for j in hypothesis.ends), key=lambda end: costs[end]
    )
    pairs: list[tuple[Arc | None, Arc | None]] = []
    while i or j:
        said, heard = reference.arcs[i], hypothesis.arcs[j]
        i, j, has_said, has_heard = _step_back(costs, (i, j), said, heard, same)
        pairs.append((said if has_said else None, heard if has_heard else None))
    return pairs[::-1]


def _costs(
    reference: WordGraph, hypothesis: WordGraph, same: Callable[[str, str], bool]
) -> np.ndarray:
    """(reference arcs, hypothesis arcs): the lowest cost up to and including both arcs."""
    shape = len(reference.arcs), len(hypothesis.arcs)
    if shape[0] * shape[1] > MAX_CELLS:
        raise InputError(
            f"{shape[0]} words against {shape[1]} are too many to align at once;"
            " expected shorter segments"
        )
    costs = np.empty(shape, np.int64)
    first = np.full(shape[1], _NEVER, np.int64)
    first[0] = 0
    costs[0] = _with_insertions(first, hypothesis)
    most = max((len(arc.before) for arc in hypothesis.arcs[1:]), default=1)
    # (arcs, most): the arcs before each, padded with the first of them
    before = np.array(
        [arc.before + arc.before[:1] * (most - len(arc.before)) for arc in hypothesis.arcs[1:]],
        np.int64,
    ).reshape(-1, most)
    vocabulary = sorted({arc.word for arc in hypothesis.arcs[1:]})
    position = {word: index for index, word in enumerate(vocabulary)}
    words = np.array([position[arc.word] for arc in hypothesis.arcs[1:]], np.int64)
    to_words: dict[str, np.ndarray] = {}
    for i, arc in enumerate(reference.arcs[1:], 1):
        if arc.word not in to_words:
            to_words[arc.word] = np.array(
                [_substitution(arc.word, word, same) for word in vocabulary], np.int64
            )
        above = costs[list(arc.before)].min(axis=0)
        row = above + _gap(arc)
        if len(words):
            reached = above[before].min(axis=1) + to_words[arc.word][words]
            row[1:] = np.minimum(row[1:], reached)
        costs[i] = _with_insertions(row, hypothesis)
    return costs


def _with_insertions(row: np.ndarray, hypothesis: WordGraph) -> np.ndarray:
    """Extend a row of costs by insertions of hypothesis words."""
    arcs = hypothesis.arcs
    gaps = np.array([0] + [_gap(arc) for arc in arcs[1:]], np.int64)
    if all(arc.before == (index,) for index, arc in enumerate(arcs[1:])):
        so_far = gaps.cumsum()
        return np.minimum.accumulate(row - so_far) + so_far
    costs = row.tolist()
    for j, arc in enumerate(arcs[1:], 1):
        costs[j] = min(costs[j], min(costs[k] for k in arc.before) + int(gaps[j]))
    return np.array(costs, np.int64)


def _step_back(
    costs: np.ndarray,
    place: tuple[int, int],
    said: Arc,
    heard: Arc,
    same: Callable[[str, str], bool],
) -> tuple[int, int, bool, bool]:
    """The previous place on the cheapest alignment, and whether the step used each side's word."""
    i, j = place
    cost = costs[place]
    if i and j:
        step = _substitution(said.word, heard.word, same)
        for k in said.before:
            for m in heard.before:
                if costs[k, m] + step == cost:
                    return k, m, True, True
    if i:
        for k in said.before:
            if costs[k, j] + _gap(said) == cost:
                return k, j, True, False
    for m in heard.before:
        if costs[i, m] + _gap(heard) == cost:
            return i, m, False, True
    raise AssertionError(f"no alignment reaches {place}")


def _gap(arc: Arc) -> int:
    return _OPTIONAL_GAP if arc.optional else _GAP


def _substitution(said: str, heard: str, same: Callable[[str, str], bool]) -> int:
    return _HIT if same(said, heard) else _SUBSTITUTION
