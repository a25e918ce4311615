import math

import numpy as np
import pytest
from numba import njit

from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import (
    BEFORE,
    EMPTY_PREFIX,
    NO_PREFIX,
    allocate_tree,
    find,
    log_add,
    reset_tree,
    store,
)
from asr.search.space import BeamSettings, SearchSpace
from asr.search.tables import make_tables
from asr.text.tokenizer import BLANK_SYMBOL, UnitTokenizer

compiled = njit(_nrt=False)


@compiled
def call_log_add(a, b, sums):
    for i in range(len(a)):
        sums[i] = log_add(a[i], b[i])


@compiled
def call_find(tree, parent, token, word):
    return find(tree, parent, token, word)


@compiled
def call_store(tree, number):
    return store(tree, number)


def new_tree(n_endings=2, ending=1):
    space = SearchSpace(UnitTokenizer((BLANK_SYMBOL, "p", "q", "r")), BeamSettings(4, 4))
    tables = make_tables(space)
    tree = allocate_tree(tables, 4, n_endings)
    reset_tree(tree, tables, ending)
    return tree


def fill_slot(tree, parent, token, word=NONE, **others):
    """Write an extension to the first free slot."""
    number = tree.now[0]["n_prefixes"]
    values = {"parent": parent, "token": token, "word": word, **others}
    for name, value in values.items():
        tree.prefixes[name][number] = value


def test_log_add_adds_probabilities():
    generator = np.random.default_rng(0)
    a, b, sums = generator.normal(-50, 30, 500), generator.normal(-50, 30, 500), np.empty(500)
    call_log_add(a, b, sums)
    np.testing.assert_allclose(sums, np.logaddexp(a, b), rtol=1e-15)


def test_log_add_of_impossible_events_is_minus_infinity():
    a, b, sums = np.array([-np.inf, -np.inf, -3.0]), np.array([-np.inf, -3.0, -np.inf]), np.empty(3)
    call_log_add(a, b, sums)
    assert sums.tolist() == [-np.inf, -3.0, -3.0]


@pytest.mark.parametrize("ending", [0, 1, 2])
def test_a_search_begins_with_the_empty_prefix(ending):
    tree = new_tree(n_endings=3, ending=ending)
    assert tree.beam[: tree.now[0]["n_beam"]].tolist() == [EMPTY_PREFIX]
    empty = tree.prefixes[EMPTY_PREFIX]
    assert empty["node"] == ROOT
    assert empty["log_prob"] == empty["lm"] == empty["other_score"] == 0.0
    expected = np.full(3, -np.inf)
    expected[ending] = 0.0
    np.testing.assert_array_equal(tree.ending_log_probs[EMPTY_PREFIX, BEFORE], expected)
    assert tree.prefixes[NO_PREFIX]["log_prob"] == -math.inf


def test_extensions_are_found_by_token_and_word():
    tree = new_tree()
    numbers = {}
    empty = EMPTY_PREFIX
    for parent, token, word in [(empty, 1, NONE), (empty, 1, 5), (empty, 2, NONE), (2, 1, NONE)]:
        assert call_find(tree, parent, token, word) == NO_PREFIX
        fill_slot(tree, parent, token, word)
        assert call_find(tree, parent, token, word) == NO_PREFIX
        numbers[parent, token, word] = call_store(tree, NO_PREFIX)
    assert sorted(numbers.values()) == [2, 3, 4, 5]
    for (parent, token, word), number in numbers.items():
        assert call_find(tree, parent, token, word) == number
        prefix = tree.prefixes[number]
        assert (prefix["parent"], prefix["token"], prefix["word"]) == (parent, token, word)
        assert prefix["log_prob"] == -math.inf  # it is not in the beam yet
    assert call_find(tree, 3, 1, NONE) == NO_PREFIX


def test_an_extension_that_is_in_the_tree_is_not_added_again():
    tree = new_tree()
    fill_slot(tree, EMPTY_PREFIX, 1, other_score=-1.0, lm_state=7)
    number = call_store(tree, NO_PREFIX)
    fill_slot(tree, EMPTY_PREFIX, 1, other_score=-1.5, lm_state=-1)
    assert call_store(tree, number) == number
    assert tree.now[0]["n_prefixes"] == 3
    assert tree.prefixes[number]["other_score"] == -1.5
    assert tree.prefixes[number]["lm_state"] == 7  # which the language model need not read again
