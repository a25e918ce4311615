import itertools
import math

import numpy as np
import pytest

from asr.search.nbest import Hypothesis
from asr.search.posteriors import hypothesis_posteriors, word_matches, word_posteriors


def hypotheses(scores):
    return [Hypothesis((), 0.0, words=tuple(text.split()), score=s) for text, s in scores.items()]


def alignments(best, other):
    """All ways to align two sequences: pairs of positions in ascending order."""
    for size in range(min(len(best), len(other)) + 1):
        for ours in itertools.combinations(range(len(best)), size):
            for theirs in itertools.combinations(range(len(other)), size):
                yield list(zip(ours, theirs, strict=True))


def best_matches(best, other):
    """The matches of all alignments with the fewest errors, and among them the most matches."""

    def cost(pairs):
        matches = sum(best[ours] == other[theirs] for ours, theirs in pairs)
        return len(best) + len(other) - len(pairs) - matches, -matches

    ways = list(alignments(best, other))
    least = min(map(cost, ways))
    return [
        {ours for ours, theirs in pairs if best[ours] == other[theirs]}
        for pairs in ways
        if cost(pairs) == least
    ]


@pytest.mark.parametrize("seed", range(8))
def test_matches_are_those_of_a_best_alignment_of_all(seed):
    generator = np.random.default_rng(seed)
    texts = [generator.choice(list("abc"), size=n).tolist() for n in (4, 5, 3, 4, 2, 0)]
    nbest = [Hypothesis((), -n, words=tuple(text)) for n, text in enumerate(texts)]
    for row, text in zip(word_matches(nbest), texts, strict=True):
        assert set(np.flatnonzero(row)) in best_matches(texts[0], text)


def test_posteriors_of_words_by_hand():
    shares = {"a b c": 0.5, "a c": 0.2, "x b c": 0.2, "b a d c": 0.1}
    nbest = hypotheses({text: math.log(share) - 70 for text, share in shares.items()})
    np.testing.assert_allclose(hypothesis_posteriors(nbest), list(shares.values()), rtol=1e-9)
    # "b a d c" has "a" and "c" of "a b c", at the price of one insertion and one substitution
    np.testing.assert_allclose(word_posteriors(nbest), [0.8, 0.7, 1.0], rtol=1e-9)


def test_a_scale_sharpens_or_flattens_the_posteriors():
    nbest = hypotheses({"a": -1.0, "b": -3.0, "": -math.inf})
    for scale in (0.1, 1.0, 2.0):
        expected = 1 / (1 + math.exp(-2 * scale))
        np.testing.assert_allclose(word_posteriors(nbest, scale), [expected], rtol=1e-12)
    np.testing.assert_allclose(hypothesis_posteriors(nbest, 1e-9), [0.5, 0.5, 0.0], atol=1e-8)


def test_the_word_of_a_single_hypothesis_is_certain():
    assert word_posteriors(hypotheses({"a b": -12.0})).tolist() == [1.0, 1.0]
    assert word_posteriors(hypotheses({"": -12.0, "a": -13.0})).tolist() == []


def test_unfit_lists_are_refused():
    with pytest.raises(ValueError, match="expected a finite one"):
        hypothesis_posteriors(hypotheses({"a": -math.inf}))
    with pytest.raises(ValueError, match="expected a finite one"):
        hypothesis_posteriors(hypotheses({"a": 0.0, "b": math.nan}))
    with pytest.raises(ValueError, match="nbest is empty"):
        word_matches([])
    with pytest.raises(ValueError, match=r"scale is 0\.0"):
        hypothesis_posteriors(hypotheses({"a": 0.0}), 0.0)
    with pytest.raises(ValueError, match="has no words"):
        word_matches([Hypothesis((1,), 0.0)])
