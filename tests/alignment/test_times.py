import itertools
import random

import numpy as np
import pytest
import torch

from asr.alignment.times import (
    SILENT_UNIT,
    BoundaryAccuracy,
    Span,
    TimedLabel,
    boundary_accuracy,
    boundary_errors,
    ctc_spans,
    frame_times,
    spell,
    unit_segments,
    word_segments,
    words_of_tokens,
)
from asr.audio.features import Features, FeatureSettings
from asr.corpus.manifest import Utterance, read_manifest, write_manifest
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.ctc import ctc_align
from asr.text.lexicon import parse_lexicon
from asr.text.tokenizer import (
    BpeTokenizer,
    CharTokenizer,
    JamoTokenizer,
    PhoneTokenizer,
    UnitTokenizer,
)

SETTINGS = FeatureSettings()  # windows of 25 ms, every 10 ms
STACKED = AcousticSettings(time_reduction=3)
CONVOLVED = AcousticSettings(time_reduction=3, conv_channels=2)


def planted(tokens, C, seed=0):
    """Posteriors, (T, C), with the planted token as the most probable one in each frame."""
    logits = torch.from_numpy(np.random.default_rng(seed).uniform(size=(len(tokens), C)))
    logits[range(len(tokens)), tokens] += 5
    return logits.log_softmax(1)


def test_planted_boundaries_are_found():
    tokenizer = CharTokenizer.from_texts(["go on"])  # blank, " ", g, n, o
    frames = [0, 0, 2, 2, 0, 4, 0, 0, 1, 0, 4, 3, 3, 0, 0]
    words = ["go", "on"]
    tokens, word_of = spell(words, tokenizer)
    alignment = ctc_align(planted(frames, C=5), tokens)
    spans = ctc_spans(alignment, tokenizer.symbols, word_of)
    times = frame_times(len(frames), SETTINGS, duration=0.175)
    segments = [TimedLabel(label, *(pytest.approx(t, rel=1e-12) for t in at)) for label, *at in [
        ("g", 0.0275, 0.0475),
        ("o", 0.0575, 0.0675),
        (" ", 0.0875, 0.0975),
        ("o", 0.1075, 0.1175),
        ("n", 0.1175, 0.1375),
    ]]  # fmt: skip
    assert unit_segments(spans, times) == segments
    assert word_segments(spans, words, times) == [
        TimedLabel("go", segments[0].start, segments[1].end),
        TimedLabel("on", segments[3].start, segments[4].end),
    ]


def best_alignment(log_probs, tokens):
    """The most probable of all C ** T alignments that collapse to the tokens."""
    T, C = log_probs.shape
    found = []
    for alignment in itertools.product(range(C), repeat=T):
        if [token for token, _ in itertools.groupby(alignment) if token] == tokens:
            found.append((log_probs[range(T), alignment].sum().item(), alignment))
    return max(found)[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("text", ["ab", "aa", "bab", "a"])
def test_spans_equal_those_of_the_best_enumerated_alignment(seed, text):
    tokenizer = CharTokenizer.from_texts(["ab"])
    tokens, word_of = spell([text], tokenizer)
    log_probs = torch.from_numpy(np.log(np.random.default_rng(seed).dirichlet(np.ones(3), 6)))
    spans = ctc_spans(ctc_align(log_probs, tokens), tokenizer.symbols, word_of)
    frames = [0] * 6
    for span in spans:
        frames[span.first : span.last + 1] = [tokenizer.encode(span.unit)[0]] * (
            span.last + 1 - span.first
        )
    assert tuple(frames) == best_alignment(log_probs, tokens)
    assert "".join(span.unit for span in spans) == text


def test_words_are_spelled_like_their_text():
    texts = ["go on", "on a go", "a"]
    lexicon = parse_lexicon(["go G OW", "on AO N", "on AA N", "a AH"], "x")
    tokenizers = [
        CharTokenizer.from_texts(texts),
        UnitTokenizer.from_texts(texts),
        BpeTokenizer.from_texts(texts, n_pieces=7),
        PhoneTokenizer.from_lexicon(lexicon),
    ]
    for tokenizer, text in itertools.product(tokenizers, texts):
        words = text.split()
        tokens, word_of = spell(words, tokenizer)
        assert tuple(tokens) == tokenizer.encode(text)
        for number, word in enumerate(words):
            own = [token for token, of in zip(tokens, word_of, strict=True) if of == number]
            assert tuple(own) == tokenizer.encode(word)
    assert spell(["go", "a"], tokenizers[0])[1] == [0, 0, None, 1]
    assert spell([], tokenizers[0]) == ([], [])


def changed_at(sample, n_samples):
    """A tone followed by another one of the same level."""
    t = np.arange(n_samples)
    low, high = np.sin(0.3 * t), np.sin(0.9 * t)
    return np.where(t < sample, low, high).astype(np.float32)


@pytest.mark.parametrize(("window_ms", "hop_ms"), [(25.0, 10.0), (40.0, 10.0), (16.0, 16.0)])
def test_boundaries_of_frames_are_unbiased(window_ms, hop_ms):
    # each frame shows which tone is louder in it; the changes are anywhere within a hop
    settings = FeatureSettings(
        sample_rate=8000, n_mels=20, window_ms=window_ms, hop_ms=hop_ms, normalisation="none"
    )
    n_samples = 2000
    samples = np.arange(800, 800 + 2 * settings.hop_length, 8)
    waveforms = torch.from_numpy(np.stack([changed_at(sample, n_samples) for sample in samples]))
    features, _ = Features(settings)(waveforms, torch.full((len(samples),), n_samples))
    low, high = (features[t, 0].argmax() for t in (0, -1))
    times = frame_times(len(features), settings, n_samples / 8000)
    first = (features[:, :, high] > features[:, :, low]).int().argmax(0)
    errors = times[first.numpy()] - samples / 8000
    assert abs(errors.mean()) < 0.0005
    assert np.abs(errors).max() < hop_ms / 2000 + 0.0005


@pytest.mark.parametrize("model", [STACKED, CONVOLVED, AcousticSettings(time_reduction=4)])
def test_output_frames_are_centred_on_the_frames_they_cover(model):
    # a frame of the model lasts from halfway to the last one's middle to halfway to the next one's
    r = model.time_reduction
    acoustic = AcousticModel(4, 3, model)
    front = acoustic.convolutions
    times = frame_times(9, SETTINGS, duration=10.0, model=model)
    t = 4
    centre = (times[t] + times[t + 1]) / 2
    if front is None:
        seen = np.arange(t * r, (t + 1) * r)
    else:
        features = torch.zeros(9 * r, 1, 4, requires_grad=True)
        outputs = front.first(features.transpose(0, 1)[:, None])
        outputs[:, :, t].sum().backward()
        seen = features.grad.abs().sum((1, 2)).nonzero().numpy()
    assert centre == pytest.approx(seen.mean() * 0.01 + 0.0125, abs=1e-12)
    np.testing.assert_allclose(np.diff(times)[1:-1], 0.01 * r, rtol=1e-9)


def random_spans(generator, T):
    """Spans with and without frames between, of some words, separators and silence."""
    spans, word, t = [], 0, generator.randint(0, 2)
    while True:
        for _ in range(generator.randint(1, 3)):
            last = t + generator.randint(0, 3)
            if last >= T:
                if spans[-1].unit == " ":
                    spans.pop()  # a separator is between words only
                words = 1 + max((span.word for span in spans if span.word is not None), default=-1)
                return spans, [f"w{n}" for n in range(words)]
            spans.append(Span(word, generator.choice("ab"), t, last))
            t = last + 1 + generator.choice([0, 0, 1, 5])
        if generator.random() < 0.7 and t < T:
            spans.append(Span(None, generator.choice([SILENT_UNIT, " "]), t, t))
            t += 1 + generator.choice([0, 2])
        word += 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spread", [0.0, 0.02, np.inf])
def test_segments_are_ordered_and_words_cover_their_units(seed, spread):
    spans, words = random_spans(random.Random(seed), T=40)
    duration = SETTINGS.n_frames(6800) * 0.01 + 0.02
    times = frame_times(40, SETTINGS, duration)
    units = unit_segments(spans, times, spread)
    assert [unit.label for unit in units] == [span.unit for span in spans]
    spoken = word_segments(spans, words, times, spread)
    assert [word.label for word in spoken] == words
    for segments in (units, spoken):
        edges = [edge for segment in segments for edge in segment[1:]]
        assert edges == sorted(edges)
        assert all(0 <= edge <= duration for edge in edges)
        assert all(segment.start < segment.end for segment in segments)
    for span, unit in zip(spans, units, strict=True):
        # never shorter than the frames that the alignment gave it
        assert unit.start <= times[span.first]
        assert unit.end >= times[span.last + 1]
        if span.word is not None:
            assert spoken[span.word].start <= unit.start
            assert spoken[span.word].end >= unit.end


def test_units_are_extended_by_spread_and_at_most_half_the_gap():
    times = np.arange(31) / 10
    spans = [Span(0, "a", 2, 3), Span(0, "b", 8, 9), Span(1, "c", 10, 11), Span(1, "d", 20, 21)]
    bounds = {
        0.0: [0.2, 0.4, 0.8, 1.0, 1.0, 1.2, 2.0, 2.2],
        0.3: [0.2, 0.6, 0.6, 1.0, 1.0, 1.5, 1.7, 2.2],
        np.inf: [0.2, 0.6, 0.6, 1.0, 1.0, 1.6, 1.6, 2.2],
    }
    for spread, expected in bounds.items():
        found = unit_segments(spans, times, spread)
        edges = [edge for segment in found for edge in segment[1:]]
        np.testing.assert_allclose(edges, expected, rtol=1e-12)


def test_words_are_extended_into_separators_but_not_into_silence():
    times = np.arange(31) / 10
    for between, edges in ((" ", [1.0, 1.0]), (SILENT_UNIT, [0.7, 1.5])):
        spans = [Span(0, "a", 0, 3), Span(None, between, 10, 13), Span(1, "b", 16, 20)]
        first, second = word_segments(spans, ["a", "b"], times, spread=np.inf)
        assert [first.end, second.start] == pytest.approx(edges, rel=1e-12)


def test_units_and_silences_of_an_hmm_keep_their_frames():
    spans = [
        Span(None, SILENT_UNIT, 0, 9),
        Span(0, "#-G+OW", 10, 14),
        Span(0, "G-OW+#", 15, 29),
        Span(1, "#-AH+#", 30, 39),
        Span(None, SILENT_UNIT, 40, 49),
    ]
    times = frame_times(50, SETTINGS, 0.515)
    assert [unit.start for unit in unit_segments(spans, times)] == pytest.approx(
        [0.0, 0.1075, 0.1575, 0.3075, 0.4075], rel=1e-12
    )
    words = word_segments(spans, ["go", "a"], times)
    assert words == [("go", times[10], times[30]), ("a", times[30], times[40])]


def test_segments_survive_a_round_trip_through_a_manifest(tmp_path):
    words = (TimedLabel("go", 0.5, 0.75), TimedLabel("on", 0.75, 1.0))
    write_manifest(tmp_path / "x.jsonl", [Utterance("x", "x.wav", 2.0, "go on", words=words)])
    assert read_manifest(tmp_path / "x.jsonl")[0].words == words


def test_boundary_accuracy_equals_its_definition():
    reference = [("a", 0.10, 0.20), ("b", 0.20, 0.30), ("c", 0.40, 0.50)]
    found = [("a", 0.12, 0.21), ("b", 0.21, 0.35), ("c", 0.30, 0.50)]
    errors = boundary_errors(reference, found, duration=0.6)
    np.testing.assert_allclose(errors, [0.02, 0.01, 0.01, 0.05, -0.1, 0.0], atol=1e-15)
    accuracy = boundary_accuracy(errors)
    assert accuracy == BoundaryAccuracy(
        boundaries=6,
        within_20_ms=4 / 6,
        within_50_ms=5 / 6,
        mean_absolute=pytest.approx(0.19 / 6, rel=1e-12),
        bias=pytest.approx(-0.01 / 6, rel=1e-12),
    )
    assert (boundary_errors(reference, reference, 0.6) == 0).all()
    assert boundary_errors([], [], 0.6).shape == (0,)


def test_boundaries_at_the_ends_of_a_recording_do_not_count():
    reference = [("", 0.0, 0.20), ("b", 0.20, 0.30), ("", 0.30, 0.497)]
    found = [("", 0.0, 0.21), ("b", 0.21, 0.32), ("", 0.32, 0.5)]
    errors = boundary_errors(reference, found, duration=0.5)
    np.testing.assert_allclose(errors, [0.01, 0.01, 0.02, 0.02], atol=1e-15)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([("a", 0, 1), ("x", 1, 2)], r"found\[1\] has label 'x'; the reference has 'b'"),
        ([("a", 0, 1)], r"found\[1\] has label None; the reference has 'b'"),
        ([("a", 0, 1), ("b", 1, 2), ("", 2, 3)], r"found\[2\] has label ''; the .* has None"),
    ],
)
def test_segments_of_another_text_are_not_compared(found, message):
    with pytest.raises(ValueError, match=message):
        boundary_errors([("a", 0.0, 1.0), ("b", 1.0, 2.0)], found, duration=2.0)


def test_accuracy_of_no_boundaries_is_refused():
    with pytest.raises(ValueError, match="errors is empty; expected one boundary or more"):
        boundary_accuracy(np.zeros(0))


def test_invalid_spans_are_refused():
    times = np.arange(11) / 10
    for spans, message in (
        ([Span(0, "a", 3, 2)], r"spans has Span\(.*first=3, last=2\); expected frames from 0 to 9"),
        ([Span(0, "a", 0, 4), Span(0, "b", 4, 5)], "first=4.*; expected frames from 5 to 9"),
        ([Span(0, "a", 5, 10)], "last=10.*; expected frames from 0 to 9"),
    ):
        with pytest.raises(ValueError, match=message):
            unit_segments(spans, times)
    with pytest.raises(ValueError, match=r"spread is -0.1; expected 0 or more seconds"):
        unit_segments([], times, spread=-0.1)
    spans = [Span(0, "a", 0, 1), Span(2, "b", 2, 3)]
    with pytest.raises(ValueError, match=r"spans are of words \[0, 2\]; expected 3 words, in ord"):
        word_segments(spans, ["a", "x", "b"], times)
    with pytest.raises(ValueError, match="alignment has 1 token; word_of has 2"):
        ctc_spans(torch.tensor([0, 1, 1, 0]), ["<blank>", "a"], [0, 0])


@pytest.mark.parametrize("model", [None, STACKED, CONVOLVED])
def test_more_frames_than_the_duration_holds_are_refused(model):
    for n_samples in (400, 401, 559, 560, 5000, 5040, 5080, 5120):
        T = SETTINGS.n_frames(n_samples)
        if model:
            T = -(-T // model.time_reduction)
        times = frame_times(T, SETTINGS, n_samples / 16000, model)
        assert times.shape == (T + 1,)
        assert (times[0], times[-1]) == (0.0, n_samples / 16000)
        assert (np.diff(times) > 0).all()
    with pytest.raises(ValueError, match=r"duration is 0.3 s; 300 frames take more than \d"):
        frame_times(300, SETTINGS, 0.3, model)
    with pytest.raises(ValueError, match="T is 0; expected 1 or more"):
        frame_times(0, SETTINGS, 0.3, model)


def test_tokens_belong_to_the_words_that_they_spell():
    letters = CharTokenizer.from_texts(["go on"])  # blank, " ", g, n, o
    found = words_of_tokens([1, 2, 4, 1, 1, 4, 3, 1], ["go", "on"], letters)
    assert found == [None, 0, 0, None, None, 1, 1, None]
    units = UnitTokenizer(("<blank>", "AA", "B"))
    assert words_of_tokens([2, 1, 1], ["B", "AA", "AA"], units) == [0, 1, 2]
    assert words_of_tokens([1, 1], [], letters) == [None, None]
    with pytest.raises(ValueError, match=r"tokens are \(2, 4\); expected those of 'no'"):
        words_of_tokens([2, 4], ["no"], letters)


def test_jamo_belong_to_the_words_that_they_spell():
    jamo = JamoTokenizer.from_texts(["한 국가"])
    for text in ("한 하", "하 한 국가", "국 구가"):
        tokens, expected = spell(text.split(), jamo)
        assert words_of_tokens(tokens, text.split(), jamo) == expected
    vowel = jamo.encode("하")[1]
    assert words_of_tokens([vowel, *jamo.encode(" 한")], ["아", "한"], jamo) == [0, None, 1, 1, 1]


def test_pieces_belong_to_the_words_that_they_spell():
    texts = ["go on", "going on and on", "no one is going"]
    pieces = BpeTokenizer.from_texts(texts, 20)
    for text in texts:
        words = text.split()
        tokens, expected = spell(words, pieces)
        assert words_of_tokens(tokens, words, pieces) == expected
    by_letters = [pieces.symbols.index(piece) for piece in ("▁", "g", "o", "▁", "o", "n")]
    assert words_of_tokens(by_letters, ["go", "on"], pieces) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_phones_belong_to_words_in_any_pronunciation(seed):
    lines = ["a  AH", "a(2)  AH N", "an  AH N", "net  N EH T", "net(2)  EH T", "nan  N AH N"]
    lexicon = parse_lexicon(lines, "lexicon")
    phones = PhoneTokenizer.from_lexicon(lexicon)
    generator = random.Random(seed)
    words = [generator.choice(list(lexicon.pronunciations)) for _ in range(6)]
    spoken = [generator.choice(phones.pronunciations(word)) for word in words]
    found = words_of_tokens([token for one in spoken for token in one], words, phones)
    # other divisions of the phones may be correct too, so check that each word is pronounced
    assert found == sorted(found)
    tokens = iter([token for one in spoken for token in one])
    for number, word in enumerate(words):
        said = tuple(next(tokens) for _ in range(found.count(number)))
        assert said in phones.pronunciations(word)
    # as if the search had ended within the last word
    spoken = [token for one in spoken[:-1] for token in one]
    unfinished = [phones.symbols.index("EH")] * 3
    cut = words_of_tokens([*spoken, *unfinished], words[:-1], phones)
    assert cut == [*words_of_tokens(spoken, words[:-1], phones), None, None, None]
    # phones that belong to no word are words themselves, as in the result of a greedy search
    assert words_of_tokens([1, 3], ["AH", "N"], phones) == [0, 1]


def test_the_only_frame_of_a_classifier_is_the_whole_recording():
    model = AcousticSettings(pooling=True)
    assert frame_times(1, FeatureSettings(), 1.25, model).tolist() == [0.0, 1.25]
