"""language model and minimal pairs -> log-probabilities of both sentences -> accuracies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from asr.errors import InputError
from asr.lm.bench.minimal_pairs import Pair
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import UNK, Vocabulary

ALL = "all"
"""Name of the group of all pairs."""


@dataclass(frozen=True)
class Judgement:
    """A language model's log-probabilities of the two sentences of a pair.

    Args:
        pair: the two sentences.
        good_log_prob: natural log-probability of the good sentence, its end included.
        bad_log_prob: the same for the bad sentence.
        oov: out-of-vocabulary words of both sentences, each once.
    """

    pair: Pair
    good_log_prob: float
    bad_log_prob: float
    oov: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the good sentence is more probable; a tie is not right."""
        return self.good_log_prob > self.bad_log_prob


@dataclass(frozen=True)
class GroupResult:
    """The results of a language model on a group of pairs.

    Args:
        group: name of the group.
        pairs: number of pairs without out-of-vocabulary (OOV) words.
        right: number of these pairs with the good sentence more probable.
        oov_pairs: number of pairs with OOV words; they do not count in `accuracy`.
        oov_right: number of these pairs with the good sentence more probable.
    """

    group: str
    pairs: int
    right: int
    oov_pairs: int
    oov_right: int

    @property
    def accuracy(self) -> float:
        """Share of the pairs without OOV words that are right; NaN if there are none."""
        return self.right / self.pairs if self.pairs else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy, as if the pairs were independent."""
        return wilson_interval(self.right, self.pairs)


def judge(model: LanguageModel, pairs: Sequence[Pair]) -> list[Judgement]:
    """The judgements of a language model on pairs, in the same order.

    Raises:
        InputError: a sentence has no word, or a pair's sentences are the same when normalised.
    """
    vocabulary = model.vocabulary
    texts = [text for pair in pairs for text in (pair.good, pair.bad)]
    units = [vocabulary.encode(text) for text in texts]
    oov = [_oov(vocabulary, text) for text in texts]
    for number, pair in enumerate(pairs):
        good, bad = units[2 * number : 2 * number + 2]
        if not (good and bad):
            found = f"{pair.good!r} and {pair.bad!r}"
            raise InputError(f"pair {number + 1}: is {found}; expected words in both")
        if good == bad and not oov[2 * number] + oov[2 * number + 1]:
            raise InputError(
                f"pair {number + 1}: {pair.good!r} and {pair.bad!r} are the same to this model,"
                " in its case and with its punctuation; expected two sentences"
            )
    scores = [float(row.sum(dtype=np.float64)) for row in model.sentence_log_probs(units)]
    return [
        Judgement(pair, scores[n], scores[n + 1], tuple(dict.fromkeys(oov[n] + oov[n + 1])))
        for n, pair in zip(range(0, len(texts), 2), pairs, strict=True)
    ]


def by_group(judgements: Sequence[Judgement]) -> list[GroupResult]:
    """The results of all pairs together, then of each group.

    Groups that are first in `Pair.groups` come before those that are second; otherwise groups are
    in order of appearance.
    """
    members: dict[tuple[int, str], list[Judgement]] = {(-1, ALL): list(judgements)}
    for judgement in judgements:
        for place, group in enumerate(judgement.pair.groups):
            members.setdefault((place, group), []).append(judgement)
    ordered = sorted(members.items(), key=lambda item: item[0][0])  # otherwise by appearance
    return [_result(group, judged) for (_, group), judged in ordered]


def wilson_interval(right: int, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the true rate, if `right` of `pairs` independent trials were right.

    Returns:
        low, high: fractions; 0 and 1 without trials.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not pairs:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, share = right / pairs, z * z / pairs
    middle = rate + share / 2
    half = z * math.sqrt(rate * (1 - rate) / pairs + share / (4 * pairs))
    return (middle - half) / (1 + share), (middle + half) / (1 + share)


def _oov(vocabulary: Vocabulary, text: str) -> tuple[str, ...]:
    words = vocabulary.normalise(text).split()
    return tuple(word for word in words if UNK in vocabulary.encode(word))


def _result(group: str, judgements: Sequence[Judgement]) -> GroupResult:
    known = [judgement.right for judgement in judgements if not judgement.oov]
    oov = [judgement.right for judgement in judgements if judgement.oov]
    return GroupResult(group, len(known), sum(known), len(oov), sum(oov))
