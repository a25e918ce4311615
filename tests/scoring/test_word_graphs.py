import random

import pytest

from asr.errors import InputError
from asr.scoring import word_graphs
from asr.scoring.word_graphs import START, Arc, WordGraph, cheapest_pairs, linear


def random_graph(generator):
    """Words in a row, where some are skipped, optional or have others beside them."""
    arcs, before = [START], (0,)
    for _ in range(generator.randint(0, 4)):
        ends = []
        for _ in range(generator.choice([1, 1, 2])):
            first = before
            for _ in range(generator.randint(1, 2)):
                arcs.append(Arc(generator.choice("abc"), first, generator.random() < 0.2))
                first = (len(arcs) - 1,)
            ends.append(first[0])
        before = (*ends, *before) if generator.random() < 0.2 else tuple(ends)
    return WordGraph(arcs, before)


def texts(graph):
    """Every text that a graph allows, as a list of arcs."""

    def to(end):
        if end == 0:
            return [[]]
        arc = graph.arcs[end]
        return [[*text, arc] for k in arc.before for text in to(k)]

    return [text for end in graph.ends for text in to(end)]


def least(said, heard, same):
    """(errors, sclite's cost, -hits) of the best alignment of two lists of arcs."""
    if not said and not heard:
        return 0, 0, 0
    possible = []
    if said and heard:
        pair = said[-1], heard[-1]
        possible.append(add(least(said[:-1], heard[:-1], same), step(*pair, same)))
    if said:
        possible.append(add(least(said[:-1], heard, same), step(said[-1], None, same)))
    if heard:
        possible.append(add(least(said, heard[:-1], same), step(None, heard[-1], same)))
    return min(possible)


def step(said, heard, same):
    if said and heard:
        return (0, 0, -1) if same(said.word, heard.word) else (1, 4, 0)
    return (0, 2, 0) if (said or heard).optional else (1, 3, 0)


def add(counts, step):
    return tuple(a + b for a, b in zip(counts, step, strict=True))


def cost(pairs, same):
    total = (0, 0, 0)
    for said, heard in pairs:
        total = add(total, step(said, heard, same))
    return total


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("same", [str.__eq__, lambda a, b: a == b or {a, b} == {"a", "b"}])
def test_pairs_agree_with_brute_force(seed, same):
    generator = random.Random(seed)
    reference, hypothesis = random_graph(generator), random_graph(generator)
    pairs = cheapest_pairs(reference, hypothesis, same)
    said = [said for said, _ in pairs if said]
    heard = [heard for _, heard in pairs if heard]
    assert said in texts(reference)
    assert heard in texts(hypothesis)
    expected = min(least(r, h, same) for r in texts(reference) for h in texts(hypothesis))
    assert cost(pairs, same) == expected


def test_empty_texts_give_only_deletions_or_insertions():
    assert cheapest_pairs(linear([]), linear([])) == []
    assert cheapest_pairs(linear(["a"]), linear([])) == [(Arc("a", (0,)), None)]
    assert cheapest_pairs(linear([]), linear(["a"])) == [(None, Arc("a", (0,)))]


def test_texts_too_long_for_memory_are_refused(monkeypatch):
    monkeypatch.setattr(word_graphs, "MAX_CELLS", 8)
    with pytest.raises(InputError, match="3 words against 3 are too many"):
        cheapest_pairs(linear(["a", "b"]), linear(["a", "c"]))
