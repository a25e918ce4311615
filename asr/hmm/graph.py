"""words -> graph of HMM states: all pronunciations, with optional silence between the words."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE, Topology
from asr.text.tokenizer import BLANK

SILENCE = -1
"""Used in silence states in place of the numbers of a word and of a token in it."""


@dataclass(frozen=True, eq=False)
class Graph:
    """The HMM states of one utterance. Self-loops are implied; all arcs lead to higher numbers.

    Args:
        pdfs: (Q,), int64, the pdf of each state.
        words: (Q,), index of the word that the state belongs to, or SILENCE.
        positions: (Q,), index of the token in the word's pronunciation, or SILENCE.
        tokens: (Q,), the token; BLANK in silence.
        states: (Q,), index of the state within the token or the silence, from 0.
        sources, destinations: (arcs,), the states that each arc connects.
        weights: (arcs,), log-probabilities of the arcs, without the source's exit probability.
        start: (Q,), log-probabilities of starting in each state.
        end: (Q,), log-probabilities of ending after each state, without its exit probability.
    """

    pdfs: np.ndarray
    words: np.ndarray
    positions: np.ndarray
    tokens: np.ndarray
    states: np.ndarray
    sources: np.ndarray
    destinations: np.ndarray
    weights: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @cached_property
    def shortest(self) -> int:
        """The number of frames of the shortest path through the graph."""
        frames = np.where(self.start > -np.inf, 1.0, np.inf)
        for source, destination in zip(self.sources, self.destinations, strict=True):
            frames[destination] = min(frames[destination], frames[source] + 1)
        return int(frames[self.end > -np.inf].min())


Exit = tuple[int | None, float]
"""A state, or None for the start of the utterance, and the log-probability of the arc from it."""


def utterance_graph(words: Sequence[Sequence[tuple[int, ...]]], topology: Topology) -> Graph:
    """The graph of a text: all pronunciations of its words.

    Silence is optional before the first word, between two words and after the last. Without words
    the graph has only silence. Every pronunciation of a word has the weight 1, so the likelihood
    of a text is the sum of the likelihoods that a search computes for its pronunciations.

    Args:
        words: the pronunciations of each word, in tokens.
        topology: the HMM states of tokens and silence.

    Raises:
        ValueError: a word has no pronunciation, or an empty one; a token is the blank or not among
            the topology's; or there are neither words nor silence.
    """
    builder = _Builder(topology)
    exits: list[Exit] = [(None, 0.0)]
    for number, pronunciations in enumerate(words):
        exits = builder.pause(exits)
        if not pronunciations or not all(pronunciations):
            raise ValueError(f"words[{number}] is {pronunciations}; expected tokens")
        last = [builder.pronounce(number, tokens, exits) for tokens in pronunciations]
        exits = [(state, 0.0) for state in last]
    exits = builder.pause(exits)
    if not words:
        exits = [(state, weight) for state, weight in exits if state is not None]
        if not exits:
            raise ValueError("words is empty and the topology has no silence; expected either")
    return builder.graph(exits)


class _State(NamedTuple):
    pdf: int
    word: int
    position: int
    token: int
    state: int


class _Builder:
    """Builds a graph from left to right."""

    def __init__(self, topology: Topology) -> None:
        self._pdfs = topology.pdfs.tolist()
        self._silence = topology.silence
        self._states: list[_State] = []
        self._arcs: list[tuple[int, int, float]] = []
        self._start: dict[int, float] = {}

    def pause(self, exits: list[Exit]) -> list[Exit]:
        """Add optional silence: an arc into it and an arc that skips it."""
        if not self._silence:
            return exits
        silent = [(state, weight + ENTER_SILENCE) for state, weight in exits]
        states = [
            _State(pdf, SILENCE, SILENCE, BLANK, state) for state, pdf in enumerate(self._silence)
        ]
        passing = [(state, weight + PASS_SILENCE) for state, weight in exits]
        return [*passing, (self._chain(states, silent), 0.0)]

    def pronounce(self, word: int, tokens: Sequence[int], exits: list[Exit]) -> int:
        """Add a pronunciation, and return its last state."""
        states = []
        for position, token in enumerate(tokens):
            if not BLANK < token < len(self._pdfs):
                expected = f"from {BLANK + 1} to {len(self._pdfs) - 1}"
                raise ValueError(f"words[{word}] has token {token}; expected {expected}")
            states += [
                _State(pdf, word, position, token, state)
                for state, pdf in enumerate(self._pdfs[token])
            ]
        return self._chain(states, exits)

    def graph(self, exits: list[Exit]) -> Graph:
        """The graph of all states so far, which ends at `exits`."""
        Q = len(self._states)
        start, end = np.full(Q, -np.inf), np.full(Q, -np.inf)
        for state, weight in self._start.items():
            start[state] = weight
        for last, weight in exits:
            end[last] = weight
        sources, destinations, weights = zip(*self._arcs, strict=True) if self._arcs else ((),) * 3
        pdfs, words, positions, tokens, states = np.array(self._states, dtype=np.int64).T
        return Graph(
            pdfs,
            words,
            positions,
            tokens,
            states,
            np.array(sources, dtype=np.int64),
            np.array(destinations, dtype=np.int64),
            np.array(weights, dtype=np.float64),
            start,
            end,
        )

    def _chain(self, states: Sequence[_State], exits: list[Exit]) -> int:
        """Add a chain of states, and return the number of the last one."""
        first, last = len(self._states), len(self._states) + len(states) - 1
        self._states += states
        for source, weight in exits:
            if source is None:
                self._start[first] = weight
            else:
                self._arcs.append((source, first, weight))
        self._arcs += [(state, state + 1, 0.0) for state in range(first, last)]
        return last


@dataclass(frozen=True, eq=False)
class Graphs:
    """A padded batch of graphs. P is the largest number of arcs; padding arcs have weight -inf.

    Args:
        pdfs: (N, Q), int64.
        predecessors: (P, N, Q), int64, the states from which a state is reached.
        predecessor_weights: (P, N, Q), float64, log-probabilities of these arcs.
        successors: (P, N, Q), int64, the states that are reached from a state.
        successor_weights: (P, N, Q), float64.
        start: (N, Q), float64.
        end: (N, Q), float64.
    """

    pdfs: Tensor
    predecessors: Tensor
    predecessor_weights: Tensor
    successors: Tensor
    successor_weights: Tensor
    start: Tensor
    end: Tensor

    def to(self, device: str | torch.device, non_blocking: bool = False) -> "Graphs":
        """The same graphs on a device."""
        tables = (getattr(self, field.name) for field in fields(self))
        return Graphs(*(table.to(device, non_blocking=non_blocking) for table in tables))


def pad_graphs(graphs: Sequence[Graph]) -> Graphs:
    """The padded batch of the graphs of one or more utterances.

    Raises:
        ValueError: `graphs` is empty.
    """
    if not graphs:
        raise ValueError("graphs is empty; expected at least one")
    Q = max(len(graph.pdfs) for graph in graphs)
    pdfs = np.zeros((len(graphs), Q), dtype=np.int64)
    start, end = np.full((2, *pdfs.shape), -np.inf)
    for n, graph in enumerate(graphs):
        own = slice(len(graph.pdfs))
        pdfs[n, own], start[n, own], end[n, own] = graph.pdfs, graph.start, graph.end
    forwards = [(graph.sources, graph.destinations, graph.weights) for graph in graphs]
    backwards = [(graph.destinations, graph.sources, graph.weights) for graph in graphs]
    P = max(_width(ends) for arcs in (forwards, backwards) for _, ends, _ in arcs)
    tables = [*_tables(forwards, P, Q), *_tables(backwards, P, Q)]
    return Graphs(*map(torch.from_numpy, (pdfs, *tables, start, end)))


def _width(ends: np.ndarray) -> int:
    """The largest number of arcs with the same end, at least 1."""
    return max(1, int(np.bincount(ends).max())) if len(ends) else 1


def _tables(
    graphs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], P: int, Q: int
) -> tuple[np.ndarray, np.ndarray]:
    """(P, N, Q): the other ends of each state's arcs, and the arcs' weights."""
    states = np.zeros((P, len(graphs), Q), dtype=np.int64)
    weights = np.full(states.shape, -np.inf)
    for n, (others, ends, weight) in enumerate(graphs):
        order = np.argsort(ends, kind="stable")
        sorted_ends = ends[order]
        place = np.arange(len(order)) - np.searchsorted(sorted_ends, sorted_ends)
        states[place, n, sorted_ends] = others[order]
        weights[place, n, sorted_ends] = weight[order]
    return states, weights


class TokenSpan(NamedTuple):
    """The frames of a token or a silence."""

    word: int  # index of the word, or SILENCE
    position: int  # index of the token in the word's pronunciation, or SILENCE
    token: int  # the token, or BLANK in silence
    first: int  # first frame
    last: int  # last frame, inclusive


def token_spans(graph: Graph, alignment: Sequence[int]) -> list[TokenSpan]:
    """The tokens and silences of an aligned utterance, in order of time.

    Args:
        graph: the utterance's graph.
        alignment: (T,), the graph's state in each frame.
    """
    found: list[TokenSpan] = []
    for frame, state in enumerate(alignment):
        word, position = int(graph.words[state]), int(graph.positions[state])
        if found and found[-1][:3] == (word, position, graph.tokens[state]):
            found[-1] = found[-1]._replace(last=frame)
        else:
            found.append(TokenSpan(word, position, int(graph.tokens[state]), frame, frame))
    return found
