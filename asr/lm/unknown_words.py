"""A language model of words, and words that it does not know -> one that knows them too."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from asr.lm.vocabulary import UNK, LanguageModel, Vocabulary, text_log_prob


def with_words(lm: LanguageModel, words: Iterable[str]) -> LanguageModel:
    """The model of words with a unit for each of the words that may be asked for.

    Its `<unk>` stands for all unknown words together. A search among words, or a list that it gave,
    has only those of its lexicon; each of them that the model does not know has an equal share, so
    that a rare word that the model does know is not beaten by all that it has never seen.

    Args:
        lm: any; one whose units are not words is given back, and so is one that knows all.
        words: of the lexicon.
    """
    if lm.vocabulary.unit != "word":
        return lm
    known = set(lm.vocabulary.symbols)
    new = [word for word in dict.fromkeys(words) if word not in known]
    return ExtendedVocabularyLM(lm, new) if new else lm


class ExtendedVocabularyLM:
    """A language model that shares its `<unk>` out among more words.

    Its own units keep their numbers and `<unk>` its probability: the sum over all units is more
    than 1 by that, which no text has a part in where all words are known.

    Args:
        lm: of words.
        words: that it does not know, each once; at least one.
    """

    def __init__(self, lm: LanguageModel, words: Sequence[str]) -> None:
        self.lm = lm
        self.n_known = len(lm.vocabulary.symbols)
        self.share = -math.log(len(words))
        self._words = tuple(words)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's own units, then the words."""
        own = self.lm.vocabulary
        return replace(own, symbols=(*own.symbols, *self._words))

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at a sentence's beginning."""
        return self.lm.start(rows)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,) natural log-probabilities of the next units, and the states after."""
        new = units >= self.n_known
        log_probs, after = self.lm.score(state, units.masked_fill(new, UNK))
        return torch.where(new, log_probs + self.share, log_probs), after

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V + words): the natural log-probability of every next unit."""
        own = self.lm.log_probs(state)
        new = own[:, UNK, None] + self.share
        return torch.cat((own, new.expand(-1, len(self._words))), 1)

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence (U + 1,) natural log-probabilities: of its units, then of its end."""
        new = [np.array([*sentence, UNK]) >= self.n_known for sentence in sentences]
        own = [
            np.where(where[:-1], UNK, sentence).tolist()
            for where, sentence in zip(new, sentences, strict=True)
        ]
        found = self.lm.sentence_log_probs(own)
        return [log_probs + self.share * where for log_probs, where in zip(found, new, strict=True)]

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end; see `text_log_prob`."""
        return text_log_prob(self, text)
