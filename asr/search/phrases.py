"""A file of phrases -> what each token adds to the score of a text that has them, as tables."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError
from asr.files import read_text
from asr.text.normalisation import canonical

BOOST = 2.0
"""Nats that each token of a phrase is worth where nobody says."""


def read_phrases(path: str | Path) -> dict[str, float]:
    """The phrases of a file, one a line; behind a tab the nats that each of its tokens is worth.

    Args:
        path: UTF-8; empty lines say nothing. Without a number it is `BOOST`. Phrases get their
            canonical form, see `asr.text.normalisation.canonical`.

    Raises:
        InputError: the file can't be read or has no phrase; a line has no phrase before the tab, no
            number behind it, or the phrase of another line.
    """
    phrases: dict[str, float] = {}
    for number, line in enumerate(read_text(path, "phrases").split("\n"), 1):
        if not line.strip():
            continue
        words, tab, nats = line.partition("\t")
        phrase = canonical(words, f"{path}:{number}")
        if not phrase or phrase in phrases:
            found = f"{phrase!r} once more" if phrase else "no phrase"
            raise InputError(f"{path}:{number}: has {found}; expected each phrase once")
        try:
            phrases[phrase] = float(nats) if tab else BOOST
        except ValueError:
            found = repr(nats.strip())
            raise InputError(
                f"{path}:{number}: has {found}; expected nats behind the tab"
            ) from None
    if not phrases:
        raise InputError(f"{path}: has no phrase; expected one a line")
    return phrases


@dataclass(frozen=True, eq=False)
class PhraseBoosts:
    """Phrases that are likely to be said, such as names.

    A text's score rises by a phrase's boost wherever the phrase stands in it, in another phrase
    too. It rises token by token, so that a phrase which has begun is kept; where the phrase breaks
    off, that is taken back.

    With a separator, phrases count as whole words only; an utterance's begin and end part words
    like a separator.

    Args:
        start: the state before the first token.
        after: (states, C), int32, the state after a token.
        worth: (states,), float64, nats for reaching a state: for the phrases that it ends, and
            what it lends.
        lent: (states,), float64, nats for phrases that have begun, taken back with the next token.
        end: (states,), float64, nats for ending in a state.
    """

    start: int
    after: Tensor
    worth: Tensor
    lent: Tensor
    end: Tensor

    @classmethod
    def build(
        cls, phrases: Mapping[tuple[int, ...], float], separator: int | None, n_tokens: int
    ) -> "PhraseBoosts":
        """The boosts of phrases.

        Args:
            phrases: tokens, as the tokenizer encodes a text, with the nats that each token of the
                phrase is worth; below 0 makes the phrase unlikely.
            separator: the token between words; None where there is none.
            n_tokens: C, blank among them.

        Raises:
            ValueError: there is no phrase; one is empty, begins or ends with the separator, or has
                a token that is blank or not among the C; or a boost is not finite.

        Source: Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic search".
        """
        _check(phrases, separator, n_tokens)
        edge = () if separator is None else (separator,)
        # a tree of the phrases; states are its nodes
        children: list[dict[int, int]] = [{}]
        ending, begun = [0.0], [0.0]  # nats of the phrases that end at a node, that go on
        for phrase, boost in phrases.items():
            node = 0
            for place, token in enumerate(edge + phrase + edge):
                begun[node] = max(begun[node], boost * max(0, place - len(edge)))
                if token not in children[node]:
                    children[node][token] = len(children)
                    children.append({})
                    ending.append(0.0)
                    begun.append(0.0)
                node = children[node][token]
            ending[node] = boost * len(phrase)
        # each node adds what the longest other node has that ends in the same tokens
        after = np.zeros((len(children), n_tokens), dtype=np.int32)
        shorter = [0] * len(children)
        nodes = [0]
        for node in nodes:
            ending[node] += ending[shorter[node]] if node else 0.0
            begun[node] = max(begun[node], begun[shorter[node]])
            after[node] = after[shorter[node]]
            for token, child in children[node].items():
                shorter[child] = int(after[node, token])
                after[node, token] = child
                nodes.append(child)
        ends, lent = np.array(ending), np.array(begun)
        closed = 0.0 if separator is None else ends[after[:, separator]]
        return cls(
            start=0 if separator is None else int(after[0, separator]),
            after=torch.from_numpy(after),
            worth=torch.from_numpy(ends + lent),
            lent=torch.from_numpy(lent),
            end=torch.from_numpy(closed - lent),
        )

    def next(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states after tokens, of the same shape."""
        return self.after.take(states * self.after.shape[1] + tokens).long()

    def to(self, device: torch.device) -> "PhraseBoosts":
        """The same boosts with their tables on a device."""
        tables = (self.after, self.worth, self.lent, self.end)
        return PhraseBoosts(self.start, *(table.to(device) for table in tables))


def _check(phrases: Mapping[tuple[int, ...], float], separator: int | None, n_tokens: int) -> None:
    if not phrases:
        raise ValueError("phrases has none; expected at least one")
    for phrase, boost in phrases.items():
        if not phrase or separator in (phrase[0], phrase[-1]):
            raise ValueError(f"phrases has {phrase}; expected words with separators between them")
        if not all(1 <= token < n_tokens for token in phrase):
            raise ValueError(f"phrases has {phrase}; expected tokens from 1 to {n_tokens - 1}")
        if not math.isfinite(boost):
            raise ValueError(f"phrases[{phrase}] is {boost}; expected nats")
