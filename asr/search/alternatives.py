"""Prefixes dropped by recombination -> the hypotheses that they would have become."""

import math
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from torch import Tensor

from asr.search.lexicon_tree import NONE
from asr.text.tokenizer import BLANK

NOWHERE = -1
"""Used in a path in place of a slot."""

Numbers = tuple[float, float, float]
"""Score, acoustic and LM log-probability."""


class Recombined(NamedTuple):
    """The R prefixes that one event dropped, each in favour of a better one, its twin.

    Everything that may follow the twin may follow the dropped prefix, with the same change of the
    score.
    """

    row: Tensor  # (R,), row of the beam
    slot: Tensor  # (R,), the prefix's slot, where its trace still is
    twin: Tensor  # (R,), slot of the prefix that was kept
    name: Tensor  # (R,), hash of the prefix
    behind: Tensor  # (R, 3), float64: score, acoustic and LM log-probability minus the twin's


class Steps(NamedTuple):
    """The traces of one utterance with E events and K slots, and its R dropped prefixes."""

    slot: np.ndarray  # (E, K), slot in the beam before the event
    token: np.ndarray  # (E, K), token added to the prefix; BLANK for none
    word: np.ndarray  # (E, K), word that ended with the token; NONE for none
    event: np.ndarray  # (R,), event that dropped a prefix; ascending
    left: np.ndarray  # (R,), slot of the dropped prefix
    twin: np.ndarray  # (R,), as in `Recombined`, like the fields below
    name: np.ndarray  # (R,)
    behind: np.ndarray  # (R, 3)


class Found(NamedTuple):
    """A hypothesis."""

    end: int  # index of the search's end that it shares
    tokens: np.ndarray  # (E,), token added at each event; BLANK for none
    words: np.ndarray  # (E,), word that ended with the token; NONE for none
    numbers: Numbers


class _Branch(NamedTuple):
    """A hypothesis whose path differs from another hypothesis's path up to an event."""

    end: int
    numbers: Numbers
    path: list[int]  # the other hypothesis's slot after each event
    event: int  # the last event after which the two paths differ
    slot: int  # this hypothesis's slot after that event


def with_alternatives(
    ends: Sequence[int], words: Sequence[int], numbers: Sequence[Numbers], steps: Steps, n_best: int
) -> list[Found]:
    """The hypotheses at the ends of a search, and those that recombination dropped on their paths.

    Args:
        ends: (n,), slots after the last event.
        words: (n,), the words that end there.
        numbers: (n,), the score and log-probabilities of each end.
        steps: the traces, and the dropped prefixes.
        n_best: largest number of hypotheses to return.

    Returns:
        found: best first, each text once. The acoustic log-probability of a dropped hypothesis is
            an estimate: its difference from its twin is assumed to stay the same to the end.
    """
    events, before = np.arange(len(steps.slot)), steps.slot.tolist()
    nowhere = [NOWHERE] * len(events)
    begun = [
        iter([_Branch(n, number, nowhere, len(events) - 1, slot)])
        for n, (slot, number) in enumerate(zip(ends, numbers, strict=True))
        if number[0] > -math.inf
    ]
    # the next branch of each iterator, which gives the best first; sorted by score, then by age
    queue: list[tuple[float, int, _Branch, Iterator[_Branch]]] = []
    for age, branches in enumerate(begun):
        _put_next(queue, age, branches)
    found: list[Found] = []
    texts = set()
    age = len(begun)
    while queue and len(found) < n_best:
        _, _, branch, branches = heappop(queue)
        _put_next(queue, age, branches)
        path = _path(branch, before)
        slots = np.array(path, dtype=np.int64)
        tokens, ended = steps.token[events, slots], steps.word[events, slots]
        said = tokens[tokens != BLANK].tobytes(), ended[ended != NONE].tobytes(), words[branch.end]
        if said not in texts:
            texts.add(said)
            found.append(Found(branch.end, tokens, ended, branch.numbers))
            _put_next(queue, age + 1, _branches_off(branch, path, slots, steps))
        age += 2
    return found


def _put_next(
    queue: list[tuple[float, int, _Branch, Iterator[_Branch]]],
    age: int,
    branches: Iterator[_Branch],
) -> None:
    if (branch := next(branches, None)) is not None:
        heappush(queue, (-branch.numbers[0], age, branch, branches))


def _path(branch: _Branch, before: Sequence[Sequence[int]]) -> list[int]:
    """The branch's slot after each event."""
    path, slot = branch.path.copy(), branch.slot
    for event in range(branch.event, -1, -1):
        if path[event] == slot:
            break  # the two paths are the same from here on
        path[event] = slot
        slot = before[event][slot]
    return path


def _branches_off(
    branch: _Branch, path: list[int], slots: np.ndarray, steps: Steps
) -> Iterator[_Branch]:
    """The branches off a hypothesis, best first, up to the event where it branched off itself.

    A prefix that was dropped at several events, each time with other alignments, counts once.
    """
    n = steps.event.searchsorted(branch.event, side="right")
    dropped = (slots[steps.event[:n]] == steps.twin[:n]).nonzero()[0]
    dropped = dropped[(-steps.behind[dropped, 0]).argsort(kind="stable")]
    score, log_prob, lm = branch.numbers
    names = set()
    for number, name in zip(dropped.tolist(), steps.name[dropped].tolist(), strict=True):
        if name not in names:
            names.add(name)
            less = steps.behind[number].tolist()
            numbers = score + less[0], log_prob + less[1], lm + less[2]
            event, slot = int(steps.event[number]), int(steps.left[number])
            yield _Branch(branch.end, numbers, path, event, slot)
