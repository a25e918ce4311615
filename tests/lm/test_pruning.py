import itertools

import numpy as np
import pytest
import torch

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.pruning import prune_by_entropy
from asr.lm.vocabulary import EOS

N_UNITS = 6


@pytest.fixture(scope="module")
def trie():
    """A trigram model of random sentences."""
    generator = np.random.default_rng(0)
    units = [2, 3, 4, 5]
    sentences = [
        generator.choice(units, generator.integers(0, 8), p=[0.5, 0.3, 0.15, 0.05])
        for _ in range(40)
    ]
    return estimate(sentences, N_UNITS, EstimateSettings(3, discount_fallback=True))


def as_grams(trie):
    """{units: (probability, weight)} of all n-grams; 6 is a sentence's beginning."""
    grams = {}
    for node in range(1, len(trie.keys)):
        gram, at = (), node
        while at:
            at, unit = divmod(int(trie.keys[at]), N_UNITS + 1)
            gram = (unit, *gram)
        weight = float(trie.backoffs[node]) if node < len(trie.backoffs) else 0.0
        grams[gram] = np.exp(float(trie.log_probs[node])), np.exp(weight)
    return grams


def probability(grams, context, unit):
    if (*context, unit) in grams:
        return grams[*context, unit][0]
    return grams.get(context, (1, 1))[1] * probability(grams, context[1:], unit)


def normalised(grams):
    """The same probabilities, with weights that make every context add up to 1."""
    grams = dict(grams)
    for context in sorted(grams, key=len):
        known = [gram[-1] for gram in grams if gram[:-1] == context and len(gram) > 1]
        left = 1 - sum(grams[*context, unit][0] for unit in known)
        shorter = 1 - sum(probability(grams, context[1:], unit) for unit in known)
        grams[context] = grams[context][0], left / shorter if known else 1.0
    return grams


def context_probability(grams, context):
    result = 1.0
    for n, unit in enumerate(context):
        unit = EOS if unit == N_UNITS else unit  # a beginning counts as its end
        result *= probability(grams, context[:n], unit)
    return result


def rise(grams, gram):
    """Relative rise of the perplexity without the n-gram, summed over all units in its context."""
    context = gram[:-1]
    without = {other: numbers for other, numbers in grams.items() if other != gram}
    known = [other[-1] for other in without if other[:-1] == context]
    left = 1 - sum(without[*context, unit][0] for unit in known)
    shorter = 1 - sum(probability(without, context[1:], unit) for unit in known)
    without[context] = without[context][0], left / shorter
    divergence = 0.0
    for unit in range(N_UNITS):
        p = probability(grams, context, unit)
        divergence += p * np.log(p / probability(without, context, unit))
    return np.expm1(context_probability(grams, context) * divergence)


@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 3e-3])
def test_n_grams_below_the_threshold_are_removed(trie, threshold):
    grams = as_grams(trie)
    expected = set(grams)
    for order in (3, 2):
        for gram in [gram for gram in grams if len(gram) == order]:
            continued = any(len(other) == order + 1 and other[:-1] == gram for other in expected)
            if not continued and rise(grams, gram) < threshold:
                expected.remove(gram)
    found = as_grams(prune_by_entropy(trie, threshold))
    assert found.keys() == expected
    assert len(expected) < len(grams)
    for gram, numbers in normalised({gram: grams[gram] for gram in expected}).items():
        np.testing.assert_allclose(found[gram], numbers, rtol=1e-4)


@pytest.mark.parametrize("threshold", [1e-5, 1e-3, 1.0])
def test_probabilities_still_add_up_to_one_in_every_context(trie, threshold):
    smaller = prune_by_entropy(trie, threshold)
    sums = smaller.distribution(torch.arange(len(smaller.backoffs))).double().exp().sum(1)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_a_tiny_threshold_keeps_all_and_a_huge_one_only_unigrams(trie):
    everything = prune_by_entropy(trie, 1e-30)
    assert torch.equal(everything.keys, trie.keys)
    torch.testing.assert_close(everything.backoffs, trie.backoffs, rtol=0, atol=1e-4)
    assert prune_by_entropy(trie, 1e9).sizes == (N_UNITS + 1, 0, 0)


def test_a_unigram_model_stays_as_it_is():
    sentences = [(2, 3, 2), (4,)]
    unigrams = estimate(sentences, N_UNITS, EstimateSettings(1, discount_fallback=True))
    same = prune_by_entropy(unigrams, 1.0)
    assert same.sizes == unigrams.sizes
    assert torch.equal(same.log_probs, unigrams.log_probs)


def test_larger_thresholds_give_fewer_n_grams_and_worse_models(trie):
    states = [(6,), *itertools.product((2, 3, 4, 5), repeat=2)]
    grams = as_grams(trie)
    sizes, losses = [], []
    for threshold in (1e-30, 1e-4, 1e-3, 1e-2):
        smaller = as_grams(prune_by_entropy(trie, threshold))
        sizes.append(len(smaller))
        losses.append(
            sum(
                context_probability(grams, context)
                * -probability(grams, context, unit)
                * np.log(probability(smaller, context, unit))
                for context in states
                for unit in range(N_UNITS)
            )
        )
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert losses == sorted(losses)


@pytest.mark.parametrize("threshold", [0.0, -1e-8, float("nan")])
def test_a_threshold_not_above_0_is_refused(trie, threshold):
    with pytest.raises(ValueError, match=f"threshold is {threshold}; expected above 0"):
        prune_by_entropy(trie, threshold)
