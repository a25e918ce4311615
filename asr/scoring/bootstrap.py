"""ErrorCounts of utterances -> how far to trust a rate, or the difference of two."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring.error_rates import ErrorCounts


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Between which rates the pooled rate lies when the utterances are drawn anew.

    Args:
        counts: one for each utterance; utterances are what is drawn, with replacement.
        confidence: how much of the samples' rates lies inside, as a fraction.
        samples: number of times that as many utterances are drawn.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        low, high: fractions; the quantiles of the samples' rates, so that neither is below 0.
            One utterance alone gives an interval without width: it says nothing of others.

    Raises:
        ValueError: there are no counts, or the confidence is not between 0 and 1.

    Source: Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance
    evaluation". Kaldi's compute-wer-bootci and kaldialign take 1.96 standard deviations on both
    sides of the mean instead, and each utterance's words in place of its counts.
    """
    if not counts:
        raise ValueError("counts is empty; expected one for each utterance")
    errors, words = [count.errors for count in counts], [count.words for count in counts]
    rates = _rates(*_drawn(errors, words, samples, seed))
    return _interval(rates, confidence)


@dataclass(frozen=True)
class Gain:
    """How much lower one system's rate is than another's on the same utterances.

    Args:
        gain: the other's pooled rate less this one's; a fraction, above 0 where this one is better.
        low: lower end of the bootstrap interval over utterances.
        high: its upper end.
        p: how probable so large a gain or loss is where it is chance which of the two systems made
            which errors of an utterance.
    """

    gain: float
    low: float
    high: float
    p: float


def paired_gain(
    counts: Sequence[ErrorCounts],
    others: Sequence[ErrorCounts],
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Gain:
    """What one system gains over another, and how far to trust it.

    The interval is from a paired bootstrap: a draw takes an utterance with the errors of both
    systems, so that what makes it hard for both cancels. The p is from swapping the systems in
    utterances drawn at random, which keeps its promise for few utterances too; there the
    bootstrap's share of draws without a gain is too small. For systems trained from several seeds
    give, for each utterance, the sum of its counts over the seeds: they are the same utterances
    again, not more of them.

    Args:
        counts: of the system, one for each utterance.
        others: of the system that it is compared with, of the same utterances in the same order.
        confidence: how much of the samples' gains lies inside the interval, as a fraction.
        samples: number of times that as many utterances are drawn, and that systems are swapped.
        seed: of the draws; the same seed gives the same figures.

    Returns:
        gain: its p is at least 1 / (samples + 1), the least that so many samples can show.

    Raises:
        ValueError: there are no counts, they are of different utterances, or the confidence is not
            between 0 and 1.

    Source: Bisani and Ney 2004 for the interval, who compare by the bootstrap alone, as kaldialign
    does; Noreen 1989, "Computer-intensive methods for testing hypotheses", for the p.
    """
    if not counts:
        raise ValueError("counts is empty; expected one for each utterance")
    if len(counts) != len(others):
        raise ValueError(f"{len(counts)} counts for {len(others)} others")
    for index, (count, other) in enumerate(zip(counts, others, strict=True)):
        if count.words != other.words:
            raise ValueError(
                f"counts[{index}] is of {count.words} words, others[{index}] of {other.words};"
                " expected the same utterance"
            )
    fewer = [other.errors - count.errors for count, other in zip(counts, others, strict=True)]
    words = [count.words for count in counts]
    gains = _rates(*_drawn(fewer, words, samples, seed))
    low, high = _interval(gains, confidence)
    return Gain(
        gain=float(_rates(np.sum(fewer), np.sum(words))),
        low=low,
        high=high,
        p=_chance(np.array(fewer), samples, seed),
    )


def _chance(fewer: np.ndarray, samples: int, seed: int) -> float:
    """The p of a sum of (utterances,) differences whose signs could as well be the other."""
    generator = np.random.default_rng(seed)
    flips = (generator.integers(2, size=len(fewer), dtype=np.int8) for _ in range(samples))
    sums = np.array([fewer @ (1 - 2 * flip) for flip in flips])
    as_large = np.count_nonzero(abs(sums) >= abs(fewer.sum()))
    return (int(as_large) + 1) / (samples + 1)  # the systems as they are count among the samples


def _drawn(
    errors: list[int], words: list[int], samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's errors and words, (samples,): sums over utterances drawn with replacement."""
    generator = np.random.default_rng(seed)
    table = np.array([errors, words])
    draws = (generator.integers(len(errors), size=len(errors)) for _ in range(samples))
    sums = np.array([table.take(draw, axis=1).sum(axis=1) for draw in draws])
    return sums[:, 0], sums[:, 1]


def _rates(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors != 0, errors / words, 0.0)  # infinite without words, as `rate` is


def _interval(rates: np.ndarray, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a fraction between 0 and 1")
    tail = (1 - confidence) / 2
    # a sample without words may have an infinite rate, between which and another nothing lies
    low, high = np.quantile(rates, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
