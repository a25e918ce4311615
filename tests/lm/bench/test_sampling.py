import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from table_model import TableModel, random_model

from asr.errors import InputError
from asr.lm.bench.sampling import SamplingSettings, next_probs, sample
from asr.lm.vocabulary import EOS, UNK, Vocabulary

WORDS = Vocabulary("word", ("<unk>", "<eos>", "a", "b", "c", "d"))
ROW = np.array([0.1, 0.05, 0.4, 0.2, 0.2, 0.05])


def model_of(row):
    return TableModel(WORDS, np.tile(row, (len(row), 1)))


def drawn_by(settings, row=ROW):
    return next_probs(np.log(row)[None], settings)[0]


def test_units_are_sampled_with_the_models_probabilities():
    model = random_model(WORDS, seed=3)
    settings = SamplingSettings(unknown=True)
    texts = sample(model, settings=settings, n_samples=2000, max_units=10, seed=1)
    probs = model.table.exp().numpy()
    counts = np.zeros_like(probs)
    for text in texts:
        units = (EOS, *text.units, *([EOS] if text.ended else []))
        for before, after in itertools.pairwise(units):
            counts[before, after] += 1
    for before, (row, times) in enumerate(zip(probs, counts, strict=True)):
        assert times.sum() > 300, before
        assert chisquare(times, row / row.sum() * times.sum()).pvalue > 0.001


def test_texts_are_sampled_with_their_probability_and_report_it():
    texts = sample(model_of(ROW), n_samples=4000, max_units=2, seed=5)
    times = Counter((text.units, text.ended) for text in texts)
    row = np.where(np.arange(6) == UNK, 0, ROW) / (1 - ROW[UNK])
    expected = {((), True): row[EOS]}
    for first in range(2, 6):
        expected[(first,), True] = row[first] * row[EOS]
        expected |= {((first, next), False): row[first] * row[next] for next in range(2, 6)}
    assert sum(expected.values()) == pytest.approx(1)
    assert times.keys() <= expected.keys()
    frequencies = [times[text] for text in expected]
    assert chisquare(frequencies, np.array([*expected.values()]) * 4000).pvalue > 0.001
    for text in texts[:50]:
        units = [*text.units, *([EOS] if text.ended else [])]
        assert text.log_prob == pytest.approx(np.log(ROW[units]).sum())


def test_unk_is_left_out_and_the_other_probabilities_are_scaled():
    np.testing.assert_allclose(drawn_by(SamplingSettings(unknown=True)), ROW, rtol=1e-12)
    expected = np.where(np.arange(6) == UNK, 0, ROW / 0.9)
    np.testing.assert_allclose(drawn_by(SamplingSettings()), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "support"),
    [
        ({"top_k": 1}, {2}),
        ({"top_k": 2}, {2, 3}),  # of b and c, equally probable, the first
        ({"top_k": 3}, {2, 3, 4}),
        ({"top_k": 100}, {0, 1, 2, 3, 4, 5}),
        ({"top_p": 0.01}, {2}),
        ({"top_p": 0.39}, {2}),
        ({"top_p": 0.41}, {2, 3}),
        ({"top_p": 0.61}, {2, 3, 4}),
        ({"top_p": 0.89}, {0, 2, 3, 4}),
        ({"top_p": 1.0}, {0, 1, 2, 3, 4, 5}),
        ({"top_k": 2, "top_p": 0.6}, {2}),  # a has 2 of 3 parts of what top_k left
        ({"temperature": 0}, {2}),
    ],
)
def test_only_the_most_probable_units_are_sampled(settings, support):
    probs = drawn_by(SamplingSettings(unknown=True, **settings))
    assert set(np.flatnonzero(probs)) == support
    kept = sorted(support)
    np.testing.assert_allclose(probs[kept], ROW[kept] / ROW[kept].sum(), rtol=1e-12)


def test_top_p_takes_the_smallest_set_with_that_probability():
    generator = np.random.default_rng(0)
    for _ in range(200):
        row = generator.dirichlet(np.ones(8))
        top_p = generator.uniform(0.05, 0.99)
        probs = drawn_by(SamplingSettings(top_p=top_p, unknown=True), row)
        descending = np.sort(row)[::-1]
        size = next(n for n in range(1, 9) if descending[:n].sum() >= top_p)
        assert np.count_nonzero(probs) == size
        assert row[probs > 0].min() == descending[size - 1]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_is_a_power_of_the_probabilities(temperature):
    expected = ROW ** (1 / temperature)
    probs = drawn_by(SamplingSettings(temperature=temperature, unknown=True))
    np.testing.assert_allclose(probs, expected / expected.sum(), rtol=1e-12)


def test_a_low_temperature_approaches_the_greedy_choice():
    model = random_model(WORDS, seed=0)
    greedy = sample(model, settings=SamplingSettings(temperature=0), max_units=20)[0]
    cold = SamplingSettings(temperature=1e-3)
    assert sample(model, settings=cold, max_units=20, seed=9)[0] == greedy
    state, expected = model.start(1), []
    while len(expected) < 20:
        row = model.log_probs(state)[0].clone()
        row[UNK] = -np.inf
        expected.append(int(row.argmax()))
        if expected[-1] == EOS:
            break
        _, state = model.score(state, torch.tensor(expected[-1:]))
    assert [*greedy.units, *([EOS] if greedy.ended else [])] == expected


def test_a_seed_gives_the_same_texts_for_any_n_samples():
    model = random_model(WORDS, seed=0)
    texts = sample(model, n_samples=5, seed=7)
    assert sample(model, n_samples=5, seed=7) == texts
    assert sample(model, n_samples=2, seed=7) == texts[:2]
    assert sample(model, n_samples=5, seed=8) != texts
    assert len(set(texts)) > 1


def test_a_prompt_is_read_first_and_not_returned():
    table = np.zeros((6, 6))
    table[EOS, 2], table[2, 3], table[3, 4], table[4, EOS] = 1, 1, 1, 1  # a b c
    model = TableModel(WORDS, table)
    assert sample(model)[0].units == (2, 3, 4)
    assert sample(model, [2, 3])[0].units == (4,)
    cut = sample(model, [2], max_units=2)[0]
    assert (cut.units, cut.ended, cut.log_prob) == ((3, 4), False, 0)
    assert sample(model, [2], max_units=3)[0].ended


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan; expected 0 or more"),
        ({"top_k": 0}, "top_k is 0; expected 1 or more"),
        ({"top_p": 0.0}, "top_p is 0.0; expected above 0 and at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1; expected above 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SamplingSettings(**settings)


def test_n_samples_below_1_is_refused():
    with pytest.raises(ValueError, match="n_samples is 0; expected 1 or more"):
        sample(model_of(ROW), n_samples=0)
