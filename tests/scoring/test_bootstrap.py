import itertools
import math
import random

import kaldialign
import numpy as np
import pytest
from benchmarks.score_against_sclite import random_pairs

from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.error_rates import ErrorCounts, word_errors


@pytest.mark.parametrize("seed", range(3))
def test_interval_agrees_with_kaldialign(seed):
    references, hypotheses = random_pairs(600, seed=seed)
    low, high = bootstrap_interval(word_errors(references, hypotheses), seed=seed)
    expected = kaldialign.bootstrap_wer_ci(
        [text.split() for text in references], [text.split() for text in hypotheses], seed=seed
    )
    # theirs is 1.96 standard deviations of 10,000 samples: 1/sqrt(20,000), 0.7 %, of noise, and
    # about 1.5 % (tail density at 2.5 %) for a quantile of ours
    width = expected["ci95max"] - expected["ci95min"]
    assert low == pytest.approx(expected["ci95min"], abs=0.04 * width)
    assert high == pytest.approx(expected["ci95max"], abs=0.04 * width)


def test_interval_covers_the_true_rate_at_its_confidence():
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        errors = generator.binomial(10, 0.2, size=100)
        counts = [ErrorCounts(substitutions=int(n), words=10) for n in errors]
        low, high = bootstrap_interval(counts, confidence=0.9, samples=500, seed=seed)
        covered += low <= 0.2 <= high
    # 4 standard deviations of a binomial around 180
    assert abs(covered - 180) <= 4 * math.sqrt(200 * 0.9 * 0.1)


def test_interval_depends_only_on_the_seed_and_contains_the_rate():
    counts = word_errors(*random_pairs(50, seed=0))
    low, high = bootstrap_interval(counts)
    assert (low, high) == bootstrap_interval(counts)
    assert (low, high) != bootstrap_interval(counts, seed=1)
    assert 0 <= low < sum(counts, ErrorCounts()).rate < high
    wider = bootstrap_interval(counts, confidence=0.99)
    assert wider[0] < low < high < wider[1]


def test_intervals_of_few_words():
    assert bootstrap_interval([ErrorCounts(1, 0, 0, 4)]) == (0.25, 0.25)
    assert bootstrap_interval([ErrorCounts()]) == (0.0, 0.0)
    assert bootstrap_interval([ErrorCounts(insertions=1)]) == (math.inf, math.inf)
    assert bootstrap_interval([ErrorCounts(insertions=1), ErrorCounts(words=1)]) == (0.0, math.inf)


def test_no_counts_and_a_wrong_confidence_are_refused():
    with pytest.raises(ValueError, match="counts is empty"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="confidence is 95; expected a fraction"):
        bootstrap_interval([ErrorCounts()], confidence=95)
    with pytest.raises(ValueError, match="samples is 0; expected 1 or more"):
        bootstrap_interval([ErrorCounts()], samples=0)


def counts_of(errors, words):
    return [ErrorCounts(int(e), 0, 0, int(w)) for e, w in zip(errors, words, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_gain_and_interval_agree_with_all_possible_samples(seed):
    generator = np.random.default_rng(seed)
    words = generator.integers(2, 9, size=5)
    ours, theirs = generator.integers(0, 5, size=(2, 5))
    draws = np.array(list(itertools.product(range(5), repeat=5)))
    gains = (theirs - ours)[draws].sum(axis=1) / words[draws].sum(axis=1)
    found = paired_gain(counts_of(ours, words), counts_of(theirs, words), samples=20_000)
    assert found.gain == pytest.approx((theirs - ours).sum() / words.sum(), rel=1e-12)
    for end, tail in ((found.low, 0.025), (found.high, 0.975)):
        # a share of 0.025 among 20,000 has a standard deviation of 0.0011
        low, high = np.quantile(gains, [tail - 0.005, tail + 0.005], method="inverted_cdf")
        assert low <= end <= high


@pytest.mark.parametrize("seed", range(4))
def test_p_agrees_with_all_permutations(seed):
    generator = np.random.default_rng(seed)
    ours = generator.binomial(8, 0.25, size=12)
    theirs = generator.binomial(8, 0.35, size=12)
    signs = np.array(list(itertools.product((-1, 1), repeat=12)))
    gains = signs @ (theirs - ours)
    expected = (abs(gains) >= abs((theirs - ours).sum())).mean()
    found = paired_gain(counts_of(ours, [8] * 12), counts_of(theirs, [8] * 12)).p
    # 5 standard deviations of a share of 10,000 samples, and the one that counts in any case
    assert found == pytest.approx(
        expected, abs=5 * math.sqrt(expected * (1 - expected) / 1e4) + 1e-4
    )


def test_p_agrees_with_the_sign_test():
    ours, theirs = [0] * 10, [1] * 6 + [0] * 4
    found = paired_gain(counts_of(ours, [5] * 10), counts_of(theirs, [5] * 10))
    assert found.gain == 6 / 50
    assert found.p == pytest.approx(2 / 2**6, abs=5 * math.sqrt(1 / 32 / 1e4))


def test_p_of_many_utterances_is_near_kaldialigns():
    generator = random.Random(0)
    references = ["a b c d e f g h"] * 300
    ours, theirs = (
        [" ".join(w for w in text.split() if generator.random() > rate) for text in references]
        for rate in (0.2, 0.215)
    )
    found = paired_gain(word_errors(references, ours), word_errors(references, theirs))
    split = [[text.split() for text in texts] for texts in (references, theirs, ours)]
    expected = 1 - kaldialign.bootstrap_wer_ci(*split)["p_s2_improv_over_s1"]
    assert 0.05 < found.p < 0.5
    assert found.p == pytest.approx(2 * expected, abs=0.02)


def test_gain_changes_sign_when_the_systems_are_exchanged():
    generator = np.random.default_rng(0)
    ours, theirs = generator.binomial(10, [[0.24], [0.3]], size=(2, 60))
    ours, theirs = counts_of(ours, [10] * 60), counts_of(theirs, [10] * 60)
    gain, loss = paired_gain(ours, theirs), paired_gain(theirs, ours)
    assert gain.low < gain.gain < gain.high
    assert (loss.gain, loss.p) == (-gain.gain, gain.p)
    assert loss.low == pytest.approx(-gain.high, abs=1e-3)
    assert loss.high == pytest.approx(-gain.low, abs=1e-3)


def test_p_of_equal_systems_is_rarely_small():
    generator = np.random.default_rng(0)
    words, small = np.full(15, 10), 0
    for seed in range(100):
        ours, theirs = generator.binomial(10, 0.2, size=(2, 15))
        counts = counts_of(ours, words), counts_of(theirs, words)
        small += paired_gain(*counts, samples=400, seed=seed).p < 0.1
    # 4 standard deviations of a binomial around 10
    assert abs(small - 10) <= 4 * math.sqrt(100 * 0.1 * 0.9)


def test_repeated_errors_of_another_seed_change_nothing():
    counts = word_errors(*random_pairs(50, seed=0))
    others = [ErrorCounts(words=count.words) for count in counts]
    both = [[a + a for a in system] for system in (counts, others)]
    assert paired_gain(*both) == paired_gain(counts, others)


def test_a_system_has_no_gain_over_itself():
    counts = word_errors(*random_pairs(20, seed=0))
    same = paired_gain(counts, counts)
    assert (same.gain, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    no_words = paired_gain([ErrorCounts(insertions=1)], [ErrorCounts()])
    assert no_words.gain == -math.inf


def test_counts_of_different_utterances_are_refused():
    with pytest.raises(ValueError, match="counts is empty"):
        paired_gain([], [])
    with pytest.raises(ValueError, match="counts has 2 utterances, others 1; expected the same"):
        paired_gain([ErrorCounts()] * 2, [ErrorCounts()])
    expected = r"counts\[1\] has 3 words, others\[1\] 4; expected the same utterance"
    with pytest.raises(ValueError, match=expected):
        paired_gain(counts_of([0, 0], [2, 3]), counts_of([0, 0], [2, 4]))
