"""Prefixes -> states and log-probabilities of the language model, each computed once."""

from collections.abc import Iterable

import torch
from torch import Tensor

from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS
from asr.search.extensions import at

Context = dict[str, Tensor]
"""The state of each prefix besides its acoustic log-probabilities: tensors (N, K) by name."""


class StatePool:
    """Numbered states of a language model.

    Prefixes hold only the numbers of their states, so that several prefixes can share a state, and
    states need not be moved when the beam changes.

    Args:
        first: (1, ...), state number 0.
        size: largest number of states.
    """

    def __init__(self, first: Tensor, size: int) -> None:
        self.states = first.new_empty(size, *first.shape[1:])
        self.states[0] = first[0]
        self._free = torch.arange(1, size, device=first.device)

    def __len__(self) -> int:
        """The number of states that can still be added."""
        return self._free.shape[0]

    def add(self, states: Tensor) -> Tensor:
        """Add n states, and return their numbers, (n,).

        Raises:
            ValueError: there is no room for them.
        """
        if states.shape[0] > len(self):
            raise ValueError(f"states has {states.shape[0]}; there is room for {len(self)}")
        numbers, self._free = self._free[: states.shape[0]], self._free[states.shape[0] :]
        self.states[numbers] = states
        return numbers

    def keep(self, numbers: Iterable[Tensor]) -> None:
        """Free all states except those with the given numbers."""
        used = torch.zeros(len(self.states), dtype=torch.bool, device=self.states.device)
        for some in numbers:
            used[some.flatten()] = True
        self._free = (~used).nonzero()[:, 0]


class TokenLM:
    """A language model whose units are the acoustic model's tokens.

    It reads the last token of a prefix only when an extension of the prefix may be kept. Until then
    the context's `row` is the number of the state before that token, and `unread` is true.

    Args:
        lm: the language model.
        units: (C,), int64, the language model's unit for each token.
        size: largest number of prefixes at a time.
    """

    def __init__(self, lm: LanguageModel, units: Tensor, size: int) -> None:
        self.lm = lm
        self.units = units
        first = lm.start(1)
        self.pool = StatePool(first, 3 * size)
        log_probs = lm.log_probs(first)
        self._log_probs = log_probs.new_empty(3 * size, log_probs.shape[1])
        self._log_probs[0] = log_probs[0]

    def start(self, like: Tensor) -> Context:
        """The context of empty prefixes; `like` is (N, K), int64."""
        zeros = torch.zeros_like(like)
        return {"lm": zeros.double(), "row": zeros, "unread": zeros.bool()}

    def read(self, context: Context, last: Tensor, slots: Tensor) -> None:
        """Read the last tokens of prefixes. This must be done before `score`.

        Args:
            context: context of the prefixes; updated in place.
            last: (N, K), last tokens of the prefixes.
            slots: (n,), flat indices of the prefixes to read.
        """
        asked = torch.zeros_like(context["unread"])
        asked.view(-1)[slots] = True
        place = (context["unread"] & asked).nonzero(as_tuple=True)
        if not place[0].shape[0]:
            return
        before = self.pool.states.index_select(0, context["row"][place])
        _, states = self.lm.score(before, self.units[last[place]])
        rows = self.pool.add(states)
        self._log_probs[rows] = self.lm.log_probs(states)
        context["row"] = context["row"].index_put(place, rows)
        context["unread"] = context["unread"] & ~asked

    def score(self, context: Context, slots: Tensor, units: Tensor) -> Tensor:
        """(n,), float64: log-probability of a unit after each of n prefixes, already read."""
        rows = at(context["row"], slots)
        return at(self._log_probs, rows * self._log_probs.shape[1] + units).double()


class WordLM:
    """A language model whose units are the lexicon's words; it reads a word when the word ends.

    Args:
        lm: the language model.
        units: (W,), int64, the language model's unit for each word.
        size: largest number of prefixes at a time.
    """

    def __init__(self, lm: LanguageModel, units: Tensor, size: int) -> None:
        self.lm = lm
        self.units = units
        self.pool = StatePool(lm.start(1), 3 * size)

    def start(self, like: Tensor) -> Context:
        """The context of empty prefixes; `like` is (N, K), int64."""
        zeros = torch.zeros_like(like)
        return {"lm": zeros.double(), "row": zeros}

    def score(self, context: Context, slots: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of words after prefixes.

        Args:
            context: context of the prefixes.
            slots: (n,), flat indices of the prefixes.
            words: (n,), a word for each prefix.

        Returns:
            log_probs: (n,), float64.
            states: (n, ...), states after the words; not yet in the pool.
        """
        before = self.pool.states.index_select(0, at(context["row"], slots))
        log_probs, states = self.lm.score(before, at(self.units, words))
        return log_probs.double(), states

    def end(self, context: Context, slots: Tensor, words: Tensor) -> Tensor:
        """(n,), float64: log-probability of each last word (-1 for none) and the sentence's end."""
        states = self.pool.states.index_select(0, at(context["row"], slots))
        log_probs = torch.zeros_like(words, dtype=torch.float64)
        ends = (words >= 0).nonzero()[:, 0]
        log_probs[ends], states[ends] = self.score(context, slots[ends], words[ends])
        return log_probs + self.lm.score(states, torch.full_like(words, EOS))[0].double()
