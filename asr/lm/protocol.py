"""units -> log-probabilities: the methods that all language models have."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from asr.lm.vocabulary import Vocabulary
from asr.text.sentences import without_marks


class LanguageModel(Protocol):
    """The methods of a language model that search, rescoring and `asr.lm.bench` use.

    A state is the model's memory of the units so far. It is one tensor with a row for each
    hypothesis, so that states can be selected, repeated and concatenated by indexing.
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The units."""

    def start(self, rows: int) -> Tensor:
        """(rows, ...): the state at the start of a sentence, for each hypothesis."""

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,): natural log-probabilities of the next units, (rows,); and the new states."""

    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V): natural log-probabilities of all next units."""

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence, (U + 1,): natural log-probabilities of its units and of its end."""

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end."""


def text_log_prob(lm: LanguageModel, text: str) -> float:
    """The natural log-probability of a sentence with its end; all models' `log_prob` uses it.

    Args:
        lm: any language model.
        text: a sentence. It is normalised like the model's training texts; `<s>` at its beginning
            and `</s>` at its end are removed; unknown units have the probability of `<unk>`.

    Raises:
        InputError: the text has `<s>` or `</s>` among its words.
        ValueError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise ValueError(f"text is {text!r}; expected a sentence")
    (log_probs,) = lm.sentence_log_probs([lm.vocabulary.encode(without_marks(text))])
    return float(log_probs.sum(dtype=np.float64))
