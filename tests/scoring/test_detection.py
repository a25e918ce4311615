import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from asr.scoring.detection import DetectionCounts, detection_counts, f1_interval


@pytest.mark.parametrize("n_labels", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_scikit_learn(n_labels, seed):
    generator = np.random.default_rng(seed)
    references = generator.integers(n_labels + 1, size=200)
    errs = generator.random(200) < 0.3
    hypotheses = np.where(errs, generator.integers(n_labels + 1, size=200), references)
    labels = range(1, n_labels + 1)
    expected = precision_recall_fscore_support(
        references, hypotheses, labels=labels, average="micro"
    )
    found = detection_counts(references, hypotheses)
    np.testing.assert_allclose([found.precision, found.recall, found.f1], expected[:3], rtol=1e-12)


def test_a_wrong_label_is_a_false_positive_and_a_false_negative():
    counts = detection_counts(np.array([1, 2, 0, 1, 0]), np.array([1, 1, 0, 0, 1]))
    assert counts == DetectionCounts(1, 2, 2)
    assert counts.f1 == pytest.approx(1 / 3)


def test_counts_of_parts_add_up():
    generator = np.random.default_rng(0)
    references, hypotheses = generator.integers(3, size=(2, 100))
    parts = [detection_counts(references[n::4], hypotheses[n::4]) for n in range(4)]
    assert sum(parts, DetectionCounts()) == detection_counts(references, hypotheses)


def test_rates_without_labels_are_undefined():
    counts = detection_counts(np.zeros(3), np.zeros(3))
    assert np.isnan([counts.precision, counts.recall, counts.f1]).all()


def test_the_interval_has_the_width_that_theory_gives():
    """Of a precision: if recall is 1, F1 is 2p / (1 + p), and p's interval is the binomial's."""
    generator = np.random.default_rng(1)
    is_right = generator.random(2000) < 0.8
    counts = [DetectionCounts(int(right), int(not right), 0) for right in is_right]
    low, high = f1_interval(counts)
    p = is_right.mean()
    ends = p + np.array([-1.96, 1.96]) * np.sqrt(p * (1 - p) / 2000)
    np.testing.assert_allclose([low, high], 2 * ends / (1 + ends), atol=2e-3)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"hypotheses has shape \(2,\); expected that of ref"):
        detection_counts(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="parts is empty"):
        f1_interval([])
