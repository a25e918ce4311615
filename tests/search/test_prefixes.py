import math

import numpy as np
import pytest
from numba import njit

from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import (
    BEFORE,
    CANDIDATE,
    EMPTY,
    NOBODY,
    add,
    find,
    keep,
    log_add,
    room,
    start,
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
def call_start(tree, tables, state):
    start(tree, tables, state)


@compiled
def call_add(tree, candidates):
    return add(tree, candidates[0])


@compiled
def call_find(tree, candidates):
    return find(tree, candidates[0])


@compiled
def call_keep(tree, candidates):
    return keep(tree, candidates[0])


def new_tree(n_states=2, state=1):
    space = SearchSpace(UnitTokenizer((BLANK_SYMBOL, "p", "q", "r")), BeamSettings(4, 4))
    tables = make_tables(space)
    tree = room(tables, 4, n_states)
    call_start(tree, tables, state)
    return tree


def candidate(parent, token, word=NONE, number=NOBODY, **others):
    values = np.zeros(1, CANDIDATE)
    values["parent"], values["token"], values["word"] = parent, token, word
    values["number"] = number
    for name, value in others.items():
        values[name] = value
    return values


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
        assert call_find(tree, candidate(parent, token, word)) == NOBODY
        numbers[parent, token, word] = call_add(tree, candidate(parent, token, word))
    assert sorted(numbers.values()) == [2, 3, 4, 5]
    for (parent, token, word), number in numbers.items():
        assert call_find(tree, candidate(parent, token, word)) == number
        prefix = tree.prefixes[number]
        assert (prefix["parent"], prefix["token"], prefix["word"]) == (parent, token, word)
        assert prefix["total"] == -math.inf  # it is not in the beam yet
    assert call_find(tree, candidate(3, 1)) == NOBODY


def test_a_kept_candidate_is_added_once():
    tree = new_tree()
    number = call_keep(tree, candidate(EMPTY, 1, extra=-1.0, coming=-2.0, state=7))
    assert call_keep(tree, candidate(EMPTY, 1, extra=-1.5, coming=-2.5, state=-1)) == number
    assert call_keep(tree, candidate(EMPTY, 1, number=number, extra=-1.5, coming=-2.5, state=-1))
    assert tree.now[0]["n_prefixes"] == 3
    prefix = tree.prefixes[number]
    assert (prefix["extra"], prefix["coming"]) == (-1.5, -2.5)
    assert prefix["state"] == 7  # which the language model need not read again
