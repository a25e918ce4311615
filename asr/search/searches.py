"""FrameScores of utterances -> n-best lists, by CTC's or an HMM's method of extending prefixes."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from asr.errors import counted
from asr.search.backtrace import WORDS
from asr.search.language_models import PYTHON_LM, UNREAD, LMStates
from asr.search.nbest import FrameScores, Hypothesis, checked_frames
from asr.search.prefixes import EMPTY_PREFIX, GROWING, Tree, allocate_tree, reset_tree
from asr.search.space import SearchSpace
from asr.search.tables import Tables, make_tables

BATCH = 64
"""Maximum number of utterances for which a PYTHON_LM is called at once."""

BATCH_PREFIXES = 64_000
"""Maximum number of their prefixes."""


class Method(NamedTuple):
    """How frames extend prefixes: as CTC or as an HMM."""

    search: Callable[[Tree, Tables, Any, np.ndarray, int], int]  # see `asr.search.beam`
    hmm: Any  # `HmmTables`; nothing for CTC
    n_endings: int  # number of possible endings of a prefix's alignments; see `Tree`
    first_ending: int  # that of the empty prefix before the first frame
    n_columns: int | None = None  # number of values in a frame; None for one for each token


class Searches:
    """The searches of N utterances, which take frames piece by piece.

    A language model of another kind than n-grams is called for all searches at once: each goes on
    until it needs an answer. Memory grows with the number of frames.

    >>> searches = Searches(space, CTC)
    >>> for piece in pieces:
    ...     searches.feed([piece])
    ...     print(searches.nbests(1)[0][0].tokens, searches.certain())

    Args:
        space: settings, lexicon, language model and boosts.
        method: CTC or HMM.
        N: number of utterances.
        tables: those of the space, if they have been made.
    """

    def __init__(
        self, space: SearchSpace, method: Method, N: int = 1, tables: Tables | None = None
    ) -> None:
        self.space = space
        self.method = method
        self.tables = tables or make_tables(space)
        C = len(space.tokenizer.symbols)
        self.trees = [allocate_tree(self.tables, C, method.n_endings) for _ in range(N)]
        self.states: LMStates | None = None
        if self.tables.lm.kind == PYTHON_LM:
            assert space.lm is not None
            self.states = LMStates(space.lm, self.tables.lm.of_words)
        self.n_columns = method.n_columns or C
        self._start(N)

    def feed(self, frames: Sequence[FrameScores]) -> None:
        """Read the next frames of each utterance.

        Args:
            frames: (T, C) log-probabilities or (T, S) emissions of each utterance.

        Raises:
            ValueError: an array or their number is wrong, or a value is NaN or +inf.
        """
        if len(frames) != self.n:
            raise ValueError(
                f"frames are of {counted(len(frames), 'utterance')}; expected {self.n}"
            )
        self._run([checked_frames("frames", some, self.n_columns) for some in frames], 0)

    def nbests(self, n_best: int | None = None) -> list[list[Hypothesis]]:
        """The n-best list of each utterance, if it ended here. More frames may follow."""
        return self._run([np.zeros((0, 0))] * self.n, n_best)

    def search_complete(self, rows: Sequence[np.ndarray]) -> list[list[Hypothesis]]:
        """The n-best lists of other utterances, at most N, which have been checked."""
        if self.states:
            self.states.keep(np.arange(self.states.n) == 0)
        self._start(len(rows))
        return self._run(rows, None)

    def certain(self, n: int = 0) -> tuple[int, ...]:
        """The tokens with which all prefixes in the beam begin: the best text will keep them."""
        tree = self.trees[n]
        prefixes = tree.prefixes
        beam = tree.beam[: tree.now[0]["n_beam"]]
        ancestors = [_ancestors(prefixes, number) for number in beam]
        n_shared = sum(len(set(numbers)) == 1 for numbers in zip(*ancestors, strict=False))
        return tuple(prefixes["token"][ancestors[0][:n_shared]].tolist()) if ancestors else ()

    def _start(self, n: int) -> None:
        self.n = n
        for tree in self.trees[:n]:
            reset_tree(tree, self.tables, self.method.first_ending)

    def _run(self, rows: Sequence[np.ndarray], n_best: int | None) -> list[list[Hypothesis]]:
        """Go on until all searches are done."""
        settings = self.space.settings
        n_best = min(settings.n_best if n_best is None else n_best, settings.beam_width)
        nbests: list[list[Hypothesis]] = [[]] * len(rows)
        waiting, blocked = list(range(len(rows))), []

        def work(numbers: Iterable[int]) -> None:
            for n in numbers:
                found = self._go_on(n, rows[n], n_best)
                if found < 0:
                    blocked.append(n)
                else:
                    nbests[n] = _hypotheses(self.trees[n], found, self.space)

        for tree in self.trees:
            tree.now["row"] = 0
        while waiting:
            if self.states is not None:  # its rows may be in another array now
                lm = self.tables.lm._replace(rows=self.states.rows)
                self.tables = self.tables._replace(lm=lm)
            blocked.clear()
            _in_threads(work, waiting)
            waiting = sorted(blocked)
            if waiting:
                self._answer([self.trees[n] for n in waiting])
        return nbests

    def _go_on(self, n: int, rows: np.ndarray, n_best: int) -> int:
        """Go on with a search; the number of hypotheses, or -1 if the LM must be called."""
        while True:
            found = self.method.search(self.trees[n], self.tables, self.method.hmm, rows, n_best)
            if found >= 0 or not self.trees[n].now[0]["is_full"]:
                return found
            self.trees[n] = _longer(self.trees[n])

    def _answer(self, trees: Sequence[Tree]) -> None:
        """Let the language model read what searches wait for."""
        assert self.states is not None
        numbers = [tree.pending["prefix"][: tree.now[0]["n_pending"]] for tree in trees]
        if not self.states.has_room(sum(map(len, numbers))):
            self._drop_unused_states()
        lm = self.tables.lm
        if not lm.of_words:
            self._read_last(trees, numbers)
            return
        log_probs = self._read(trees, numbers, "word")
        for tree, children, some in zip(trees, numbers, log_probs, strict=True):
            before = tree.prefixes["lm"][tree.prefixes["parent"][children]]
            tree.prefixes["lm"][children] = before + some

    def _read_last(self, trees: Sequence[Tree], numbers: Sequence[np.ndarray]) -> None:
        """Let a model of tokens read the last tokens of prefixes, unless it has."""
        pairs = [
            (tree, np.unique(some[tree.prefixes["lm_state"][some] == UNREAD]))
            for tree, some in zip(trees, numbers, strict=True)
        ]
        pairs = [(tree, some) for tree, some in pairs if len(some)]
        if pairs:
            trees, numbers = zip(*pairs, strict=True)
            self._read_last(trees, [t.prefixes["parent"][n] for t, n in pairs])
            self._read(trees, numbers, "token")

    def _read(
        self, trees: Sequence[Tree], numbers: Sequence[np.ndarray], item: str
    ) -> list[np.ndarray]:
        """Let the language model read the last items of prefixes; their log-probabilities."""
        assert self.states is not None
        before, units = [], []
        for tree, some in zip(trees, numbers, strict=True):
            prefixes = tree.prefixes
            before.append(prefixes["lm_state"][prefixes["parent"][some]])
            units.append(self.tables.lm.items["unit"][prefixes[item][some]])
        log_probs, after = self.states.read(np.concatenate(before), np.concatenate(units))
        ends = np.cumsum([len(some) for some in numbers])[:-1]
        for tree, some, states in zip(trees, numbers, np.split(after, ends), strict=True):
            tree.prefixes["lm_state"][some] = states
        return np.split(log_probs, ends)

    def _drop_unused_states(self) -> None:
        """Drop the states of prefixes that are neither in a beam nor beside one that is."""
        assert self.states is not None
        used = np.zeros(self.states.n, dtype=bool)
        used[0] = True
        for tree in self.trees[: self.n]:
            now, prefixes = tree.now[0], tree.prefixes[: tree.now[0]["n_prefixes"]]
            near = np.zeros(len(prefixes), dtype=bool)
            near[tree.beam[: now["n_beam"]]] = True
            if self.states.of_words:  # answers that are still needed: words, and the end after them
                near |= near[prefixes["parent"]]
                near |= near[prefixes["parent"]]
            near[tree.pending["prefix"][: now["n_pending"]]] = True
            near[prefixes["parent"][near]] = True
            states = prefixes["lm_state"][near]
            used[states[states != UNREAD]] = True
        numbers = np.append(self.states.keep(used), UNREAD)  # so that UNREAD stays UNREAD
        for tree in self.trees[: self.n]:
            states = tree.prefixes["lm_state"][: tree.now[0]["n_prefixes"]]
            states[:] = numbers[states]


def search_all(
    name: str, utterances: Sequence[FrameScores], space: SearchSpace, method: Method
) -> list[list[Hypothesis]]:
    """Search utterances, in as many threads as torch uses; their number changes no result.

    Args:
        name: what the frames are, for error messages.
        utterances: (T, D) of each utterance, on any device.
        space: settings, lexicon, language model and boosts.
        method: CTC or HMM.

    Raises:
        ValueError: a shape is wrong, or a value is NaN or +inf.
    """
    tables = make_tables(space)
    nbests: list[list[Hypothesis]] = [[] for _ in utterances]
    order = sorted(range(len(utterances)), key=lambda n: -math.prod(utterances[n].shape))
    size = 1
    if tables.lm.kind == PYTHON_LM:  # called for many searches at once
        size = max(1, min(BATCH, BATCH_PREFIXES // space.settings.beam_width, len(utterances)))
    batches = [order[first : first + size] for first in range(0, len(order), size)]

    def work(numbers: Iterable[int]) -> None:
        searches = Searches(space, method, size, tables)
        for number in numbers:
            batch = batches[number]
            rows = [checked_frames(name, utterances[n], searches.n_columns) for n in batch]
            for n, nbest in zip(batch, searches.search_complete(rows), strict=True):
                nbests[n] = nbest

    if size > 1:
        work(range(len(batches)))
    else:
        _in_threads(work, range(len(batches)))
    return nbests


def _in_threads(work: Callable[[Iterable[int]], None], numbers: Sequence[int]) -> None:
    """Divide numbers among as many threads as torch uses; each takes the next when it is free."""
    n_threads = min(torch.get_num_threads(), len(numbers))
    if n_threads <= 1:
        work(numbers)
        return
    shared = iter(numbers)
    with ThreadPoolExecutor(n_threads) as threads:
        for result in [threads.submit(work, shared) for _ in range(n_threads)]:
            result.result()


def _longer(tree: Tree) -> Tree:
    """The same state with twice the room."""
    longer = {}
    for name in GROWING:
        old = getattr(tree, name)
        shape = list(old.shape)
        shape[1 if name == "sequences" else 0] *= 2
        longer[name] = np.empty(shape, old.dtype)
        longer[name][tuple(map(slice, old.shape))] = old
    return tree._replace(**longer)


def _ancestors(prefixes: np.ndarray, number: int) -> list[int]:
    """A prefix's ancestors, from that of one token to itself."""
    numbers = []
    while number != EMPTY_PREFIX:
        numbers.append(int(number))
        number = prefixes["parent"][number]
    return numbers[::-1]


def _hypotheses(tree: Tree, n: int, space: SearchSpace) -> list[Hypothesis]:
    """The first n hypotheses that were found."""
    if n == 0:
        return []
    columns = zip(*tree.found[:n].tolist(), strict=True)
    totals, log_probs, lm_log_probs, first_token, n_tokens, first_word, n_words = columns
    scores: Sequence[float | None] = totals if space.has_other_scores else [None] * n
    tokens, frames = _parts(tree.sequences[:WORDS], first_token, n_tokens)
    words: Sequence[tuple[str, ...] | None] = [None] * n
    first_frames: Sequence[tuple[int, ...]] = [()] * n
    last_frames = first_frames
    if space.lexicon is not None:
        numbers, first_frames, last_frames = _parts(tree.sequences[WORDS:], first_word, n_words)
        known = space.lexicon.words.__getitem__
        words = [tuple(map(known, some)) for some in numbers]
    # in the order of the fields
    fields = tokens, log_probs, frames, words, lm_log_probs, scores, first_frames, last_frames
    return list(map(Hypothesis, *fields))


def _parts(
    rows: np.ndarray, first: Sequence[int], lengths: Sequence[int]
) -> list[list[tuple[int, ...]]]:
    """For each row: the slices of all hypotheses, reversed, as they were written last to first."""
    end = first[-1] + lengths[-1]
    places = [slice(end - a - n, end - a) for a, n in zip(first, lengths, strict=True)]
    return [list(map(tuple(row).__getitem__, places)) for row in rows[:, :end][:, ::-1].tolist()]
