"""Words and their spellings -> a prefix tree of tokens, stored as tables."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asr.errors import InputError, listed
from asr.text.tokenizer import BLANK, Tokenizer, spellings

ROOT = 0
"""The node before a word's first token."""

NONE = -1
"""Used in place of a node or a word if there is none."""


@dataclass(frozen=True, eq=False)
class Trie:
    """A lexicon as a prefix tree (trie), in which words share the beginnings of their spellings.

    With a separator, there is exactly one between two words, and perhaps one after the last.
    Without one, a word may end wherever its spelling ends, and the next token begins another word.
    Words with the same spelling are different outcomes.

    Args:
        words: (W,); a word without a spelling is never found.
        separator: the token between words; None for none.
        children: (nodes, C), int32, the node that a token leads to, or NONE. A separator leads to
            ROOT from a node where a word may end.
        parents: (nodes,), int64, lower than the node's own number; ROOT's is ROOT.
        first_word: (nodes,), int64, index in `ending_words` of the first word that ends at the
            node.
        n_words: (nodes,), int64, number of words that end at the node.
        ending_words: int64, words, sorted by the node where they end.
        continues: (nodes,), bool, whether a spelling goes on from the node.
    """

    words: tuple[str, ...]
    separator: int | None
    children: np.ndarray
    parents: np.ndarray
    first_word: np.ndarray
    n_words: np.ndarray
    ending_words: np.ndarray
    continues: np.ndarray

    @classmethod
    def build(
        cls,
        spellings: Mapping[str, Sequence[tuple[int, ...]]],
        separator: int | None,
        n_tokens: int,
    ) -> "Trie":
        """Build the tree of a lexicon.

        Args:
            spellings: spellings of each word, in tokens, from `asr.text.tokenizer.spellings`.
            separator: the token between words; None for none.
            n_tokens: C, blank included.

        Raises:
            ValueError: no word has a spelling; or one is empty, or has a token that is blank, the
                separator or not among the C.
        """
        words, lengths, tokens = _flatten(spellings, separator, n_tokens)
        nodes, parents, arcs = _number(lengths, tokens, n_tokens)
        endings = np.unique(nodes * len(spellings) + words)  # without repeated spellings
        n_words = np.bincount(endings // len(spellings), minlength=len(parents))
        children = np.full((len(parents), n_tokens), NONE, np.int32)
        children.reshape(-1)[arcs] = np.arange(1, len(arcs) + 1)
        if separator is not None:
            children[:, separator] = np.where(n_words > 0, ROOT, NONE)
        return cls(
            words=tuple(spellings),
            separator=separator,
            children=children,
            parents=parents,
            first_word=n_words.cumsum() - n_words,
            n_words=n_words,
            ending_words=endings % len(spellings),
            continues=np.bincount(parents[1:], minlength=len(parents)) > 0,
        )

    @classmethod
    def without_words(cls, n_tokens: int) -> "Trie":
        """The tree of a search without a lexicon: every token but blank leads to ROOT."""
        children, zero = np.full((1, n_tokens), ROOT, np.int32), np.zeros(1, np.int64)
        children[ROOT, BLANK] = NONE
        return cls((), None, children, zero, zero, zero, zero[:0], np.zeros(1, bool))

    @cached_property
    def arcs(self) -> tuple[np.ndarray, np.ndarray]:
        """(nodes + 1,), where each node's tokens begin; and the tokens that may follow each."""
        nodes, tokens = (self.children != NONE).nonzero()
        return np.searchsorted(nodes, np.arange(len(self.parents) + 1)), tokens

    def best_below(self, scores: np.ndarray) -> np.ndarray:
        """The highest score of a word that ends at a node or below it.

        Args:
            scores: (W,).

        Returns:
            best: (nodes,).
        """
        best = np.full(len(self.parents), -np.inf)
        nodes = np.arange(len(self.parents)).repeat(self.n_words)
        np.maximum.at(best, nodes, scores[self.ending_words])
        while True:  # once for each level
            higher = best.copy()
            np.maximum.at(higher, self.parents, best)
            if (higher == best).all():
                return best
            best = higher


def make_lexicon_tree(words: Iterable[str], tokenizer: Tokenizer, place: str = "lexicon") -> Trie:
    """Build the tree of the words that the tokens can spell.

    Other words are left out, and a line on stderr names some of them.

    Args:
        words: the words that can be recognised.
        tokenizer: the acoustic model's tokenizer.
        place: where the words come from; the line on stderr starts with it.

    Raises:
        InputError: the tokens can spell none of the words.
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


def _flatten(
    spellings: Mapping[str, Sequence[tuple[int, ...]]], separator: int | None, n_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The word of each spelling, (S,), its length, (S,), and the tokens of all, concatenated."""
    allowed = set(range(1, n_tokens)) - {separator}
    pairs = [(n, tokens) for n, some in enumerate(spellings.values()) for tokens in some]
    if not pairs:
        raise ValueError("spellings has none; expected at least one")
    for n, tokens in pairs:
        if not tokens or not allowed.issuperset(tokens):
            word, last = list(spellings)[n], n_tokens - 1
            but = "" if separator is None else f" but {separator}, the separator"
            raise ValueError(
                f"spellings[{word!r}] has {tokens}; expected tokens from 1 to {last}{but}"
            )
    words = np.array([word for word, _ in pairs])
    lengths = np.array([len(tokens) for _, tokens in pairs])
    return words, lengths, np.array([t for _, tokens in pairs for t in tokens], np.int64)


def _number(
    lengths: np.ndarray, tokens: np.ndarray, n_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the nodes in order of their depth.

    Returns:
        nodes: (S,), the node where each spelling ends.
        parents: (nodes,).
        arcs: (nodes - 1,), `parent * n_tokens + token` of each node except the root.
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
