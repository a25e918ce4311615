"""An n-gram model -> a smaller one that foresees texts almost as well."""

import torch
from torch import Tensor

from asr.lm.ngram_trie import NgramTrie, make_ngram_trie


def prune_by_entropy(trie: NgramTrie, threshold: float) -> NgramTrie:
    """The trie without n-grams that make little difference, by relative entropy.

    An n-gram goes if the perplexity of the model's own texts rises by less than the threshold
    when it alone goes, and no longer n-gram that stays continues it. Units alone stay.

    Args:
        trie: of a model whose probabilities add up to 1 in every context.
        threshold: above 0, share of the perplexity, such as 1e-8.

    Raises:
        ValueError: the threshold is not above 0.

    Source: Stolcke 1998, arXiv:cs/0006025. As there, each n-gram is looked at in the whole model.
    A sentence's beginning counts as probable as its end. Kneser-Ney's lower orders say what is
    probable where no longer n-gram is known, and not what is frequent, so that contexts' weights
    are rough (Chelba et al. 2010): some frequent n-grams go too early.
    """
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; expected above 0")
    context_log_probs = _context_log_probs(trie)
    kept = torch.ones(len(trie.keys), dtype=torch.bool)
    continued = torch.zeros(len(trie.keys), dtype=torch.bool)
    for nodes in reversed(trie.levels[1:]):
        losses = _losses(trie, nodes, context_log_probs)
        kept[nodes] = continued[nodes] | ~(losses.expm1() < threshold)
        continued[trie.keys[nodes][kept[nodes]] // (trie.n_units + 1)] = True
    return _without(trie, kept)


def _context_log_probs(trie: NgramTrie) -> Tensor:
    """(C + 1,), float64: log-probability of every n-gram that may be a context."""
    log_probs = trie.log_probs[: len(trie.backoffs)].double()
    if trie.order > 1:  # else the root is the only context
        log_probs[trie.n_units + 1] = log_probs[2]  # a beginning: as its end
    for nodes in trie.levels[1:-1]:
        log_probs[nodes] += log_probs[trie.keys[nodes] // (trie.n_units + 1)]
    return log_probs


def _shorter(trie: NgramTrie, nodes: slice) -> tuple[Tensor, Tensor]:
    """(n,), the contexts of n-grams of an order, and their units' log-probs one order lower."""
    contexts = trie.keys[nodes] // (trie.n_units + 1)
    units = trie.keys[nodes] % (trie.n_units + 1)
    return contexts, trie.score(trie.suffixes[contexts].long(), units)[0].double()


def _left(contexts: Tensor, log_probs: Tensor, n_contexts: int) -> Tensor:
    """(n_contexts,), float64: what the n-grams of each context leave of its probability."""
    left = torch.ones(n_contexts, dtype=torch.float64)
    return left.index_add_(0, contexts, -log_probs.exp())


def _losses(trie: NgramTrie, nodes: slice, context_log_probs: Tensor) -> Tensor:
    """(n,), float64: relative entropy between the model and itself without an n-gram, in nats."""
    contexts, shorter = _shorter(trie, nodes)
    log_probs = trie.log_probs[nodes].double()
    left = _left(contexts, log_probs, len(trie.backoffs))[contexts]
    left_shorter = _left(contexts, shorter, len(trie.backoffs))[contexts]
    backoffs = (left + log_probs.exp()).log() - (left_shorter + shorter.exp()).log()
    # what the unit itself loses, and what all units lose that back off with it
    losses = log_probs.exp() * (log_probs - shorter - backoffs)
    losses += left * (trie.backoffs[contexts] - backoffs)
    return context_log_probs[contexts].exp() * losses


def _without(trie: NgramTrie, kept: Tensor) -> NgramTrie:
    """The trie of some of the nodes, with weights that make its contexts add up to 1 again."""
    radix = trie.n_units + 1
    numbers = kept.cumsum(0) - 1
    keys = numbers[trie.keys // radix] * radix + trie.keys % radix
    keys[0] = -1
    backoffs = trie.backoffs.clone()
    continued = torch.zeros(len(backoffs), dtype=torch.bool)
    continued[trie.keys[1:][kept[1:]] // radix] = True
    backoffs[~continued] = 0.0
    sizes = [int(kept[nodes].sum()) for nodes in trie.levels]
    smaller = make_ngram_trie(
        trie.n_units, sizes, keys[kept], trie.log_probs[kept], backoffs[kept[: len(backoffs)]]
    )
    for nodes in smaller.levels[1:]:  # each order's weights count in the next order's
        contexts, shorter = _shorter(smaller, nodes)
        left = _left(contexts, smaller.log_probs[nodes].double(), len(smaller.backoffs))
        left_shorter = _left(contexts, shorter, len(smaller.backoffs))
        known = torch.zeros(len(left), dtype=torch.bool)
        known[contexts] = True
        known &= (left > 0) & (left_shorter > 0)  # all units known: nothing backs off
        smaller.backoffs[known] = (left[known] / left_shorter[known]).log().float()
    return smaller
