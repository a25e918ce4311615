"""Language models as used in a notebook, compared with KenLM."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

import asr
from asr.errors import InputError
from asr.lm.kenlm import KenlmModel
from asr.lm.load import save_rnnlm, with_words
from asr.lm.ngram import NgramModel, save_ngram, write_ngram
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary

DATA = Path(__file__).parent / "lmplz"
LINES = (DATA / "text.txt").read_text().splitlines()
FEW = ["three five", "three nine", "five five nine", ""]


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("texts", [LINES, FEW])
def test_log_probs_and_perplexities_equal_kenlms(texts, order, tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="kenlm-ex is not installed")
    lm = asr.train_ngram(texts, order)
    write_ngram(tmp_path / "lm.arpa", lm)
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    for text in [*texts[:20], "five three three", "five words that are not there"]:
        expected = theirs.score(text) * math.log(10)
        for one in (lm, asr.load_lm(tmp_path / "lm.arpa")):
            assert one.log_prob(text) == pytest.approx(expected, abs=1e-4)
        if text:
            found = asr.perplexity(lm, text)
            assert found.per_word == pytest.approx(theirs.perplexity(text), rel=1e-4)
            assert found == asr.perplexity(lm, [text])


def test_few_texts_get_fixed_discounts_if_allowed():
    lm = asr.train_ngram(FEW, order=3)
    assert isinstance(lm, NgramModel)
    assert lm.log_prob("three five") > lm.log_prob("five three")
    with pytest.raises(InputError, match="give no discounts"):
        asr.train_ngram(FEW, order=3, discount_fallback=False)
    assert asr.train_ngram(FEW, unit="char").vocabulary.unit == "char"


def test_every_kind_of_model_scores_texts(tmp_path):
    ngram = asr.train_ngram(LINES, order=2)
    rnnlm = RNNLM(ngram.vocabulary, RNNLMSettings(embedding_size=4, hidden_size=6, n_layers=1))
    save_ngram(tmp_path / "ngram", ngram, {}, {})
    save_rnnlm(tmp_path / "rnnlm", rnnlm, {})
    models = [ngram, asr.load_lm(tmp_path / "ngram"), asr.load_lm(tmp_path / "rnnlm")]
    models.append(with_words(ngram, ["unheard"]))
    if importlib.util.find_spec("kenlm"):
        models.append(asr.load_lm(DATA / "trigram.binary", words=ngram.vocabulary.symbols))
        assert isinstance(models[-1], KenlmModel)
    for lm in models:
        for text in [LINES[0], "unheard", ""]:
            state, expected = lm.start(1), 0.0
            for unit in (*lm.vocabulary.encode(text), 1):
                log_prob, state = lm.score(state, torch.tensor([unit]))
                expected += log_prob.item()
            assert lm.log_prob(text) == pytest.approx(expected, abs=1e-4)
        with pytest.raises(ValueError, match=r"text is \['a'\]; expected a sentence"):
            lm.log_prob(["a"])


def test_a_single_string_as_texts_is_refused():
    with pytest.raises(ValueError, match=r"texts is one text, 'texts\.txt'; expected"):
        asr.train_ngram("texts.txt")
    with pytest.raises(InputError, match="order is 0; expected 1 or more"):
        asr.train_ngram(FEW, 0)
    with pytest.raises(InputError, match="the texts have no unit"):
        asr.train_ngram([])
    vocabulary = Vocabulary.from_texts(FEW)
    assert asr.train_ngram(iter(FEW)).vocabulary == vocabulary
