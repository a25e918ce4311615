"""log_probs -> one hypothesis, by greedy search (best path decoding)."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from asr.errors import counted
from asr.networks.ctc import checked_log_probs
from asr.search.nbest import Hypothesis, spelled
from asr.text.tokenizer import BLANK, Tokenizer, tokenizer_of


def greedy_search(
    log_probs: Tensor | np.ndarray, symbols: Sequence[str] | Tokenizer | None = None
) -> Hypothesis:
    """The tokens of the most probable alignment: repeats are merged, then blanks removed.

    >>> asr.greedy_search(recognizer.log_probs(waveform), recognizer.symbols).text

    Args:
        log_probs: (T, C), natural logs.
        symbols: (C,), the text of each token, as in `asr.beam_search`. Without it the hypothesis
            has no text.

    Returns:
        hypothesis: its `log_prob` is the alignment's, a lower bound of that of the tokens.

    Raises:
        ValueError: `log_probs` is not (T, C) or has NaN, or there are not C symbols.

    Source: Graves et al. 2006, section 3.2, best path decoding.
    """
    given = checked_log_probs(log_probs)
    # NumPy has no bfloat16
    rows = (given if given.dtype.itemsize >= 4 else given.float()).numpy(force=True)
    alignment = rows.argmax(axis=1)
    begins = np.ones(len(alignment), dtype=bool)
    begins[1:] = alignment[1:] != alignment[:-1]
    frames = np.flatnonzero(begins & (alignment != BLANK))
    tokens = tuple(alignment[frames].tolist())
    log_prob = float(rows.max(axis=1).sum(dtype=np.float64))
    hypothesis = Hypothesis(tokens, log_prob, tuple(frames.tolist()))
    if symbols is not None:
        tokenizer = tokenizer_of(symbols)
        check_symbols(tokenizer, rows.shape[1])
        (hypothesis,) = spelled([hypothesis], tokenizer)
    return hypothesis


def check_symbols(tokenizer: Tokenizer, C: int) -> None:
    """Raise ValueError if there are not C symbols."""
    if len(tokenizer.symbols) != C:
        raise ValueError(
            f"symbols has {len(tokenizer.symbols)}; log_probs has {counted(C, 'column')}"
        )
