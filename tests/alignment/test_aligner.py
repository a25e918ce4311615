from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.alignment.aligner import SPREAD, acoustic_confidences, align_text, recognised_words
from asr.alignment.times import SILENT_UNIT, TimedLabel
from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm
from asr.hmm.topology import left_to_right
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.search.greedy import greedy_search
from asr.search.nbest import Hypothesis
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer

LEXICON = Lexicon({"see": (("S", "IY"),), "he": (("HH", "IY"), ("IY",))})
FEATURES = Features(FeatureSettings(n_mels=20, window_ms=10.0, hop_ms=10.0))
"""Settings with frame t centred at 5 ms + 10 t ms, as long as its window."""


def planted(path, S, outside=-30.0):
    """(T, S): in each frame only the path's state or token is probable."""
    rows = np.full((len(path), S), outside, dtype=np.float32)
    rows[np.arange(len(path)), path] = 0.0
    return rows


def hmm():
    phones = PhoneTokenizer.from_lexicon(LEXICON)  # HH, IY, S
    topology = left_to_right(len(phones.symbols), 2, 1)
    S = len(topology.self_loops)
    gmm = Gmm(torch.zeros(S, 1), torch.zeros(S, 1, 20), torch.ones(S, 1, 20))
    return Model(FEATURES, GmmEmissions(gmm), phones, {}, topology)


def test_an_hmm_aligns_phones_and_words_and_chooses_pronunciations():
    model = hmm()
    (_, iy, s), silence = model.topology.pdfs[1:].tolist(), model.topology.silence[0]
    path = [silence] * 3 + [s[0]] * 2 + [s[1]] + [iy[0]] * 2 + [iy[1]] * 2
    path += [silence] * 2 + [iy[0]] * 4 + [iy[1]]
    found = align_text(model, planted(path, 7), "see he", duration=len(path) / 100)
    expected = [
        (SILENT_UNIT, 0.0, 0.03),
        ("S", 0.03, 0.06),
        ("IY", 0.06, 0.10),
        (SILENT_UNIT, 0.10, 0.12),
        ("IY", 0.12, 0.17),  # he without its h
    ]
    assert [label for label, *_ in found.units] == [label for label, *_ in expected]
    times = [time for _, *some in found.units for time in some]
    np.testing.assert_allclose(times, [time for _, *some in expected for time in some], atol=1e-9)
    assert [word.text for word in found.words] == ["see", "he"]
    assert found.words[1].start == pytest.approx(0.12)
    assert found.words[1].end == pytest.approx(0.17)
    assert [label for label, *_ in found.phones] == ["S", "IY", "IY"]
    assert len(found.path) == len(path)


def test_ctc_spikes_are_extended_into_the_blanks_beside_them():
    tokenizer = CharTokenizer(("<blank>", " ", "a", "b"))
    settings = AcousticSettings(time_reduction=1, hidden_size=2, n_layers=1)
    model = Model(FEATURES, AcousticModel(20, 4, settings), tokenizer)
    path = [0] * 10 + [2] + [0] * 20 + [3] + [0] * 4 + [1] + [0] * 3 + [2, 2] + [0] * 10
    found = align_text(model, planted(path, 4), "ab a", duration=len(path) / 100)
    assert found.path.tolist() == path
    a, b, space, last = found.units
    assert space.label == " "
    assert found.phones == [a, b, last]
    assert (a.label, b.label, last.label) == ("a", "b", "a")
    assert a == ("a", pytest.approx(0.10), pytest.approx(0.11 + SPREAD))
    assert b.start == pytest.approx(0.31 - SPREAD)
    assert b.end == pytest.approx(0.34)  # extended by half of the blanks
    assert [(word.text, word.start, word.end) for word in found.words] == [
        ("ab", pytest.approx(0.10), pytest.approx(0.32 + 0.04)),
        ("a", pytest.approx(0.40 - 0.04), pytest.approx(0.42)),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("see them", "no pronunciation in the model's lexicon for them"),
        ("see see", "has 5 frames; the text needs 8"),
    ],
)
def test_texts_that_can_not_be_aligned_are_refused(text, line):
    with pytest.raises(InputError, match=line):
        align_text(hmm(), planted([0] * 5, 7), text, duration=0.05)


def ctc(time_reduction=3):
    settings = AcousticSettings(time_reduction=time_reduction, hidden_size=2, n_layers=1)
    return Model(FEATURES, AcousticModel(20, 3, settings), CharTokenizer(("<blank>", "a", "b")))


def test_an_empty_text_aligns_with_silence():
    silence = hmm().topology.silence[0]
    found = align_text(hmm(), planted([silence] * 5, 7), "", duration=0.05)
    assert found.units == [TimedLabel(SILENT_UNIT, 0.0, 0.05)]
    assert found.words == ()
    found = align_text(ctc(), planted([0] * 5, 3), "", duration=0.15)
    assert (found.units, found.words) == ([], ())


def test_an_empty_text_is_refused_by_an_hmm_without_silence():
    model = hmm()
    mute = replace(model, topology=replace(model.topology, silence=()))
    with pytest.raises(InputError, match="the text is empty; expected words, since the HMM has no"):
        align_text(mute, planted([0] * 5, 7), "", duration=0.05)


@pytest.mark.parametrize("kind", ["ctc", "hmm"])
def test_a_text_of_twenty_minutes_is_found_where_it_was_planted(kind):
    generator = np.random.default_rng(0)
    seconds = 20 * 60
    gaps = generator.integers(10, 150, 1200)  # frames between the starts of words
    starts = gaps.cumsum()[gaps.cumsum() < 100 * seconds - 10]
    if kind == "ctc":
        model, path, text = ctc(1), np.zeros(100 * seconds, int), " ".join(["ab"] * len(starts))
        path[starts], path[starts + 5] = 1, 2
    else:
        model, text = hmm(), " ".join(["see"] * len(starts))
        (_, iy, s), silence = model.topology.pdfs[1:].tolist(), model.topology.silence[0]
        path = np.full(100 * seconds, silence)
        for place, pdf in enumerate([s[0], s[1], s[1], iy[0], iy[0], iy[1]]):
            path[starts + place] = pdf
    found = align_text(model, planted(path, 7 if kind == "hmm" else 3, -3.0), text, seconds)
    assert len(found.words) == len(starts) > 1000
    assert [span.first for span in found.spans if span.unit in ("a", "S")] == starts.tolist()
    assert [span.last for span in found.spans if span.unit in ("b", "IY")] == list(starts + 5)


def test_a_text_without_probability_is_refused():
    line = "the model gives the text the probability 0; expected another text"
    with pytest.raises(InputError, match=line):
        align_text(ctc(), planted([0] * 5, 3, -np.inf), "ab", duration=0.15)


def test_an_nfd_text_aligns_as_nfc():
    phones = PhoneTokenizer.from_lexicon(Lexicon({"é": (("S", "IY"),), "h": (("HH",),)}))
    model = replace(hmm(), tokenizer=phones)
    found = align_text(model, planted([2, 2, 3, 3], 7), "e\N{COMBINING ACUTE ACCENT}", 0.04)
    assert [word.text for word in found.words] == ["é"]


@pytest.mark.parametrize(("model", "hop"), [(hmm(), 1), (ctc(1), 1), (ctc(3), 3)])
def test_a_wrong_duration_is_refused(model, hop):
    rows, text = planted([0] * 20, 7 if model.topology else 3), "see" if model.topology else "ab"
    least = 0.01 + 19 * 0.01 * hop  # the shortest duration of 20 frames
    for duration in (least, least + 0.0099 * hop):
        align_text(model, rows, text, duration)
    for duration in (least - 0.006, least + 0.01 * hop + 0.006, 20.0, 0.001):
        line = f"has about {least:.2f} s of audio; its duration is given as {duration:.2f} s"
        with pytest.raises(InputError, match=line):
            align_text(model, rows, text, duration)


def test_too_few_frames_for_ctc_are_refused():
    model = ctc()
    with pytest.raises(InputError, match="has 3 frames; the text needs 5"):
        align_text(model, planted([0] * 3, 3), "aaa", duration=0.09)


def ctc_of(tokenizer):
    settings = AcousticSettings(time_reduction=1, hidden_size=2, n_layers=1)
    network = AcousticModel(20, len(tokenizer.symbols), settings)
    return Model(FEATURES, network, tokenizer)


def test_confidence_is_the_mean_over_the_tokens_frames():
    letters = CharTokenizer.from_texts(["go on"])  # blank, " ", g, n, o
    probabilities = np.full((9, 5), 0.01)
    for frame, (token, probability) in enumerate(
        [(0, 0.9), (2, 0.6), (2, 0.8), (0, 0.5), (4, 0.9), (1, 0.5), (4, 0.7), (3, 0.4), (0, 0.9)]
    ):
        probabilities[frame, token] = probability
    log_probs = np.log(probabilities).astype(np.float32)
    model, best = ctc_of(letters), greedy_search(log_probs, letters)
    assert best.text == "go on"
    words = recognised_words(model, log_probs, best, duration=0.09)
    aligned = align_text(model, log_probs, "go on", duration=0.09)
    assert words == aligned.words
    sure = [(0.6 * 0.8 * 0.9) ** (1 / 3), (0.7 * 0.4) ** (1 / 2)]  # blanks and " " left out
    assert [word.confidence for word in words] == pytest.approx(sure, rel=1e-5)
    assert acoustic_confidences(model, log_probs, best).tolist() == [w.confidence for w in words]
    empty = Hypothesis((), 0.0, words=())
    assert recognised_words(model, log_probs, empty, 0.09) == ()
    assert acoustic_confidences(model, log_probs, empty).shape == (0,)


def test_words_are_timed_by_their_recognised_pronunciation():
    phones = PhoneTokenizer.from_lexicon(LEXICON)  # HH, IY, S
    path = [0, 3, 0, 2, 0, 0, 2, 2, 0]
    log_probs = torch.from_numpy(planted(path, 4)).log_softmax(1)
    best = greedy_search(log_probs)._replace(words=("see", "he"))  # he without its h
    words = recognised_words(ctc_of(phones), log_probs, best, duration=0.09)
    assert [(word.text, word.confidence) for word in words] == [
        ("see", pytest.approx(1)),
        ("he", pytest.approx(1)),
    ]
    assert words[1].start == pytest.approx(0.05)  # half way between the two phones


def test_confidence_of_an_hmm_is_the_mean_over_its_states():
    model = hmm()
    (_, iy, s), silence = model.topology.pdfs[1:].tolist(), model.topology.silence[0]
    path = [silence, s[0], s[1], iy[0], iy[1], iy[1], silence]
    emissions = planted(path, 7, outside=-2.0)  # posterior 1 / (1 + 6 e^-2)
    best = Hypothesis((3, 2), 0.0, words=("see",))
    (word,) = recognised_words(model, emissions, best, duration=0.07)
    assert word.confidence == pytest.approx(1 / (1 + 6 * np.exp(-2)), rel=1e-5)
    assert (word.text, word.start, word.end) == ("see", pytest.approx(0.01), pytest.approx(0.06))
