"""The values that search gives and rescoring and scoring take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """What may have been said.

    Args:
        tokens: ids without blanks.
        log_prob: natural logarithm of the probability that the acoustic model gives the tokens, as
            far as the search has added it up.
        frames: the model's frame (not the features') at which each token begins; empty where
            the search keeps no times.
        words: what the tokens spell, where the search knows words; None where the tokens say it.
        lm_log_prob: natural logarithm of the language model's probability of the hypothesis with
            its end; 0 where there is none.
        score: what a list is ordered by: the log-probabilities with their weights, and bonuses.
            None where it is `log_prob`.
    """

    tokens: tuple[int, ...]
    log_prob: float
    frames: tuple[int, ...] = ()
    words: tuple[str, ...] | None = None
    lm_log_prob: float = 0.0
    score: float | None = None

    @property
    def total(self) -> float:
        """What a list is ordered by."""
        return self.log_prob if self.score is None else self.score

    @property
    def text(self) -> str:
        """The words with one blank between them.

        Raises:
            ValueError: the search that gave the hypothesis knew no symbols.
        """
        if self.words is None:
            raise ValueError(f"hypothesis {self.tokens} has no words; give the search its symbols")
        return " ".join(self.words)
