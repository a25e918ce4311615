"""log_probs -> the texts that were probably said."""

import numpy as np

from asr.search.nbest import Hypothesis
from asr.text.tokenizer import BLANK


def greedy_search(log_probs: np.ndarray) -> Hypothesis:
    """The tokens of the single most probable alignment: repeats merged, then blanks dropped.

    Args:
        log_probs: (T, C), natural logs.

    Returns:
        hypothesis: its `log_prob` is that of the alignment, a lower bound of the tokens' own.

    Raises:
        ValueError: `log_probs` is not (T, C), or has NaN.

    Source: Graves et al. 2006, section 3.2, best path decoding.
    """
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs has shape {log_probs.shape}; expected (T, C) of one utterance")
    best = log_probs.max(axis=1)
    if not (best < np.inf).all():
        raise ValueError("log_probs has NaN or inf; expected log-probabilities")
    alignment = log_probs.argmax(axis=1)
    begins = np.ones(len(alignment), dtype=bool)
    begins[1:] = alignment[1:] != alignment[:-1]
    frames = np.flatnonzero(begins & (alignment != BLANK))
    return Hypothesis(
        tokens=tuple(alignment[frames].tolist()),
        log_prob=float(best.sum(dtype=np.float64)),
        frames=tuple(frames.tolist()),
    )
