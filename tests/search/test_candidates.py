import numpy as np
import pytest
from numba import njit
from table_model import random_model

from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.candidates import extend, max_other_score, set_least_scores
from asr.search.language_models import UNREAD
from asr.search.lexicon_tree import NONE, ROOT, Trie
from asr.search.phrases import PhraseBoosts
from asr.search.prefixes import EMPTY_PREFIX, allocate_tree, reset_tree
from asr.search.space import BeamSettings, SearchSpace
from asr.search.tables import make_tables
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer

CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))
SPELLED = {"a": [(2,)], "eh": [(2,)], "ab": [(2, 3)]}
SPOKEN = {"p": [(1,)], "pea": [(1,)], "pq": [(1, 2)], "q": [(2,)]}

compiled = njit(_nrt=False)


@compiled
def call_set_least_scores(tree, limits):
    set_least_scores(tree, limits)


@compiled
def call_extend(tree, tables, prefix, token, log_prob):
    extend(tree, tables, prefix, token, log_prob)


@compiled
def call_max_other_score(tables, prefixes):
    return max_other_score(tables, prefixes[0])


def begun(space, node=ROOT):
    """The tables and the state of a search whose empty prefix is at a node of the lexicon."""
    tables = make_tables(space)
    tree = allocate_tree(tables, 4, 2)
    reset_tree(tree, tables, 1)
    tree.prefixes["node"][EMPTY_PREFIX] = node
    tree.now["least"] = -np.inf
    return tables, tree


def extensions(tables, tree, token, log_prob=-1.0, least=-np.inf):
    """{(word, node): score} of the extensions of the empty prefix by a token."""
    tree.now["n_candidates"], tree.now["least_before_lm"] = 0, least
    call_extend(tree, tables, EMPTY_PREFIX, token, log_prob)
    n = tree.now[0]["n_candidates"]
    found = tree.prefixes[tree.beam[tree.now[0]["n_beam"] :][:n]]
    assert (found["parent"] == EMPTY_PREFIX).all()
    assert (found["token"] == token).all()
    assert (found["next_log_prob"] == log_prob).all()
    scores = tree.scores[tree.now[0]["n_beam"] :][:n]
    return dict(zip(zip(found["word"], found["node"], strict=True), scores, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_an_extension_may_not_be_worse_than_a_full_beam_or_far_from_the_best(seed):
    generator = np.random.default_rng(seed)
    for n_beam in (1, 3, 4):
        limits = make_tables(SearchSpace(PHONES, BeamSettings(4, 4, score_floor=-1.0))).limits
        _, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4)))
        scores = generator.normal(size=n_beam)
        tree.scores[:n_beam] = scores
        tree.now["n_beam"] = n_beam
        lowest = scores.min() if n_beam == 4 else -np.inf
        call_set_least_scores(tree, limits)
        assert tree.now[0]["least_before_lm"] == max(scores.max() - 1.0, lowest)
        assert tree.now[0]["least"] == lowest


def test_without_a_lexicon_a_token_extends_in_one_way():
    tables, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4, word_bonus=0.5)))
    assert extensions(tables, tree, 2) == {(NONE, ROOT): pytest.approx(-0.5)}


def test_words_end_at_the_separator_in_all_their_meanings():
    trie = Trie.build(SPELLED, 1, 4)
    space = SearchSpace(CHARS, BeamSettings(4, 4, word_bonus=0.5), trie)
    a = int(trie.children[ROOT, 2])
    tables, tree = begun(space)
    assert extensions(tables, tree, 2) == {(NONE, a): -1.0}
    assert extensions(tables, tree, 3) == {}  # no word begins with it
    assert extensions(tables, tree, 1) == {}  # no word has begun
    tables, tree = begun(space, a)
    assert extensions(tables, tree, 1) == {(0, ROOT): -0.5, (1, ROOT): -0.5}
    assert extensions(tables, tree, 3) == {(NONE, trie.children[a, 3]): -1.0}


def test_without_a_separator_a_word_may_end_or_go_on():
    trie = Trie.build(SPOKEN, None, 4)
    tables, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4, word_bonus=0.5), trie))
    p = int(trie.children[ROOT, 1])
    assert extensions(tables, tree, 1) == {(0, ROOT): -0.5, (1, ROOT): -0.5, (NONE, p): -1.0}
    assert extensions(tables, tree, 2) == {(3, ROOT): -0.5}
    assert extensions(tables, tree, 3) == {}


def test_extensions_with_low_or_impossible_scores_are_left_out():
    tables, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4)))
    assert len(extensions(tables, tree, 2, least=-1.0)) == 1
    assert extensions(tables, tree, 2, least=-0.9) == {}
    assert extensions(tables, tree, 2, log_prob=-np.inf) == {}
    tree.now["least"] = -0.5
    assert extensions(tables, tree, 2) == {}


def test_extensions_in_the_beam_are_left_out():
    tables, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4)))
    assert len(extensions(tables, tree, 2)) == 1
    assert len(extensions(tables, tree, 2)) == 1  # it is in the tree, but not in the beam
    number = tree.prefixes["child"][EMPTY_PREFIX]
    tree.prefixes["log_prob"][number] = -2.0
    assert extensions(tables, tree, 2) == {}
    assert len(extensions(tables, tree, 3)) == 1


def test_words_wait_for_a_model_that_only_python_can_call():
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *SPOKEN))
    lm = random_model(vocabulary, 0)
    trie = Trie.build(SPOKEN, None, 4)
    tables, tree = begun(SearchSpace(PHONES, BeamSettings(4, 4, lm_weight=0.5), trie, lm))
    unread = extensions(tables, tree, 1)
    assert {word for word, _ in unread} == {NONE}  # the word that only begins is scored already
    waiting = tree.pending["prefix"][: tree.now[0]["n_pending"]]
    assert tree.prefixes["word"][waiting].tolist() == [0, 1]
    assert tree.prefixes["lm_state"][waiting].tolist() == [UNREAD, UNREAD]
    ahead = tables.look_ahead[ROOT]  # the next word's, as in the score of the empty prefix
    np.testing.assert_allclose(tree.pending["bound"][:2], -1.0 + ahead, rtol=1e-12)
    for number, answer in zip(waiting, (-2.0, -3.0), strict=True):
        tree.prefixes["lm_state"][number], tree.prefixes["lm"][number] = 1, answer
    found = extensions(tables, tree, 1)
    assert found[0, ROOT] == pytest.approx(-1.0 + ahead - 1.0, rel=1e-12)
    assert found[1, ROOT] == pytest.approx(-1.0 + ahead - 1.5, rel=1e-12)


def test_no_extension_adds_more_than_the_bound():
    generator = np.random.default_rng(0)
    for _ in range(30):
        phrases = {tuple(generator.integers(2, 4, size=n)): generator.normal() for n in (1, 2, 3)}
        trie = [None, Trie.build(SPELLED, 1, 4)][generator.integers(2)]
        settings = BeamSettings(4, 4, word_bonus=generator.normal(), lm_weight=0.5)
        lm = None
        if trie is not None:
            lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *SPELLED)), 0)
        boosts = PhraseBoosts.build(phrases, 1, 4)
        space = SearchSpace(CHARS, settings, trie, lm, boosts)
        for node in range(1 if trie is None else len(trie.parents)):
            for phrase in range(len(boosts.after)):
                tables, tree = begun(space, node)
                tree.prefixes["phrase"][EMPTY_PREFIX] = phrase
                bound = call_max_other_score(tables, tree.prefixes[EMPTY_PREFIX : EMPTY_PREFIX + 1])
                for token in (1, 2, 3):
                    tree.now["n_pending"] = 0
                    found = [s + 1.0 for s in extensions(tables, tree, token).values()]
                    found += (tree.pending["bound"][: tree.now[0]["n_pending"]] + 1.0).tolist()
                    assert all(extra <= bound + 1e-12 for extra in found)
