"""Prefixes that were recombined -> the hypotheses that they would have become."""

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

import numpy as np
from torch import Tensor

from asr.tokenizer import BLANK
from asr.trie import NONE

NOWHERE = -1
"""Stands for a slot."""


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
    tokens: np.ndarray  # (E,), what was added there; BLANK for nothing
    words: np.ndarray  # (E,), the word that ended with it; NONE for none
    numbers: np.ndarray  # (3,), score, acoustic and LM log-probability


class _Fan(NamedTuple):
    """Hypotheses that leave the path of another, m of them; best first."""

    path: list[int]  # of the other; nowhere for those that leave none
    event: np.ndarray  # (m,), after which each is elsewhere, as it was before
    slot: np.ndarray  # (m,), where
    end: np.ndarray  # (m,), the numbers of their ends
    numbers: np.ndarray  # (m, 3)


def with_alternatives(
    ends: np.ndarray, words: np.ndarray, numbers: np.ndarray, steps: Steps, n_best: int
) -> list[Found]:
    """The hypotheses at the ends of a search, and those that go another way and end as they do.

    Args:
        ends: (n,), slots after the last event; best first.
        words: (n,), the words that end there.
        numbers: (n, 3), their scores, acoustic and LM log-probabilities.
        steps: the way there.
        n_best: how many come out at most.

    Returns:
        found: best first, each text once. The acoustic log-probability of one that
            goes another way is an estimate: it is taken to be behind by as much as it was there.
    """
    E, n = len(steps.slot), len(ends)
    before = steps.slot.tolist()
    found: list[Found] = []
    texts = set()
    fan = _Fan([NOWHERE] * E, np.full(n, E - 1), ends, np.arange(n), numbers)
    queue: list[tuple[float, int, _Fan, int]] = []
    numbered = count()
    _put(queue, next(numbered), fan, 0)
    while queue and len(found) < n_best:
        _, _, fan, rank = heappop(queue)
        _put(queue, next(numbered), fan, rank + 1)
        path = _path(fan, rank, before)
        slots, events = np.array(path, dtype=np.int64), np.arange(E)
        tokens, ended, end = steps.token[events, slots], steps.word[events, slots], fan.end[rank]
        said = tokens[tokens != BLANK].tobytes(), ended[ended != NONE].tobytes(), words[end]
        if said not in texts:
            texts.add(said)
            found.append(Found(end, tokens, ended, fan.numbers[rank]))
            _put(queue, next(numbered), _leaving(path, slots, fan, rank, steps), 0)
    return found


def _put(queue: list[tuple[float, int, _Fan, int]], number: int, fan: _Fan, rank: int) -> None:
    """Put a hypothesis of a fan, if it has one of that rank, where its score says."""
    if rank < len(fan.numbers) and fan.numbers[rank, 0] > -math.inf:
        heappush(queue, (-fan.numbers[rank, 0], number, fan, rank))


def _path(fan: _Fan, rank: int, before: Sequence[Sequence[int]]) -> list[int]:
    """The slots of a hypothesis after each event."""
    path, slot = fan.path.copy(), int(fan.slot[rank])
    for event in range(fan.event[rank], -1, -1):
        if path[event] == slot:
            break  # both have been there
        path[event] = slot
        slot = before[event][slot]
    return path


def _leaving(path: list[int], slots: np.ndarray, fan: _Fan, rank: int, steps: Steps) -> _Fan:
    """Those that leave a hypothesis where it had left none yet.

    One that was left out at several events, each time with other alignments, counts once.
    """
    n = np.searchsorted(steps.event, fan.event[rank], side="right")
    on = (slots[steps.event[:n]] == steps.twin[:n]).nonzero()[0]
    on = on[np.argsort(-steps.behind[on, 0], kind="stable")]
    _, first = np.unique(steps.name[on], return_index=True)
    on = on[np.sort(first)]
    end = np.full(len(on), fan.end[rank])
    return _Fan(path, steps.event[on], steps.left[on], end, fan.numbers[rank] + steps.behind[on])
