"""Hypotheses: the output of a search, and the input of rescoring and scoring."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.errors import check_dense
from asr.text.tokenizer import Tokenizer, spelled_words

FrameScores = Tensor | np.ndarray
"""Log-probabilities, (T, C), or emissions, (T, S), of one utterance."""


class Hypothesis(NamedTuple):
    """A recognition hypothesis.

    Args:
        tokens: token ids without blanks.
        log_prob: natural log-probability of the tokens under the acoustic model, summed over the
            alignments that the search kept.
        frames: for each token, the frame of the model's output (not of the features) where it
            begins; empty if the search keeps no times.
        words: the words, if the search has a lexicon; None if the tokens spell the words.
        lm_log_prob: natural log-probability of the text and its end under the language model; 0
            without a language model.
        score: the score by which the n-best list is sorted: the weighted sum of log-probabilities,
            plus bonuses. None if it is `log_prob`.
        first_frames: for each of the words, the frame where its first token begins; empty if there
            are no frames or words.
        last_frames: the same for its last token.
    """

    tokens: tuple[int, ...]
    log_prob: float
    frames: tuple[int, ...] = ()
    words: tuple[str, ...] | None = None
    lm_log_prob: float = 0.0
    score: float | None = None
    first_frames: tuple[int, ...] = ()
    last_frames: tuple[int, ...] = ()

    @property
    def total(self) -> float:
        """The score by which an n-best list is sorted."""
        return self.log_prob if self.score is None else self.score

    @property
    def text(self) -> str:
        """The words, separated by single spaces.

        Raises:
            ValueError: the hypothesis has no words, because the search was given no symbols.
        """
        if self.words is None:
            raise ValueError(f"hypothesis {self.tokens} has no words; give the search its symbols")
        return " ".join(self.words)


def spelled(nbest: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[Hypothesis]:
    """The hypotheses, where they have no words with those that their tokens spell."""
    return [h if h.words is not None else _with_words(h, tokenizer) for h in nbest]


def _with_words(hypothesis: Hypothesis, tokenizer: Tokenizer) -> Hypothesis:
    words, frames = spelled_words(hypothesis.tokens, tokenizer), hypothesis.frames
    return hypothesis._replace(
        words=tuple(word for word, _, _ in words),
        first_frames=tuple(frames[first] for _, first, _ in words) if frames else (),
        last_frames=tuple(frames[last] for _, _, last in words) if frames else (),
    )


def checked_frames(name: str, frames: FrameScores, n_columns: int) -> np.ndarray:
    """The input of a search on the CPU, (T, n_columns), float64.

    Args:
        name: what it is called in error messages.
        frames: (T, n_columns), on any device.
        n_columns: C or S.

    Raises:
        ValueError: the shape is wrong, or a value is NaN or +inf, which no search can compare.
    """
    check_dense(name, frames)
    if isinstance(frames, Tensor):
        frames = frames.detach().to("cpu", torch.float64).numpy()
    rows = np.require(frames, np.float64, ["C", "W"])
    if rows.ndim != 2 or rows.shape[1] != n_columns:
        raise ValueError(f"{name} has shape {rows.shape}; expected (T, {n_columns})")
    if rows.size and not rows.max() < math.inf:  # NaN if any value is NaN
        raise ValueError(f"{name} has NaN or inf; expected natural logs of probabilities")
    return rows
