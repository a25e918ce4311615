"""A lexicon -> how words that are not in it may be spoken, letter by letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from asr.errors import InputError
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram_trie import NgramTrie
from asr.lm.vocabulary import EOS
from asr.text.lexicon import Lexicon, Pronunciation

Pair = tuple[str, Pronunciation]
"""A letter, and the none, one or two phones that it stands for in a word."""

N_SPECIAL = EOS + 1  # units of the n-gram model before the pairs


@dataclass(frozen=True)
class LetterToSound:
    """An n-gram model of the letters of words, each with the phones that it stands for.

    Args:
        pairs: what the model's units from `N_SPECIAL` on are.
        trie: the model.

    Source: Bisani & Ney 2008, Speech Communication 50(5); here a letter is always one letter, has
    at most two phones, and pairs are aligned once, before n-grams are counted.
    """

    pairs: tuple[Pair, ...]
    trie: NgramTrie

    @classmethod
    def train(cls, lexicon: Lexicon, order: int = 6) -> "LetterToSound":
        """The model of a lexicon's words, where no letter needs more than two phones.

        Args:
            lexicon: all its pronunciations count.
            order: how many letters in a row the model looks at.
        """
        rows = [
            (word, phones)
            for word, spoken in lexicon.pronunciations.items()
            for phones in spoken
            if len(phones) <= 2 * len(word)
        ]
        aligned = align_letters(rows)
        pairs = tuple(sorted({pair for word in aligned for pair in word}))
        unit = {pair: number for number, pair in enumerate(pairs, N_SPECIAL)}
        sentences = ([unit[pair] for pair in word] for word in aligned)
        settings = EstimateSettings(order=order, discount_fallback=True)
        return cls(pairs, estimate(sentences, N_SPECIAL + len(pairs), settings))

    def pronounce(self, word: str, beam_width: int = 32) -> Pronunciation:
        """The phones that a word is most probably spoken with, over all alignments in the beam.

        Args:
            word: in small letters.
            beam_width: partial pronunciations kept after each letter.

        Raises:
            InputError: no word of the lexicon has one of the letters, or none of them can be heard.
        """
        spoken: list[Pronunciation] = [()]
        state, scores = self.trie.start(1), torch.zeros(1)
        for letter in word:
            if letter not in self._units:
                raise InputError(
                    f"{word!r} can't be pronounced: the lexicon has no word with {letter!r}"
                )
            units = self._units[letter]
            rows = torch.arange(len(spoken)).repeat_interleave(len(units))
            units = units.repeat(len(spoken))
            log_probs, states = self.trie.score(state[rows], units)
            scores, best = torch.topk(scores[rows] + log_probs, min(beam_width, len(rows)))
            state = states[best]
            chosen = zip(rows[best].tolist(), units[best].tolist(), strict=True)
            spoken = [spoken[row] + self.pairs[unit - N_SPECIAL][1] for row, unit in chosen]
        scores = scores + self.trie.score(state, torch.full_like(state, EOS))[0]
        totals: dict[Pronunciation, float] = {}
        for phones, score in zip(spoken, scores.tolist(), strict=True):
            if phones:
                totals[phones] = float(np.logaddexp(totals.get(phones, -np.inf), score))
        if not totals:
            raise InputError(f"{word!r} can't be pronounced: none of its letters can be heard")
        return max(totals, key=lambda phones: totals[phones])

    @cached_property
    def _units(self) -> dict[str, torch.Tensor]:
        units: dict[str, list[int]] = {}
        for unit, (letter, _) in enumerate(self.pairs, N_SPECIAL):
            units.setdefault(letter, []).append(unit)
        return {letter: torch.tensor(some) for letter, some in units.items()}


def align_letters(rows: Sequence[tuple[str, Pronunciation]], rounds: int = 4) -> list[list[Pair]]:
    """Which phones each letter of each word stands for, most probably.

    The probabilities of no, one or two phones given the letter are those that make the words with
    their pronunciations most probable (expectation maximisation, from nearly equal ones).

    Args:
        rows: words with a pronunciation, of at most two phones a letter.
        rounds: of expectation and maximisation.
    """
    letters = {letter: n for n, letter in enumerate(sorted({c for word, _ in rows for c in word}))}
    phones = {phone: n for n, phone in enumerate(sorted({p for _, some in rows for p in some}))}
    groups: dict[tuple[int, int], list[int]] = {}  # of words with as many letters and phones
    for number, (word, spoken) in enumerate(rows):
        groups.setdefault((len(word), len(spoken)), []).append(number)
    batches = []
    for numbers in groups.values():
        spelled = np.array([[letters[letter] for letter in rows[n][0]] for n in numbers])
        heard = np.array([[phones[phone] for phone in rows[n][1]] for n in numbers])
        batches.append(_Batch(spelled, heard, len(phones)))
    # of a letter's no phone, then each one, then each two in a row
    probs = np.ones((len(letters), 1 + len(phones) + len(phones) ** 2)) / len(phones)
    probs[:, 1 + len(phones) :] /= 10 * len(phones)
    for _ in range(rounds):
        counts = np.sum([batch.expected_counts(probs) for batch in batches], axis=0)
        probs = counts / counts.sum(axis=1, keepdims=True)
    aligned: list[list[Pair]] = [[] for _ in rows]
    for numbers, batch in zip(groups.values(), batches, strict=True):
        for number, lengths in zip(numbers, batch.best_lengths(probs), strict=True):
            word, spoken = rows[number]
            ends = np.cumsum(lengths)
            aligned[number] = [
                (letter, spoken[end - length : end])
                for letter, length, end in zip(word, lengths, ends, strict=True)
            ]
    return aligned


class _Batch:
    """N words of L letters and P phones each.

    Args:
        letters: (N, L), numbers of letters.
        phones: (N, P), numbers of phones.
        n_phones: how many there are.
    """

    def __init__(self, letters: np.ndarray, phones: np.ndarray, n_phones: int) -> None:
        self.letters = letters
        pairs = phones[:, :-1] * n_phones + phones[:, 1:]
        # (N, P + 1 - k): columns of `probs` for the k phones that begin at each place
        nothing = np.zeros((len(phones), phones.shape[1] + 1), dtype=np.int64)
        self.columns = (nothing, 1 + phones, 1 + n_phones + pairs)

    def expected_counts(self, probs: np.ndarray) -> np.ndarray:
        """How often each letter stands for which phones, in the mean over all alignments."""
        n_words, n_letters = self.letters.shape
        last = self.columns[0].shape[1]
        forward = np.zeros((n_letters + 1, n_words, last))
        forward[0, :, 0] = 1
        for i in range(n_letters):
            for k, arcs in enumerate(self._arcs(probs, i)):
                forward[i + 1, :, k:] += forward[i, :, : last - k] * arcs
        backward = np.zeros((n_words, last))
        backward[:, -1] = 1 / forward[-1, :, -1]
        counts = np.zeros(probs.size)
        for i in reversed(range(n_letters)):
            longer, backward = backward, np.zeros((n_words, last))
            for k, arcs in enumerate(self._arcs(probs, i)):
                ahead = arcs * longer[:, k:]
                backward[:, : last - k] += ahead
                places = self.letters[:, i, None] * probs.shape[1] + self.columns[k]
                weights = forward[i, :, : last - k] * ahead
                counts += np.bincount(places.ravel(), weights.ravel(), minlength=probs.size)
        return counts.reshape(probs.shape)

    def best_lengths(self, probs: np.ndarray) -> np.ndarray:
        """(N, L), how many phones each letter has in the most probable alignment."""
        n_words, n_letters = self.letters.shape
        last = self.columns[0].shape[1]
        best = np.zeros((n_words, last))
        best[:, 0] = 1
        taken = np.zeros((n_letters, n_words, last), dtype=np.int64)
        for i in range(n_letters):
            reached = np.zeros((3, n_words, last))
            for k, arcs in enumerate(self._arcs(probs, i)):
                reached[k, :, k:] = best[:, : last - k] * arcs
            taken[i], best = reached.argmax(axis=0), reached.max(axis=0)
        lengths = np.zeros((n_words, n_letters), dtype=np.int64)
        place = np.full(n_words, last - 1)
        for i in reversed(range(n_letters)):
            lengths[:, i] = taken[i, np.arange(n_words), place]
            place -= lengths[:, i]
        return lengths

    def _arcs(self, probs: np.ndarray, i: int) -> list[np.ndarray]:
        return [probs[self.letters[:, i, None], columns] for columns in self.columns]
