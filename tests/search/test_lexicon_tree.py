import itertools
import time

import numpy as np
import pytest
import torch

from asr.search.lexicon_tree import NONE, ROOT, Trie

LEXICON = {
    "a": [(2,)],
    "ab": [(2, 3)],
    "eh": [(2,), (2, 3, 3)],
    "ba": [(3, 2), (3, 2)],  # a repeated spelling counts once
    "silent": [],
}


def walk(trie, tokens):
    """{(node, words so far)} after tokens, one at a time."""
    places = {(ROOT, ())}
    for token in tokens:
        reached = set()
        for node, words in places:
            of, _, nodes, ended = trie.extensions(torch.tensor([node]), torch.tensor([token]))
            assert (of == 0).all()
            for after, word in zip(nodes.tolist(), ended.tolist(), strict=True):
                reached.add((after, words if word == NONE else (*words, word)))
        places = reached
    return places


def names(trie, tokens):
    """The sequences of words that tokens can spell, found with the tree."""
    known = (*trie.words, "<other>")
    return {tuple(known[w] for w in words) for node, words in walk(trie, tokens) if node == ROOT}


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


def test_an_open_lexicon_accepts_oov_words_as_one_more_word():
    trie = Trie.build(LEXICON, 1, 4, open=True)
    assert names(trie, (2, 1)) == {("a",), ("eh",)}
    assert names(trie, (3, 1)) == {("<other>",)}  # a word's beginning
    assert names(trie, (3, 3, 3, 2, 1)) == {("<other>",)}
    assert names(trie, (3, 3, 1, 2, 3, 1)) == {("<other>", "ab")}
    assert names(trie, (1,)) == set()  # an empty spelling is no word


def test_outcomes_do_not_depend_on_the_batch():
    trie = Trie.build(LEXICON, None, 4)
    nodes, tokens = torch.tensor([ROOT, ROOT, ROOT]), torch.tensor([3, 2, 1])
    of, outcomes, after, words = trie.extensions(nodes, tokens)
    assert of.tolist() == [0, 1, 1, 1]  # 3 goes on; 2 goes on or ends as either; 1 leads nowhere
    assert outcomes.tolist() == [0, 0, 1, 2]
    assert words.tolist() == [NONE, NONE, 0, 2]
    assert (after[2:] == ROOT).all()
    alone = trie.extensions(nodes[1:2], tokens[1:2])
    for together, single in zip((outcomes, after, words), alone[1:], strict=True):
        assert together[1:].tolist() == single.tolist()


@pytest.mark.parametrize(("separator", "open_"), [(None, False), (1, False), (1, True)])
def test_tokens_are_those_that_have_an_extension(separator, open_):
    trie = Trie.build(LEXICON, separator, 5, open=open_)
    nodes = torch.randperm(len(trie.parents), generator=torch.Generator().manual_seed(0))
    of, tokens = trie.tokens(nodes)
    each, every = nodes.repeat_interleave(5), torch.arange(5).repeat(len(nodes))
    leads, *_ = trie.extensions(each, every)
    expected = sorted({divmod(pair, 5) for pair in leads.tolist()})
    assert list(zip(of.tolist(), tokens.tolist(), strict=True)) == expected


def test_a_leaf_only_ends_words():
    trie = Trie.build({"pq": [(1, 2)]}, None, 3)
    _, _, (node,), _ = trie.extensions(torch.tensor([ROOT]), torch.tensor([1]))
    _, outcomes, after, words = trie.extensions(node[None], torch.tensor([2]))
    assert (outcomes.tolist(), after.tolist(), words.tolist()) == ([0], [ROOT], [0])


@pytest.mark.parametrize("open_", [False, True])
def test_best_below_a_node_is_the_maximum_over_its_words(open_):
    generator = np.random.default_rng(0)
    spelled = [tuple(generator.integers(2, 6, generator.integers(1, 7))) for _ in range(80)]
    trie = Trie.build({str(n): [s] for n, s in enumerate(spelled)}, 1, 6, open=open_)
    scores = torch.from_numpy(generator.normal(size=81))
    scores[80] = 1.0
    best = trie.best_below(scores[: 80 + open_])
    assert best[ROOT] == scores[: 80 + open_].max()
    words = set(spelled)
    for spelling in spelled:
        node = ROOT
        for depth, token in enumerate(spelling, 1):
            node = int(trie.children[node, token])
            below = [scores[n] for n, s in enumerate(spelled) if s[:depth] == spelling[:depth]]
            # and the word number len(words), if the spelling can become another word
            through = {s[:n] for s in words for n in range(depth, len(s) + 1)}
            if open_ and any(s[:depth] == spelling[:depth] for s in through - words):
                below.append(scores[80])
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
    nodes = torch.zeros(20_000, dtype=torch.int64)
    for depth in range(lengths.max()):
        at = torch.from_numpy(np.flatnonzero(lengths > depth))
        tokens = torch.tensor([spelled[str(n)][0][depth] for n in at.tolist()])
        nodes[at] = trie.children[nodes[at], tokens].long()
    distinct = {spelling for (spelling,) in spelled.values()}
    assert len(set(nodes.tolist())) == len(distinct)
    for n in range(0, 20_000, 97):
        first, count = trie.first_word[nodes[n]], trie.n_words[nodes[n]]
        assert n in trie.endings[first : first + count]
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


def test_an_open_lexicon_needs_a_separator():
    with pytest.raises(ValueError, match="open is True and separator None"):
        Trie.build(LEXICON, None, 4, open=True)
