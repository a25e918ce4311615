"""n-gram models of several texts -> one n-gram model, in which each context chooses among them."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from asr.lm.ngram_trie import NgramTrie, make_ngram_trie, with_backoffs


def mix(tries: Sequence[NgramTrie], weights: Sequence[float]) -> NgramTrie:
    """One model of all the n-grams of several models.

    The probability of a unit w in a context h is the mean of the models' probabilities, weighted by
    how probable each model is, given h:

        p(w | h) = sum_i p(i | h) p_i(w | h)
        p(i | h) = weights_i p_i(h) / sum_j weights_j p_j(h)

    So a model of few texts counts little in general, and almost alone where a context is its own:
    after "r u b", letters are expected, although novels have none. Units for which no model has an
    n-gram in that context back off, so that each context sums to 1.

    Args:
        tries: with the same units, in the same order.
        weights: p(i), of each model, above 0; their sum is 1.

    Raises:
        ValueError: the tries have different numbers of units, or the weights don't fit.

    Source: Stolcke 2002, SRILM, `ngram -bayes`, there computed while decoding.
    """
    n_units = {trie.n_units for trie in tries}
    if len(n_units) != 1:
        raise ValueError(f"the tries have {sorted(n_units)} units; expected one number for all")
    if len(weights) != len(tries) or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"weights is {list(weights)}; expected {len(tries)} above 0, of sum 1")
    (V,) = n_units
    sizes, keys = _union(tries, V + 1)
    parents, units = keys // (V + 1), keys % (V + 1)
    n_contexts = 1 + sum(sizes[:-1])
    log_probs = torch.zeros(len(keys), dtype=torch.float64)
    # of each context: where it leads in each model, and the log of weights_i p_i(h)
    states = torch.zeros(len(tries), n_contexts, dtype=torch.int64)
    joint = torch.zeros(len(tries), n_contexts, dtype=torch.float64)
    joint[:, 0] = torch.tensor(weights, dtype=torch.float64).log()
    for first, last in pairwise(_bounds(sizes)):
        contexts = parents[first:last]
        own = torch.zeros(len(tries), last - first, dtype=torch.float64)
        for row, trie in enumerate(tries):
            score, after = trie.score(states[row, contexts], units[first:last].clamp(max=V - 1))
            if first == 1:  # <s>, the last, is never predicted
                score[V], after[V] = 0.0, trie.start(1)[0]
            own[row] = score
            if last <= n_contexts:
                states[row, first:last] = after
        chosen = joint[:, contexts].log_softmax(0)
        log_probs[first:last] = (chosen + own).logsumexp(0)
        if last <= n_contexts:
            joint[:, first:last] = joint[:, contexts] + own
    backoffs = torch.zeros(n_contexts)
    return with_backoffs(make_ngram_trie(V, sizes, keys, log_probs, backoffs))


def _bounds(sizes: Sequence[int]) -> list[int]:
    """The first node of each order, and the number of nodes."""
    bounds = [1]
    for size in sizes:
        bounds.append(bounds[-1] + size)
    return bounds


def _union(tries: Sequence[NgramTrie], radix: int) -> tuple[list[int], Tensor]:
    """The numbers of n-grams of each order that any trie has, and their keys with the root's."""
    numbers = [torch.zeros(len(trie.keys), dtype=torch.int64) for trie in tries]  # in the union
    keys: list[Tensor] = [torch.tensor([-1])]
    sizes: list[int] = []
    for order in range(max(trie.order for trie in tries)):
        those = [
            (number, trie.levels[order], trie.keys[trie.levels[order]])
            for number, trie in zip(numbers, tries, strict=True)
            if order < trie.order
        ]
        moved = [number[own // radix] * radix + own % radix for number, _, own in those]
        level = torch.cat(moved).unique()
        first = 1 + sum(sizes)
        for (number, nodes, _), own in zip(those, moved, strict=True):
            number[nodes] = first + torch.searchsorted(level, own)
        keys.append(level)
        sizes.append(len(level))
    return sizes, torch.cat(keys)
