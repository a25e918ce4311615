import itertools
import time

import numpy as np
import pytest

from asr.search.lexicon_tree import NONE, ROOT, Trie

LEXICON = {
    "a": [(2,)],
    "ab": [(2, 3)],
    "eh": [(2,), (2, 3, 3)],
    "ba": [(3, 2), (3, 2)],  # a repeated spelling counts once
    "silent": [],
}


def extensions(trie, node, token):
    """The nodes after a token, each with the word that ends with it or NONE, as `Trie` says."""
    after = trie.children[node, token]
    if after == NONE:
        return []
    holder, goes_on = (node, False) if token == trie.separator else (after, trie.continues[after])
    if trie.separator is not None and token != trie.separator:
        return [(after, NONE)]
    first = trie.first_word[holder]
    words = trie.ending_words[first : first + trie.n_words[holder]].tolist()
    return [(after, NONE)] * bool(goes_on) + [(ROOT, word) for word in words]


def walk(trie, tokens):
    """{(node, words so far)} after tokens, one at a time."""
    places = {(ROOT, ())}
    for token in tokens:
        reached = set()
        for node, words in places:
            for after, word in extensions(trie, node, token):
                reached.add((after, words if word == NONE else (*words, word)))
        places = reached
    return places


def names(trie, tokens):
    """The sequences of words that tokens can spell, found with the tree."""
    return {
        tuple(trie.words[w] for w in words) for node, words in walk(trie, tokens) if node == ROOT
    }


def read(tokens, lexicon):
    """The same, found by comparing strings."""
    if not tokens:
        return {()}
    return {
        (word, *rest)
        for word, spellings in lexicon.items()
        for spelling in spellings
        if tokens[: len(spelling)] == spelling
        for rest in read(tokens[len(spelling) :], lexicon)
    }


@pytest.mark.parametrize("length", range(6))
def test_without_a_separator_words_follow_each_other(length):
    trie = Trie.build(LEXICON, None, 4)
    for tokens in itertools.product((1, 2, 3), repeat=length):
        assert names(trie, tokens) == read(tokens, LEXICON)


@pytest.mark.parametrize("length", range(6))
def test_a_separator_ends_a_word_that_has_begun(length):
    trie = Trie.build(LEXICON, 1, 4)
    for tokens in itertools.product((1, 2, 3), repeat=length):
        parts, part = [], []
        for token in tokens:
            part.append(token)
            if token == 1:
                parts.append(tuple(part[:-1]))
                part = []
        expected = set()
        if not part:  # the last token is a separator, so all words are complete
            choices = [[w for w, s in LEXICON.items() if part in s] for part in parts]
            expected = set(itertools.product(*choices))
        assert names(trie, tokens) == expected


@pytest.mark.parametrize("separator", [None, 1])
def test_arcs_are_the_tokens_that_have_an_extension(separator):
    trie = Trie.build(LEXICON, separator, 5)
    begins, tokens = trie.arcs
    for node in range(len(trie.parents)):
        expected = [token for token in range(5) if extensions(trie, node, token)]
        assert tokens[begins[node] : begins[node + 1]].tolist() == expected


def test_a_leaf_only_ends_words():
    trie = Trie.build({"pq": [(1, 2)]}, None, 3)
    ((node, _),) = extensions(trie, ROOT, 1)
    assert extensions(trie, node, 2) == [(ROOT, 0)]


def test_best_below_a_node_is_the_maximum_over_its_words():
    generator = np.random.default_rng(0)
    spelled = [tuple(generator.integers(2, 6, generator.integers(1, 7))) for _ in range(80)]
    trie = Trie.build({str(n): [s] for n, s in enumerate(spelled)}, 1, 6)
    scores = generator.normal(size=80)
    best = trie.best_below(scores)
    assert best[ROOT] == scores.max()
    for spelling in spelled:
        node = ROOT
        for depth, token in enumerate(spelling, 1):
            node = int(trie.children[node, token])
            below = [scores[n] for n, s in enumerate(spelled) if s[:depth] == spelling[:depth]]
            assert best[node] == max(below)


def test_a_tree_of_20_000_words_has_exactly_these_words():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 12, 20_000)
    spellings = [tuple(generator.integers(2, 29, T).tolist()) for T in lengths]
    spelled = {str(n): [spelling] for n, spelling in enumerate(spellings)}
    started = time.perf_counter()
    trie = Trie.build(spelled, 1, 29)
    assert time.perf_counter() - started < 20
    prefixes = {s[:n] for (s,) in spelled.values() for n in range(1, len(s) + 1)}
    assert len(trie.parents) == 1 + len(prefixes)
    nodes = np.zeros(20_000, dtype=np.int64)
    for depth in range(lengths.max()):
        at = np.flatnonzero(lengths > depth)
        tokens = [spelled[str(n)][0][depth] for n in at.tolist()]
        nodes[at] = trie.children[nodes[at], tokens]
    distinct = {spelling for (spelling,) in spelled.values()}
    assert len(set(nodes.tolist())) == len(distinct)
    for n in range(0, 20_000, 97):
        first, count = trie.first_word[nodes[n]], trie.n_words[nodes[n]]
        assert n in trie.ending_words[first : first + count]
    assert int(trie.n_words.sum()) == 20_000


@pytest.mark.parametrize(
    ("lexicon", "separator", "message"),
    [
        ({}, None, "spellings has none; expected at least one"),
        ({"a": []}, None, "spellings has none; expected at least one"),
        ({"a": [(1,)], "b": [()]}, None, r"spellings\['b'\] has \(\); expected tokens from 1 to 3"),
        ({"a": [(1, 0)]}, None, r"spellings\['a'\] has \(1, 0\); expected tokens from 1 to 3"),
        ({"a": [(1,)], "b": [(2, 4)]}, None, r"\['b'\] has \(2, 4\); expected tokens from 1 to 3"),
        ({"a": [(2, 1)]}, 1, r"\['a'\] has \(2, 1\); expected .* 1 to 3 but 1, the separator"),
    ],
)
def test_invalid_spellings_are_refused(lexicon, separator, message):
    with pytest.raises(ValueError, match=message):
        Trie.build(lexicon, separator, 4)
