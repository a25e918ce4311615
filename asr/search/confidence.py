"""Acoustic confidences and posteriors of words -> calibrated confidences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.search.nbest import Hypothesis
from asr.search.posteriors import hypothesis_posteriors, word_matches, word_posteriors

SCALES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Factors of the totals that `fit_confidence` tries; an HMM needs smaller ones than CTC."""

PENALTY = 1.0
"""Half of it times the squared weights is added to the loss, as scikit-learn's C=1 does."""

_TOLERANCE = 1e-10  # nats
_CLOSEST = 1e-4  # nearer to 0 or 1, development data of thousands of words can't tell a difference


@dataclass(frozen=True)
class ConfidenceWeights:
    """Weights of a logistic regression for the probability that a recognised word is right.

    Args:
        bias: log odds of a word with both evidences at 0.5.
        acoustic: weight of the log odds of the acoustic confidence.
        posterior: weight of the log odds of the word's posterior in the n-best list.
        scale: factor of the totals in the posterior, above 0.
    """

    bias: float
    acoustic: float
    posterior: float
    scale: float

    def calibrated(self, acoustic: np.ndarray, nbest: Sequence[Hypothesis]) -> np.ndarray:
        """Calibrated confidences of the best hypothesis's words.

        Args:
            acoustic: (words,), their acoustic confidences, from 0 to 1.
            nbest: hypotheses with their words, best first.

        Returns:
            confidences: (words,), between 0 and 1.

        Raises:
            ValueError: as for `word_posteriors`.
        """
        if not len(acoustic):
            return np.empty(0)
        evidence = _evidence(acoustic, word_posteriors(nbest, self.scale))
        return _probabilities(evidence, np.array([self.bias, self.acoustic, self.posterior]))


def fit_confidence(
    nbests: Sequence[Sequence[Hypothesis]],
    acoustic: Sequence[np.ndarray],
    right: Sequence[np.ndarray],
) -> ConfidenceWeights:
    """Fit the weights on development data; the scale is the one with the smallest loss.

    Args:
        nbests: one list for each utterance, of hypotheses with their words, best first.
        acoustic: for each list the acoustic confidences of the best hypothesis's words, (words,).
        right: for each list whether these words are right, (words,), bool.

    Raises:
        ValueError: the numbers of lists or words differ, or there is no word.
    """
    lists = [some for some in zip(nbests, acoustic, right, strict=True) if len(some[1])]
    if not lists:
        raise ValueError("the best hypotheses have no word; expected some to fit on")
    matches = [word_matches(nbest) for nbest, _, _ in lists]
    confidences = np.concatenate([own for _, own, _ in lists])
    is_right = np.concatenate([own for _, _, own in lists])
    found = []
    for scale in SCALES:
        shares = [hypothesis_posteriors(nbest, scale) for nbest, _, _ in lists]
        posteriors = [share @ match for share, match in zip(shares, matches, strict=True)]
        evidence = _evidence(confidences, np.concatenate(posteriors))
        loss, weights = fit_logistic(evidence, is_right)
        bias, on_acoustic, on_posterior = weights.tolist()
        found.append((loss, ConfidenceWeights(bias, on_acoustic, on_posterior, scale)))
    return min(found, key=lambda fitted: fitted[0])[1]


def fit_logistic(evidence: np.ndarray, right: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit a logistic regression by Newton's method, with a penalty on large weights.

    With n right words, a right word counts as right with the probability (n + 1) / (n + 2), and
    wrong words likewise. So the fit is finite even if all words are right, and then gives all of
    them this probability.

    Args:
        evidence: (words, E).
        right: (words,), bool.

    Returns:
        loss: in nats, with the penalty.
        weights: (1 + E,), the bias, which has no penalty, and a weight for each evidence.

    Raises:
        ValueError: there is no word, the numbers of words differ, or an evidence is not finite.

    Source: Platt 1999, "Probabilistic outputs for support vector machines", section 2.2; Hastie et
    al. 2009, "The elements of statistical learning", section 4.4.1.
    """
    if not len(evidence) == len(right) > 0:
        raise ValueError(
            f"evidence is of {len(evidence)} words, right of {len(right)}; expected some"
        )
    if not np.isfinite(evidence).all():
        raise ValueError("evidence has NaN or inf; expected finite log odds")
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    targets = np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    inputs = np.column_stack([np.ones(len(evidence)), evidence])
    penalty = np.array([0.0, *[PENALTY] * evidence.shape[1]])

    def loss_of(weights: np.ndarray) -> float:
        log_odds = inputs @ weights
        entropy = np.logaddexp(0, log_odds) - targets * log_odds
        return float(entropy.sum() + (penalty * weights**2).sum() / 2)

    weights = np.zeros(inputs.shape[1])
    loss = loss_of(weights)
    while True:
        probabilities = _probabilities(evidence, weights)
        gradient = inputs.T @ (probabilities - targets) + penalty * weights
        curvature = inputs.T * (probabilities * (1 - probabilities)) @ inputs + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        decrease = gradient @ step  # twice what a quadratic loss would lose
        if decrease < _TOLERANCE:
            return loss, weights
        while (shorter := loss_of(weights - step)) > loss - decrease / 4:
            step, decrease = step / 2, decrease / 2
            if decrease < _TOLERANCE:  # only rounding errors are left
                return loss, weights
        weights, loss = weights - step, shorter


def _evidence(acoustic: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    """(words, 2), the log odds of both."""
    shares = np.stack([acoustic, posteriors], axis=1).clip(_CLOSEST, 1 - _CLOSEST)
    return np.log(shares / (1 - shares))


def _probabilities(evidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -(weights[0] + evidence @ weights[1:])))
