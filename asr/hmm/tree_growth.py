"""Statistics of triphones' states -> questions about neighbours -> decision trees."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr.errors import InputError, check_size
from asr.hmm.gmm import MIN_VARIANCE
from asr.hmm.topology import MAX_PDFS
from asr.hmm.trees import EDGE, DecisionTrees, Split, parse_unit

Question = tuple[str, ...]
"""A set of phones. It stands for the question: is the neighbour one of these phones?"""


@dataclass(frozen=True)
class StateStatistics:
    """Sums over the frames of each state of each triphone seen in training; R rows in any order.

    Args:
        units: (R,), names of triphones, or of phones without context.
        states: (R,), index of the state within the unit, from 0.
        counts: (R,), number of frames, above 0.
        sums: (R, F), sums of the features.
        squares: (R, F), sums of the features' squares.

    Raises:
        ValueError: shapes do not match, a state of a unit occurs twice, a count is not above 0, or
            a number is not finite.
    """

    units: Sequence[str]
    states: Sequence[int]
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def __post_init__(self) -> None:
        R, shape = len(self.units), self.sums.shape
        if len(self.states) != R or self.counts.shape != (R,):
            found = f"{len(self.states)} and {self.counts.shape}"
            raise ValueError(
                f"states and counts have shapes {found}; expected ({R},), of the units"
            )
        if not R or len(shape) != 2 or shape[0] != R or self.squares.shape != shape:
            found = f"{shape} and {self.squares.shape}"
            raise ValueError(f"sums and squares have shapes {found}; expected ({R} above 0, F)")
        if len(set(zip(self.units, self.states, strict=True))) < R:
            raise ValueError("units and states have a pair twice; expected each once")
        if not self.counts.min() > 0:
            raise ValueError(f"counts has {self.counts.min()}; expected more than 0 frames")
        if not all(np.isfinite(sums).all() for sums in (self.counts, self.sums, self.squares)):
            raise ValueError("counts, sums or squares has a number that is not finite")


@dataclass(frozen=True)
class TreeSettings:
    """Settings for growing decision trees.

    Args:
        n_leaves: largest number of leaves of all trees together, before merging.
        min_gain: smallest gain in log-likelihood of a split, in nats. By chance, a split gains
            about as many nats as there are features, and more if successive frames are similar.
        min_count: smallest number of frames on either side of a split.
        merge: whether to merge leaves of the same tree after growing, as long as a merge loses less
            log-likelihood than the last split gained.
        variance_floor: lower bound of variances, as a share of the variances of all frames; never
            below `asr.hmm.gmm.MIN_VARIANCE`.
    """

    n_leaves: int = 1000
    min_gain: float = 200.0
    min_count: float = 50.0
    merge: bool = True
    variance_floor: float = 0.01

    def __post_init__(self) -> None:
        for name, least in (("n_leaves", 1), ("min_gain", 0), ("min_count", 0)):
            if not getattr(self, name) >= least:
                found = getattr(self, name)
                raise InputError(f"trees.{name} is {found}; expected {least} or more")
        check_size("trees.n_leaves", self.n_leaves, 1, MAX_PDFS)
        if not self.variance_floor > 0:
            raise InputError(f"trees.variance_floor is {self.variance_floor}; expected above 0")


def question_sets(statistics: StateStatistics, variance_floor: float = 0.01) -> list[Question]:
    """Make questions about neighbours: sets of phones that sound alike.

    The sets come from agglomerative clustering. Each step joins the two clusters whose frames, of
    all states, lose the least log-likelihood by sharing one diagonal Gaussian. Every cluster of
    every step is a question, from single phones to all phones. The word boundary is a question of
    its own.

    Args:
        statistics: statistics of triphones; units without context, such as silence, are ignored.
        variance_floor: as in `TreeSettings`.

    Returns:
        questions: the word boundary first, then the sets of phones, largest first.

    Raises:
        ValueError: there is no triphone.

    Source: Beulen & Ney 1998, "Automatic question generation for decision tree based state tying".
    """
    values, floor = _values(statistics), _floor(statistics, variance_floor)
    phones = [phone if left else "" for left, phone, _ in map(parse_unit, statistics.units)]
    names = sorted(set(phones) - {""})
    if not names:
        raise ValueError("statistics has no triphone; expected names such as K-AE+T")
    owned = np.array(names)[:, None] == np.array(phones)
    clusters: list[Question] = [(name,) for name in names]
    found = list(clusters)
    for kept, gone in _merges(owned @ values, floor, np.inf):
        clusters[kept] = tuple(sorted(clusters[kept] + clusters[gone]))
        found.append(clusters[kept])
    return [(EDGE,), *sorted(found, key=lambda question: (-len(question), question))]


def grow_trees(
    statistics: StateStatistics, questions: Sequence[Question], settings: TreeSettings
) -> DecisionTrees:
    """Grow a decision tree for each state of each phone; triphones in the same leaf share a pdf.

    Each leaf is modelled by one diagonal Gaussian. Each step makes the split that gains the most
    log-likelihood over all trees, until there are enough leaves or no split is allowed. If several
    questions split the seen contexts in the same way, the first one is used.

    Args:
        statistics: statistics of the training data.
        questions: questions about the left and the right neighbour, from `question_sets`.
        settings: when to stop, and whether to merge leaves.

    Raises:
        InputError: `n_leaves` is smaller than the number of trees.
        ValueError: a question is empty, or has phones besides the word boundary; or a phone's
            states are not numbered from 0.

    Source: Young, Odell & Woodland 1994, "Tree-based state tying for high accuracy acoustic
    modelling". Here likelihoods are exact for the frames, and all trees share one priority queue.
    """
    for question in questions:
        if not question or (EDGE in question and len(question) > 1):
            raise ValueError(f"questions has {question}; expected phones, or {EDGE} alone")
    roots = _roots(statistics)
    if settings.n_leaves < len(roots):
        raise InputError(
            f"trees.n_leaves is {settings.n_leaves}; expected {len(roots)} or more, one for each"
            " state of each phone"
        )
    data = _Data(
        _values(statistics),
        _answers(statistics.units, questions),
        _floor(statistics, settings.variance_floor),
    )
    nodes, cuts = _grow(data, list(roots.values()), settings)
    gains = [cut.gain for cut in cuts.values()]
    pdf = _pdfs_of_leaves(
        data, nodes, cuts, len(roots), gains[-1] if gains and settings.merge else -np.inf
    )
    trees: dict[str, tuple[Split | int, ...]] = {}
    for node, (phone, _) in enumerate(roots):
        trees[phone] = (*trees.get(phone, ()), _tree(node, cuts, pdf, questions))
    return DecisionTrees(trees)


class _Data(NamedTuple):
    values: np.ndarray  # (R, 1 + 2 F): count, sums, sums of squares
    answers: np.ndarray  # (2 Q, R), bool: Q for the left neighbour, then Q for the right one
    floor: np.ndarray  # (F,), lower bound of the variances


class _Cut(NamedTuple):
    gain: float
    question: int  # index among the 2 Q
    yes: int  # number of the child node
    no: int


def _values(statistics: StateStatistics) -> np.ndarray:
    columns = (statistics.counts[:, None], statistics.sums, statistics.squares)
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _floor(statistics: StateStatistics, share: float) -> np.ndarray:
    """(F,), lower bound of the variances."""
    count = statistics.counts.sum()
    mean = statistics.sums.sum(0) / count
    variances = statistics.squares.sum(0) / count - mean**2
    return np.maximum(share * variances, MIN_VARIANCE)  # above 0 even for a constant feature


def _log_likelihoods(values: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Log-likelihood of frames under their own diagonal Gaussian with floored variances.

    Args:
        values: (..., 1 + 2 F).
        floor: (F,).

    Returns:
        log_likelihoods: (...), nats; 0 for no frames.
    """
    F = len(floor)
    counts = np.maximum(values[..., :1], np.finfo(float).tiny)
    mean = values[..., 1 : F + 1] / counts
    variances = np.maximum(values[..., F + 1 :] / counts - mean**2, 0.0)
    floored = np.maximum(variances, floor)
    per_frame = (np.log(2 * np.pi * floored) + variances / floored).sum(-1)
    return -0.5 * values[..., 0] * per_frame


def _merges(values: np.ndarray, floor: np.ndarray, max_loss: float) -> Iterator[tuple[int, int]]:
    """Join the two of K clusters with the smallest loss again and again, below `max_loss`.

    Args:
        values: (K, 1 + 2 F).
        floor: (F,).
        max_loss: nats.

    Yields:
        (kept, gone): indices of the joined clusters; `kept`, the smaller one, now means both.
    """
    values = values.copy()
    alone = _log_likelihoods(values, floor)
    K = len(values)
    losses = np.full((K, K), np.inf)  # of pairs, the smaller number first
    for n in range(K - 1):
        together = _log_likelihoods(values[n] + values[n + 1 :], floor)
        losses[n, n + 1 :] = alone[n] + alone[n + 1 :] - together
    there = np.ones(K, dtype=bool)
    while losses.min() < max_loss:
        kept, gone = divmod(int(losses.argmin()), K)
        yield kept, gone
        there[gone] = False
        losses[gone] = losses[:, gone] = np.inf
        values[kept] += values[gone]
        alone[kept] = _log_likelihoods(values[kept], floor)
        others = np.flatnonzero(there & (np.arange(K) != kept))
        together = _log_likelihoods(values[kept] + values[others], floor)
        first, second = np.minimum(others, kept), np.maximum(others, kept)
        losses[first, second] = alone[kept] + alone[others] - together


def _roots(statistics: StateStatistics) -> dict[tuple[str, int], np.ndarray]:
    """The rows of each (phone, state), sorted so that sums don't depend on the input's order."""
    keys = zip(statistics.units, statistics.states, strict=True)
    rows: dict[tuple[str, int], list[int]] = {}
    for (unit, state), row in sorted((key, row) for row, key in enumerate(keys)):
        rows.setdefault((parse_unit(unit)[1], int(state)), []).append(row)
    for phone, state in rows:
        if state != 0 and (phone, state - 1) not in rows:
            raise ValueError(f"phone {phone!r} has state {state}, and not {state - 1}")
    return {key: np.array(rows[key]) for key in sorted(rows)}


def _answers(units: Sequence[str], questions: Sequence[Question]) -> np.ndarray:
    """(2 Q, R), bool: the answer to each question about each row's left and right neighbour."""
    asked = [set(question) for question in questions]
    sides = []
    for side in (0, 2):
        neighbours = [parse_unit(unit)[side] for unit in units]
        names = sorted(set(neighbours))
        number = {name: n for n, name in enumerate(names)}
        table = np.array([[name in phones for name in names] for phones in asked], dtype=bool)
        table = table.reshape(len(asked), len(names))
        sides.append(table[:, [number[name] for name in neighbours]])
    return np.concatenate(sides)


def _grow(
    data: _Data, nodes: list[np.ndarray], settings: TreeSettings
) -> tuple[list[np.ndarray], dict[int, _Cut]]:
    """Split nodes (arrays of rows), best split first.

    Returns:
        nodes: all nodes, the given ones first.
        cuts: the split of each inner node, in the order in which they were made.
    """
    cuts: dict[int, _Cut] = {}
    queue: list[tuple[float, int, int]] = []  # a heap, best first: -gain, node, question

    def ask(node: int) -> None:
        if best := _best_question(data, nodes[node], settings):
            heapq.heappush(queue, (-best[0], node, best[1]))

    n_leaves = len(nodes)
    for node in range(n_leaves):
        ask(node)
    while queue and n_leaves < settings.n_leaves:
        minus_gain, node, question = heapq.heappop(queue)
        rows, answers = nodes[node], data.answers[question, nodes[node]]
        cuts[node] = _Cut(-minus_gain, question, len(nodes), len(nodes) + 1)
        nodes += [rows[answers], rows[~answers]]
        ask(len(nodes) - 2)
        ask(len(nodes) - 1)
        n_leaves += 1
    return nodes, cuts


def _best_question(
    data: _Data, rows: np.ndarray, settings: TreeSettings
) -> tuple[float, int] | None:
    """Gain and number of the question that splits the rows best; None if no split is allowed."""
    answers = data.answers[:, rows]
    questions = np.flatnonzero(answers.any(1) & ~answers.all(1))
    answers, values = answers[questions], data.values[rows]
    yes, no = answers.astype(float) @ values, (~answers).astype(float) @ values
    gains = _log_likelihoods(yes, data.floor) + _log_likelihoods(no, data.floor)
    gains -= _log_likelihoods(values.sum(0), data.floor)
    allowed = (np.minimum(yes[:, 0], no[:, 0]) >= settings.min_count) & (gains >= settings.min_gain)
    if not allowed.any():
        return None
    best = gains[allowed].max()
    # the first of those equal up to rounding, so that the order of additions doesn't matter
    first = np.flatnonzero(allowed & (gains >= best * (1 - 1e-9)))[0]
    return float(gains[first]), int(questions[first])


def _leaves_below(node: int, cuts: Mapping[int, _Cut]) -> Iterator[int]:
    """The leaves below a node, those for the answer yes first."""
    if node in cuts:
        yield from _leaves_below(cuts[node].yes, cuts)
        yield from _leaves_below(cuts[node].no, cuts)
    else:
        yield node


def _pdfs_of_leaves(
    data: _Data,
    nodes: Sequence[np.ndarray],
    cuts: Mapping[int, _Cut],
    n_roots: int,
    max_loss: float,
) -> dict[int, int]:
    """The pdf of each leaf; leaves of a tree share a pdf if merging them loses < `max_loss`."""
    pdf: dict[int, int] = {}
    n_pdfs = 0
    for root in range(n_roots):
        leaves = list(_leaves_below(root, cuts))
        values = np.stack([data.values[nodes[leaf]].sum(0) for leaf in leaves])
        group = list(range(len(leaves)))
        for kept, gone in _merges(values, data.floor, max_loss):
            group = [kept if member == gone else member for member in group]
        number = {first: n for n, first in enumerate(dict.fromkeys(group), n_pdfs)}
        pdf |= {leaf: number[first] for leaf, first in zip(leaves, group, strict=True)}
        n_pdfs += len(number)
    return pdf


def _tree(
    node: int, cuts: Mapping[int, _Cut], pdf: Mapping[int, int], questions: Sequence[Question]
) -> Split | int:
    if node not in cuts:
        return pdf[node]
    _, question, *children = cuts[node]
    yes, no = (_tree(child, cuts, pdf, questions) for child in children)
    if yes == no:  # the two leaves were merged
        return yes
    side, number = divmod(question, len(questions))
    return Split("right" if side else "left", frozenset(questions[number]), yes, no)
