import math
import re
import subprocess

import numpy as np
import pytest
from benchmarks.score_against_sclite import sclite_command
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from asr.evaluation.calibration import (
    calibration_error,
    normalised_cross_entropy,
    ranking_auc,
    reliability,
    words_right,
)


def random_words(n, seed, distortion=1.0):
    """Confidences and whether each word is right, with the probability confidence**distortion."""
    generator = np.random.default_rng(seed)
    confidences = generator.uniform(size=n)
    return confidences, generator.uniform(size=n) < confidences**distortion


def test_substitutions_and_insertions_are_wrong():
    references = ["one two three four", "", "one"]
    hypotheses = ["one six three four five", "a b", ""]
    right = words_right(references, hypotheses)
    assert [some.tolist() for some in right] == [[True, False, True, True, False], [False] * 2, []]
    assert {some.dtype for some in right} == {np.dtype(bool)}


def test_bins_are_those_of_sklearn_where_no_confidences_are_equal():
    confidences, right = random_words(150, seed=1)
    bins = reliability(confidences, right, n_bins=15)
    shares, means = calibration_curve(right, confidences, n_bins=15, strategy="quantile")
    assert [some.words for some in bins] == [10] * 15
    np.testing.assert_allclose([some.right for some in bins], shares, rtol=1e-12)
    np.testing.assert_allclose([some.confidence for some in bins], means, rtol=1e-12)


def test_equal_confidences_are_in_one_bin_in_any_order():
    confidences = np.array([1.0] * 8 + [0.5] * 2)
    right = np.arange(10) % 2 == 0
    bins = reliability(confidences, right, n_bins=5)
    assert bins == [(0.5, 0.5, 2), (1.0, 0.5, 8)]
    order = np.random.default_rng(0).permutation(10)
    assert reliability(confidences[order], right[order], n_bins=5) == bins


def test_perfect_calibration_has_an_error_near_0():
    assert calibration_error(*random_words(100_000, seed=2)) < 0.01


def test_calibration_error_is_the_integral_of_the_distortion():
    # confidence c, of which c**3 are right: the integral of c - c**3 from 0 to 1 is 1/4
    assert calibration_error(*random_words(200_000, seed=3, distortion=3.0)) == pytest.approx(
        0.25, abs=0.005
    )


def test_calibration_error_by_hand():
    confidences = np.array([0.2, 0.4, 0.9, 0.7])
    right = np.array([True, False, True, True])
    # bins (0.3, 1/2) and (0.8, 1)
    assert calibration_error(confidences, right, n_bins=2) == pytest.approx(0.2)


def test_cross_entropy_by_hand():
    confidences, right = np.array([0.9, 0.6, 0.3]), np.array([True, True, False])
    entropy = -2 * math.log2(2 / 3) - math.log2(1 / 3)
    gained = entropy + math.log2(0.9) + math.log2(0.6) + math.log2(0.7)
    assert normalised_cross_entropy(confidences, right) == pytest.approx(gained / entropy)


def test_cross_entropy_is_1_for_perfect_and_0_for_equal_confidences():
    right = np.array([True, True, True, False])
    assert normalised_cross_entropy(right.astype(float), right) == pytest.approx(1, abs=1e-6)
    assert normalised_cross_entropy(np.full(4, 0.75), right) == pytest.approx(0, abs=1e-12)
    assert normalised_cross_entropy(1 - right, right) < -20


@pytest.mark.skipif(sclite_command() is None, reason="sclite is not on PATH (Debian: sctk)")
def test_sclite_gives_the_same_cross_entropy(tmp_path):
    generator = np.random.default_rng(4)
    said = [f"w{n}" for n in range(60)]
    heard = [word if generator.uniform() < 0.8 else "other" for word in said]
    confidences = generator.uniform(size=60).round(4)
    confidences[:3] = 0.0, 1.0, 1.0
    reference, hypothesis = tmp_path / "r.stm", tmp_path / "h.ctm"
    reference.write_text(f"a 1 speaker 0.0 100.0 {' '.join(said)}\n")
    lines = [
        f"a 1 {n + 0.1:.1f} 0.5 {word} {confidence:.4f}\n"
        for n, (word, confidence) in enumerate(zip(heard, confidences, strict=True))
    ]
    hypothesis.write_text("".join(lines))
    command = [*sclite_command(), "-o", "sum", "stdout"]
    command += ["-r", str(reference), "stm", "-h", str(hypothesis), "ctm"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"Sum/Avg.* (-?[0-9.]+) *\|$", report, re.MULTILINE)
    (right,) = words_right([" ".join(said)], [" ".join(heard)])
    assert float(found) == pytest.approx(normalised_cross_entropy(confidences, right), abs=6e-4)


@pytest.mark.parametrize("digits", [1, 8])
def test_auc_is_that_of_sklearn_also_with_ties(digits):
    confidences, right = random_words(200, seed=5)
    confidences = confidences.round(digits)
    expected = roc_auc_score(right, confidences)
    assert ranking_auc(confidences, right) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("all_right", [True, False])
def test_what_needs_right_and_wrong_words_is_nan_without_them(all_right):
    confidences, right = np.array([0.5, 0.7]), np.array([all_right] * 2)
    assert math.isnan(normalised_cross_entropy(confidences, right))
    assert math.isnan(ranking_auc(confidences, right))
    assert 0 < calibration_error(confidences, right) < 1


def test_unfit_confidences_are_refused():
    right = np.array([True, False])
    with pytest.raises(ValueError, match=r"confidences has shape \(0,\)"):
        calibration_error(np.array([]), np.array([], dtype=bool))
    with pytest.raises(ValueError, match=r"shape \(3,\), right \(2,\)"):
        ranking_auc(np.zeros(3), right)
    with pytest.raises(ValueError, match="right has type int64; expected bool"):
        ranking_auc(np.zeros(2), np.array([0, 1]))
    for value in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match=f"confidences has {value}"):
            normalised_cross_entropy(np.array([0.5, value]), right)
    with pytest.raises(ValueError, match="n_bins is 0"):
        reliability(np.zeros(2), right, n_bins=0)
