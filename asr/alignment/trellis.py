"""states of a text, log_probs -> the most probable path, exact and in little memory.

Viterbi's algorithm usually keeps a choice for each of T frames and Q states: 12 GB for an hour.
Here the first pass keeps the scores of a hundred frames, the checkpoints. Then the frames between
two checkpoints are computed again, last ones first, and only for the states from which the rest of
the path can be reached.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr.hmm.graph import Graph
from asr.search.compiled import outer
from asr.text.tokenizer import BLANK

MAX_CHECKPOINTS = 100
"""Maximum number of frames whose scores are kept."""

_MIN_FRAMES = 256  # between two checkpoints
_NEAR = 2  # arcs from at most so many states before are computed for all states at once


class States(NamedTuple):
    """The states of a text, in an order in which each arc leads to a higher state or stays."""

    columns: np.ndarray  # (Q,), int32, column of log_probs with the state's emission
    near: np.ndarray  # (3, Q), log-probabilities of the arcs from 0, 1 and 2 states before; or -inf
    far: np.ndarray  # (Q + 1,), int64: other arcs into state q are from far[q] to far[q + 1] - 1
    far_sources: np.ndarray  # (A,), int64, the states that these arcs leave
    far_destinations: np.ndarray  # (A,), int64, the states that they lead to
    far_weights: np.ndarray  # (A,), their log-probabilities
    start: np.ndarray  # (Q,), log-probability of starting in the state
    end: np.ndarray  # (Q,), log-probability of ending after the state
    frames_before: np.ndarray  # (Q,), int64, frames of the shortest path to the state, inclusive
    frames_after: np.ndarray  # (Q,), int64, frames of the shortest path from the state, inclusive

    @property
    def shortest(self) -> int:
        """The number of frames of the shortest path."""
        return int((self.frames_before + self.frames_after - 1).min())


def ctc_states(tokens: Sequence[int]) -> States:
    """The states of CTC's alignments: blank, first token, blank, second token, ..., blank.

    Args:
        tokens: (U,), token ids without blanks.

    Returns:
        states: Q = 2 U + 1 states.
    """
    Q = 2 * len(tokens) + 1
    columns = np.full(Q, BLANK)
    columns[1::2] = tokens
    # the blank between two tokens may be left out if they differ
    after_others = np.arange(3, Q, 2)[columns[3::2] != columns[1:-2:2]]
    destinations = np.concatenate([np.arange(1, Q), after_others])
    sources = np.concatenate([np.arange(Q - 1), after_others - 2])
    start, end = np.full((2, Q), -np.inf)
    start[:2] = end[-2:] = 0.0
    arcs = sources, destinations, np.zeros(len(sources))
    return _states(columns, np.zeros(Q), arcs, start, end)


def hmm_states(graph: Graph, self_loops: np.ndarray) -> States:
    """The states of a text's graph, with the same numbers.

    Args:
        graph: the graph.
        self_loops: (S,), log-probability of each pdf's self-loop.
    """
    stay = self_loops.astype(np.float64)[graph.pdfs]
    leave = np.log(-np.expm1(stay))
    arcs = graph.sources, graph.destinations, graph.weights + leave[graph.sources]
    return _states(graph.pdfs, stay, arcs, graph.start, graph.end + leave)


def most_probable_path(states: States, log_probs: np.ndarray) -> tuple[float, np.ndarray]:
    """Viterbi's algorithm: the most probable path, without any pruning.

    Beside `log_probs` it needs 800 bytes for each state, and 8 bytes for each frame between two
    checkpoints and each state in reach of these frames: 0.1 GB for an hour of speech with CTC,
    0.3 GB with an HMM.

    Args:
        states: the states of a text.
        log_probs: (T, C), or an HMM's emissions, (T, S); natural logs, without NaN; converted
            to float32.

    Returns:
        log_prob: log-probability of the path; -inf if no path is possible.
        path: (T,), int64, the state in each frame; empty if no path is possible.
    """
    log_probs = np.ascontiguousarray(log_probs, dtype=np.float32)
    T, Q = len(log_probs), len(states.columns)
    first, last = _reachable(states, T)
    interval = max(_MIN_FRAMES, math.ceil(T / MAX_CHECKPOINTS))
    blocks = [slice(begin, min(begin + interval, T)) for begin in range(1, T, interval)]
    scores = states.start + log_probs[0, states.columns]
    checkpoints = np.empty((len(blocks), Q))  # scores in the frame before the block
    rows = _rows(2, Q)
    for block, checkpoint in zip(blocks, checkpoints, strict=True):
        checkpoint[:] = rows[0, _NEAR:] = scores
        _advance(states, log_probs[block], first[block], last[block], rows, 0)
        scores = rows[(block.stop - block.start) % 2, _NEAR:]
    state = int((scores + states.end).argmax())
    log_prob = float(scores[state] + states.end[state])
    if log_prob == -np.inf:
        return log_prob, np.zeros(0, dtype=np.int64)

    path = np.empty(T, dtype=np.int64)
    path[-1] = state
    for block, scores in zip(reversed(blocks), checkpoints[::-1], strict=True):
        length, state = block.stop - block.start, path[block.stop - 1]
        lowest = int((states.frames_after <= states.frames_after[state] + length).argmax())
        lows, highs = first[block].clip(min=lowest), last[block].clip(max=state)
        rows = _rows(length + 1, state + 1 - lowest)
        rows[0, _NEAR:] = scores[lowest : state + 1]
        _advance(states, log_probs[block], lows, highs, rows, lowest)
        _trace(states, path[block.start - 1 : block.stop], rows, lowest)
    return log_prob, path


def _states(
    columns: np.ndarray,
    stay: np.ndarray,
    arcs: tuple[np.ndarray, np.ndarray, np.ndarray],
    start: np.ndarray,
    end: np.ndarray,
) -> States:
    """The states with these arcs: sources, destinations and weights."""
    order = np.argsort(arcs[1], kind="stable")
    sources, destinations, weights = (values[order] for values in arcs)
    Q, steps = len(columns), destinations - sources
    near = np.full((1 + _NEAR, Q), -np.inf)
    near[0] = stay
    for step in range(1, 1 + _NEAR):
        near[step, destinations[steps == step]] = weights[steps == step]
    is_far = steps > _NEAR
    counts = np.bincount(destinations[is_far], minlength=Q)
    far = np.concatenate([[0], counts.cumsum()])
    never = np.iinfo(np.int64).max // 4  # far above any number of frames
    before, after = np.where(start > -np.inf, 1, never), np.where(end > -np.inf, 1, never)
    _shorten(sources, destinations, before, after)
    others = sources[is_far], destinations[is_far], weights[is_far]
    return States(columns.astype(np.int32), near, far, *others, start, end, before, after)


def _reachable(states: States, T: int) -> tuple[np.ndarray, np.ndarray]:
    """(T,) each: the first and the last state that a path of T frames can have in each frame."""
    numbers = np.arange(len(states.columns))
    before, after = states.frames_before.clip(max=T + 1), states.frames_after.clip(max=T + 1)
    last, first = np.full(T + 2, -1), np.full(T + 2, len(numbers))
    np.maximum.at(last, before, numbers)
    np.minimum.at(first, after, numbers)
    last, first = np.maximum.accumulate(last), np.minimum.accumulate(first)
    return first[1 : T + 1][::-1].copy(), last[1 : T + 1]


def _rows(n_rows: int, n_states: int) -> np.ndarray:
    """Rows of scores, with two columns before those of the states, which are never reached."""
    return np.full((n_rows, _NEAR + n_states), -np.inf)


@outer
def _shorten(
    sources: np.ndarray, destinations: np.ndarray, before: np.ndarray, after: np.ndarray
) -> None:
    """Find the frames of the shortest paths to each state and from it on.

    Args:
        sources: (A,), the states that the arcs leave.
        destinations: (A,), the states that they lead to, sorted.
        before: (Q,), 1 for states where paths start, else a large number; changed.
        after: (Q,), the same for states where paths end; changed.
    """
    for arc in range(len(sources)):
        source, destination = sources[arc], destinations[arc]
        before[destination] = min(before[destination], before[source] + 1)
    for arc in range(len(sources) - 1, -1, -1):
        source, destination = sources[arc], destinations[arc]
        after[source] = min(after[source], after[destination] + 1)


@outer
def _advance(
    states: States,
    frames: np.ndarray,
    lows: np.ndarray,
    highs: np.ndarray,
    rows: np.ndarray,
    lowest: int,
) -> None:
    """Compute the scores of the best paths to each state in each frame of a block.

    States outside the limits keep what is in their row. States below the lower limit can't be on a
    path that ends in time, and neither can the states after them that are within the limits.

    Args:
        states: the states of a text.
        frames: (B, C), the log_probs.
        lows: (B,), the first state to compute in each frame.
        highs: (B,), the last state to compute in each frame.
        rows: (R, 2 + W), from `_rows`; row 0 has the scores in the frame before the block, row 1 is
            for its first frame, and so on; after the last row comes row 0. Changed.
        lowest: the state of the rows' column 2.
    """
    for number in range(len(frames)):
        frame, low, width = frames[number], lows[number], highs[number] + 1 - lows[number]
        old, new = rows[number % len(rows)], rows[(number + 1) % len(rows)]
        begin = low - lowest
        found, columns = new[begin + _NEAR :], states.columns[low:]
        stay, step, skip = states.near[0][low:], states.near[1][low:], states.near[2][low:]
        same, before, two_before = old[begin + _NEAR :], old[begin + 1 :], old[begin:]
        for i in range(width):  # in this form it is compiled to vector instructions
            score, other = same[i] + stay[i], before[i] + step[i]
            score = score if score > other else other
            other = two_before[i] + skip[i]
            found[i] = score if score > other else other
        for arc in range(states.far[low], states.far[low + width]):
            source, i = states.far_sources[arc], states.far_destinations[arc] - low
            if source >= lowest:
                score = old[source - lowest + _NEAR] + states.far_weights[arc]
                found[i] = max(found[i], score)
        for i in range(width):
            found[i] += frame[columns[i]]


@outer
def _trace(states: States, path: np.ndarray, rows: np.ndarray, lowest: int) -> None:
    """Write a path's states from the last, which is given, to the first.

    Args:
        states: the states of a text.
        path: (B + 1,), changed except for its last state.
        rows: (B + 1, 2 + W), the scores of the same frames, from `_advance`.
        lowest: the state of the rows' column 2.
    """
    for number in range(len(path) - 2, -1, -1):
        scores, state = rows[number], path[number + 1]
        best, best_source = -math.inf, state
        for step in range(1 + _NEAR):
            score = scores[state - step - lowest + _NEAR] + states.near[step, state]
            if score > best:
                best, best_source = score, state - step
        for arc in range(states.far[state], states.far[state + 1]):
            source = states.far_sources[arc]
            if source >= lowest:
                score = scores[source - lowest + _NEAR] + states.far_weights[arc]
                if score > best:
                    best, best_source = score, source
        path[number] = best_source
