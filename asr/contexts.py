"""Prefixes -> the language model's states and log-probabilities, each asked for once."""

from collections.abc import Iterable

import torch
from torch import Tensor

from asr.vocabulary import EOS, LanguageModel

Context = dict[str, Tensor]
"""What search remembers of each prefix besides the acoustic model, by name, each (N, K)."""


class StatePool:
    """States of a language model, which prefixes know by number.

    Prefixes share states, come and go; only numbers move with them.

    Args:
        first: (1, ...), the state number 0.
        size: how many there is room for.
    """

    def __init__(self, first: Tensor, size: int) -> None:
        self.states = first.new_empty(size, *first.shape[1:])
        self.states[0] = first[0]
        self._free = torch.arange(1, size, device=first.device)

    def __len__(self) -> int:
        """How many more there is room for."""
        return len(self._free)

    def add(self, states: Tensor) -> Tensor:
        """The numbers, (n,), of n states more."""
        numbers, self._free = self._free[: len(states)], self._free[len(states) :]
        self.states[numbers] = states
        return numbers

    def keep(self, numbers: Iterable[Tensor]) -> None:
        """Make room where none of these numbers is."""
        used = torch.zeros(len(self.states), dtype=torch.bool, device=self.states.device)
        for some in numbers:
            used[some.flatten()] = True
        self._free = (~used).nonzero()[:, 0]


class TokenLM:
    """A language model whose units are the acoustic model's tokens.

    It reads a prefix's last token once an extension of the prefix may be kept. Until then `row` is
    the number of the state before that token, and `unread` is true.

    Args:
        lm: the language model.
        units: (C,), int64, its unit for each token.
        size: how many prefixes live at a time.
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
        """What is known of the empty prefix."""
        zeros = torch.zeros_like(like)
        return {"lm": zeros.double(), "row": zeros, "unread": zeros.bool()}

    def score(self, context: Context, last: Tensor, tokens: Tensor, needed: Tensor) -> Tensor:
        """(N, K, M), float64, log-probabilities of the next tokens; right where needed.

        Args:
            context: of the prefixes; brought up to date.
            last: (N, K), their last tokens.
            tokens: (N, M), the next.
            needed: (N, K), of which prefixes.
        """
        self._read(context, last, needed)
        rows = context["row"][:, :, None]
        return self._log_probs[rows, self.units[tokens][:, None]].double()

    def end(self, context: Context, last: Tensor, possible: Tensor) -> Tensor:
        """(N, K), float64, log-probabilities of the sentence's end; right where possible."""
        self._read(context, last, possible)
        return self._log_probs[context["row"], EOS].double()

    def _read(self, context: Context, last: Tensor, needed: Tensor) -> None:
        place = (context["unread"] & needed).nonzero(as_tuple=True)
        if not len(place[0]):
            return
        before = self.pool.states[context["row"][place]]
        _, states = self.lm.score(before, self.units[last[place]])
        rows = self.pool.add(states)
        self._log_probs[rows] = self.lm.log_probs(states)
        context["row"] = context["row"].index_put(place, rows)
        context["unread"] = context["unread"] & ~needed


class WordLM:
    """A language model whose units are a lexicon's words; it reads each where the word ends.

    Args:
        lm: the language model.
        units: (W,), int64, its unit for each word.
        size: how many prefixes live at a time.
    """

    def __init__(self, lm: LanguageModel, units: Tensor, size: int) -> None:
        self.lm = lm
        self.units = units
        self.pool = StatePool(lm.start(1), 3 * size)

    def start(self, like: Tensor) -> Context:
        """What is known of the empty prefix."""
        zeros = torch.zeros_like(like)
        return {"lm": zeros.double(), "row": zeros}

    def score(
        self, context: Context, words: Tensor, needed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the ends of words cost.

        Args:
            context: of the prefixes.
            words: (N, K, X), the words that extensions end.
            needed: (N, K, X), which do and are to be read.

        Returns:
            log_probs: (N, K, X), float64; 0 where not needed.
            numbers: (N, K, X), where in `states` the one after the word lies; -1 for none.
            states: (n, ...), not yet in the pool.
        """
        place = needed.nonzero(as_tuple=True)
        before = self.pool.states[context["row"][place[:2]]]
        found, states = self.lm.score(before, self.units[words[place]])
        log_probs = torch.zeros_like(words, dtype=torch.float64).index_put(place, found.double())
        numbers = torch.arange(len(states), device=words.device)
        return log_probs, torch.full_like(words, -1).index_put(place, numbers), states

    def end(self, context: Context, words: Tensor, possible: Tensor) -> Tensor:
        """Log-probabilities of last words and the sentence's end.

        Args:
            context: of the prefixes.
            words: (N, K, V), the last words, -1 where there is none more.
            possible: (N, K, V), which to score.

        Returns:
            log_probs: (N, K, V), float64; 0 where not possible.
        """
        place = possible.nonzero(as_tuple=True)
        states = self.pool.states[context["row"][place[:2]]]
        last = words[place]
        found = torch.zeros(len(last), dtype=torch.float64, device=words.device)
        ends = (last >= 0).nonzero()[:, 0]
        word_log_probs, after = self.lm.score(states[ends], self.units[last[ends]])
        found[ends] = word_log_probs.double()
        states = states.index_put((ends,), after)
        found += self.lm.score(states, torch.full_like(last, EOS))[0].double()
        return torch.zeros_like(words, dtype=torch.float64).index_put(place, found)
