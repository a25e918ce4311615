import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from asr.search.confidence import ConfidenceWeights, fit_confidence, fit_logistic
from asr.search.nbest import Hypothesis


def log_odds(probability):
    return np.log(probability / (1 - probability))


def pair(total):
    """A list of two hypotheses, of which the better one has the share of `total` in log odds."""
    return [
        Hypothesis((), 0.0, words=("a",), score=total),
        Hypothesis((), 0.0, words=("b",), score=0.0),
    ]


@pytest.mark.parametrize("n", [5, 300])
def test_the_fit_is_that_of_sklearn(n):
    generator = np.random.default_rng(n)
    evidence = generator.normal(scale=4, size=(n, 3))
    right = generator.uniform(size=n) < 1 / (1 + np.exp(-evidence[:, 0]))
    right[:2] = True, False
    n_right, n_wrong = right.sum(), (~right).sum()
    shares = np.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    # each word counts as right and as wrong, with its share
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000)
    model.fit(
        np.vstack([evidence, evidence]),
        np.repeat([1, 0], n),
        sample_weight=np.concatenate([shares, 1 - shares]),
    )
    _, weights = fit_logistic(evidence, right)
    np.testing.assert_allclose(weights, [*model.intercept_, *model.coef_[0]], atol=1e-4)


def test_the_fit_has_the_smallest_loss():
    generator = np.random.default_rng(1)
    evidence, right = generator.normal(scale=3, size=(50, 2)), generator.uniform(size=50) < 0.7
    loss, weights = fit_logistic(evidence, right)
    # the gradient at the weights, by the formula of the loss without any of its code
    shares = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))

    def loss_at(weights):
        p = 1 / (1 + np.exp(-(weights[0] + evidence @ weights[1:])))
        entropy = -(shares * np.log(p) + (1 - shares) * np.log(1 - p)).sum()
        return entropy + (weights[1:] ** 2).sum() / 2

    assert loss == pytest.approx(loss_at(weights), rel=1e-12)
    for _ in range(50):
        assert loss_at(weights + generator.normal(scale=0.01, size=3)) > loss


def test_planted_weights_are_found():
    generator = np.random.default_rng(2)
    acoustic = generator.uniform(0.05, 0.95, size=5000)
    totals = generator.uniform(-20, 20, size=5000)  # shares of 0.02 to 0.98 with the scale 0.2
    odds = 0.5 + 0.7 * log_odds(acoustic) + 0.4 * 0.2 * totals
    right = generator.uniform(size=5000) < 1 / (1 + np.exp(-odds))
    found = fit_confidence(
        [pair(total) for total in totals], list(acoustic[:, None]), list(right[:, None])
    )
    # with log odds that are not cut, 0.4 at 0.2 equals 0.8 at 0.1
    assert found.scale * found.posterior == pytest.approx(0.08, rel=0.1)
    assert (found.bias, found.acoustic) == pytest.approx((0.5, 0.7), rel=0.2)
    calibrated = found.calibrated(np.array([0.8]), pair(10.0))
    planted = 1 / (1 + np.exp(-(0.5 + 0.7 * log_odds(0.8) + 0.8)))
    np.testing.assert_allclose(calibrated, planted, atol=0.02)


@pytest.mark.parametrize("all_right", [True, False])
def test_words_that_are_all_right_or_all_wrong_get_the_rule_of_succession(all_right):
    nbests = [pair(float(n)) for n in range(8)]
    acoustic = [np.array([0.1 + n / 10]) for n in range(8)]
    weights = fit_confidence(nbests, acoustic, [np.array([all_right])] * 8)
    expected = 9 / 10 if all_right else 1 / 10
    for nbest, own in zip(nbests, acoustic, strict=True):
        np.testing.assert_allclose(weights.calibrated(own, nbest), [expected], atol=1e-6)


def test_lists_of_one_hypothesis_leave_the_acoustic_confidence():
    nbests = [pair(0.0)[:1] for _ in range(40)]
    acoustic = [np.array([share]) for share in np.linspace(0.0, 1.0, 40)]
    right = [np.array([n % 7 > 0 and n > 10]) for n in range(40)]
    weights = fit_confidence(nbests, acoustic, right)
    odds = log_odds(np.concatenate(acoustic).clip(1e-4, 1 - 1e-4))
    _, alone = fit_logistic(odds[:, None], np.concatenate(right))
    assert weights.scale == 1.0
    assert weights.acoustic == pytest.approx(alone[1], rel=1e-4)
    confidences = [weights.calibrated(a, n).item() for a, n in zip(acoustic, nbests, strict=True)]
    assert confidences == sorted(confidences)


def test_certain_evidence_stays_finite():
    weights = ConfidenceWeights(bias=0.0, acoustic=1.0, posterior=1.0, scale=1.0)
    nbest = [Hypothesis((), 0.0, words=("a", "b"))]
    found = weights.calibrated(np.array([0.0, 1.0]), nbest)
    np.testing.assert_allclose(found, [0.5, 1 / (1 + (1e-4 / (1 - 1e-4)) ** 2)], rtol=1e-9)
    assert weights.calibrated(np.empty(0), [Hypothesis((), -np.inf, words=())]).tolist() == []


def test_unfit_values_are_refused():
    with pytest.raises(ValueError, match="have no word; expected some to fit on"):
        fit_confidence([[Hypothesis((), 0.0, words=())]], [np.empty(0)], [np.empty(0, dtype=bool)])
    with pytest.raises(ValueError, match="evidence has NaN or inf"):
        fit_logistic(np.array([[np.nan]]), np.array([True]))
    with pytest.raises(ValueError, match="evidence is of 1 words, right of 2"):
        fit_logistic(np.zeros((1, 1)), np.array([True, False]))
