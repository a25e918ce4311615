"""Confidences of words and whether each is right -> how well they are calibrated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr.scoring.error_rates import align_words

BINS = 15
"""Number of bins of equal mass."""

_CLOSEST = 1e-7  # confidences are kept so far from 0 and 1 in logarithms, as by sclite


class ReliabilityBin(NamedTuple):
    """Words with similar confidences."""

    confidence: float  # mean of the words' confidences
    right: float  # share of the words that are right
    words: int


def words_right(references: Sequence[str], hypotheses: Sequence[str]) -> list[np.ndarray]:
    """Whether each recognised word is right, that is, aligned with the same word.

    Substitutions and insertions are wrong. Deletions don't count, because they have no recognised
    word.

    Args:
        references: the reference texts.
        hypotheses: the recognised texts, one for each reference.

    Returns:
        right: for each hypothesis an array (words,), bool.

    Raises:
        ValueError: the numbers of references and hypotheses differ.
    """
    return [
        np.array([said == heard for said, heard in alignment if heard], dtype=bool)
        for alignment in align_words(references, hypotheses)
    ]


def reliability(
    confidences: np.ndarray, right: np.ndarray, n_bins: int = BINS
) -> list[ReliabilityBin]:
    """Group words into bins of equal mass by their confidences.

    Args:
        confidences: (words,), from 0 to 1.
        right: (words,), bool.
        n_bins: number of bins. Words with the same confidence are always in the same bin, so there
            may be fewer bins, of unequal mass.

    Returns:
        bins: in ascending order of confidence, none of them empty.

    Raises:
        ValueError: there is no word, the shapes differ, a confidence is not from 0 to 1, or
            `n_bins` is below 1.
    """
    _check(confidences, right)
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; expected 1 or more")
    _, group, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    middle_ranks = counts.cumsum() - counts / 2
    bin_of = (middle_ranks * n_bins / len(confidences)).astype(int)[group]
    members = [bin_of == number for number in np.unique(bin_of)]
    return [
        ReliabilityBin(float(confidences[own].mean()), float(right[own].mean()), int(own.sum()))
        for own in members
    ]


def calibration_error(confidences: np.ndarray, right: np.ndarray, n_bins: int = BINS) -> float:
    """Expected calibration error (ECE): mean distance of confidence and share of right words.

    The words are grouped into bins of equal mass. The distance between the mean confidence of a bin
    and its share of right words is averaged over bins, weighted by their numbers of words. With few
    words in a bin, it is above 0 by chance even for perfect confidences.

    Args:
        confidences: (words,), from 0 to 1.
        right: (words,), bool.
        n_bins: number of bins.

    Raises:
        ValueError: as for `reliability`.

    Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning";
    Guo et al. 2017, arXiv:1706.04599, equation 3, with bins of equal width, of which most are
    nearly empty when most words have a confidence near 1.
    """
    bins = reliability(confidences, right, n_bins)
    distances = [abs(some.confidence - some.right) for some in bins]
    return float(np.average(distances, weights=[some.words for some in bins]))


def normalised_cross_entropy(confidences: np.ndarray, right: np.ndarray) -> float:
    """NIST's normalised cross entropy (NCE): information that the confidences add.

    (H + sum of log(confidence) over right words + sum of log(1 - confidence) over wrong words) / H,
    where H is the entropy of as many words that are all right with the same probability, the share
    of right words.

    Args:
        confidences: (words,), from 0 to 1.
        right: (words,), bool.

    Returns:
        nce: 1 for perfect confidences, 0 if all are equal to the share of right words, and below 0
            if they are worse than that; NaN if all words are right, or all wrong, because H is 0.

    Raises:
        ValueError: as for `reliability`.

    Source: Siu et al. 1997, "Improved estimation, evaluation and applications of confidence
    measures for speech recognition"; as in NIST sclite, which also replaces confidences closer than
    1e-7 to 0 or 1.
    """
    _check(confidences, right)
    share = right.mean()
    if share in (0, 1):
        return float("nan")
    entropy = -len(right) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    probabilities = np.where(right, confidences, 1 - confidences).clip(_CLOSEST, 1 - _CLOSEST)
    return float(1 + np.log(probabilities).sum() / entropy)


def ranking_auc(confidences: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve: how often a right word has more confidence than a wrong one.

    Args:
        confidences: (words,), from 0 to 1.
        right: (words,), bool.

    Returns:
        auc: share of pairs of a right and a wrong word in which the right one has more confidence;
            equal confidences count half. NaN if all words are right, or all wrong.

    Raises:
        ValueError: as for `reliability`.

    Source: Mann and Whitney 1947; Hanley and McNeil 1982, "The meaning and use of the area under a
    receiver operating characteristic (ROC) curve".
    """
    _check(confidences, right)
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if not n_right or not n_wrong:
        return float("nan")
    _, group, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[group]  # mean ranks of ties, from 1
    return float((ranks[right].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def _check(confidences: np.ndarray, right: np.ndarray) -> None:
    if confidences.ndim != 1 or not len(confidences) or confidences.shape != right.shape:
        raise ValueError(
            f"confidences has shape {confidences.shape}, right {right.shape}; expected one of each"
            " for at least one word"
        )
    if right.dtype != bool:
        raise ValueError(f"right has type {right.dtype}; expected bool")
    if outside := [value for value in confidences.tolist() if not 0 <= value <= 1]:
        raise ValueError(f"confidences has {outside[0]}; expected numbers from 0 to 1")
