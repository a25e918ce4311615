import numpy as np
import pytest
import torch

from asr.errors import InputError
from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.lexicon_tree import ROOT, Trie
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer

CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
LEXICON = Trie.build({"a": [(2,)], "ab": [(2, 3)], "b": [(3,)]}, 1, 4)


class UnigramLM:
    """A language model with the same probabilities in every context."""

    def __init__(self, symbols, unit):
        self.vocabulary = Vocabulary(unit, (UNK_SYMBOL, EOS_SYMBOL, *symbols))
        n = len(self.vocabulary.symbols)
        self.table = torch.from_numpy(np.log(np.random.default_rng(0).dirichlet(np.ones(n))))

    def start(self, rows):
        return torch.zeros(rows)

    def score(self, state, units):
        return self.table[units], state

    def log_probs(self, state):
        return self.table.expand(len(state), -1)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("beam_width", 0, "1 or more"),
        ("beam_width", "5", "a whole number"),
        ("beam_width", 1.5, "a whole number"),
        ("n_best", None, "a whole number"),
        ("n_best", True, "a whole number"),
        ("lm_weight", "1", "a number"),
        ("word_bonus", None, "nats"),
        ("n_best", 0, "1 or more"),
        ("token_floor", 1.0, "nats, 0 or less"),
        ("score_floor", float("nan"), "nats, 0 or less"),
        ("blank_skip", 0.0, "more than 0, at most 1"),
        ("blank_skip", 1.5, "more than 0, at most 1"),
        ("lm_weight", -0.5, "0 or more"),
        ("lm_weight", float("inf"), "0 or more"),
        ("word_bonus", float("inf"), "nats"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, value, expected):
    with pytest.raises(InputError, match=f"{name} is .*; expected {expected}"):
        BeamSettings(**{name: value})


def test_tokens_are_scored_by_the_units_of_the_same_symbols():
    space = SearchSpace(CHARS, lm=UnigramLM(("b", "x", " ", "a"), "char"))
    assert not space.scores_words
    assert space.units.tolist()[1:] == [4, 5, 2]  # " ", "a", "b"
    assert space.look_ahead is None


def test_phones_are_scored_as_units_unless_a_lexicon_makes_words():
    phones = UnitTokenizer((BLANK_SYMBOL, "p", "q"))
    lm = UnigramLM(("q", "p"), "word")
    assert SearchSpace(phones, lm=lm).units.tolist()[1:] == [3, 2]
    lexicon = Trie.build({"p": [(1,)], "qp": [(2, 1)]}, None, 3)
    assert SearchSpace(phones, lexicon=lexicon, lm=lm).units.tolist() == [3, 0, 1]


def test_words_are_scored_by_their_units_and_others_by_unk():
    space = SearchSpace(CHARS, lexicon=LEXICON, lm=UnigramLM(("ab", "a"), "word"))
    assert space.scores_words
    assert space.units.tolist() == [3, 2, 0, 1]  # a, ab, b, the end


def test_look_ahead_is_the_best_word_below_a_node():
    lm = UnigramLM(("ab", "a"), "word")
    ahead = SearchSpace(CHARS, lexicon=LEXICON, lm=lm).look_ahead
    node = {spelled: int(LEXICON.children[ROOT, token]) for spelled, token in (("a", 2), ("b", 3))}
    assert ahead[node["a"]] == max(lm.table[2], lm.table[3])
    assert ahead[node["b"]] == lm.table[0]
    assert ahead[LEXICON.children[node["a"], 3]] == lm.table[2]


def test_a_token_without_a_language_model_unit_is_refused():
    with pytest.raises(InputError, match=r"no unit for token 3, 'b'; expected one for each"):
        SearchSpace(CHARS, lm=UnigramLM((" ", "a"), "char"))
    with pytest.raises(InputError, match=r"token 1, ' '.*; a language model of words needs a"):
        SearchSpace(CHARS, lm=UnigramLM(("a", "ab"), "word"))


def test_a_language_model_that_knows_no_word_is_refused():
    with pytest.raises(InputError, match="knows none of the lexicon's 3 words"):
        SearchSpace(CHARS, lexicon=LEXICON, lm=UnigramLM(("A", "AB"), "word"))


def test_a_lexicon_or_phrases_for_other_tokens_are_refused():
    phones = UnitTokenizer((BLANK_SYMBOL, "p", "q"))
    with pytest.raises(ValueError, match="lexicon is of 4 tokens; expected 3"):
        SearchSpace(phones, lexicon=LEXICON)
    with pytest.raises(ValueError, match="boosts are of 4 tokens; expected 3"):
        SearchSpace(phones, boosts=PhraseBoosts.build({(1,): 1.0}, None, 4))
