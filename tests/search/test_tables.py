import numpy as np
import pytest
from table_model import random_model

from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK, UNK_SYMBOL, Vocabulary
from asr.search.language_models import NO_LM, PYTHON_LM
from asr.search.lexicon_tree import NONE, ROOT, Trie
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings, SearchSpace
from asr.search.tables import make_tables
from asr.text.tokenizer import (
    BLANK,
    BLANK_SYMBOL,
    BpeTokenizer,
    CharTokenizer,
    JamoTokenizer,
    UnitTokenizer,
)

CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))
SPELLED = {"a": [(2,)], "eh": [(2,)], "ab": [(2, 3)], "b": [(3,)]}
SPOKEN = {"p": [(1,)], "pea": [(1,)], "pq": [(1, 2)]}


def bonus_of_tokens(tables, tokens):
    """The bonuses of a sequence of tokens without a lexicon, one after the other."""
    total, before = 0.0, BLANK
    for token in tokens:
        after_end = tables.tokens["ends_word"][before]
        total += tables.tokens["bonus_after_end" if after_end else "bonus"][token]
        before = token
    return total


@pytest.mark.parametrize(
    ("tokenizer", "word_of"),
    [
        (CHARS, lambda text: len("".join(text).split())),
        (PHONES, len),
        (
            BpeTokenizer.from_texts(["ab b ab"], n_pieces=5),
            lambda text: sum(piece[0] == "▁" or n == 0 for n, piece in enumerate(text)),
        ),
    ],
    ids=["separator", "units", "pieces"],
)
def test_bonuses_of_tokens_count_the_words(tokenizer, word_of):
    tables = make_tables(SearchSpace(tokenizer, BeamSettings(word_bonus=0.5)))
    generator = np.random.default_rng(0)
    for length in range(30):
        tokens = generator.integers(1, len(tokenizer.symbols), size=length)
        text = [tokenizer.symbols[token] for token in tokens]
        assert bonus_of_tokens(tables, tokens) == 0.5 * word_of(text)


def test_without_a_lexicon_all_tokens_lead_to_the_root():
    tables = make_tables(SearchSpace(CHARS))
    assert tables.children.tolist() == [[NONE, *[ROOT] * 3]]  # blank is no token of a text
    assert (tables.separator, tables.joined, tables.lm.kind) == (NONE, False, NO_LM)
    assert tables.n_words.tolist() == [0]
    assert not tables.look_ahead.any()
    assert tables.max_gain == 0.0


@pytest.mark.parametrize(
    ("tokenizer", "lexicon", "separator", "joined"),
    [(CHARS, SPELLED, 1, False), (PHONES, SPOKEN, NONE, True)],
    ids=["separated", "joined"],
)
def test_a_lexicon_keeps_its_nodes_and_has_one_for_the_end(tokenizer, lexicon, separator, joined):
    trie = Trie.build(lexicon, tokenizer.separator, 4)
    space = SearchSpace(tokenizer, BeamSettings(word_bonus=0.3), trie)
    tables = make_tables(space)
    assert (tables.separator, tables.joined) == (separator, joined)
    for name in ("children", "first_word", "n_words", "ending_words", "continues"):
        np.testing.assert_array_equal(getattr(tables, name), getattr(trie, name))
    assert tables.end == len(lexicon)
    assert tables.end_node == len(trie.parents)
    assert len(tables.look_ahead) == len(trie.parents) + 1
    assert tables.word_bonus == 0.3
    assert not tables.tokens["bonus"].any()


def test_look_ahead_is_in_the_scale_of_the_score():
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, "ab", "a"))
    lm = random_model(vocabulary, 0)
    space = SearchSpace(CHARS, BeamSettings(lm_weight=0.7), Trie.build(SPELLED, 1, 4), lm)
    tables = make_tables(space)
    of_unit = lm.table[UNK].numpy()
    best = max(of_unit[[UNK, 2, 3]])  # "eh" and "b" are out of its vocabulary
    assert tables.look_ahead[ROOT] == pytest.approx(0.7 * best, rel=1e-12)
    node = space.lexicon.children[ROOT, 3]
    assert tables.look_ahead[node] == pytest.approx(0.7 * of_unit[UNK], rel=1e-12)
    assert tables.look_ahead[-1] == 0.0
    assert (tables.lm.kind, tables.lm.of_words, tables.lm.weight) == (PYTHON_LM, True, 0.7)
    assert tables.lm.items["unit"].tolist() == [3, UNK, 2, UNK, EOS]


def test_units_of_tokens_end_with_blank():
    lm = random_model(Vocabulary("char", (UNK_SYMBOL, EOS_SYMBOL, "b", "a", " ")), 0)
    tables = make_tables(SearchSpace(CHARS, BeamSettings(lm_weight=0.7), lm=lm))
    assert not tables.lm.of_words
    assert tables.lm.items["unit"].tolist() == [EOS, 4, 3, 2]
    assert not tables.look_ahead.any()


def test_phrases_keep_their_automaton():
    boosts = PhraseBoosts.build({(2,): 0.5, (2, 3): 0.8}, 1, 4)
    tables = make_tables(SearchSpace(CHARS, boosts=boosts))
    assert tables.boosts.start == boosts.start
    for name in ("after", "entry_bonus", "taken_back", "end_bonus"):
        np.testing.assert_array_equal(getattr(tables.boosts, name), getattr(boosts, name))


def test_max_gain_is_a_bound_of_every_extension():
    generator = np.random.default_rng(0)
    for _ in range(20):
        phrases = {tuple(generator.integers(2, 4, size=n)): generator.normal() for n in (1, 2, 3)}
        bonus = generator.normal()
        boosts = PhraseBoosts.build(phrases, 1, 4)
        trie = [None, Trie.build(SPELLED, 1, 4)][generator.integers(2)]
        settings = BeamSettings(word_bonus=bonus)
        tables = make_tables(SearchSpace(CHARS, settings, trie, boosts=boosts))
        gains = [*tables.tokens["bonus"], *tables.tokens["bonus_after_end"], tables.word_bonus, 0.0]
        for gain in gains:
            assert (gain + tables.boosts.entry_bonus <= tables.max_gain).all()


def test_jamo_may_follow_one_another_in_whole_syllables():
    jamo = JamoTokenizer((BLANK_SYMBOL, " ", "\u1100", "\u1161", "\u11a8", "ㅋ"))
    tables = make_tables(SearchSpace(jamo))
    position = tables.tokens["position"]
    follows = [tables.follows[position[before], position].tolist() for before in range(6)]
    no_vowel, vowel_alone = [1, 1, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]
    assert follows == [no_vowel, no_vowel, vowel_alone, [1, 1, 1, 0, 1, 1], no_vowel, no_vowel]
    others = make_tables(SearchSpace(CHARS))
    assert others.follows[others.tokens["position"], 0].all()


@pytest.mark.parametrize(("skip", "limit"), [(1.0, np.inf), (0.9, np.log(0.9))])
def test_limits_are_natural_logarithms(skip, limit):
    settings = BeamSettings(7, 3, -2.0, -4.0, blank_skip=skip)
    limits = make_tables(SearchSpace(CHARS, settings)).limits
    assert limits[:3] == (7, -2.0, -4.0)
    assert limits.blank_skip == pytest.approx(limit, rel=1e-15)
    assert not limits.recombines
