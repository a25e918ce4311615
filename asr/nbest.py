"""The values that search gives and rescoring and scoring take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """What may have been said.

    Args:
        tokens: ids without blanks.
        log_prob: natural logarithm of the probability the search gives it.
        frames: the model's frame (not the features') at which each token begins; empty where
            the search keeps no times.
    """

    tokens: tuple[int, ...]
    log_prob: float
    frames: tuple[int, ...] = ()
