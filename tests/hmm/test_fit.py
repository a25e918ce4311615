import math

import numpy as np
import pytest
import torch
from utterances import paths

import asr
from asr.hmm import fit
from asr.hmm.fit import FLOOR_SHARE, UnitSpan, fit_hmm
from asr.hmm.gmm import MIN_VARIANCE
from asr.hmm.topology import Topology, left_to_right
from asr.text.lexicon import Lexicon

LEXICON = {"ab": "A B", "b": [["B"], ["B", "A"]]}
TOKENS = {"ab": [(1, 2)], "b": [(2,), (2, 1)]}
TEXTS = ["ab", "b", "b ab", ""]


def random_features(lengths=(5, 4, 6, 3), F=2, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(T, F)) for T in lengths]


def log_gauss(x, mean, variance):
    return -0.5 * (math.log(2 * math.pi * variance) + (x - mean) ** 2 / variance)


def emissions_of(features, means, variances):
    """(T, S), computed value by value."""
    S, F = means.shape
    return np.array(
        [
            [sum(log_gauss(x[f], means[s, f], variances[s, f]) for f in range(F)) for s in range(S)]
            for x in features
        ]
    )


def one_pass(data, topology, means, variances, floor):
    """A pass of EM over enumerated paths: new means, variances, stays, and the log-likelihood."""
    S, F = means.shape
    counts, sums, squares = np.zeros(S), np.zeros((S, F)), np.zeros((S, F))
    stays, total = np.zeros(S), 0.0
    for features, text in data:
        emissions = emissions_of(features, means, variances)
        found = [
            (log_prob + sum(emissions[t, state[0]] for t, state in enumerate(path)), path)
            for log_prob, path in paths([TOKENS[w] for w in text.split()], topology, len(features))
        ]
        log_likelihood = np.logaddexp.reduce([log_prob for log_prob, _ in found])
        total += log_likelihood
        for log_prob, path in found:
            share = math.exp(log_prob - log_likelihood)
            for t, state in enumerate(path):
                counts[state[0]] += share
                sums[state[0]] += share * features[t]
                squares[state[0]] += share * features[t] ** 2
                stays[state[0]] += share * (t > 0 and path[t - 1] == state)
    means = sums / counts[:, None]
    variances = np.maximum(squares / counts[:, None] - means**2, floor)
    stay = np.clip(stays / counts, 0.01, 0.99)
    loops = Topology(topology.pdfs, topology.silence, torch.from_numpy(np.log(stay)))
    return loops, means, variances, total


@pytest.mark.parametrize("n_silence_states", [0, 1])
def test_passes_equal_em_over_enumerated_paths(n_silence_states, monkeypatch):
    monkeypatch.setattr(fit, "MIN_COUNT", 0.0)
    texts = TEXTS if n_silence_states else TEXTS[:3]
    features = random_features()[: len(texts)]
    hmm = fit_hmm(features, texts, LEXICON, 1, n_silence_states, n_components=1, n_passes=3)
    every = np.concatenate(features)
    topology = left_to_right(3, 1, n_silence_states)
    S = len(topology.self_loops)
    means, variances = np.tile(every.mean(0), (S, 1)), np.tile(every.var(0), (S, 1))
    if n_silence_states:  # silence starts from each utterance's frame with the lowest first value
        means[2] = np.mean([x[x[:, 0].argmin()] for x in features], axis=0)
    floor = np.maximum(FLOOR_SHARE * every.var(0), MIN_VARIANCE)
    expected = []
    for _ in range(3):
        data = zip(features, texts, strict=True)
        topology, means, variances, total = one_pass(data, topology, means, variances, floor)
        expected.append(total / len(every))
    np.testing.assert_allclose(hmm.log_likelihoods, expected, rtol=1e-9)
    np.testing.assert_allclose(hmm.gmm.means[:, 0], means, rtol=1e-7)
    np.testing.assert_allclose(hmm.gmm.variances[:, 0], variances, rtol=1e-7)
    np.testing.assert_allclose(hmm.topology.self_loops, topology.self_loops, rtol=1e-7)

    for x, text in zip(features, texts, strict=True):
        emissions = emissions_of(x, means, variances)
        words = [TOKENS[word] for word in text.split()]
        best, path = max(
            (log_prob + sum(emissions[t, state[0]] for t, state in enumerate(path)), path)
            for log_prob, path in paths(words, topology, len(x))
        )
        log_prob, spans = hmm.align(x, text)
        assert log_prob == pytest.approx(best, rel=1e-7)
        said = [(*text.split(), "")[state[1]] for state in path]
        units = [("", "A", "B")[state[3]] for state in path]
        frames = [n for span in spans for n in range(span.first, span.last + 1)]
        assert frames == list(range(len(x)))
        assert [span.word for span in spans for _ in range(span.first, span.last + 1)] == said
        assert [span.unit for span in spans for _ in range(span.first, span.last + 1)] == units


def planted(seed=0, n=20):
    """Utterances of two phones with distant means and silence around them; each phone's frames."""
    generator = np.random.default_rng(seed)
    means = {"": [-8.0, 0.0], "A": [4.0, 5.0], "B": [4.0, -5.0]}
    texts, features, spans = [], [], []
    for number in range(n):
        words = list(generator.choice(["ab", "b"], 1 + number % 3))
        texts.append(" ".join(words))
        units = [("", "")]
        for word in words:
            units += [(word, phone) for phone in ("AB" if word == "ab" else "B")] + [("", "")]
        lengths = generator.integers(4, 9, len(units))
        ends = np.cumsum(lengths)
        labels = [
            unit for (_, unit), length in zip(units, lengths, strict=True) for _ in range(length)
        ]
        features.append(
            np.array([means[label] for label in labels]) + generator.normal(size=(len(labels), 2))
        )
        spans.append(
            [
                UnitSpan(*unit, int(end - length), int(end) - 1)
                for unit, length, end in zip(units, lengths, ends, strict=True)
            ]
        )
    return features, texts, spans


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_planted_phones_are_aligned_correctly(kind):
    features, texts, spans = planted()
    given = [torch.from_numpy(x).float() for x in features] if kind == "tensors" else features
    lexicon = Lexicon({"ab": (("A", "B"),), "b": (("B",),)})
    hmm = asr.fit_hmm(given, texts, lexicon, n_states=1, n_silence_states=1, n_passes=8)
    rounding = 1e-5 if kind == "tensors" else 1e-9  # float32 and float64, nats per frame
    assert np.all(np.diff(hmm.log_likelihoods) > -rounding)
    aligned = [hmm.align(x, text) for x, text in zip(given, texts, strict=True)]
    assert [found for _, found in aligned] == spans
    assert int(hmm.gmm.n_components.sum()) == max(3, sum(map(len, features)) // 200)
    # the right text is more probable than another
    assert hmm.align(features[0], texts[0])[0] > hmm.align(features[0], f"{texts[0]} b")[0]


def test_the_wanted_number_of_gaussians_is_reached():
    features, texts, _ = planted()
    hmm = asr.fit_hmm(features, texts, ["ab", "b"], 1, 1, n_components=6, n_passes=8)
    assert hmm.tokenizer.lexicon.pronunciations["ab"] == (("a", "b"),)
    assert int(hmm.gmm.n_components.sum()) == 6
    assert asr.fit_hmm(features, texts, LEXICON, n_passes=1).log_likelihoods[0] < 0


def test_states_with_too_few_frames_are_reported(capsys):
    features, texts, _ = planted(n=4)
    asr.fit_hmm(features, texts, LEXICON | {"c": "C"}, 1, 1, n_passes=2)
    line = "fit_hmm: states with fewer than 10 frames stay as they were: C[0]\n"
    assert capsys.readouterr().err == line


def test_arguments_that_do_not_fit_are_refused():
    features, texts, _ = planted(n=2)
    (one, two), (text, other) = features, texts
    nan = two.copy()
    nan[3, 1] = np.nan
    for given, message in [
        (([one], texts), "there are 1 features and 2 texts; expected one for each"),
        ((features, "ab b"), "texts is one text, 'ab b'; expected a list of texts"),
        (([], []), "there are 0 features and 0 texts"),
        ((features, [text, "six c"]), "no pronunciation in the lexicon for c, six"),
        (([one, two[:, :1]], texts), r"features\[1\] has shape \(\d+, 1\); expected \(T, 2\)"),
        (([one[0], two], texts), r"features\[0\] has shape \(2,\) .* expected \(T, F\)"),
        (([one, nan], texts), r"features\[1\] has values that are not finite"),
        (([one, two[:1]], texts), rf"features\[1\] has 1 frame; the states of '{other}' take"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit_hmm(*given, LEXICON)
    with pytest.raises(ValueError, match=r"texts\[1\] has no word"):
        fit_hmm(features, [text, " "], LEXICON, n_silence_states=0)
    with pytest.raises(ValueError, match="n_states is 0; expected 1 or more"):
        fit_hmm(features, texts, LEXICON, n_states=0)
    hmm = fit_hmm(features, texts, LEXICON, 1, 1, n_passes=1)
    with pytest.raises(ValueError, match=r"features has shape \(\d+, 1\); expected \(T, 2\)"):
        hmm.align(one[:, :1], text)
    with pytest.raises(ValueError, match="features has 1 frame; the states of 'ab' take 2"):
        hmm.align(one[:1], "ab")
    with pytest.raises(ValueError, match="no pronunciation in the lexicon for six"):
        hmm.align(one, "six")
