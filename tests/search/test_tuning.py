import itertools
import math

import jiwer
import numpy as np
import pytest
from matplotlib.image import imread

from asr.search.nbest import Hypothesis
from asr.search.rescore import RescoreWeights, rescore
from asr.search.tuning import Tuning, tune, write_tuning

WORDS = [f"w{n}" for n in range(20)]


def distorted(words, generator):
    """A text with about a fifth of its words substituted, deleted or followed by an insertion."""
    found = []
    for word in words:
        kind = generator.choice(["right", "wrong", "missing", "more"], p=[0.8, 0.08, 0.06, 0.06])
        found += [] if kind in ("wrong", "missing") else [word]
        found += [str(generator.choice(WORDS))] if kind in ("wrong", "more") else []
    return tuple(found)


def random_lists(utterances, n_lms, seed, longest=12):
    """Lists of several lengths, one with a single text; their scores correlate with the errors."""
    generator = np.random.default_rng(seed)
    nbests, found, references = [], [], []
    for number in range(utterances):
        said = [str(word) for word in generator.choice(WORDS, size=generator.integers(3, 9))]
        size = 1 if number == 0 else generator.integers(2, longest)
        recognised = [distorted(said, generator) for _ in range(size)]
        errors = np.array([len(set(said) ^ set(words)) for words in recognised])
        log_probs = -errors + generator.normal(0, 3, size=size)
        lengths = np.array([len(words) for words in recognised])
        found.append(generator.normal(-(3 * lengths + errors)[:, None], 2.0, size=(size, n_lms)))
        nbests.append(
            [Hypothesis((), float(p), words=w) for p, w in zip(log_probs, recognised, strict=True)]
        )
        references.append(" ".join(said))
    return nbests, found, references


def best_texts(nbests, found, lm_weights, word_bonus):
    weights = RescoreWeights(tuple(lm_weights), word_bonus)
    lists = zip(nbests, found, strict=True)
    return [" ".join(rescore(nbest, rows, weights)[0].words) for nbest, rows in lists]


def jiwer_errors(references, texts):
    output = jiwer.process_words(references, texts)
    return output.substitutions + output.deletions + output.insertions


@pytest.mark.parametrize("n_lms", [1, 2])
def test_the_grid_has_the_errors_of_rescoring_at_each_point(n_lms):
    lists = random_lists(25, n_lms, seed=n_lms)
    *scores, references = lists
    axes = (0.0, 0.3, 0.9), (-0.5, 0.0, 1.5)
    tuning = tune(*lists, *axes)
    points = itertools.product(*[range(3)] * (n_lms + 1))
    for point in points:
        lm_weights = [axes[0][n] for n in point[:-1]]
        texts = best_texts(*scores, lm_weights, axes[1][point[-1]])
        assert tuning.errors[point] == jiwer_errors(references, texts), point
    assert tuning.words == sum(len(text.split()) for text in references)
    chosen = best_texts(*scores, tuning.weights.lm_weights, tuning.weights.word_bonus)
    assert tuning.wer == pytest.approx(jiwer.wer(references, chosen), rel=1e-12)
    assert tuning.errors.min() < tuning.errors.max()  # otherwise the test would be trivial


def planted(lm_weight, width):
    """Two kinds of lists: one is right above weight - width, the other below weight + width."""
    nbests, found = [], []
    for sign, weight in ((1, lm_weight - width), (-1, lm_weight + width)):
        # score of the right text minus that of the wrong one: sign * (the weight tried - weight)
        right = Hypothesis((), -10.0 - sign * weight, words=("right",))
        wrong = Hypothesis((), -10.0, words=("wrong",))
        nbests.append([wrong, right])
        found.append(np.array([[-5.0], [-5.0 + sign]]))
    return 20 * nbests, 20 * found, 40 * ["right"]


@pytest.mark.parametrize("lm_weight", [0.3, 1.0, 1.7])
def test_the_middle_of_a_planted_plateau_is_found(lm_weight):
    tuning = tune(*planted(lm_weight, width=0.25))
    assert tuning.wer == 0
    assert tuning.weights == RescoreWeights((lm_weight,), 0.0)
    assert tuning.at_end == []


def test_a_planted_word_bonus_is_found():
    # two words are right, but cost 5 nats more than one under the language model; three are wrong
    nbest = [Hypothesis((), -10.0, words=words) for words in (("a",), ("a", "b"), ("a", "b", "c"))]
    found = np.array([[-5.0], [-10.0], [-16.0]])
    lists = 20 * [nbest], 20 * [found], 20 * ["a b"]
    tuning = tune(*lists, (0.0, 1.0), (-2.0, 0.0, 4.5, 5.5, 7.0))
    assert tuning.weights == RescoreWeights((1.0,), 5.5)
    assert tuning.wer == 0


def test_without_a_language_model_the_word_bonus_alone_is_tuned(tmp_path):
    # each further word gains 30 nats in the acoustic model, but only the first is right
    nbest = [Hypothesis((), 30.0 * n, words=("a",) * n) for n in (1, 2, 3)]
    tuning = tune([nbest], [np.empty((3, 0))], ["a"], word_bonuses=range(-95, 6, 10))
    assert tuning.errors.tolist() == [0] * 7 + [2] * 4
    assert -95 < tuning.weights.word_bonus < -35
    assert tuning.weights.lm_weights == ()
    assert tuning.wer == 0
    write_tuning(tmp_path, tuning)
    assert (tmp_path / "tuning.tsv").read_text().splitlines()[0].split()[:2] == [
        "word_bonus",
        "errors",
    ]
    assert (tmp_path / "tuning.png").stat().st_size > 1000


def test_the_better_of_two_language_models_gets_the_weight():
    nbests, found, references = planted(0.7, width=0.25)
    noise = np.random.default_rng(0).normal(0, 20, size=(40, 2, 1))
    both = [np.hstack(pair) for pair in zip(noise, found, strict=True)]
    tuning = tune(nbests, both, references, word_bonuses=(0.0,))
    assert tuning.wer == 0
    assert tuning.weights.lm_weights[0] == 0
    assert 0.5 <= tuning.weights.lm_weights[1] <= 0.9
    assert tuning.names == ["lm_weight_1", "lm_weight_2", "word_bonus"]


@pytest.mark.parametrize("seed", range(5))
def test_tuned_weights_never_make_more_errors_than_no_rescoring(seed):
    lists = random_lists(12, n_lms=1, seed=seed)
    tuning = tune(*lists)
    *scores, references = lists
    assert tuning.errors[tuning.chosen] <= jiwer_errors(references, best_texts(*scores, [0.0], 0.0))
    # nor where the language model is worse than none
    against = [-rows for rows in lists[1]]
    tuning = tune(lists[0], against, references)
    assert tuning.errors[tuning.chosen] <= tuning.errors[0, tuning.word_bonuses.index(0.0)]


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_point_is_nearest_to_the_weighted_mean(seed):
    generator = np.random.default_rng(seed)
    axes = [tuple(0.1 * n for n in range(9)), (-1.0, 0.0, 0.25, 2.0)]  # not evenly spaced
    errors = generator.integers(5, 15, size=(9, 4))
    tuning = Tuning(*axes, errors, words=50)
    total, means = 0.0, [0.0, 0.0]
    for i, j in np.ndindex(9, 4):
        share = math.exp(-errors[i, j])
        total, means = total + share, [means[0] + share * axes[0][i], means[1] + share * axes[1][j]]
    middle = [mean / total for mean in means]
    assert tuning.centre == pytest.approx(middle, rel=1e-9)
    allowed = [(i, j) for i, j in np.ndindex(9, 4) if errors[i, j] <= errors[0, 1]]

    def away(point):
        steps = (axes[0][point[0]] - middle[0]) / 0.8, (axes[1][point[1]] - middle[1]) / 3.0
        return sum(step**2 for step in steps)

    assert tuning.chosen == min(allowed, key=away)


def test_a_plateau_beats_a_single_better_point():
    errors = np.full((21, 21), 100)
    errors[3, 3] = 88
    errors[10:17, 8:15] = 90
    axis = tuple(0.1 * n for n in range(21))
    assert Tuning(axis, axis, errors, words=1000).chosen == (12, 10)


def test_points_worse_than_no_rescoring_are_not_chosen():
    errors = np.full((21, 21), 90)
    errors[:3, :3] = 120
    errors[0, 0] = 89
    axis = tuple(0.1 * n for n in range(21))
    tuning = Tuning(axis, axis, errors, words=1000)
    assert tuning.centre.min() > 0.9
    assert tuning.weights == RescoreWeights((0.0,), 0.0)


def test_a_point_with_several_fewer_errors_is_chosen():
    errors = np.array([[30, 30, 30], [30, 20, 12], [30, 20, 20]])
    assert Tuning((0.0, 1.0, 2.0), (0.0, 1.0, 2.0), errors, words=100).chosen == (1, 2)


def planted_model(utterances, seed):
    """Lists whose acoustic and language scores are equally noisy: the best weight is 1."""
    generator = np.random.default_rng(seed)
    errors, texts = np.array([0, 1, 1, 2]), ["a b", "a x", "x b", "x x"]
    nbests, found = [], []
    for _ in range(utterances):
        log_probs = -1.5 * errors + generator.normal(0, 2.0, size=4)
        found.append((-1.5 * errors + generator.normal(0, 2.0, size=4))[:, None])
        words = [tuple(text.split()) for text in texts]
        nbests.append(
            [Hypothesis((), float(p), words=w) for p, w in zip(log_probs, words, strict=True)]
        )
    return nbests, found, ["a b"] * utterances


def test_weights_from_little_data_are_nearer_to_the_truth_than_the_minimum():
    off, off_fewest = [], []
    for seed in range(60):
        tuning = tune(*planted_model(25, seed), word_bonuses=(0.0,))
        off.append(tuning.weights.lm_weights[0] - 1)
        off_fewest.append(tuning.lm_weights[tuning.errors[:, 0].argmin()] - 1)
    assert np.sqrt(np.mean(np.square(off))) < 0.8 * np.sqrt(np.mean(np.square(off_fewest)))


def test_equal_errors_everywhere_choose_the_smallest_weights():
    nbests = [[Hypothesis((), -1.0, words=("a",))]]
    tuning = tune(nbests, [np.array([[-2.0]])], ["b"])
    assert tuning.weights == RescoreWeights((0.0,), 0.0)
    assert tuning.wer == 1.0


def test_a_text_with_lm_probability_0_wins_only_at_weight_0():
    likely, unlikely = (Hypothesis((), p, words=(w,)) for w, p in (("a", -1.0), ("b", -9.0)))
    axes, impossible, possible = ((0.0, 0.5), (0.0,)), [-np.inf], [-3.0]
    for nbest, found, errors in (
        ([likely, unlikely], [impossible, possible], [[0], [1]]),
        ([likely, unlikely], [possible, impossible], [[0], [0]]),
    ):
        assert tune([nbest], [np.array(found)], ["a"], *axes).errors.tolist() == errors


def test_a_choice_at_the_end_of_the_grid_is_reported():
    axes = (0.0, 0.5, 1.0), (-1.0, 0.0, 1.0)
    errors = np.full((3, 3), 9)
    errors[2, 1] = 1
    assert Tuning(*axes, errors, 10).at_end == ["lm_weight"]
    errors[2, 0] = 0
    assert Tuning(*axes, errors, 10).at_end == ["lm_weight", "word_bonus"]
    assert Tuning(*axes, 9 - errors, 10).at_end == []  # at weight 0 there is nothing beyond
    assert Tuning((2.0,), (1.0,), np.array([[3]]), 10).at_end == []  # nothing else was tried


@pytest.mark.parametrize("n_lms", [1, 2])
def test_the_whole_grid_is_written_with_the_choice_marked(n_lms, tmp_path):
    tuning = tune(*random_lists(10, n_lms, seed=0), (0.0, 0.5, 1.0), (0.0, 2.0))
    write_tuning(tmp_path / "new", tuning, "search")
    lines = (tmp_path / "new" / "search.tsv").read_text().splitlines()
    names = lines[0].split("\t")
    assert names == [*tuning.names, "errors", "wer", "chosen"]
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
    assert [int(row["errors"]) for row in rows] == tuning.errors.ravel().tolist()
    (chosen,) = (row for row in rows if row["chosen"] == "yes")
    weights = [float(chosen[name]) for name in tuning.names]
    assert RescoreWeights(tuple(weights[:-1]), weights[-1]) == tuning.weights
    assert float(chosen["wer"]) == pytest.approx(tuning.wer, abs=1e-6)

    picture = imread(tmp_path / "new" / "search.png")[..., :3]
    red = (picture[..., 0] > 0.9) & (picture[..., 1:] < 0.1).all(axis=2)
    columns = np.flatnonzero(red.any(axis=0))
    # a ring in each map of two axes
    assert 1 + np.count_nonzero(np.diff(columns) > 50) == len(tuning.axes) * n_lms // 2


def test_lists_that_do_not_match_are_refused():
    nbests, found, references = random_lists(3, n_lms=1, seed=0)
    with pytest.raises(ValueError, match="3 nbests, 3 lm_log_probs, 2 references; expected the s"):
        tune(nbests, found, references[:2])
    with pytest.raises(ValueError, match="0 nbests, 0 lm_log_probs, 0 references"):
        tune([], [], [])
    with pytest.raises(ValueError, match=r"the nbest of lm_log_probs\[1\] is empty"):
        tune([nbests[0], [], nbests[2]], found, references)
    with pytest.raises(ValueError, match=r"lm_log_probs\[1\] has shape .* expected a row for eac"):
        tune(nbests, [found[0], found[1][:-1], found[2]], references)
    with pytest.raises(ValueError, match=r"lm_log_probs\[2\] has nan or inf"):
        tune(nbests, [*found[:2], found[2] * np.nan], references)
    with pytest.raises(ValueError, match=r"lm_log_probs\[2\] is of 2 language models, the first"):
        tune(nbests, [*found[:2], np.hstack([found[2]] * 2)], references)
    with pytest.raises(ValueError, match=r"errors has shape \(3,\); expected one axis for each"):
        Tuning((0.0,), (0.0, 1.0), np.zeros(3, dtype=np.int64), words=1)
    with pytest.raises(ValueError, match="the references have no word"):
        tune(nbests, found, [""] * 3)


@pytest.mark.parametrize("axis", [(), (0.0, 0.0), (1.0, 0.5)])
def test_axes_that_are_not_ascending_are_refused(axis):
    lists = random_lists(2, n_lms=1, seed=0)
    with pytest.raises(ValueError, match=r"lm_weights is .*; expected ascending numbers"):
        tune(*lists, lm_weights=axis)
    with pytest.raises(ValueError, match=r"word_bonuses is .*; expected ascending numbers"):
        tune(*lists, word_bonuses=axis)
