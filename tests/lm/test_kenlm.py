import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.kenlm import KenlmModel
from asr.lm.ngram import NgramModel, read_ngram, write_ngram
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK, Vocabulary

DATA = Path(__file__).parent / "lmplz"
LINES = (DATA / "text.txt").read_text().splitlines()
WORDS = sorted({word for line in LINES for word in line.split()})


def test_a_missing_kenlm_is_reported_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(InputError, match=r"trigram\.binary: .* pip install kenlm-ex$"):
        KenlmModel(DATA / "trigram.binary", WORDS)


@pytest.fixture
def kenlm():
    return pytest.importorskip("kenlm", reason="kenlm-ex is not installed")


def sentences(vocabulary, seed):
    """Random sentences of all lengths, with unknown units."""
    generator = np.random.default_rng(seed)
    units = [UNK, *range(2, len(vocabulary.symbols))]
    return [generator.choice(units, size).tolist() for size in range(20)]


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize("name", ["trigram.binary", "trigram.arpa"])
def test_our_arpa_reader_gives_kenlms_scores(name):
    ours = read_ngram(DATA / "trigram.arpa")
    theirs = KenlmModel(DATA / name, ours.vocabulary.symbols[2:])
    assert theirs.vocabulary == ours.vocabulary
    assert theirs.order == 3
    texts = sentences(ours.vocabulary, seed=0)
    found = ours.sentence_log_probs(texts)
    for row, expected in zip(found, theirs.sentence_log_probs(texts), strict=True):
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize(("order", "prune"), [(2, (0,)), (5, (0,)), (4, (0, 0, 1))])
def test_kenlm_gives_our_scores_for_our_arpa_files(tmp_path, order, prune):
    vocabulary = Vocabulary.from_texts(LINES, max_size=12)
    units = [vocabulary.encode(line) for line in LINES]
    settings = EstimateSettings(order, prune, discount_fallback=True)
    ours = NgramModel(vocabulary, estimate(units, len(vocabulary.symbols), settings))
    write_ngram(tmp_path / "a.arpa", ours)
    theirs = KenlmModel(tmp_path / "a.arpa", vocabulary.symbols)
    texts = [*units, *sentences(vocabulary, seed=order)]
    found = ours.sentence_log_probs(texts)
    for row, expected in zip(found, theirs.sentence_log_probs(texts), strict=True):
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-5)


SMALL = """\\data\\
ngram 1=5
ngram 2=4

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.8\tgo\t-0.2
-0.7\tleft\t0.25

\\2-grams:
-0.3\t<s> go
-0.4\tgo left
-0.5\tgo go
-0.2\tleft </s>

\\end\\
"""


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("ngram 1=5", "ngram 1=4"),  # without <unk>, below
        ("<unk>", "<UNK>"),
        ("-99\t<s>", "-inf\t<s>"),
        ("<s> go", "<s> go\t0"),
        ("-0.4\tgo left", "\n-0.4\tgo left"),
        ("go\t-0.2", "go"),
        ("\n", "\r\n"),
        ("ngram 2=4", "ngram 2=4\nngram 3=0"),
    ],
)
def test_unusual_arpa_files_get_kenlms_scores(tmp_path, old, new):
    text = SMALL.replace(old, new)
    if "1=4" in new:
        text = text.replace("-1.0\t<unk>\n", "")
    if "3=0" in new:
        text = text.replace("\\end", "\\3-grams:\n\n\\end")
    (tmp_path / "a.arpa").write_bytes(text.encode())
    ours = read_ngram(tmp_path / "a.arpa")
    theirs = KenlmModel(tmp_path / "a.arpa", ["go", "left"])
    assert theirs.vocabulary == ours.vocabulary
    texts = [[], [2, 3], [3, 2, 2], [UNK, 2, 3], [2, UNK, UNK, 3]]
    found = ours.sentence_log_probs(texts)
    for row, expected in zip(found, theirs.sentence_log_probs(texts), strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.mark.usefixtures("kenlm")
def test_scores_distributions_and_sentences_agree():
    model: LanguageModel = KenlmModel(DATA / "trigram.binary", WORDS)
    texts = [text for text in sentences(model.vocabulary, seed=3) if len(text) == 9]
    texts += sentences(model.vocabulary, seed=4)[9:10]
    state = model.start(2)
    expected = model.sentence_log_probs(texts)
    for n, column in enumerate(torch.tensor([[*text, EOS] for text in texts]).T):
        distribution = model.log_probs(state)
        assert distribution.shape == (2, len(model.vocabulary.symbols))
        torch.testing.assert_close(
            distribution.double().exp().sum(1), torch.ones(2).double(), rtol=1e-5, atol=0
        )
        scores, state = model.score(state, column)
        assert torch.equal(distribution.gather(1, column[:, None])[:, 0], scores)
        np.testing.assert_allclose(scores, [row[n] for row in expected], rtol=1e-6)
    assert state.shape == (2, 2)


@pytest.mark.usefixtures("kenlm")
def test_words_missing_from_the_file_are_unknown():
    model = KenlmModel(DATA / "trigram.binary", ["xylophone", "jam", "jam", "Jam"])
    assert model.vocabulary.symbols == ("<unk>", "<eos>", "jam")
    assert model.vocabulary.encode("jam xylophone") == (2, UNK)


@pytest.mark.usefixtures("kenlm")
def test_states_are_on_the_device_of_the_search():
    model = KenlmModel(DATA / "trigram.binary", WORDS, "meta")
    assert model.start(2).device.type == "meta"
    assert KenlmModel(DATA / "trigram.binary", WORDS).start(2).device.type == "cpu"


@pytest.mark.usefixtures("kenlm")
def test_a_file_in_upper_case_is_queried_in_upper_case(tmp_path):
    text = (DATA / "trigram.arpa").read_text()
    for word in sorted(WORDS):
        text = text.replace(f"\t{word}", f"\t{word.upper()}").replace(
            f" {word}", f" {word.upper()}"
        )
    (tmp_path / "a.arpa").write_text(text)
    model = KenlmModel(tmp_path / "a.arpa", WORDS)
    plain = KenlmModel(DATA / "trigram.arpa", WORDS)
    assert model.vocabulary == plain.vocabulary
    units = [model.vocabulary.encode("with jam and bread")]
    np.testing.assert_array_equal(
        model.sentence_log_probs(units)[0], plain.sentence_log_probs(units)[0]
    )


@pytest.mark.usefixtures("kenlm")
def test_words_are_looked_up_in_several_unicode_forms(tmp_path):
    text = SMALL.replace("left", "le\u0301ft").replace("go", "don’t")
    (tmp_path / "a.arpa").write_text(text, encoding="utf-8")
    model = KenlmModel(tmp_path / "a.arpa", ["léft", "don't", "stop"])
    assert model.vocabulary.symbols == ("<unk>", "<eos>", "léft", "don't")
    ours = read_ngram(tmp_path / "a.arpa")
    assert ours.vocabulary.symbols == ("<unk>", "<eos>", "don't", "léft")
    expected = ours.sentence_log_probs([ours.vocabulary.encode("DON’T léft stop")])[0]
    found = model.sentence_log_probs([model.vocabulary.encode("DON’T léft stop")])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("kenlm")
def test_the_case_with_the_most_known_words_is_used(tmp_path):
    (tmp_path / "a.arpa").write_text(SMALL.replace("go", "Haus").replace("left", "das"))
    words = ["Das", "das", "Haus", "haus"]
    model = KenlmModel(tmp_path / "a.arpa", words)
    assert model.vocabulary.symbols == ("<unk>", "<eos>", "das", "Haus")
    assert model.vocabulary.encode("Das das Haus haus") == (UNK, 2, 3, UNK)
    (tmp_path / "b.arpa").write_text(SMALL)
    model = KenlmModel(tmp_path / "b.arpa", ["Go", "LEFT", "GO"])
    assert model.vocabulary.encode("Go left") == (2, 3)


@pytest.mark.usefixtures("kenlm")
def test_a_log_probability_of_nan_is_refused():
    model = KenlmModel(DATA / "trigram.binary", WORDS)

    class Damaged:
        def full_scores(self, text):
            return [(float("nan"), 1, False)]

    model._model = Damaged()
    with pytest.raises(
        InputError, match=r"trigram\.binary: gives a log-probability that is no num"
    ):
        model.sentence_log_probs([[2]])


@pytest.mark.usefixtures("kenlm")
def test_other_files_are_refused_in_one_line(tmp_path):
    whole = (DATA / "trigram.binary").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"hello\nyou\n", b""):
        (tmp_path / "a.binary").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.binary: is no file of KenLM, or a damaged one:"):
            KenlmModel(tmp_path / "a.binary", WORDS)
    with pytest.raises(InputError, match=r"knows none of the 2 words; expected some of them"):
        KenlmModel(DATA / "trigram.binary", ["xylophone", "zebra"])
    with pytest.raises(InputError, match=r"trigram\.binary: can't list its words; expected a lexi"):
        KenlmModel(DATA / "trigram.binary", iter([]))
    with pytest.raises(FileNotFoundError):
        KenlmModel(tmp_path / "b.binary", WORDS)
