import numpy as np
import pytest
import torch
from table_model import TableModel, random_model

from asr.lm.unknown_words import ExtendedVocabularyLM, with_words
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK, UNK_SYMBOL, Vocabulary

VOCABULARY = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, "the", "cat"))
LM = random_model(VOCABULARY, seed=0)
NEW = ["dog", "emu", "gnu"]


def test_an_unknown_word_has_its_share_of_unk_and_a_known_word_what_it_had():
    model = with_words(LM, ["the", "dog", "cat", "emu", "gnu", "dog"])
    assert model.vocabulary.symbols == (*VOCABULARY.symbols, *NEW)
    found = model.log_probs(model.start(2))
    own = LM.log_probs(LM.start(2))
    np.testing.assert_array_equal(found[:, :4], own)
    np.testing.assert_allclose(found[:, 4:].exp().sum(1), own[:, UNK].exp(), rtol=1e-12)
    np.testing.assert_allclose(found[:, 4], found[:, 6], rtol=0)


def test_it_is_the_same_unit_by_unit_and_by_the_sentence():
    model = with_words(LM, NEW)
    sentence = model.vocabulary.encode("the emu cat zebra dog")
    assert sentence == (2, 5, 3, UNK, 4)
    (found,) = model.sentence_log_probs([sentence])
    state, expected = model.start(1), []
    for unit in (*sentence, EOS):
        assert model.log_probs(state)[0, unit] == model.score(state, torch.tensor([unit]))[0]
        log_prob, state = model.score(state, torch.tensor([unit]))
        expected.append(log_prob.item())
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    (own,) = LM.sentence_log_probs([VOCABULARY.encode("the emu cat zebra dog")])
    np.testing.assert_allclose(found - own, -np.log([1, 3, 1, 1, 3, 1]), atol=1e-12)
    assert own.shape == found.shape == (6,)


@pytest.mark.parametrize(("unit", "words"), [("char", ["dog"]), ("word", ["cat", "the"])])
def test_a_model_of_characters_and_one_that_knows_all_stay_as_they_are(unit, words):
    symbols = (UNK_SYMBOL, EOS_SYMBOL, "the", "cat") if unit == "word" else VOCABULARY.symbols[:2]
    lm = TableModel(Vocabulary(unit, symbols), np.full((len(symbols),) * 2, 1 / len(symbols)))
    assert with_words(lm, words) is lm


def test_states_are_the_model_s_own():
    model = ExtendedVocabularyLM(LM, NEW)
    _, after = model.score(model.start(3), torch.tensor([4, 5, 2]))
    _, expected = LM.score(LM.start(3), torch.tensor([UNK, UNK, 2]))
    assert torch.equal(after, expected)
