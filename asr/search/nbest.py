"""Hypotheses: the output of a search, and the input of rescoring and scoring."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """A recognition hypothesis.

    Args:
        tokens: token ids without blanks.
        log_prob: natural log-probability of the tokens under the acoustic model, summed over the
            alignments that the search kept.
        frames: for each token, the frame of the model's output (not of the features) where it
            begins; empty if the search keeps no times.
        words: the words, if the search has a lexicon; None if the tokens spell the words.
        lm_log_prob: natural log-probability of the text and its end under the language model; 0
            without a language model.
        score: the score by which the n-best list is sorted: the weighted sum of log-probabilities,
            plus bonuses. None if it is `log_prob`.
    """

    tokens: tuple[int, ...]
    log_prob: float
    frames: tuple[int, ...] = ()
    words: tuple[str, ...] | None = None
    lm_log_prob: float = 0.0
    score: float | None = None

    @property
    def total(self) -> float:
        """The score by which an n-best list is sorted."""
        return self.log_prob if self.score is None else self.score

    @property
    def text(self) -> str:
        """The words, separated by single spaces.

        Raises:
            ValueError: the hypothesis has no words, because the search was given no symbols.
        """
        if self.words is None:
            raise ValueError(f"hypothesis {self.tokens} has no words; give the search its symbols")
        return " ".join(self.words)


def refuse_nan(name: str, log_probs: Tensor, input_lengths: Tensor) -> None:
    """Check that log-probabilities have neither NaN nor +inf, which no search can compare.

    Args:
        name: the argument's name, for the error message.
        log_probs: (T, N, C); padding may have any values.
        input_lengths: (N,), int64.

    Raises:
        ValueError: a value is NaN or +inf.
    """
    if not log_probs.numel():
        return
    best = log_probs.amax(2)  # NaN if any value of the frame is NaN
    for n, length in enumerate(input_lengths.tolist()):
        if not (best[:length, n] < math.inf).all():
            raise ValueError(f"{name} has NaN or inf in utterance {n}; expected log-probabilities")
