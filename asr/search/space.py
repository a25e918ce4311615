"""Settings, lexicon, language model and phrases -> one value with everything a search needs."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real

import numpy as np
import torch

from asr.errors import InputError, check_size, counted
from asr.lm.load import ExtendedVocabularyLM
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK
from asr.search.lexicon_tree import Trie
from asr.search.phrases import PhraseBoosts
from asr.text.tokenizer import BLANK, Tokenizer

LEAST = -1e4
"""Lower bound of look-ahead scores in nats: they are subtracted again, so -inf would give NaN."""

MAX_BEAM_WIDTH = 10_000
"""Maximum beam width; with it, the search of an utterance takes some GB of memory."""


_KINDS = [
    *((name, Integral, "a whole number") for name in ("beam_width", "n_best")),
    *((name, Real, "nats") for name in ("token_floor", "score_floor", "word_bonus")),
    *((name, Real, "a number") for name in ("blank_skip", "lm_weight")),
]


@dataclass(frozen=True)
class BeamSettings:
    """Settings of beam search: pruning and weights.

    Args:
        beam_width: number of prefixes kept after every frame.
        n_best: largest number of hypotheses in the n-best list; it is cut to `beam_width`.
        token_floor: in nats; in each frame, only tokens with at least this log-probability, or at
            least that of blank, extend a prefix. In a frame without such a token, all alignments
            have blank. -inf for off.
        score_floor: in nats, 0 or less; beam pruning: an extension is dropped if its score, before
            the language model reads its new word, is that far below the best prefix that stays.
            -inf for off.
        blank_skip: in frames where blank has at least this probability, all alignments have blank;
            1 for off.
        recombine: keep only the best of the prefixes with the same last token that are in the same
            state of the lexicon, of an n-gram model of words and of the phrases. This leaves room
            in the beam for others. At the end the dropped prefixes are added again, each continued
            like the kept one.
        lm_weight: scale of the language model's log-probability.
        word_bonus: nats added per word. Words are those of the lexicon; without a lexicon, those
            between separators, or those that begin with a word-initial piece; with neither, every
            token is a word.
    """

    beam_width: int = 50
    n_best: int = 50
    token_floor: float = -8.0
    score_floor: float = -15.0
    blank_skip: float = 1.0
    recombine: bool = True
    lm_weight: float = 0.0
    word_bonus: float = 0.0

    def __post_init__(self) -> None:
        for name, kind, expected in _KINDS:
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InputError(f"{name} is {value!r}; expected {expected}")
        for name in ("beam_width", "n_best"):
            check_size(name, getattr(self, name), 1, MAX_BEAM_WIDTH)
        for name in ("token_floor", "score_floor"):
            if not getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected nats, 0 or less")
        if not 0 < self.blank_skip <= 1:
            raise InputError(f"blank_skip is {self.blank_skip}; expected more than 0, at most 1")
        if not 0 <= self.lm_weight < math.inf:
            raise InputError(f"lm_weight is {self.lm_weight}; expected 0 or more")
        if not math.isfinite(self.word_bonus):
            raise InputError(f"word_bonus is {self.word_bonus}; expected nats")


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Everything that a search needs besides log_probs.

    With a tokenizer of jamo, only tokens that form whole syllables are found. If no prefix of the
    beam ends with a whole syllable, the text completes the last one; see `asr.text.jamo.compose`.

    The score of a hypothesis is its acoustic log-probability + lm_weight * the language model's
    log-probability, with the sentence's end, + word_bonus * words + boosts.

    Args:
        tokenizer: the acoustic model's tokenizer.
        settings: pruning and weights.
        lexicon: the words that can be recognised; None for anything that the tokens can spell.
        lm: a language model, on any device. It scores words if its units are words
            and there is a lexicon; otherwise tokens, by its units with the same symbols.
        boosts: phrases to make more likely.

    Raises:
        InputError: the language model has no unit for a token, or knows no word of the lexicon.
        ValueError: lexicon or boosts were built for another number of tokens.
    """

    tokenizer: Tokenizer
    settings: BeamSettings = field(default_factory=BeamSettings)
    lexicon: Trie | None = None
    lm: LanguageModel | None = None
    boosts: PhraseBoosts | None = None

    def __post_init__(self) -> None:
        C = len(self.tokenizer.symbols)
        if self.lexicon is not None and (found := self.lexicon.children.shape[1]) != C:
            raise ValueError(f"lexicon is of {counted(found, 'token')}; expected {C}")
        if self.boosts is not None and (found := self.boosts.after.shape[1]) != C:
            raise ValueError(f"boosts are of {counted(found, 'token')}; expected {C}")
        _ = self.units  # raises InputError here, not in the middle of a search

    @property
    def has_other_scores(self) -> bool:
        """Whether there is a lexicon, a language model, phrases or a word bonus."""
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
        """Whether prefixes are recombined: this needs a model of words whose states are integers.

        The states of a neural network are real numbers, which are never the same.
        """
        if self.lm is None or not self.scores_words or not self.settings.recombine:
            return False
        return not self.lm.start(1).is_floating_point()

    @cached_property
    def units(self) -> np.ndarray:
        """The language model's unit for each item, int64: for the lexicon's words, then the end; or
        for each token, where the unit of BLANK is the end. All are 0 without a language model.
        """
        if self.lm is None:
            return np.zeros(len(self.tokenizer.symbols), np.int64)
        number = {symbol: unit for unit, symbol in enumerate(self.lm.vocabulary.symbols)}
        if self.lexicon is not None and self.scores_words:
            units = [number.get(word, UNK) for word in self.lexicon.words]
            added = self.lm.added if isinstance(self.lm, ExtendedVocabularyLM) else frozenset()
            if all(unit == UNK or unit in added for unit in units):
                n = counted(len(units), "word")
                raise InputError(f"language model: knows none of the lexicon's {n}")
            return np.array([*units, EOS])
        for token, symbol in enumerate(self.tokenizer.symbols):
            if token != BLANK and symbol not in number:
                of_words = self.lm.vocabulary.unit == "word"
                hint = "; a language model of words needs a lexicon" if of_words else ""
                raise InputError(
                    f"the language model has no unit for token {token}, {symbol!r}; expected one"
                    f" for each of the acoustic model's tokens{hint}"
                )
        return np.array([EOS, *(number[symbol] for symbol in self.tokenizer.symbols[1:])])

    @cached_property
    def look_ahead(self) -> np.ndarray | None:
        """(nodes,), float64: look-ahead, the best log-probability of a word at or below each node.

        It uses the language model's log-probabilities after an unknown word, as unigrams.
        """
        if self.lm is None or self.lexicon is None or not self.scores_words:
            return None
        start = self.lm.start(1)
        _, state = self.lm.score(start, torch.tensor([UNK], device=start.device))
        scores = self.lm.log_probs(state)[0].double().cpu().numpy()[self.units[:-1]]
        return self.lexicon.best_below(scores.clip(min=LEAST))
