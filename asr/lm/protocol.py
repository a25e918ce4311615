"""units -> log-probabilities: what every language model can do, of whatever kind."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from asr.lm.vocabulary import Vocabulary


class LanguageModel(Protocol):
    """What search, rescoring and the bench ask of a language model, of whatever kind.

    A state is what the model remembers of the units so far: one tensor whose first dimension is
    that of the hypotheses, so that states are picked, repeated and joined by indexing.
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The units."""

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at a sentence's beginning, once for each hypothesis."""

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,) natural log-probabilities of the next units, (rows,), and the states after."""

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V): the natural log-probability of every next unit."""

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence (U + 1,) natural log-probabilities: of its units, then of its end."""

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end."""


def text_log_prob(lm: LanguageModel, text: str) -> float:
    """The natural log-probability of a sentence with its end; `log_prob` of every model.

    Args:
        lm: any language model.
        text: a sentence, normalised as the model's own texts were; what the model does not know
            has the probability of `<unk>`.

    Raises:
        ValueError: it is no text.
    """
    if not isinstance(text, str):
        raise ValueError(f"text is {text!r}; expected a sentence")
    (log_probs,) = lm.sentence_log_probs([lm.vocabulary.encode(text)])
    return float(log_probs.sum(dtype=np.float64))
