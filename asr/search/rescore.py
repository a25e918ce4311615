"""nbest -> nbest, re-ordered by exact log-probabilities and language models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.lm.protocol import LanguageModel
from asr.networks.ctc import ctc_loss
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.search.nbest import Hypothesis
from asr.text.tokenizer import Tokenizer

BATCH = 32
"""Hypotheses whose exact log-probability is computed at once: the loss takes memory for each."""

NEVER = -1e30
"""Stands for the logarithm of 0, so that a weight of 0 takes nothing from it."""


@dataclass(frozen=True)
class RescoreWeights:
    """What a hypothesis' score is made of, besides its acoustic log-probability.

    Args:
        lm_weights: scale of each language model's log-probability.
        word_bonus: nats added per word.

    Raises:
        ValueError: one of them is infinite or no number.
    """

    lm_weights: tuple[float, ...]
    word_bonus: float

    def __post_init__(self) -> None:
        if not np.isfinite([*self.lm_weights, self.word_bonus]).all():
            raise ValueError(
                f"lm_weights is {self.lm_weights}, word_bonus {self.word_bonus}; expected numbers"
            )


def text_of(hypothesis: Hypothesis, tokenizer: Tokenizer) -> str:
    """The words of a hypothesis, or what its tokens spell, with one blank between words."""
    if hypothesis.words is not None:
        return " ".join(hypothesis.words)
    return " ".join(tokenizer.decode(hypothesis.tokens).split())


def spelled(nbest: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[Hypothesis]:
    """The hypotheses with their words, which all that follows here compares and counts."""
    return [replace(h, words=tuple(text_of(h, tokenizer).split())) for h in nbest]


def exact_log_probs(
    log_probs: Tensor | np.ndarray, nbest: Sequence[Hypothesis]
) -> list[Hypothesis]:
    """A CTC search's hypotheses with their exact log-probabilities, each text once.

    What a search has added up is a bound, lower the more alignments it has dropped. Hypotheses of
    the same words by different tokens (pronunciations, two blanks instead of one) become one with
    the sum of their probabilities: were they kept apart, a text that can be said in two ways
    would lose to one that is less probable than both together.

    Args:
        log_probs: (T, C), natural logs; sums are of its precision.
        nbest: with their words.

    Returns:
        nbest: best first, and ordered by `log_prob` alone. Of several hypotheses that became one,
            tokens and frames are those of the most probable.

    Raises:
        ValueError: `log_probs` is not (T, C), or a hypothesis has no words or a token beyond C.

    Source: Graves et al. 2006, "Connectionist temporal classification", equation 8.
    """
    log_probs = torch.as_tensor(log_probs)
    if log_probs.ndim != 2:
        shape = tuple(log_probs.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    batches = [nbest[start : start + BATCH] for start in range(0, len(nbest), BATCH)]
    losses = [loss for batch in batches for loss in _losses(log_probs, batch)]
    exact = [replace(h, log_prob=-loss) for h, loss in zip(nbest, losses, strict=True)]
    return merged(exact)


def merged(nbest: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Each text once, with the sum of the probabilities of its hypotheses.

    Args:
        nbest: with their words and acoustic log-probabilities.

    Returns:
        nbest: best first, and ordered by `log_prob` alone. Of several hypotheses that became one,
            tokens and frames are those of the most probable.

    Raises:
        ValueError: a hypothesis has no words.
    """
    found: dict[tuple[str, ...], Hypothesis] = {}
    acoustic = [replace(hypothesis, score=None) for hypothesis in nbest]
    for hypothesis in sorted(acoustic, key=lambda h: -h.log_prob):
        words = _words(hypothesis)
        if words in found:
            both = np.logaddexp(found[words].log_prob, hypothesis.log_prob)
            found[words] = replace(found[words], log_prob=float(both))
        else:
            found[words] = hypothesis
    return sorted(found.values(), key=lambda h: -h.log_prob)


def united(nbest: Sequence[Hypothesis], other: Sequence[Hypothesis]) -> list[Hypothesis]:
    """The texts of both lists of an utterance, each once, with the larger of its probabilities.

    Args:
        nbest: of one search, each text once, with words and acoustic log-probabilities.
        other: likewise, of another search.

    Returns:
        nbest: best first, by `log_prob`.

    Raises:
        ValueError: a hypothesis has no words.
    """
    found: dict[tuple[str, ...], Hypothesis] = {}
    for hypothesis in sorted([*nbest, *other], key=lambda h: -h.log_prob):
        found.setdefault(_words(hypothesis), hypothesis)
    return list(found.values())


def _losses(log_probs: Tensor, nbest: Sequence[Hypothesis]) -> list[float]:
    T, C = log_probs.shape
    targets = [torch.tensor(hypothesis.tokens, dtype=torch.int64) for hypothesis in nbest]
    return ctc_loss(
        log_probs[:, None].expand(T, len(nbest), C),
        pad_sequence(targets, batch_first=True),
        torch.full((len(nbest),), T),
        torch.tensor([len(tokens) for tokens in targets]),
    ).tolist()


def lm_log_probs(
    nbests: Sequence[Sequence[Hypothesis]], lms: Sequence[LanguageModel]
) -> list[np.ndarray]:
    """What each language model says of each hypothesis.

    Each text is asked for once, all lists in one call, so that a recurrent model can batch them.

    Args:
        nbests: one list for each utterance, of hypotheses with their words.
        lms: each of its own vocabulary.

    Returns:
        lm_log_probs: for each list (hypotheses, language models), float64: natural logarithms of
            the probability of the whole text with its end.

    Raises:
        ValueError: a hypothesis has no words.
    """
    texts = [[" ".join(_words(hypothesis)) for hypothesis in nbest] for nbest in nbests]
    rows = {text: row for row, text in enumerate(dict.fromkeys(t for some in texts for t in some))}
    table = np.empty((len(rows), len(lms)))
    for column, lm in enumerate(lms):
        found = lm.sentence_log_probs([lm.vocabulary.encode(text) for text in rows])
        table[:, column] = [log_probs.sum(dtype=np.float64) for log_probs in found]
    return [table[[rows[text] for text in some]].reshape(len(some), len(lms)) for some in texts]


def rescore(
    nbest: Sequence[Hypothesis], lm_log_probs: np.ndarray, weights: RescoreWeights
) -> list[Hypothesis]:
    """The list re-ordered by log_prob + lm_weights * lm_log_probs + word_bonus * words.

    Args:
        nbest: with their words; `log_prob` is what the acoustic model says, be it CTC or an HMM.
        lm_log_probs: (hypotheses, language models), from `lm_log_probs`.
        weights: one for each language model.

    Returns:
        nbest: best first, with its `score`; those of the same score stay in their order. The
            `lm_log_prob` is still the search's.

    Raises:
        ValueError: the list is empty, the numbers don't fit, or one of them is no number.
    """
    check_list(nbest, lm_log_probs, "lm_log_probs")
    if lm_log_probs.shape[1] != len(weights.lm_weights):
        raise ValueError(
            f"lm_log_probs is of {lm_log_probs.shape[1]} language models;"
            f" there are weights for {len(weights.lm_weights)}"
        )
    acoustic = np.array([hypothesis.log_prob for hypothesis in nbest])
    n_words = np.array([len(_words(hypothesis)) for hypothesis in nbest])
    language = np.maximum(lm_log_probs, NEVER) @ np.array(weights.lm_weights)
    scores = acoustic + language + weights.word_bonus * n_words
    scored = [replace(h, score=float(s)) for h, s in zip(nbest, scores, strict=True)]
    return sorted(scored, key=lambda hypothesis: -hypothesis.total)


def check_list(nbest: Sequence[Hypothesis], lm_log_probs: np.ndarray, place: str) -> None:
    """Raise ValueError where a list is empty or has numbers that don't fit; `place` names them."""
    if not nbest:
        raise ValueError(f"the nbest of {place} is empty; expected at least one hypothesis")
    if lm_log_probs.ndim != 2 or len(lm_log_probs) != len(nbest):
        raise ValueError(
            f"{place} has shape {lm_log_probs.shape}; expected a row for each of {len(nbest)}"
            " hypotheses"
        )
    for name, values in (
        (place, lm_log_probs),
        (f"log_prob of the nbest of {place}", np.array([h.log_prob for h in nbest])),
    ):
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ValueError(f"{name} has nan or inf; expected natural logs of probabilities")


def hypothesis_errors(
    nbests: Sequence[Sequence[Hypothesis]], references: Sequence[str]
) -> list[list[ErrorCounts]]:
    """The errors of every hypothesis of every list, in words.

    Args:
        nbests: one list for each reference, of hypotheses with their words.
        references: what was said.

    Raises:
        ValueError: there are not as many lists as references, or a hypothesis has no words.
    """
    if len(nbests) != len(references):
        raise ValueError(f"{len(nbests)} nbests for {len(references)} references")
    pairs = [(r, " ".join(_words(h))) for r, n in zip(references, nbests, strict=True) for h in n]
    counts = iter(word_errors([said for said, _ in pairs], [heard for _, heard in pairs]))
    return [[next(counts) for _ in nbest] for nbest in nbests]


def _words(hypothesis: Hypothesis) -> tuple[str, ...]:
    if hypothesis.words is None:
        raise ValueError(f"hypothesis {hypothesis.tokens} has no words; expected those of spelled")
    return hypothesis.words
