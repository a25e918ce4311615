"""nbest -> nbest re-ordered by exact acoustic log-probabilities and language models."""

from collections.abc import Sequence
from dataclasses import dataclass

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
"""Maximum number of hypotheses in a batch; the CTC loss needs memory for each of them."""

NEVER = -1e30
"""Used in place of log 0: unlike -inf, its product with a weight of 0 is 0."""


@dataclass(frozen=True)
class RescoreWeights:
    """Weights of the parts of a hypothesis's score besides the acoustic log-probability.

    Args:
        lm_weights: scale of each language model's log-probability.
        word_bonus: nats added per word.

    Raises:
        ValueError: a weight is infinite or NaN.
    """

    lm_weights: tuple[float, ...]
    word_bonus: float

    def __post_init__(self) -> None:
        if not np.isfinite([*self.lm_weights, self.word_bonus]).all():
            raise ValueError(
                f"lm_weights is {self.lm_weights}, word_bonus {self.word_bonus}; expected numbers"
            )


def text_of(hypothesis: Hypothesis, tokenizer: Tokenizer) -> str:
    """The text of a hypothesis: its words or those that its tokens spell, separated by spaces."""
    if hypothesis.words is not None:
        return " ".join(hypothesis.words)
    return " ".join(tokenizer.decode(hypothesis.tokens).split())


def exact_log_probs(
    log_probs: Tensor | np.ndarray, nbest: Sequence[Hypothesis]
) -> list[Hypothesis]:
    """Compute exact log-probabilities of a CTC search's hypotheses, and keep each text once.

    A search gives only lower bounds, because it drops alignments. Hypotheses with the same words
    but different tokens (other pronunciations, two spaces instead of one) are merged, and their
    probabilities added. Otherwise a text with two pronunciations could lose to a less probable
    text.

    Args:
        log_probs: (T, C), natural logs; sums have the same precision.
        nbest: hypotheses with their words.

    Returns:
        nbest: best first, ordered by `log_prob` alone. Merged hypotheses have the tokens and frames
            of the most probable one.

    Raises:
        ValueError: `log_probs` is not (T, C), or a hypothesis has no words or a token out of range.

    Source: Graves et al. 2006, "Connectionist temporal classification", equation 8.
    """
    log_probs = torch.as_tensor(log_probs)
    if log_probs.ndim != 2:
        shape = tuple(log_probs.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    batches = [nbest[start : start + BATCH] for start in range(0, len(nbest), BATCH)]
    losses = [loss for batch in batches for loss in _losses(log_probs, batch)]
    exact = [h._replace(log_prob=-loss) for h, loss in zip(nbest, losses, strict=True)]
    return merged(exact)


def merged(nbest: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Merge hypotheses with the same text, and add their probabilities.

    Args:
        nbest: hypotheses with their words and acoustic log-probabilities.

    Returns:
        nbest: best first, ordered by `log_prob` alone. Merged hypotheses have the tokens and frames
            of the most probable one.

    Raises:
        ValueError: a hypothesis has no words.
    """
    found: dict[tuple[str, ...], Hypothesis] = {}
    acoustic = [hypothesis._replace(score=None) for hypothesis in nbest]
    for hypothesis in sorted(acoustic, key=lambda h: -h.log_prob):
        words = _words(hypothesis)
        if words in found:
            both = np.logaddexp(found[words].log_prob, hypothesis.log_prob)
            found[words] = found[words]._replace(log_prob=float(both))
        else:
            found[words] = hypothesis
    return sorted(found.values(), key=lambda h: -h.log_prob)


def united(nbest: Sequence[Hypothesis], other: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Unite two n-best lists of one utterance; a text in both keeps its larger probability.

    Args:
        nbest: hypotheses of one search, each text once, with words and acoustic log-probabilities.
        other: hypotheses of another search, in the same form.

    Returns:
        nbest: each text once, best first, ordered by `log_prob`.

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
    """Log-probability of each hypothesis under each language model.

    Each different text is scored once. All lists are scored in one call, so that a recurrent model
    can work in batches.

    Args:
        nbests: one list for each utterance, of hypotheses with their words.
        lms: language models, each with its own vocabulary.

    Returns:
        lm_log_probs: for each list an array (hypotheses, language models), float64: natural
            log-probabilities of the whole text with its end.

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
    """Re-order a list by log_prob + lm_weights * lm_log_probs + word_bonus * words.

    Args:
        nbest: hypotheses with their words; `log_prob` is the acoustic model's, CTC or HMM.
        lm_log_probs: (hypotheses, language models), from `lm_log_probs`.
        weights: one for each language model.

    Returns:
        nbest: best first, with `score`; hypotheses with equal scores keep their order.
            `lm_log_prob` is left as the search computed it.

    Raises:
        ValueError: the list is empty, shapes do not match, or a number is NaN.
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
    scored = [h._replace(score=float(s)) for h, s in zip(nbest, scores, strict=True)]
    return sorted(scored, key=lambda hypothesis: -hypothesis.total)


def check_list(nbest: Sequence[Hypothesis], lm_log_probs: np.ndarray, place: str) -> None:
    """Raise ValueError if a list is empty or its log-probs are invalid; `place` names them."""
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
    """Word errors of every hypothesis of every list.

    Args:
        nbests: one list for each reference, of hypotheses with their words.
        references: the reference texts.

    Raises:
        ValueError: the numbers of lists and references differ, or a hypothesis has no words.
    """
    if len(nbests) != len(references):
        raise ValueError(f"{len(nbests)} nbests for {len(references)} references")
    pairs = [(r, " ".join(_words(h))) for r, n in zip(references, nbests, strict=True) for h in n]
    counts = iter(word_errors([reference for reference, _ in pairs], [text for _, text in pairs]))
    return [[next(counts) for _ in nbest] for nbest in nbests]


def _words(hypothesis: Hypothesis) -> tuple[str, ...]:
    if hypothesis.words is None:
        raise ValueError(f"hypothesis {hypothesis.tokens} has no words; expected those of spelled")
    return hypothesis.words
