"""Sentences of units -> an n-gram model, by modified Kneser-Ney smoothing -> a pruned one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError, check_size, counted, texts_of
from asr.lm.ngram import NgramModel
from asr.lm.ngram_trie import (
    MAX_ORDER,
    NgramTrie,
    left_for_backoff,
    make_ngram_trie,
    shorter_log_probs,
    with_backoffs,
)
from asr.lm.vocabulary import EOS, Unit, Vocabulary
from asr.text.sentences import without_marks

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of the counts 1, 2 and 3 or more where the data give none; the same as lmplz's."""


MAX_STEPS, PRECISION = 100, 1e-9
"""Maximum number of steps to the frequencies of units, and the change at which they end."""


@dataclass(frozen=True)
class EstimateSettings:
    """How n-grams are counted and discounted.

    Args:
        order: number of units of the longest n-grams.
        prune: for each order, the count up to which n-grams are pruned; the last holds for all
            higher orders. The first is 0: unigrams are never pruned.
        discount_fallback: whether to use `FALLBACK` where the counts give no discounts.
    """

    order: int = 3
    prune: tuple[int, ...] = (0,)
    discount_fallback: bool = False

    def __post_init__(self) -> None:
        check_size("order", self.order, 1, MAX_ORDER)
        if not 1 <= len(self.prune) <= self.order:
            raise InputError(
                f"prune has {counted(len(self.prune), 'count')}; expected 1 to {self.order}"
            )
        if self.prune[0] != 0 or list(self.prune) != sorted(self.prune):
            raise InputError(f"prune is {list(self.prune)}; expected 0 and counts that don't fall")


def train_ngram(
    texts: Iterable[str],
    order: int = 3,
    unit: Unit = "word",
    max_size: int | None = None,
    discount_fallback: bool = True,
) -> NgramModel:
    """An n-gram language model of texts, with interpolated modified Kneser-Ney smoothing.

    >>> lm = asr.train_ngram(["three five", "three nine", "five five nine"], order=2)
    >>> lm.log_prob("three five")

    Args:
        texts: one a sentence; they are normalised (`asr.text.normalisation.normalise`), and those
            without a word are left out. `<s>` at the beginning and `</s>` at the end are removed.
        order: how many units the longest n-grams have.
        unit: word, char, jamo (Hangul's letters) or bpe (pieces of words).
        max_size: at most so many units, the most frequent ones, `<unk>` and `<eos>` among them;
            of pieces exactly so many. None for all.
        discount_fallback: where texts are too few to give discounts, take KenLM's fixed ones, 0.5,
            1 and 1.5, instead of refusing them.

    Returns:
        lm: with `log_prob(text)`; `asr.lm.ngram.write_ngram` writes it as an ARPA file.

    Raises:
        InputError: the texts have no unit, an order gives no discounts, a number is out of range,
            or a text has `<s>` or `</s>` among its words.
        ValueError: `texts` is not a list of texts.

    Source: see `estimate`.
    """
    texts = texts_of("texts", texts)
    settings = EstimateSettings(order, discount_fallback=discount_fallback)
    sentences = [without_marks(text, f"texts[{n}]") for n, text in enumerate(texts)]
    vocabulary = Vocabulary.from_texts(sentences, unit, max_size)
    units = [encoded for text in sentences if (encoded := vocabulary.encode(text))]
    return NgramModel(vocabulary, estimate(units, len(vocabulary.symbols), settings))


def estimate(
    sentences: Iterable[Sequence[int]], n_units: int, settings: EstimateSettings
) -> NgramTrie:
    """The n-gram model of the sentences with modified Kneser-Ney smoothing, as KenLM's lmplz.

    N-grams of the highest order use their counts. Those of lower orders use the number of different
    units before them, or their counts if they begin a sentence. Each order has its own discounts,
    from the numbers of its n-grams with the counts 1 to 4, and is interpolated with the next lower
    order; unigrams with the uniform distribution over all V. The probability of pruned n-grams goes
    to the shorter context.

    A unit that never occurs, such as `UNK` in a text without unknown words, has its uniform share.
    Where `UNK` occurs, it is counted like any other unit, as in a recurrent model with the same
    vocabulary. There lmplz differs: its texts have no `UNK`. It also counts the n-gram that it
    sorts last in another way for the discounts.

    Args:
        sentences: of units from 0 to V - 1, without `EOS`.
        n_units: V, the vocabulary's size.
        settings: order, pruning, fallback.

    Raises:
        InputError: there is no sentence; or the counts of an order give no discounts and
            `discount_fallback` is false.
        ValueError: a unit is not among the V, or is `EOS`.

    Source: Chen and Goodman 1998, section 3; Heafield et al. 2013; `prune` as lmplz's option.
    """
    tokens = _tokens(sentences, n_units)
    levels = _count(tokens, n_units, settings.order)
    del tokens
    thresholds = settings.prune + settings.prune[-1:] * (settings.order - len(settings.prune))
    return _trie(levels, _adjusted(levels), thresholds, settings.discount_fallback)


def prune_by_entropy(trie: NgramTrie, threshold: float) -> NgramTrie:
    """The trie without the n-grams that matter least, by relative entropy.

    An n-gram is removed if removing it alone raises the perplexity of the model's own texts by less
    than the threshold, and if no n-gram that is kept extends it. Unigrams are kept.

    Args:
        trie: of a model whose probabilities sum to 1 in every context.
        threshold: relative rise of the perplexity, above 0, such as 1e-8.

    Raises:
        ValueError: the threshold is not above 0.

    Source: Stolcke 1998, arXiv:cs/0006025. As there, each n-gram is judged in the whole model. How
    often a context comes is told by `unit_frequencies`: the unigrams of Kneser-Ney smoothing are
    made for back-off and give "the" a quarter of its frequency (Chelba et al. 2010).
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


@dataclass(frozen=True)
class _Level:
    """All n-grams of an order, sorted by the (n-1)-gram that they extend, then by last unit.

    Args:
        parents: (n,), number of the (n-1)-gram that they extend.
        units: (n,), their last units.
        suffixes: (n,), number of the (n-1)-gram that they end with.
        counts: (n,), how often they occur.
        begins: (n,), whether they begin a sentence.
    """

    parents: np.ndarray
    units: np.ndarray
    suffixes: np.ndarray
    counts: np.ndarray
    begins: np.ndarray


def _tokens(sentences: Iterable[Sequence[int]], n_units: int) -> np.ndarray:
    """All sentences in one array, each between <s>, which is the unit V, and `EOS`."""
    marked = ((n_units, *sentence, EOS) for sentence in sentences)
    tokens = np.fromiter(chain.from_iterable(marked), dtype=np.int32)
    if not len(tokens):
        raise InputError("there is no sentence to estimate from; expected at least one")
    if tokens.min() < 0 or tokens.max() > n_units:
        wrong = tokens[(tokens < 0) | (tokens > n_units)][0]
        raise ValueError(f"sentences have the unit {wrong}; expected 0 to {n_units - 1}")
    if not np.array_equal(tokens[:-1] == EOS, tokens[1:] == n_units):
        raise ValueError("sentences have an end or a beginning inside; expected none")
    return tokens


def _count(tokens: np.ndarray, n_units: int, order: int) -> list[_Level]:
    radix = n_units + 1
    begin = n_units
    units = np.arange(radix, dtype=np.int32)
    nothing = np.zeros(radix, dtype=np.int32)
    counts = np.bincount(tokens, minlength=radix)
    counts[begin] = 0
    levels = [_Level(nothing, units, nothing, counts, units == begin)]
    numbers = tokens  # of the n-gram that ends with each token; -1 where none does
    for _ in range(order - 1):
        places = np.flatnonzero((numbers[:-1] >= 0) & (tokens[1:] != begin)) + 1
        keys = numbers[places - 1].astype(np.int64) * radix + tokens[places]
        by_key = np.argsort(keys)
        keys = keys[by_key]
        firsts = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.diff(firsts, append=len(keys))
        suffixes = numbers[places[by_key[firsts]]]
        parents, units = np.divmod(keys[firsts], radix)
        numbers = np.full(len(tokens), -1, dtype=np.int32)
        numbers[places[by_key]] = np.repeat(np.arange(len(firsts), dtype=np.int32), counts)
        parents = parents.astype(np.int32)
        begins = levels[-1].begins[parents]
        levels.append(_Level(parents, units.astype(np.int32), suffixes, counts, begins))
    return levels


def _adjusted(levels: list[_Level]) -> list[np.ndarray]:
    """For each order, the counts that its probabilities are computed from."""
    adjusted = []
    for level, longer in pairwise(levels):
        before = np.bincount(longer.suffixes, minlength=len(level.units))
        adjusted.append(np.where(level.begins, level.counts, before))
    return [*adjusted, levels[-1].counts]


def _discounts(adjusted: np.ndarray, order: int, fallback: bool) -> np.ndarray:
    """(4,), discounts of the counts 0, 1, 2 and 3 or more."""
    n = np.bincount(np.minimum(adjusted, 5), minlength=6)
    if n[1:4].all():
        share = n[1] / (n[1] + 2 * n[2])
        found = np.array([j - (j + 1) * share * n[j + 1] / n[j] if j else 0.0 for j in range(4)])
        if (found[1:] > 0).all():
            return found
        trouble = f"give the discounts {', '.join(f'{d:.3f}' for d in found[1:])}"
    else:
        missing = next(j for j in range(1, 4) if not n[j])
        trouble = f"give no discounts, since none has the count {missing}"
    if fallback:
        return np.array([0.0, *FALLBACK])
    raise InputError(
        f"the {order}-grams {trouble}; expected more text, or model.discount_fallback true: fixed"
        " discounts, for few units or short texts"
    )


def _trie(
    levels: list[_Level], adjusted: list[np.ndarray], thresholds: Sequence[int], fallback: bool
) -> NgramTrie:
    """The model of the levels' n-grams; those with counts up to their thresholds are pruned."""
    radix = len(levels[0].units)
    sizes: list[int] = []
    keys, log_probs, suffixes = [np.array([-1])], [np.zeros(1)], [np.zeros(1, dtype=np.int32)]
    backoffs = [np.zeros(1)]
    nodes, lower = np.zeros(1, dtype=np.int32), np.array([1 / (radix - 1)])  # of the order below
    for level, counts, threshold in zip(levels, adjusted, thresholds, strict=True):
        kept = level.counts > threshold if sizes else np.ones(radix, dtype=bool)
        discounts = _discounts(counts, len(sizes) + 1, fallback)[np.minimum(counts, 3)]
        total = np.bincount(level.parents, counts, minlength=len(lower))
        freed = np.bincount(level.parents, np.where(kept, discounts, counts), minlength=len(lower))
        weights = np.divide(freed, total, out=np.ones(len(total)), where=total > 0)
        if sizes:
            backoffs.append(np.log(weights[nodes > 0]))
        probs = (counts - discounts) / total[level.parents]
        probs += weights[level.parents] * lower[level.suffixes]
        if not sizes:
            probs[-1] = 1.0  # <s> is never predicted
        keys.append(nodes[level.parents[kept]].astype(np.int64) * radix + level.units[kept])
        log_probs.append(np.log(probs[kept]))
        suffixes.append(nodes[level.suffixes[kept]])
        first = 1 + sum(sizes)
        sizes.append(len(keys[-1]))
        nodes = np.zeros(len(kept), dtype=np.int32)
        nodes[kept] = np.arange(first, first + sizes[-1], dtype=np.int32)
        lower = probs
    tensors = [torch.from_numpy(np.concatenate(p)) for p in (keys, log_probs, backoffs, suffixes)]
    return make_ngram_trie(radix - 1, sizes, *tensors)


def unit_frequencies(trie: NgramTrie) -> Tensor:
    """(V + 1,), float64: share of each unit in texts of the model, the last that of <s>.

    It is the stationary distribution of the model's bigrams, where <s> follows </s>. The shares of
    the V units add up to 1.
    """
    V = trie.n_units
    unigrams = trie.log_probs[1 : V + 1].double().exp()
    shares = torch.cat([unigrams, unigrams[EOS : EOS + 1]])
    if trie.order == 1:
        return shares
    keys, bigrams = trie.keys[trie.levels[1]], trie.log_probs[trie.levels[1]].double().exp()
    contexts, units = keys // (V + 1) - 1, keys % (V + 1)
    backoffs = trie.backoffs[1 : V + 2].double().exp()
    for _ in range(MAX_STEPS):
        before = shares.index_fill(0, torch.tensor([EOS]), 0.0)  # <s> stands for it
        left = before * backoffs
        backed_off = left.sum() - torch.zeros(V).double().index_add_(0, units, left[contexts])
        after = (unigrams * backed_off).index_add_(0, units, before[contexts] * bigrams)
        after = torch.cat([after, after[EOS : EOS + 1]]) / after.sum()
        change = (after - shares).abs().sum()
        shares = after
        if change < PRECISION:
            break
    return shares


def _context_log_probs(trie: NgramTrie) -> Tensor:
    """(C + 1,), float64: log-probability of every n-gram that may be a context."""
    log_probs = trie.log_probs[: len(trie.backoffs)].double()
    if trie.order > 1:  # else the root is the only context
        log_probs[1 : trie.n_units + 2] = unit_frequencies(trie).log()
    for nodes in trie.levels[1:-1]:
        log_probs[nodes] += log_probs[trie.keys[nodes] // (trie.n_units + 1)]
    return log_probs


def _losses(trie: NgramTrie, nodes: slice, context_log_probs: Tensor) -> Tensor:
    """(n,), float64: relative entropy between the model with and without each n-gram, in nats."""
    contexts, shorter = shorter_log_probs(trie, nodes)
    log_probs = trie.log_probs[nodes].double()
    left = left_for_backoff(contexts, log_probs, len(trie.backoffs))[contexts]
    left_shorter = left_for_backoff(contexts, shorter, len(trie.backoffs))[contexts]
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
    log_probs, backoffs = trie.log_probs[kept], backoffs[kept[: len(backoffs)]]
    return with_backoffs(make_ngram_trie(trie.n_units, sizes, keys[kept], log_probs, backoffs))
