"""Prefixes that were recombined -> the hypotheses that they would have become."""

import math
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from torch import Tensor

from asr.search.lexicon_tree import NONE
from asr.text.tokenizer import BLANK

NOWHERE = -1
"""Stands for a slot."""

Numbers = tuple[float, float, float]
"""Score, acoustic and LM log-probability."""


class Recombined(NamedTuple):
    """The prefixes that an event left out, R of them, each for a better one, its twin.

    What follows the twin may follow them too, and adds the same to the score.
    """

    row: Tensor  # of the beam
    slot: Tensor  # which has its trace still
    twin: Tensor  # the slot of the one that was kept
    name: Tensor  # a hash of the prefix
    behind: Tensor  # (R, 3), float64: score, acoustic and LM log-probability, less the twin's


class Steps(NamedTuple):
    """The traces of one utterance, of E events and K slots."""

    slot: np.ndarray  # (E, K), in the beam before
    token: np.ndarray  # (E, K), what was added there; BLANK for nothing
    word: np.ndarray  # (E, K), the word that ended with it; NONE for none
    event: np.ndarray  # (R,), at which a prefix was left out; rising
    left: np.ndarray  # (R,), its slot
    twin: np.ndarray  # (R,)
    name: np.ndarray  # (R,)
    behind: np.ndarray  # (R, 3)


class Found(NamedTuple):
    """A hypothesis."""

    end: int  # the number of the end that it has
    tokens: np.ndarray  # (E,), what was added at each event; BLANK for nothing
    words: np.ndarray  # (E,), the word that ended with it; NONE for none
    numbers: Numbers


class _Way(NamedTuple):
    """The way of a hypothesis: it leaves that of another, of the same end."""

    end: int
    numbers: Numbers
    path: list[int]  # of the other: its slot after each event
    event: int  # after which this one is elsewhere, as it was before
    slot: int  # where


def with_alternatives(
    ends: Sequence[int], words: Sequence[int], numbers: Sequence[Numbers], steps: Steps, n_best: int
) -> list[Found]:
    """The hypotheses at the ends of a search, and those that go another way and end as they do.

    Args:
        ends: (n,), slots after the last event.
        words: (n,), the words that end there.
        numbers: (n,), of what ends there.
        steps: the way there.
        n_best: how many come out at most.

    Returns:
        found: best first, each text once. The acoustic log-probability of one that goes another
            way is an estimate: it is taken to be behind by as much as it was there.
    """
    events, before = np.arange(len(steps.slot)), steps.slot.tolist()
    nowhere = [NOWHERE] * len(events)
    begun = [
        iter([_Way(n, number, nowhere, len(events) - 1, slot)])
        for n, (slot, number) in enumerate(zip(ends, numbers, strict=True))
        if number[0] > -math.inf
    ]
    # the best way of each iterator, whose ways get worse, ordered by score and then by age
    queue: list[tuple[float, int, _Way, Iterator[_Way]]] = []
    for age, ways in enumerate(begun):
        _put_next(queue, age, ways)
    found: list[Found] = []
    texts = set()
    age = len(begun)
    while queue and len(found) < n_best:
        _, _, way, ways = heappop(queue)
        _put_next(queue, age, ways)
        path = _path(way, before)
        slots = np.array(path, dtype=np.int64)
        tokens, ended = steps.token[events, slots], steps.word[events, slots]
        said = tokens[tokens != BLANK].tobytes(), ended[ended != NONE].tobytes(), words[way.end]
        if said not in texts:
            texts.add(said)
            found.append(Found(way.end, tokens, ended, way.numbers))
            _put_next(queue, age + 1, _leaving(way, path, slots, steps))
        age += 2
    return found


def _put_next(
    queue: list[tuple[float, int, _Way, Iterator[_Way]]], age: int, ways: Iterator[_Way]
) -> None:
    if (way := next(ways, None)) is not None:
        heappush(queue, (-way.numbers[0], age, way, ways))


def _path(way: _Way, before: Sequence[Sequence[int]]) -> list[int]:
    """The slots after each event."""
    path, slot = way.path.copy(), way.slot
    for event in range(way.event, -1, -1):
        if path[event] == slot:
            break  # both have been there
        path[event] = slot
        slot = before[event][slot]
    return path


def _leaving(way: _Way, path: list[int], slots: np.ndarray, steps: Steps) -> Iterator[_Way]:
    """The ways that leave one where it had left none yet, best first.

    A prefix that was left out at several events, each time with other alignments, counts once.
    """
    n = steps.event.searchsorted(way.event, side="right")
    on = (slots[steps.event[:n]] == steps.twin[:n]).nonzero()[0]
    on = on[(-steps.behind[on, 0]).argsort(kind="stable")]
    score, log_prob, lm = way.numbers
    names = set()
    for number, name in zip(on.tolist(), steps.name[on].tolist(), strict=True):
        if name not in names:
            names.add(name)
            less = steps.behind[number].tolist()
            numbers = score + less[0], log_prob + less[1], lm + less[2]
            event, slot = int(steps.event[number]), int(steps.left[number])
            yield _Way(way.end, numbers, path, event, slot)
