"""log_probs -> one hypothesis, by greedy search (best path decoding)."""

import numpy as np

from asr.search.nbest import Hypothesis
from asr.text.tokenizer import BLANK


def greedy_search(log_probs: np.ndarray) -> Hypothesis:
    """The tokens of the most probable alignment: repeats are merged, then blanks removed.

    Args:
        log_probs: (T, C), natural logs.

    Returns:
        hypothesis: its `log_prob` is that of the alignment, a lower bound of that of the tokens.

    Raises:
        ValueError: `log_probs` is not (T, C).

    Source: Graves et al. 2006, section 3.2, best path decoding.
    """
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs has shape {log_probs.shape}; expected (T, C) of one utterance")
    alignment = log_probs.argmax(axis=1)
    begins = np.ones(len(alignment), dtype=bool)
    begins[1:] = alignment[1:] != alignment[:-1]
    frames = np.flatnonzero(begins & (alignment != BLANK))
    return Hypothesis(
        tokens=tuple(alignment[frames].tolist()),
        log_prob=float(log_probs.max(axis=1).sum(dtype=np.float64)),
        frames=tuple(frames.tolist()),
    )
