"""Settings, lexicon, language model and phrases -> one value that search goes by."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from asr.errors import InputError
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import UNK
from asr.search.lexicon_tree import Trie
from asr.search.phrases import PhraseBoosts
from asr.text.tokenizer import BLANK, Tokenizer

LEAST = -1e4
"""Nats that stand for -inf in look-ahead, where they are taken back."""


@dataclass(frozen=True)
class BeamSettings:
    """How far search looks, and how it weighs.

    Args:
        beam_width: prefixes kept after every frame.
        n_best: hypotheses that come out, at most; no more than `beam_width` do.
        token_floor: in nats; in a frame only those tokens are tried whose log-probability is at
            least that, or that of blank. -inf tries all.
        score_floor: in nats, 0 or less; a prefix is not extended where that would score so much
            below the best prefix. -inf for off.
        blank_skip: in frames where blank has at least this probability no token is tried; 1 for
            off.
        recombine: of the prefixes that an n-gram model of words can't tell apart, nor lexicon and
            phrases, keep the best alone, whatever was said before, so that others have room. What
            was left out comes back at the end: each goes on as the one that was kept.
        lm_weight: of the language model's log-probability.
        word_bonus: nats a word. Words are the lexicon's; without one, what stands between
            separators, or what a piece that begins a word begins; where there is neither, every
            token.
        unk_bonus: nats besides for a word that an open lexicon does not have.
    """

    beam_width: int = 50
    n_best: int = 50
    token_floor: float = -8.0
    score_floor: float = -15.0
    blank_skip: float = 1.0
    recombine: bool = True
    lm_weight: float = 0.0
    word_bonus: float = 0.0
    unk_bonus: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beam_width", "n_best"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("token_floor", "score_floor"):
            if not getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected nats, 0 or less")
        if not 0 < self.blank_skip <= 1:
            raise InputError(f"blank_skip is {self.blank_skip}; expected more than 0, at most 1")
        if not 0 <= self.lm_weight < math.inf:
            raise InputError(f"lm_weight is {self.lm_weight}; expected 0 or more")
        for name in ("word_bonus", "unk_bonus"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}; expected nats")


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """What search goes by, besides log_probs.

    The score of a hypothesis is its acoustic log-probability + lm_weight * that of the language
    model, the sentence's end included, + word_bonus * words + boosts.

    Args:
        tokenizer: the acoustic model's.
        settings: how far to look, and how to weigh.
        lexicon: the words that may be said; None for whatever the tokens spell.
        lm: a language model, on the device of `log_probs`. Beside a lexicon and with words for
            units, it scores words; else tokens, its unit for each being that of the same symbol.
        boosts: phrases that are likely.

    Raises:
        InputError: the language model has no unit for a token, or knows no word of the lexicon.
        ValueError: lexicon or boosts were built for tokens of another number.
    """

    tokenizer: Tokenizer
    settings: BeamSettings = field(default_factory=BeamSettings)
    lexicon: Trie | None = None
    lm: LanguageModel | None = None
    boosts: PhraseBoosts | None = None

    def __post_init__(self) -> None:
        C = len(self.tokenizer.symbols)
        if self.lexicon is not None and self.lexicon.children.shape[1] != C:
            found = self.lexicon.children.shape[1]
            raise ValueError(f"lexicon is of {found} tokens; expected {C}")
        if self.boosts is not None and self.boosts.after.shape[1] != C:
            raise ValueError(f"boosts are of {self.boosts.after.shape[1]} tokens; expected {C}")
        _ = self.units  # refused here, not in the middle of a search

    @property
    def informed(self) -> bool:
        """Whether there is anything to go by besides log_probs."""
        given = (self.lexicon, self.lm, self.boosts)
        return any(one is not None for one in given) or self.settings.word_bonus != 0

    @property
    def scores_words(self) -> bool:
        """Whether the language model's units are the lexicon's words."""
        return (
            self.lm is not None and self.lexicon is not None and self.lm.vocabulary.unit == "word"
        )

    @property
    def recombines(self) -> bool:
        """Whether there are prefixes to recombine: with words, and states that can be equal."""
        return self.settings.recombine and self.scores_words and not self._of_network

    @property
    def n_threads(self) -> int:
        """Threads of a search on the CPU: one, or for a network as many as torch is set to.

        Threads wait for each other after every operation, and only a network's are large.
        """
        return torch.get_num_threads() if self._of_network else 1

    @property
    def _of_network(self) -> bool:
        """Whether the language model's states are real numbers, unlike an n-gram model's."""
        return self.lm is not None and self.lm.start(1).is_floating_point()

    @cached_property
    def units(self) -> Tensor | None:
        """(W + 1,) or (C,), int64: the language model's unit for each word, or for each token."""
        if self.lm is None:
            return None
        number = {symbol: unit for unit, symbol in enumerate(self.lm.vocabulary.symbols)}
        if self.scores_words:
            assert self.lexicon is not None
            units = [number.get(word, UNK) for word in self.lexicon.words]
            if set(units) == {UNK}:
                n = len(units)
                raise InputError(f"language model: knows none of the lexicon's {n} words")
            return torch.tensor([*units, UNK])
        for token, symbol in enumerate(self.tokenizer.symbols):
            if token != BLANK and symbol not in number:
                of_words = self.lm.vocabulary.unit == "word"
                hint = "; a language model of words needs a lexicon" if of_words else ""
                raise InputError(
                    f"the language model has no unit for token {token}, {symbol!r}; expected one"
                    f" for each of the acoustic model's tokens{hint}"
                )
        return torch.tensor([number.get(symbol, UNK) for symbol in self.tokenizer.symbols])

    @cached_property
    def ahead(self) -> Tensor | None:
        """(nodes,), float64: the most that the language model may give to a word below a node.

        What it gives to a word by itself is what it gives after one that it does not know.
        """
        if not self.scores_words:
            return None
        assert self.lm is not None
        assert self.lexicon is not None
        start = self.lm.start(1)
        _, state = self.lm.score(start, torch.tensor([UNK], device=start.device))
        scores = self.lm.log_probs(state)[0].double().cpu()[self.units]
        return self.lexicon.best_below(scores.clamp(min=LEAST))
