import math

import numpy as np
import pytest
from numba import njit

from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import (
    BEFORE,
    EMPTY,
    NOBODY,
    find,
    log_add,
    room,
    start,
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


def new_tree(n_states=2, state=1):
    space = SearchSpace(UnitTokenizer((BLANK_SYMBOL, "p", "q", "r")), BeamSettings(4, 4))
    tables = make_tables(space)
    tree = room(tables, 4, n_states)
    start(tree, tables, state)
    return tree


def describe(tree, parent, token, word=NONE, **others):
    """Write an extension to the first free place."""
    place = tree.now[0]["n_prefixes"]
    values = {"parent": parent, "token": token, "word": word, **others}
    for name, value in values.items():
        tree.prefixes[name][place] = value


def test_log_add_adds_probabilities():
    generator = np.random.default_rng(0)
    a, b, sums = generator.normal(-50, 30, 500), generator.normal(-50, 30, 500), np.empty(500)
    call_log_add(a, b, sums)
    np.testing.assert_allclose(sums, np.logaddexp(a, b), rtol=1e-15)


def test_log_add_of_impossible_events_is_minus_infinity():
    a, b, sums = np.array([-np.inf, -np.inf, -3.0]), np.array([-np.inf, -3.0, -np.inf]), np.empty(3)
    call_log_add(a, b, sums)
    assert sums.tolist() == [-np.inf, -3.0, -3.0]


@pytest.mark.parametrize("state", [0, 1, 2])
def test_a_search_begins_with_the_empty_prefix(state):
    tree = new_tree(n_states=3, state=state)
    assert tree.beam[: tree.now[0]["n_beam"]].tolist() == [EMPTY]
    empty = tree.prefixes[EMPTY]
    assert (empty["total"], empty["node"], empty["lm"], empty["extra"]) == (0.0, ROOT, 0.0, 0.0)
    masses = np.full(3, -np.inf)
    masses[state] = 0.0
    np.testing.assert_array_equal(tree.masses[EMPTY, BEFORE], masses)
    assert tree.prefixes[NOBODY]["total"] == -math.inf


def test_extensions_are_found_by_token_and_word():
    tree = new_tree()
    numbers = {}
    for parent, token, word in [(EMPTY, 1, NONE), (EMPTY, 1, 5), (EMPTY, 2, NONE), (2, 1, NONE)]:
        assert call_find(tree, parent, token, word) == NOBODY
        describe(tree, parent, token, word)
        assert call_find(tree, parent, token, word) == NOBODY
        numbers[parent, token, word] = call_store(tree, NOBODY)
    assert sorted(numbers.values()) == [2, 3, 4, 5]
    for (parent, token, word), number in numbers.items():
        assert call_find(tree, parent, token, word) == number
        prefix = tree.prefixes[number]
        assert (prefix["parent"], prefix["token"], prefix["word"]) == (parent, token, word)
        assert prefix["total"] == -math.inf  # it is not in the beam yet
    assert call_find(tree, 3, 1, NONE) == NOBODY


def test_an_extension_that_is_in_the_tree_is_not_added_again():
    tree = new_tree()
    describe(tree, EMPTY, 1, extra=-1.0, state=7)
    number = call_store(tree, NOBODY)
    describe(tree, EMPTY, 1, extra=-1.5, state=-1)
    assert call_store(tree, number) == number
    assert tree.now[0]["n_prefixes"] == 3
    assert tree.prefixes[number]["extra"] == -1.5
    assert tree.prefixes[number]["state"] == 7  # which the language model need not read again
