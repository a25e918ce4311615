"""ErrorCounts per utterance -> confidence interval of a rate, and significance of a difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.errors import counted
from asr.scoring.error_rates import ErrorCounts


def bootstrap_interval(
    counts: Sequence[ErrorCounts],
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap confidence interval of the pooled error rate.

    Args:
        counts: one for each utterance. Each sample draws as many utterances with replacement.
        confidence: the fraction of the samples' rates inside the interval.
        samples: number of samples.
        seed: of the random samples; the same seed gives the same interval.

    Returns:
        low, high: fractions; quantiles of the samples' rates, never below 0. A single utterance
            gives an interval of zero width, which means nothing.

    Raises:
        ValueError: there are no counts, the confidence is not between 0 and 1, or there are no
            samples.

    Source: Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance
    evaluation". Kaldi's compute-wer-bootci and kaldialign instead take 1.96 standard deviations
    on both sides of the mean.
    """
    if not counts:
        raise ValueError("counts is empty; expected one for each utterance")
    errors, words = [count.errors for count in counts], [count.words for count in counts]
    return ratio_interval(errors, words, confidence, samples, seed)


def ratio_interval(
    parts: Sequence[int],
    wholes: Sequence[int],
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap confidence interval of sum(parts) / sum(wholes); see `bootstrap_interval`.

    Args:
        parts: one count for each unit, such as an utterance.
        wholes: the counts that they are divided by, for the same units.
        confidence: the fraction of the samples' ratios inside the interval.
        samples: number of samples, each of as many units, drawn with replacement.
        seed: of the random samples.

    Returns:
        low, high: quantiles of the samples' ratios; a ratio is 0 if its parts are.

    Raises:
        ValueError: there are no parts, the confidence is not between 0 and 1, or there are no
            samples.
    """
    if not parts:
        raise ValueError("parts is empty; expected a count for each unit")
    _check_samples(samples)
    return _interval(_rates(*_drawn(parts, wholes, samples, seed)), confidence)


@dataclass(frozen=True)
class Gain:
    """How much lower the error rate of one system is than another's on the same utterances.

    Args:
        gain: the other system's pooled rate minus this one's, a fraction; positive if this system
            is better.
        low: lower end of the bootstrap interval over utterances.
        high: its upper end.
        p: two-sided p-value of the gain under the hypothesis that the systems are exchangeable in
            each utterance.
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
    """Difference between the error rates of two systems, with its interval and p-value.

    The interval is a paired bootstrap: each draw takes an utterance with the errors of both
    systems, so the difficulty of the utterance cancels. The p-value is from a permutation test
    that swaps the systems in random utterances. It also holds for few utterances, where the
    bootstrap's fraction of samples without a gain is too small. For systems trained with several
    seeds, sum the counts of each utterance over the seeds: more seeds are not more utterances.

    Args:
        counts: of the system, one for each utterance.
        others: of the system to compare with, for the same utterances in the same order.
        confidence: the fraction of the samples' gains inside the interval.
        samples: number of bootstrap samples, and of permutations.
        seed: of the random samples; the same seed gives the same results.

    Returns:
        gain: its p is at least 1 / (samples + 1).

    Raises:
        ValueError: there are no counts, they are for different utterances, the confidence is not
            between 0 and 1, or there are no samples.

    Source: Bisani and Ney 2004 for the interval (they and kaldialign also compare systems by the
    bootstrap); Noreen 1989, "Computer-intensive methods for testing hypotheses", for the p-value.
    """
    if not counts:
        raise ValueError("counts is empty; expected one for each utterance")
    _check_samples(samples)
    if len(counts) != len(others):
        raise ValueError(
            f"counts has {counted(len(counts), 'utterance')}, others {len(others)};"
            " expected the same number"
        )
    for index, (count, other) in enumerate(zip(counts, others, strict=True)):
        if count.words != other.words:
            raise ValueError(
                f"counts[{index}] has {counted(count.words, 'word')}, others[{index}]"
                f" {other.words};"
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


_BLOCK = 100_000
"""Maximum number of utterances drawn at once, unless a single sample has more."""


def _chance(fewer: np.ndarray, samples: int, seed: int) -> float:
    """Two-sided p-value of a sum of (utterances,) differences under random sign flips."""
    generator = np.random.default_rng(seed)
    flips = (generator.integers(2, size=len(fewer), dtype=np.int8) for _ in range(samples))
    sums = np.array([fewer @ (1 - 2 * flip) for flip in flips])
    as_large = np.count_nonzero(abs(sums) >= abs(fewer.sum()))
    return (int(as_large) + 1) / (samples + 1)  # the observed assignment counts as a sample


def _drawn(
    errors: Sequence[int], words: Sequence[int], samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of each sample, (samples,): sums over utterances drawn with replacement."""
    generator = np.random.default_rng(seed)
    table = np.array([errors, words])
    block = max(1, _BLOCK // len(errors))
    sums = []
    for first in range(0, samples, block):
        shape = min(block, samples - first), len(errors)
        draws = generator.integers(len(errors), size=shape)
        sums.append(table.take(draws, axis=1).sum(axis=2))
    found = np.concatenate(sums, axis=1)
    return found[0], found[1]


def _rates(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            errors != 0, errors / words, 0.0
        )  # infinite without words, as `ErrorCounts.rate`


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected 1 or more")


def _interval(rates: np.ndarray, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a fraction between 0 and 1")
    tail = (1 - confidence) / 2
    # a rate may be infinite, so quantiles can't be interpolated
    low, high = np.quantile(rates, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
