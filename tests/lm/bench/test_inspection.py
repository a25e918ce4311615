import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from asr.errors import InputError
from asr.lm.bench.inspection import Follower, Property, Reading, followers, properties, read
from asr.lm.bench.inspection_page import LEVELS, MAX_SHOWN, activation_page, n_shown
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.text.normalisation import TextSettings

TEXTS = ['he said "go on now" and went', 'a "b"', "go"] * 4


def model_of(unit="char", punctuation="keep", texts=TEXTS):
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_texts(texts, unit, text=TextSettings("lower", punctuation))
    settings = RNNLMSettings(embedding_size=4, hidden_size=6, n_layers=2, tied=False)
    return RNNLM(vocabulary, settings).eval()


def reading_of(activations):
    U = len(activations)
    return Reading(["x"] * U, np.arange(1, U + 1), activations)


def test_each_sentence_starts_from_the_initial_state():
    model = model_of()
    reading = read(model, ["a go", "", "He on"])
    assert reading.pieces == list("a gohe on")
    assert reading.position.tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5]
    assert reading.activations.shape == (9, 2, 6)
    expected = model.activations(model.vocabulary.encode("he on")).numpy()
    np.testing.assert_allclose(reading.activations[4:], expected, rtol=1e-6)


def test_the_pieces_spell_the_sentence():
    reading = read(model_of("word", "remove"), ["Go, now!", "a zebra went"])
    assert reading.pieces == ["go", " now", "a", " <unk>", " went"]


def test_a_long_text_is_cut_at_max_units(monkeypatch):
    monkeypatch.setattr("asr.lm.bench.inspection.MAX_UNITS", 10)
    reading = read(model_of(), iter(["a go on", "he went", "never"]))
    assert "".join(reading.pieces) == "a go onhe "


def test_a_text_without_a_word_is_refused():
    with pytest.raises(InputError, match=r"x\.txt: has no word; expected at least one"):
        read(model_of("word", "remove"), ["", "?"], "x.txt")


def test_properties_have_the_values_marked_by_hand():
    found, left_out = properties(read(model_of(), TEXTS), model_of().vocabulary)
    assert left_out == []
    quotes, blanks, position = found
    assert [(p.name, p.measure) for p in found] == [
        ("inside quotes", "AUC"),
        ("between words", "AUC"),
        ("position in the sentence", "Spearman"),
    ]
    text = "".join(TEXTS)
    # from the opening mark to the unit before the closing mark
    inside = [text[span.start() : span.end() - 1] for span in re.finditer('"[^"]*"', text)]
    where = "".join(c for c, holds in zip(text, quotes.values, strict=True) if holds)
    assert where == "".join(inside)
    assert [text[n] == " " for n in range(len(text))] == blanks.values.tolist()
    assert position.values[:3].tolist() == [1, 2, 3]


def test_curly_quotes_and_quotes_left_open():
    texts = ["a “b” c «d» e", "a “b", "c d"] * 2
    model = model_of(texts=texts)
    reading = read(model, texts)
    quotes = properties(reading, model.vocabulary)[0][0]
    where = "".join(c for c, h in zip(reading.pieces, quotes.values, strict=True) if h)
    assert where == "“b«d“b" * 2


def test_word_beginnings_are_found_among_bpe_pieces():
    vocabulary = Vocabulary.from_texts(["low lower", "new newer"] * 9, "bpe", max_size=13)
    settings = RNNLMSettings(embedding_size=4, hidden_size=6, tied=False)
    reading = read(RNNLM(vocabulary, settings).eval(), ["lower low", "newer new"] * 2)
    assert "".join(reading.pieces[: len(reading.pieces) // 2]) == "lower lownewer new"
    found, left_out = properties(reading, vocabulary)
    assert (found[0].name, found[0].measure) == ("a word's beginning", "AUC")
    words = "".join(
        f"|{piece.strip()}" if begins else piece
        for piece, begins in zip(reading.pieces, found[0].values, strict=True)
    )
    assert words == "|lower|low|newer|new" * 2
    assert left_out == ["inside quotes: the model was trained without punctuation"]


def test_properties_without_meaning_are_left_out_with_the_reason():
    model = model_of("word", "remove")
    found, left_out = properties(read(model, TEXTS), model.vocabulary)
    assert [property.name for property in found] == ["position in the sentence"]
    assert left_out == [
        "inside quotes: the model was trained without punctuation",
        "between words: the model's units are words",
    ]
    model = model_of()
    found, left_out = properties(read(model, ["hehehe", "go on"]), model.vocabulary)
    assert [property.name for property in found] == ["position in the sentence"]
    assert left_out == [
        "inside quotes: constant in one half of the text",
        "between words: constant in one half of the text",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_auc_and_spearman_equal_other_libraries(seed):
    generator = np.random.default_rng(seed)
    U = 101
    activations = generator.normal(size=(U, 2, 3)).round(1)  # some are equal
    reading = reading_of(activations)
    holds = generator.random(U) < 0.3
    grows = generator.integers(1, 20, size=U)
    columns = activations.reshape(U, -1)
    halves = slice(0, U // 2), slice(U // 2, U)

    def auc(column, half):
        return roc_auc_score(holds[half], column[half])

    def spearman(column, half):
        return spearmanr(column[half], grows[half]).statistic

    for property, figure, middle in (
        (Property("x", "AUC", holds), auc, 0.5),
        (Property("x", "Spearman", grows), spearman, 0),
    ):
        found = followers(reading, property, n_best=6)
        assert len(found) == 6
        for f in found:
            first, second = (figure(columns[:, f.layer * 3 + f.unit], half) for half in halves)
            assert f.sign == (1 if first >= middle else -1)
            assert f.chosen_by == pytest.approx(middle + f.sign * (first - middle), rel=1e-9)
            assert f.held_out == pytest.approx(middle + f.sign * (second - middle), rel=1e-9)
        assert [f.chosen_by for f in found] == sorted((f.chosen_by for f in found), reverse=True)


def test_a_planted_unit_is_found_and_a_lucky_one_fails_on_the_second_half():
    generator = np.random.default_rng(0)
    U = 400
    holds = generator.random(U) < 0.4
    activations = generator.normal(size=(U, 2, 50))
    activations[:, 1, 7] = -3.0 * holds + generator.normal(scale=0.5, size=U)
    activations[: U // 2, 0, 3] = 10.0 * holds[: U // 2]  # in the first half alone
    lucky, planted = followers(reading_of(activations), Property("x", "AUC", holds), n_best=2)
    assert (lucky.layer, lucky.unit, lucky.sign, lucky.chosen_by) == (0, 3, 1, 1.0)
    assert abs(lucky.held_out - 0.5) < 0.1
    assert (planted.layer, planted.unit, planted.sign) == (1, 7, -1)
    assert planted.held_out > 0.98


def test_a_constant_unit_follows_no_property():
    activations = np.zeros((20, 1, 1))
    for measure, values, none in (
        ("AUC", np.arange(20) % 2 == 0, 0.5),
        ("Spearman", np.arange(20), 0.0),
    ):
        found = followers(reading_of(activations), Property("x", measure, values))
        assert found == [Follower(0, 0, 1, none, none)]


def data_of(page):
    script = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(script[1])


def unpacked(page, layer, unit):
    """The shades of a hidden unit, decoded as in the page's script."""
    data = data_of(page)
    codes = [data["alphabet"].index(character) for character in data["levels"][layer][unit]]
    return [level for code in codes for level in divmod(code, LEVELS)][: len(data["pieces"])]


@pytest.mark.parametrize("U", [40, 41])
def test_a_page_has_every_activation_within_half_a_shade(U):
    activations = np.random.default_rng(0).uniform(-0.7, 0.7, size=(U, 2, 5)).astype(np.float32)
    activations[:, 0, 0] = 0
    page = activation_page("x", reading_of(activations), {})
    scale = np.array(data_of(page)["scale"])
    np.testing.assert_allclose(scale[1], np.abs(activations[:, 1]).max(axis=0), atol=1e-4)
    half = LEVELS // 2
    for layer in range(2):
        for unit in range(5):
            shown = (np.array(unpacked(page, layer, unit)) / half - 1) * scale[layer, unit]
            step = scale[layer, unit] / half
            np.testing.assert_allclose(shown, activations[:, layer, unit], atol=step / 2 + 1e-4)
    assert set(unpacked(page, 0, 0)) == {half}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_a_page_escapes_texts_and_is_self_contained():
    nasty = "</script><img src=x onerror=alert(1)>&amp; <!-- \u2028 @DATA@ \\"
    pieces = [*nasty, "<unk>"]
    U = len(pieces)
    reading = Reading(pieces, np.arange(1, U + 1), np.zeros((U, 1, 2)))
    best = {nasty: [Follower(0, 1, -1, 0.9, 0.8)]}
    page = activation_page(nasty, reading, best, notes=[nasty])
    assert data_of(page)["pieces"] == pieces
    assert data_of(page)["best"] == {nasty: [[0, 1, -1, 0.9, 0.8]]}
    tags = Tags()
    tags.feed(page)
    assert "img" not in {tag for tag, _ in tags.found}
    assert [tag for tag, _ in tags.found].count("script") == 2
    assert not any({"src", "href"} & attributes.keys() for _, attributes in tags.found)
    assert "://" not in page
    assert "url(" not in page


@pytest.mark.parametrize(("U", "H"), [(5000, 512), (6000, 2000), (20_000, 16)])
def test_a_page_stays_below_two_megabytes_and_notes_the_cut(U, H):
    reading = reading_of(np.zeros((U, 1, H), dtype=np.float32))
    page = activation_page("x", reading, {})
    assert len(page.encode()) < 2e6
    shown = n_shown(reading)
    assert shown == {512: 5000, 2000: 1500, 16: MAX_SHOWN}[H]
    assert len(data_of(page)["pieces"]) == shown
    assert (f"The page shows the first {shown} of {U} units." in page) == (shown < U)
