"""An n-gram model -> a smaller one with almost the same perplexity."""

import torch
from torch import Tensor

from asr.lm.ngram_trie import NgramTrie, make_ngram_trie


def prune_by_entropy(trie: NgramTrie, threshold: float) -> NgramTrie:
    """The trie without the n-grams that matter least, by relative entropy.

    An n-gram is removed if removing it alone raises the perplexity of the model's own texts by less
    than the threshold, and if no n-gram that is kept extends it. Unigrams are kept.

    Args:
        trie: of a model whose probabilities sum to 1 in every context.
        threshold: relative rise of the perplexity, above 0, such as 1e-8.

    Raises:
        ValueError: the threshold is not above 0.

    Source: Stolcke 1998, arXiv:cs/0006025. As there, each n-gram is judged in the whole model.
    <s> is taken to be as probable as </s>. The lower orders of Kneser-Ney smoothing estimate
    probabilities for back-off, not frequencies. So the probabilities of contexts are rough
    (Chelba et al. 2010), and some frequent n-grams are removed too early.
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
        log_probs[trie.n_units + 1] = log_probs[2]  # <s> is as probable as </s>
    for nodes in trie.levels[1:-1]:
        log_probs[nodes] += log_probs[trie.keys[nodes] // (trie.n_units + 1)]
    return log_probs


def _shorter(trie: NgramTrie, nodes: slice) -> tuple[Tensor, Tensor]:
    """Contexts of an order's n-grams, (n,), and the log-probs of their units one order lower."""
    contexts = trie.keys[nodes] // (trie.n_units + 1)
    units = trie.keys[nodes] % (trie.n_units + 1)
    return contexts, trie.score(trie.suffixes[contexts].long(), units)[0].double()


def _left(contexts: Tensor, log_probs: Tensor, n_contexts: int) -> Tensor:
    """(n_contexts,), float64: probability that each context's n-grams leave for back-off."""
    left = torch.ones(n_contexts, dtype=torch.float64)
    return left.index_add_(0, contexts, -log_probs.exp())


def _losses(trie: NgramTrie, nodes: slice, context_log_probs: Tensor) -> Tensor:
    """(n,), float64: relative entropy between the model with and without each n-gram, in nats."""
    contexts, shorter = _shorter(trie, nodes)
    log_probs = trie.log_probs[nodes].double()
    left = _left(contexts, log_probs, len(trie.backoffs))[contexts]
    left_shorter = _left(contexts, shorter, len(trie.backoffs))[contexts]
    backoffs = (left + log_probs.exp()).log() - (left_shorter + shorter.exp()).log()
    # the loss of the n-gram itself, and of all units that back off in its context
    losses = log_probs.exp() * (log_probs - shorter - backoffs)
    losses += left * (trie.backoffs[contexts] - backoffs)
    return context_log_probs[contexts].exp() * losses


def _without(trie: NgramTrie, kept: Tensor) -> NgramTrie:
    """The trie of the kept nodes, with back-off weights that make each context sum to 1 again."""
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
    for nodes in smaller.levels[1:]:  # in order: higher orders use the lower orders' weights
        contexts, shorter = _shorter(smaller, nodes)
        left = _left(contexts, smaller.log_probs[nodes].double(), len(smaller.backoffs))
        left_shorter = _left(contexts, shorter, len(smaller.backoffs))
        known = torch.zeros(len(left), dtype=torch.bool)
        known[contexts] = True
        known &= (left > 0) & (left_shorter > 0)  # if all units have n-grams, none backs off
        smaller.backoffs[known] = (left[known] / left_shorter[known]).log().float()
    return smaller
