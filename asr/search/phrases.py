"""Phrases in tokens -> tables of the score that each token adds (contextual biasing)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class PhraseBoosts(NamedTuple):
    """Phrases to make more likely, such as names, as a finite automaton over tokens.

    The score of a text rises by a phrase's bonus wherever the phrase occurs, even inside another
    phrase. It rises token by token, so that the beam keeps a phrase that has begun. If the text
    then leaves the phrase, the bonus of its tokens so far is taken back.

    With a separator, phrases match whole words only; the start and end of an utterance count as
    separators.

    Args:
        start: the state before the first token.
        after: (states, C), int32, the next state for each token.
        entry_bonus: (states,), float64, nats added on reaching a state: bonuses of the phrases that
            end there, plus `taken_back`.
        taken_back: (states,), float64, nats added in advance for phrases that have begun; they are
            taken back with the next token.
        end_bonus: (states,), float64, nats added if the utterance ends in a state.
    """

    start: int
    after: np.ndarray
    entry_bonus: np.ndarray
    taken_back: np.ndarray
    end_bonus: np.ndarray

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
        ends, taken_back = np.array(ending), np.array(begun)
        closed = 0.0 if separator is None else ends[after[:, separator]]
        return cls(
            start=0 if separator is None else int(after[0, separator]),
            after=after,
            entry_bonus=ends + taken_back,
            taken_back=taken_back,
            end_bonus=closed - taken_back,
        )

    @classmethod
    def without_phrases(cls, n_tokens: int) -> "PhraseBoosts":
        """An automaton with one state, which adds nothing."""
        nothing = np.zeros(1)
        return cls(0, np.zeros((1, n_tokens), np.int32), nothing, nothing, nothing)


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
