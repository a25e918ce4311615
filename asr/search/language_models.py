"""prefixes -> log-probabilities of their next units, from tables of n-grams or other models."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.lm.load import ExtendedVocabularyLM
from asr.lm.ngram import NgramModel
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import UNK
from asr.search.compiled import Records, inner

NO_LM, NGRAM, PYTHON_LM = 0, 1, 2
"""Kinds of language models: none; n-grams; any other, which only Python can call. For that the
compiled search returns to Python."""

UNREAD = -1
"""Used in place of a state that has not been computed yet."""

STATES_BYTES = 2**26
"""Memory for the states of a PYTHON_LM. When it is full, unused ones are dropped."""


class NgramTables(NamedTuple):
    """The tables of `asr.lm.ngram_trie.NgramTrie`."""

    radix: int
    first: np.ndarray  # (contexts + 1,), int64, the first child of each context
    keys: np.ndarray
    log_probs: np.ndarray
    backoffs: np.ndarray
    suffixes: np.ndarray
    states: np.ndarray


ITEM = np.dtype([("unit", "i8"), ("unk_share", "f8")])
"""The language model's unit of a word or a token; and what is added to its log-probability: for
words that share <unk>, the log of the fraction of each, and 0 for others."""


class LMTables(NamedTuple):
    """A language model. Its items are the words, or the tokens with BLANK for the end."""

    kind: int
    of_words: bool
    weight: float
    items: Records  # ITEM
    first_state: int  # the state at the start of a sentence
    ngram: NgramTables
    rows: np.ndarray  # (states, V), float64, log-probabilities after states, if PYTHON_LM of tokens


def make_lm_tables(
    lm: LanguageModel | None, of_words: bool, weight: float, units: np.ndarray
) -> LMTables:
    """Make the tables of a language model.

    Args:
        lm: the model; None for none.
        of_words: whether its items are words.
        weight: scale of its log-probabilities.
        units: (items,), its unit for each item; see `SearchSpace.units`.
    """
    items = np.zeros(len(units), ITEM)
    items["unit"] = units
    # not used without n-grams, but compiled for these types
    types = (np.int64, np.int64, np.float32, np.float32, np.int32, np.int32)
    ngram = NgramTables(1, *(np.zeros(1, kind) for kind in types))
    kind, first_state = NO_LM if lm is None else PYTHON_LM, 0
    if isinstance(lm, ExtendedVocabularyLM) and isinstance(lm.lm, NgramModel):
        new = units >= lm.n_known
        items["unit"][new], items["unk_share"][new] = UNK, lm.share
        lm = lm.lm
    if isinstance(lm, NgramModel):
        kind, trie = NGRAM, lm.trie
        if trie.keys.device.type != "cpu":
            trie = trie.to("cpu")
        first_state = int(trie.start(1))
        tables = [trie.first_children, *trie.tables.values()]
        arrays = [np.require(table.numpy(), requirements=["C", "W"]) for table in tables]
        ngram = NgramTables(trie.n_units + 1, *arrays)
    return LMTables(kind, of_words, weight, items, first_state, ngram, np.zeros((0, 0)))


@inner
def ngram_score(ngram: NgramTables, state: int, unit: int) -> tuple[float, int]:
    """Log-probability of a unit after a state, backing off to shorter contexts; the new state."""
    log_prob = 0.0
    while state != 0:
        low, high, key = ngram.first[state], ngram.first[state + 1], state * ngram.radix + unit
        while low < high:
            middle = (low + high) >> 1
            if ngram.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        if low < ngram.first[state + 1] and ngram.keys[low] == key:
            return log_prob + ngram.log_probs[low], ngram.states[low]
        log_prob += ngram.backoffs[state]
        state = ngram.suffixes[state]
    # unigrams exist for all units
    return log_prob + ngram.log_probs[unit + 1], ngram.states[unit + 1]


class LMStates:
    """The states of a PYTHON_LM, by number, for several searches at once.

    State number 0 is that at the start of a sentence. Equal states of whole numbers, as of an
    n-gram model, have the same number, so that prefixes can be recombined.

    Args:
        lm: the language model.
        of_words: whether it is called for single words, or for all units after a state.
    """

    def __init__(self, lm: LanguageModel, of_words: bool) -> None:
        self.lm = lm
        self.of_words = of_words
        first = lm.start(1)
        row_bytes = 0 if of_words else 8 * len(lm.vocabulary.symbols)
        size = max(1, STATES_BYTES // max(1, first.nbytes + row_bytes))
        self.states = first.new_empty(size, *first.shape[1:])
        self.states[0] = first[0]
        self.rows = np.empty((0 if of_words else size, len(lm.vocabulary.symbols)))
        if not of_words:
            self.rows[0] = lm.log_probs(first)[0].double().cpu().numpy()
        self.n = 1
        self._numbers: dict[bytes, int] = {}
        if not self.states.is_floating_point():
            self._numbers[first.cpu().numpy().tobytes()] = 0

    def has_room(self, n: int) -> bool:
        """Whether n states can be added without taking more memory."""
        return self.n + n <= len(self.states)

    def read(self, numbers: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read one unit after each of n states.

        Args:
            numbers: (n,), of the states.
            units: (n,), int64.

        Returns:
            log_probs: (n,), float64, natural log-probabilities of the units.
            numbers: (n,), of the new states.
        """
        device = self.states.device
        before = self.states.index_select(0, torch.from_numpy(numbers.astype(np.int64)).to(device))
        log_probs, states = self.lm.score(before, torch.from_numpy(units).to(device))
        return log_probs.double().cpu().numpy(), self._add(states)

    def _add(self, states: Tensor) -> np.ndarray:
        numbers, new = np.arange(self.n, self.n + len(states)), np.arange(len(states))
        if not states.is_floating_point():
            known, n = self._numbers, self.n
            for place, state in enumerate(states.cpu().numpy()):
                numbers[place] = known.setdefault(state.tobytes(), len(known))
            _, new = np.unique(numbers, return_index=True)
            new = new[numbers[new] >= n]
        end = self.n + len(new)
        if end > len(self.states):
            more = self.states.new_empty(2 * end - len(self.states), *self.states.shape[1:])
            self.states = torch.cat((self.states, more))
            self.rows = np.resize(self.rows, (2 * end * (not self.of_words), self.rows.shape[1]))
        added = states[torch.from_numpy(new).to(states.device)]
        self.states[self.n : end] = added
        if not self.of_words:
            self.rows[self.n : end] = self.lm.log_probs(added).double().cpu().numpy()
        self.n = end
        return numbers

    def keep(self, used: np.ndarray) -> np.ndarray:
        """Drop all states but those marked in `used`, (n,); the new numbers, (n,), or UNREAD."""
        numbers = np.where(used, used.cumsum() - 1, UNREAD)
        kept = np.flatnonzero(used)
        self.states[: len(kept)] = self.states[torch.from_numpy(kept).to(self.states.device)]
        if not self.of_words:
            self.rows[: len(kept)] = self.rows[kept]
        self._numbers = {k: numbers[n] for k, n in self._numbers.items() if used[n]}
        self.n = len(kept)
        return numbers
