import json

import numpy as np
import pytest
import torch
from conftest import run_script
from sklearn.metrics import precision_recall_fscore_support
from taggers import full_stops

from asr.errors import InputError
from asr.evaluation import punctuation
from asr.evaluation.punctuation import (
    best_threshold,
    measure,
    measured_table,
    measured_values,
    tune_thresholds,
)
from asr.networks.tagger import Tagger
from asr.scoring.detection import detection_counts
from asr.text.punctuation import CASES, MARKS, Tag
from asr.transcribing.punctuation import save_punctuation

TEXT = "He came, late.\nWhy did Ann ask?\nThe MP went!\n"


@pytest.fixture
def text(tmp_path):
    (tmp_path / "novel.txt").write_text(TEXT)
    return tmp_path / "novel.txt"


def test_rates_of_a_text_counted_by_hand(text):
    """Every word ends a sentence: 3 of 10 do. All have a capital: 4 of 10 do, and MP has two."""
    found = measure(full_stops().tagger, text)
    counts = {name: m.counts for name, m in found.items()}
    assert counts["sentence_ends"].precision == pytest.approx(3 / 10)
    assert counts["sentence_ends"].recall == 1
    assert counts["full_stops"].precision == pytest.approx(1 / 10)
    assert (counts["commas"].true_positives, counts["commas"].false_negatives) == (0, 1)
    assert counts["case"].precision == pytest.approx(4 / 10)
    assert counts["case"].recall == pytest.approx(4 / 5)
    assert np.isnan(counts["commas"].precision)
    assert measured_values(found)["commas"]["precision"] is None
    line = measured_table(found).splitlines()[1]
    expected = "sentence ends             3       10      0.300   1.000  0.462 (0.462 to 0.462)"
    assert line == expected


def test_rates_are_those_of_scikit_learn(tmp_path, monkeypatch):
    """For a tagger that guesses, in passages of 50 words."""
    generator = np.random.default_rng(0)
    marks = generator.integers(len(MARKS), size=(2, 400))
    cases = generator.integers(len(CASES), size=(2, 400))
    spellings = {"lower": "ab", "capital": "Ab", "upper": "AB"}
    # words are in capitals after full stops, which a small letter would turn into abbreviations
    line = " ".join(
        f"{spellings[CASES[case]]}{MARKS[mark].replace('.', ',')}"
        for mark, case in zip(marks[0], cases[0], strict=True)
    )
    (tmp_path / "text.txt").write_text(line)
    guesses = [Tag(MARKS[m], CASES[c]) for m, c in zip(marks[1], cases[1], strict=True)]
    monkeypatch.setattr(Tagger, "tags", lambda self, words: guesses)
    monkeypatch.setattr(punctuation, "PASSAGE", 50)
    found = measure(full_stops().tagger, tmp_path / "text.txt")
    truth = np.where(marks[0] == MARKS.index("."), MARKS.index(","), marks[0])
    pairs = {
        "commas": (truth == MARKS.index(","), marks[1] == MARKS.index(",")),
        "sentence_ends": (np.isin(truth, [2, 3, 4]), np.isin(marks[1], [2, 3, 4])),
        "case": (cases[0], cases[1]),
    }
    for name, (reference, hypothesis) in pairs.items():
        labels = [label for label in np.unique(reference) if label]
        expected = precision_recall_fscore_support(
            reference, hypothesis, labels=labels, average="micro"
        )
        counts = found[name].counts
        rates = [counts.precision, counts.recall, counts.f1]
        np.testing.assert_allclose(rates, expected[:3], rtol=1e-12)
        assert found[name].low < counts.f1 < found[name].high


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_that_of_all_that_are_tried(seed):
    generator = np.random.default_rng(seed)
    found = generator.integers(1, 20, size=60) / 20  # many are equal
    is_true = generator.random(60) < 0.6 * found

    def f1(threshold):
        return detection_counts(is_true, found >= threshold).f1

    assert f1(best_threshold(found, is_true)) == max(f1(value) for value in np.arange(21) / 20)
    assert best_threshold(found, np.zeros(60, dtype=bool)) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_places_whose_tag_is_never_right_count_as_missed(seed):
    generator = np.random.default_rng(seed)
    found = generator.integers(1, 20, size=60) / 20
    tags = np.where(generator.random(60) < 0.8 * found, generator.integers(1, 3, 60), 0)
    guesses = generator.integers(1, 3, 60)  # the tag of each place if it gets one

    def f1(threshold):
        return detection_counts(tags, np.where(found >= threshold, guesses, 0)).f1

    best = best_threshold(found, guesses == tags, np.count_nonzero(tags))
    assert f1(best) == max(f1(value) for value in np.arange(21) / 20)


def test_tuned_thresholds_find_rare_tags(text):
    """The tagger gives each word the same small probabilities, so all words get a tag or none."""
    tagger = full_stops().tagger
    with torch.no_grad():
        tagger.output.bias.copy_(torch.tensor([2.0, -3, 0, 0, 0, 1, 0, -9]))
    assert {tag.mark for tag in tagger.tags(["a", "b"])} == {""}
    tune_thresholds(tagger, text)
    assert {tag.mark for tag in tagger.tags(["a", "b"])} <= {".", "!", "?"}
    assert {tag.case for tag in tagger.tags(["a", "b"])} == {"capital"}
    end, _, capital = tagger.thresholds.tolist()
    ends, small = 3 / (np.exp(2) + np.exp(-3) + 3), np.exp(1) / (np.exp(1) + 1 + np.exp(-9))
    assert end == pytest.approx(ends / 2, rel=1e-5)
    assert capital == pytest.approx((1 - small) / 2, rel=1e-4)


def test_the_recipe_prints_and_writes_the_rates(text, tmp_path, capsys):
    save_punctuation(tmp_path / "model", full_stops())
    run_script("recipes/evaluate_punctuation.py", "--model", tmp_path / "model", "--text", text)
    assert "sentence ends" in capsys.readouterr().out
    values = json.loads((tmp_path / "model" / "novel" / "punctuation.json").read_text())
    assert values["measured"]["sentence_ends"]["recall"] == 1.0
    assert set(values["sha256"]) == {"weights", "text"}


def test_a_text_without_a_word_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("* * *\n")
    with pytest.raises(InputError, match=r"x\.txt: has no word; expected a punctuated text"):
        measure(full_stops().tagger, tmp_path / "x.txt")
