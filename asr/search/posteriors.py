"""nbest -> posteriors of the hypotheses and of the best one's words."""

from collections.abc import Sequence

import numpy as np

from asr.scoring.error_rates import align_words
from asr.search.nbest import Hypothesis


def hypothesis_posteriors(nbest: Sequence[Hypothesis], scale: float = 1.0) -> np.ndarray:
    """The share of each hypothesis in the probability of the n-best list.

    Args:
        nbest: hypotheses, at least one with a finite total.
        scale: factor of the totals; below 1 it makes the probabilities more equal. An HMM's totals
            need a small one, because neighbouring frames are counted as independent.

    Returns:
        posteriors: (hypotheses,), the softmax of `scale` times the totals.

    Raises:
        ValueError: no total is finite, or one is NaN or +inf; or `scale` is not above 0.
    """
    totals = np.array([hypothesis.total for hypothesis in nbest], dtype=np.float64)
    if not np.isfinite(totals.max(initial=-np.inf)):
        raise ValueError(f"the nbest has the totals {totals.tolist()}; expected a finite one")
    if not 0 < scale < np.inf:
        raise ValueError(f"scale is {scale}; expected a number above 0")
    weights = np.exp(scale * (totals - totals.max()))
    return weights / weights.sum()


def word_matches(nbest: Sequence[Hypothesis]) -> np.ndarray:
    """Which hypotheses have the words of the best one, at the same place.

    Each hypothesis is aligned with the best one by the fewest errors.

    Args:
        nbest: hypotheses with their words, best first.

    Returns:
        matches: (hypotheses, words of the best one), bool.

    Raises:
        ValueError: a hypothesis has no words, or the list is empty.
    """
    if not nbest:
        raise ValueError("the nbest is empty; expected at least one hypothesis")
    texts = [hypothesis.text for hypothesis in nbest]
    alignments = align_words([texts[0]] * len(texts), texts)
    rows = [[best == other for best, other in pairs if best] for pairs in alignments]
    return np.array(rows, dtype=bool)


def word_posteriors(nbest: Sequence[Hypothesis], scale: float = 1.0) -> np.ndarray:
    """Posterior of each word of the best hypothesis: the share of hypotheses that have it.

    The posteriors of all hypotheses with the word at the same place are added up.

    Args:
        nbest: hypotheses with their words, best first.
        scale: factor of the totals; see `hypothesis_posteriors`.

    Returns:
        posteriors: (words of the best hypothesis,), above 0; 1 for words that all have.

    Raises:
        ValueError: as for `hypothesis_posteriors` and `word_matches`.

    Source: Wessel et al. 2001, "Confidence measures for large vocabulary continuous speech
    recognition", on n-best lists.
    """
    return hypothesis_posteriors(nbest, scale) @ word_matches(nbest)
