"""minimal pairs -> which sentence a language model finds more probable -> accuracies."""

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
"""The group that every pair is in."""


@dataclass(frozen=True)
class Judgement:
    """What a language model says of a pair.

    Args:
        pair: the two sentences.
        good_log_prob: natural logarithm of the good sentence's probability, its end included.
        bad_log_prob: the same of the bad one.
        oov: words of either sentence that the model does not know, each once.
    """

    pair: Pair
    good_log_prob: float
    bad_log_prob: float
    oov: tuple[str, ...]

    @property
    def right(self) -> bool:
        """The good sentence is more probable; equal is not right."""
        return self.good_log_prob > self.bad_log_prob


@dataclass(frozen=True)
class GroupResult:
    """How often a language model is right in a group of pairs.

    Args:
        group: its name.
        pairs: how many have no OOV word.
        right: how many of these the model has right.
        oov_pairs: how many have an OOV word; they count in no rate.
        oov_right: how many of these the model has right.
    """

    group: str
    pairs: int
    right: int
    oov_pairs: int
    oov_right: int

    @property
    def accuracy(self) -> float:
        """Right ones among the pairs without OOV words; NaN where there are none."""
        return self.right / self.pairs if self.pairs else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, as if pairs had nothing in common."""
        return wilson_interval(self.right, self.pairs)


def judge(model: LanguageModel, pairs: Sequence[Pair]) -> list[Judgement]:
    """What a language model says of pairs, in their order.

    Raises:
        InputError: a pair's sentences have no word, or are the same once they are normalised.
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

    Those that pairs name first come before those that they name second; else as the pairs come.
    """
    members: dict[tuple[int, str], list[Judgement]] = {(-1, ALL): list(judgements)}
    for judgement in judgements:
        for place, group in enumerate(judgement.pair.groups):
            members.setdefault((place, group), []).append(judgement)
    ordered = sorted(members.items(), key=lambda item: item[0][0])  # else as they came
    return [_result(group, judged) for (_, group), judged in ordered]


def wilson_interval(right: int, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which rates the true one lies, if so many of so many independent trials were right.

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
