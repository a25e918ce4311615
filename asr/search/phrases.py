"""A file of phrases -> tables of the score that each token adds (contextual biasing)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.errors import InputError
from asr.files import read_lines
from asr.text.normalisation import canonical

BOOST = 2.0
"""Default bonus of a phrase, in nats per token."""

MAX_BOOST = 1e6
"""Largest bonus; larger sums would lose the digits of log-probabilities."""


class Phrase(NamedTuple):
    """A phrase to make more likely."""

    text: str
    nats: float  # bonus for each of its tokens
    place: str  # the start of an error message: the phrase, after the file and line it is from


Phrases = Mapping[str, float] | Sequence[Phrase]
"""Phrases with their bonuses in nats per token, or those of a file."""


def as_phrases(phrases: Phrases) -> list[Phrase]:
    """The phrases as a list; a text with a bonus is its own place."""
    if isinstance(phrases, Mapping):
        return [Phrase(text, nats, f"phrase {text!r}") for text, nats in phrases.items()]
    return list(phrases)


def read_phrases(path: str | Path) -> list[Phrase]:
    """Read phrases from a file: one per line, optionally followed by a tab and a bonus.

    Args:
        path: a UTF-8 file; empty lines are skipped. The bonus is in nats per token, `BOOST` by
            default. Phrases are converted to canonical form, see
            `asr.text.normalisation.canonical`.

    Returns:
        phrases: in the order of the file.

    Raises:
        InputError: the file can't be read or has no phrase; a line has no phrase before the tab or
            no number after it, or repeats a phrase.
    """
    phrases: dict[str, Phrase] = {}
    for number, line in enumerate(read_lines(path, "phrases"), 1):
        if not line.strip():
            continue
        words, tab, nats = line.partition("\t")
        phrase = canonical(words, f"{path}:{number}")
        if not phrase or phrase in phrases:
            found = f"{phrase!r} again" if phrase else "no phrase"
            raise InputError(f"{path}:{number}: has {found}; expected each phrase once")
        bonus = _bonus(nats.strip(), f"{path}:{number}") if tab else BOOST
        phrases[phrase] = Phrase(phrase, bonus, f"{path}:{number}: phrase {phrase!r}")
    if not phrases:
        raise InputError(f"{path}: has no phrase; expected one per line")
    return list(phrases.values())


def _bonus(nats: str, place: str) -> float:
    try:
        bonus = float(nats)
    except ValueError:
        bonus = math.nan
    if not abs(bonus) <= MAX_BOOST:
        raise InputError(
            f"{place}: has {nats!r}; expected a bonus in nats after the tab, from {-MAX_BOOST:g} to"
            f" {MAX_BOOST:g}"
        )
    return bonus


@dataclass(frozen=True, eq=False)
class PhraseBoosts:
    """Phrases to make more likely, such as names, as a finite automaton over tokens.

    The score of a text rises by a phrase's bonus wherever the phrase occurs, even inside another
    phrase. It rises token by token, so that the beam keeps a phrase that has begun. If the text
    then leaves the phrase, the bonus of its tokens so far is taken back.

    With a separator, phrases match whole words only; the start and end of an utterance count as
    separators.

    Args:
        start: the state before the first token.
        after: (states, C), int32, the next state for each token.
        worth: (states,), float64, nats added on reaching a state: bonuses of the phrases that end
            there, plus `lent`.
        lent: (states,), float64, nats added in advance for phrases that have begun; they are
            taken back with the next token.
        end: (states,), float64, nats added if the utterance ends in a state.
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
        """Build the automaton.

        Args:
            phrases: tokens of each phrase, from the tokenizer, and its bonus in nats per token;
                below 0 makes the phrase less likely.
            separator: the token between words; None for none.
            n_tokens: C, blank included.

        Raises:
            ValueError: there is no phrase; one is empty, begins or ends with the separator, or has
                a token that is blank or not among the C; or a boost is not finite.

        Source: Aho and Corasick 1975, "Efficient string matching: an aid to bibliographic search".
        """
        _check(phrases, separator, n_tokens)
        edge = () if separator is None else (separator,)
        # a trie of the phrases; the states are its nodes
        children: list[dict[int, int]] = [{}]
        ending, begun = [0.0], [0.0]  # nats of phrases that end at a node, or continue after it
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
        # add to each node the nats of its longest proper suffix in the trie
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
        """The same automaton with its tables on a device."""
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
