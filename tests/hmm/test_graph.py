import itertools

import numpy as np
import pytest
import torch
from utterances import chains

from asr.hmm.graph import TokenSpan, pad_graphs, token_spans, utterance_graph
from asr.hmm.topology import Topology, left_to_right

A, B, C = (1,), (2,), (3,)
TEXTS = [
    [[A]],
    [[A, B + C]],
    [[A], [A]],
    [[B, B + A, C], [A + A, C], [B]],
]


def topology(n_states=2, n_silent=2):
    """A topology with a shared pdf: the last of c is the first of b."""
    own = left_to_right(4, n_states, n_silent)
    pdfs = own.pdfs.clone()
    pdfs[3, -1] = pdfs[2, 0]
    return Topology(pdfs, own.silence, own.self_loops)


def walks(graph):
    """(weight, states) of all paths through a graph, without self-loops."""

    def onwards(state, weight, before):
        path = [*before, tuple(int(table[state]) for table in tables)]
        if graph.end[state] > -np.inf:
            yield weight + graph.end[state], path
        for source, destination, more in zip(
            graph.sources, graph.destinations, graph.weights, strict=True
        ):
            if source == state:
                yield from onwards(destination, weight + more, path)

    tables = graph.pdfs, graph.words, graph.positions, graph.tokens, graph.states
    for state, weight in enumerate(graph.start):
        if weight > -np.inf:
            yield from onwards(state, weight, [])


@pytest.mark.parametrize(
    ("words", "n_silent"),
    [*((words, n) for words in TEXTS for n in (0, 1, 2)), ([], 1), ([], 2)],
)
def test_a_graph_has_every_pronunciation_once(words, n_silent):
    hmm = topology(n_silent=n_silent)
    graph = utterance_graph(words, hmm)
    found = sorted(walks(graph), key=str)
    expected = sorted(chains(words, hmm), key=str)
    assert [path for _, path in found] == [path for _, path in expected]
    weights = [weight for weight, _ in found], [weight for weight, _ in expected]
    np.testing.assert_allclose(*weights, rtol=1e-12, atol=0)
    assert graph.shortest == min(len(path) for _, path in expected)
    assert (graph.sources < graph.destinations).all()


@pytest.mark.parametrize("n_silent", [0, 2])
def test_a_batch_has_the_arcs_of_its_graphs(n_silent):
    hmm = topology(n_silent=n_silent)
    graphs = [utterance_graph(words, hmm) for words in TEXTS]
    batch = pad_graphs(graphs)
    for n, graph in enumerate(graphs):
        size = len(graph.pdfs)
        assert batch.pdfs[n, :size].tolist() == graph.pdfs.tolist()
        for found, own in ((batch.start, graph.start), (batch.end, graph.end)):
            np.testing.assert_array_equal(found[n, :size], own)
            assert (found[n, size:] == -torch.inf).all()
        arcs = zip(graph.sources.tolist(), graph.destinations.tolist(), graph.weights, strict=True)
        expected = {(source, destination): weight for source, destination, weight in arcs}
        for others, weights, turned in (
            (batch.predecessors, batch.predecessor_weights, False),
            (batch.successors, batch.successor_weights, True),
        ):
            found = {}
            for p, state in itertools.product(range(len(others)), range(others.shape[2])):
                if weights[p, n, state] > -torch.inf:
                    arc = int(others[p, n, state]), state
                    found[arc[::-1] if turned else arc] = float(weights[p, n, state])
            assert found == expected


def test_token_spans_of_an_alignment():
    hmm = topology(n_silent=1)
    graph = utterance_graph([[A, B + B], [C]], hmm)
    by_label = {
        label: state
        for state, label in enumerate(
            zip(
                graph.words.tolist(),
                graph.positions.tolist(),
                graph.tokens.tolist(),
                graph.states.tolist(),
                strict=True,
            )
        )
        if label[:2] != (-1, -1)
    }
    silences = np.flatnonzero(graph.words == -1)
    labels = [(0, 0, 2, 0), (0, 0, 2, 1), (0, 1, 2, 0), (0, 1, 2, 1), (1, 0, 3, 0), (1, 0, 3, 1)]
    b1, b2, b3, b4, c1, c2 = (by_label[label] for label in labels)
    alignment = [silences[0], silences[0], b1, b2, b3, b3, b4, silences[1], c1, c2, c2]
    assert token_spans(graph, alignment) == [
        TokenSpan(word=-1, position=-1, token=0, first=0, last=1),
        TokenSpan(word=0, position=0, token=2, first=2, last=3),
        TokenSpan(word=0, position=1, token=2, first=4, last=6),
        TokenSpan(word=-1, position=-1, token=0, first=7, last=7),
        TokenSpan(word=1, position=0, token=3, first=8, last=10),
    ]


def test_invalid_pronunciations_are_refused():
    hmm = topology()
    with pytest.raises(ValueError, match=r"words\[1\] is \[\]; expected tokens"):
        utterance_graph([[A], []], hmm)
    with pytest.raises(ValueError, match=r"words\[0\] is \[\(1,\), \(\)\]; expected tokens"):
        utterance_graph([[A, ()]], hmm)
    for token in (0, 4):
        with pytest.raises(ValueError, match=rf"words\[0\] has token {token}; expected from 1 to"):
            utterance_graph([[A, (2, token)]], hmm)
    with pytest.raises(ValueError, match="words is empty and the topology has no silence"):
        utterance_graph([], topology(n_silent=0))
    with pytest.raises(ValueError, match="graphs is empty; expected at least one"):
        pad_graphs([])
