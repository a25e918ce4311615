"""Words and their spellings -> one tree of tokens, as tables for search."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError, listed
from asr.text.tokenizer import Tokenizer, spellings

ROOT = 0
"""The node where no word has begun."""

NONE = -1
"""No node, or no word."""


@dataclass(frozen=True, eq=False)
class Trie:
    """A lexicon whose words share the beginnings of their spellings.

    With a separator, one stands between two words, and nowhere else. Without one, a word may end
    wherever its spelling does, and the next token begins another. Words of one spelling are
    different outcomes.

    An open lexicon has one word more, `len(words)`: whatever else is spelled between separators.

    Args:
        words: (W,); one without a spelling is never found.
        separator: the token between words; None where there is none.
        open: whether other words are allowed.
        children: (nodes, C), int32, the node that a token leads to, or NONE. A separator leads to
            ROOT from where a word may end.
        parents: (nodes,), int64, lower than the node's own number; ROOT's is ROOT.
        first_word: (nodes,), int64, where in `endings` the words begin that end at the node.
        n_words: (nodes,), int64, how many they are.
        endings: int64, words.
        inner: (nodes,), bool, whether a spelling goes on from the node.
        homophones: whether several words end at one node.
    """

    words: tuple[str, ...]
    separator: int | None
    open: bool
    children: Tensor
    parents: Tensor
    first_word: Tensor
    n_words: Tensor
    endings: Tensor
    inner: Tensor
    homophones: bool

    @classmethod
    def build(
        cls,
        spellings: Mapping[str, Sequence[tuple[int, ...]]],
        separator: int | None,
        n_tokens: int,
        open: bool = False,
    ) -> "Trie":
        """The tree of a lexicon.

        Args:
            spellings: of each word, in tokens, as `asr.text.tokenizer.spellings` gives them.
            separator: the token between words; None where there is none.
            n_tokens: C, blank among them.
            open: whether other words are allowed; only where there is a separator.

        Raises:
            ValueError: no word has a spelling; one is empty, or has a token that is blank, the
                separator or not among the C; or an open lexicon has no separator.
        """
        if open and separator is None:
            raise ValueError("open is True and separator None; other words would have no end")
        words, lengths, tokens = _flatten(spellings, separator, n_tokens)
        nodes, parents, arcs = _number(lengths, tokens, n_tokens)
        other = len(spellings)
        endings = np.unique(nodes * (other + 1) + words)  # a spelling twice is one
        if open:  # the last node: a spelling that has left the tree
            parents = np.append(parents, ROOT)
            wordless = np.setdiff1d(np.arange(1, len(parents)), nodes)
            endings = np.sort(np.append(endings, wordless * (other + 1) + other))
        n_words = np.bincount(endings // (other + 1), minlength=len(parents))
        children = np.full((len(parents), n_tokens), len(parents) - 1 if open else NONE, np.int32)
        children.reshape(-1)[arcs] = np.arange(1, len(arcs) + 1)
        if separator is not None:
            children[:, separator] = np.where(n_words > 0, ROOT, NONE)
        return cls(
            words=tuple(spellings),
            separator=separator,
            open=open,
            children=torch.from_numpy(children),
            parents=torch.from_numpy(parents),
            first_word=torch.from_numpy((n_words.cumsum() - n_words).clip(max=len(endings) - 1)),
            n_words=torch.from_numpy(n_words),
            endings=torch.from_numpy(endings % (other + 1)),
            inner=torch.from_numpy(np.bincount(parents[1:], minlength=len(parents)) > 0),
            homophones=bool(n_words.max() > 1),
        )

    def to(self, device: torch.device) -> "Trie":
        """The same tree with its tables on a device."""
        tables = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        return replace(self, **tables)

    @cached_property
    def _arcs(self) -> tuple[Tensor, Tensor, Tensor]:
        """(nodes,) where in the third tokens begin that go on from a node; (nodes,) how many."""
        nodes, tokens = (self.children != NONE).nonzero(as_tuple=True)
        n_arcs = torch.bincount(nodes, minlength=len(self.parents))
        return n_arcs.cumsum(0) - n_arcs, n_arcs, tokens

    def tokens(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens that lead somewhere.

        Args:
            nodes: (n,).

        Returns:
            of: (tokens,), which of the nodes each token goes on from, in their order.
            tokens: (tokens,), ascending for each node.
        """
        first, n_arcs, tokens = self._arcs
        of, nth = _repeated(n_arcs.index_select(0, nodes))
        return of, tokens.index_select(0, first.index_select(0, nodes).index_select(0, of) + nth)

    def extensions(self, nodes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What tokens lead to: nothing, one thing, or several.

        Args:
            nodes: (n,).
            tokens: (n,), one for each node.

        Returns:
            of: (extensions,), which pair of node and token each is of, in their order.
            outcomes: (extensions,), which of the pair's it is, the same whenever asked for.
            nodes: (extensions,), where it leads to.
            words: (extensions,), the word that ends with it; NONE where none does.
        """
        after = self.children.take(nodes * self.children.shape[1] + tokens).long()
        of = (after != NONE).nonzero()[:, 0]
        after, holders = after.index_select(0, of), nodes.index_select(0, of)
        if self.separator is None:
            # where spellings go on, that is one way; each word that ends is another
            holders, goes_on = after, self.inner[after].long()
            each, outcomes = _repeated(self.n_words[holders] + goes_on)
            ends = outcomes >= goes_on[each]
            word = self.first_word[holders[each]] + outcomes - goes_on[each]
            after = torch.where(ends, ROOT, after[each])
            return of[each], outcomes, after, torch.where(ends, self.endings[word], NONE)
        ends = tokens.index_select(0, of) == self.separator
        word = self.first_word.index_select(0, holders)
        if not self.homophones:
            word = torch.where(ends, self.endings.index_select(0, word), NONE)
            return of, torch.zeros_like(of), after, word
        each, outcomes = _repeated(torch.where(ends, self.n_words[holders], 1))
        word = torch.where(ends[each], self.endings[word[each] + outcomes], NONE)
        return of[each], outcomes, after[each], word

    def best_below(self, scores: Tensor) -> Tensor:
        """The highest score of a word that ends at a node or below.

        Args:
            scores: (W,), with one more for other words where the lexicon is open.

        Returns:
            best: (nodes,).
        """
        nodes = torch.arange(len(self.parents), device=scores.device).repeat_interleave(
            self.n_words
        )
        best = scores.new_full(self.parents.shape, -torch.inf)
        best = best.scatter_reduce(0, nodes, scores[self.endings], "amax")
        while True:
            higher = best.scatter_reduce(0, self.parents, best, "amax")
            if torch.equal(higher, best):
                break
            best = higher
        return best


def make_lexicon_tree(words: Iterable[str], tokenizer: Tokenizer, place: str = "lexicon") -> Trie:
    """The tree of the words that the tokens can spell; stderr names some that they can't.

    Args:
        words: that may be said.
        tokenizer: of the acoustic model.
        place: where the words are from, which begins the line on stderr.

    Raises:
        InputError: they can spell none.
    """
    spelled_words = spellings(dict.fromkeys(words), tokenizer)
    silent = [word for word, spelling in spelled_words.items() if not spelling]
    if len(silent) == len(spelled_words):
        tokens = " ".join(tokenizer.symbols[1:20])
        raise InputError(
            f"{place}: the acoustic model's tokens ({tokens} ...) spell none of its {len(silent)}"
            f" words, such as {silent[0]!r}; expected words in the same letters and case"
        )
    if silent:
        print(
            f"{place}: {len(silent)} of {len(spelled_words)} words left out, which the acoustic"
            f" model's tokens can't spell: {listed(silent)}",
            file=sys.stderr,
        )
    return Trie.build(spelled_words, tokenizer.separator, len(tokenizer.symbols))


def _repeated(counts: Tensor) -> tuple[Tensor, Tensor]:
    """For counts 2, 0, 3: (0, 0, 2, 2, 2) and (0, 1, 0, 1, 2)."""
    each = torch.arange(counts.shape[0], device=counts.device).repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    return each, torch.arange(each.shape[0], device=each.device) - first[each]


def _flatten(
    spellings: Mapping[str, Sequence[tuple[int, ...]]], separator: int | None, n_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S,) the word of each spelling, (S,) its length, and the tokens of all, end to end."""
    pairs = [(n, tokens) for n, some in enumerate(spellings.values()) for tokens in some]
    if not pairs:
        raise ValueError("spellings has none; expected at least one")
    words = np.array([word for word, _ in pairs])
    lengths = np.array([len(tokens) for _, tokens in pairs])
    flat = np.array([token for _, tokens in pairs for token in tokens], dtype=np.int64)
    wrong = (flat < 1) | (flat >= n_tokens)
    if separator is not None:
        wrong |= flat == separator
    if lengths.min() == 0 or wrong.any():
        ends = lengths.cumsum()
        first = int(np.flatnonzero(wrong)[0]) if wrong.any() else -1
        spelling = int(lengths.argmin() if first < 0 else np.searchsorted(ends, first, "right"))
        word, tokens = list(spellings)[words[spelling]], pairs[spelling][1]
        but = "" if separator is None else f" but {separator}, the separator"
        raise ValueError(
            f"spellings[{word!r}] has {tokens}; expected tokens from 1 to {n_tokens - 1}{but}"
        )
    return words, lengths, flat


def _number(
    lengths: np.ndarray, tokens: np.ndarray, n_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the nodes, those nearer to the root first.

    Returns:
        nodes: (S,), where each spelling ends.
        parents: (nodes,).
        arcs: (nodes - 1,), of each node but the root `parent * n_tokens + token`.
    """
    begins = lengths.cumsum() - lengths
    nodes = np.zeros_like(lengths)
    arcs: list[np.ndarray] = []
    n_nodes = 1
    for depth in range(lengths.max()):
        longer = np.flatnonzero(lengths > depth)
        arc, which = np.unique(
            nodes[longer] * n_tokens + tokens[begins[longer] + depth], return_inverse=True
        )
        nodes[longer] = n_nodes + which
        n_nodes += len(arc)
        arcs.append(arc)
    every = np.concatenate(arcs)
    return nodes, np.append(ROOT, every // n_tokens), every
