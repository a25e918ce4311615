import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch

from asr.corpus import letter_to_sound
from asr.corpus.letter_to_sound import N_SPECIAL, LetterToSound, align_letters, with_guesses
from asr.errors import InputError
from asr.hmm.trees import context_lexicon
from asr.lm.vocabulary import EOS
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer


def splits(word, phones):
    """All alignments that give every letter none, one or two of the phones, in order."""
    for lengths in itertools.product(range(3), repeat=len(word)):
        if sum(lengths) == len(phones):
            ends = list(itertools.accumulate(lengths))
            yield [
                (letter, phones[end - length : end])
                for letter, length, end in zip(word, lengths, ends, strict=True)
            ]


def align_by_enumeration(rows, rounds):
    """The same as `align_letters`, by enumerating all alignments."""
    n_phones = len({phone for _, phones in rows for phone in phones})
    first = {0: 1 / n_phones, 1: 1 / n_phones, 2: 1 / (10 * n_phones**2)}
    probs = None

    def weight(split):
        return np.prod([first[len(p)] if probs is None else probs[c, p] for c, p in split])

    for _ in range(rounds):
        counts = Counter()
        for row in rows:
            found = list(splits(*row))
            weights = [weight(split) for split in found]
            for split, share in zip(found, weights, strict=True):
                for pair in split:
                    counts[pair] += share / sum(weights)
        letters = Counter()
        for (letter, _), count in counts.items():
            letters[letter] += count
        probs = Counter({pair: count / letters[pair[0]] for pair, count in counts.items()})
    return [max(splits(*row), key=weight) for row in rows]


def language(seed, n_words):
    """Words of a made-up spelling: c before e is S, else K; x is two phones; h is silent."""
    generator = random.Random(seed)
    simple = {"a": "AA", "e": "EH", "o": "OW", "b": "B", "t": "T", "m": "M", "s": "S", "k": "K"}
    spoken = {}
    for _ in range(n_words):
        word = "".join(generator.choices("aaeeoobtmskcxh", k=generator.randint(2, 7)))
        phones = []
        for letter, after in itertools.zip_longest(word, word[1:]):
            match letter:
                case "c":
                    phones.append("S" if after == "e" else "K")
                case "x":
                    phones += ["K", "S"]
                case "h":
                    pass
                case _:
                    phones.append(simple[letter])
        if phones:
            spoken[word] = (tuple(phones),)
    return spoken


@pytest.mark.parametrize("seed", range(3))
def test_alignments_equal_those_by_enumeration(seed):
    rows = [(word, phones) for word, (phones,) in language(seed, 25).items() if len(word) < 6]
    assert align_letters(rows, rounds=4) == align_by_enumeration(rows, rounds=4)


def test_aligned_letters_and_phones_keep_their_order():
    words = language(0, 300)
    rows = [(word, phones) for word, (phones,) in words.items()]
    for (word, phones), aligned in zip(rows, align_letters(rows), strict=True):
        assert "".join(letter for letter, _ in aligned) == word
        assert tuple(phone for _, some in aligned for phone in some) == phones


def test_spelling_rules_are_learned_and_applied_to_new_words():
    known, new = language(1, 2000), language(2, 200)
    model = LetterToSound.train(Lexicon(known), order=3)
    unseen = {word: spoken for word, spoken in new.items() if word not in known}
    assert len(unseen) > 100
    wrong = [word for word, spoken in unseen.items() if model.pronounce(word) != spoken[0]]
    assert not wrong


def test_a_wide_beam_sums_over_all_alignments():
    words = language(3, 30)
    words["hoh"] = (("OW",), ("OW", "OW"))
    words["oh"] = (("OW",), ("OW", "OW"))
    model = LetterToSound.train(Lexicon(words), order=3)
    for word in ("hoho", "cex", "tack"):
        totals = Counter()
        choices = [
            [unit for unit, pair in enumerate(model.pairs, N_SPECIAL) if pair[0] == letter]
            for letter in word
        ]
        for units in itertools.product(*choices):
            state, total = model.trie.start(1), 0.0
            for unit in (*units, EOS):
                log_prob, state = model.trie.score(state, torch.tensor([unit]))
                total += log_prob.item()
            phones = tuple(p for unit in units for p in model.pairs[unit - N_SPECIAL][1])
            totals[phones] += np.exp(total)
        del totals[()]
        assert model.pronounce(word, beam_width=10**6) == max(totals, key=totals.get)


def test_words_with_more_than_two_phones_per_letter_are_left_out():
    words = {"w": (("D", "AH", "B"), ("W",)), "we": (("W", "IY"),), "ew": (("UW",),)}
    model = LetterToSound.train(Lexicon(words), order=2)
    assert ("w", ("D", "AH", "B")) not in model.pairs
    assert ("w", ("W",)) in model.pairs


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("café", "'café' can't be pronounced: the lexicon has no word with 'c'"),
        ("", "'' can't be pronounced: all of its letters are silent"),
        ("hh", "'hh' can't be pronounced: all of its letters are silent"),
    ],
)
def test_words_that_can_not_be_pronounced_are_refused(word, line):
    words = {"ah": (("AA",),), "a": (("AA",),), "ho": (("OW",),), "o": (("OW",),)}
    model = LetterToSound.train(Lexicon(words), order=2)
    with pytest.raises(InputError, match=line):
        model.pronounce(word)


def test_words_that_a_lexicon_lacks_are_added_as_they_sound(monkeypatch, capsys):
    monkeypatch.setattr(letter_to_sound, "FEWEST_WORDS", 2000)
    known, new = language(1, 2600), language(2, 20)
    tokenizer = PhoneTokenizer.from_lexicon(Lexicon(known))
    found = with_guesses(tokenizer, [*new, *known, "7up"], "t.txt")
    assert found.symbols == tokenizer.symbols
    assert found.lexicon.pronunciations == known | new
    missing = sorted(new.keys() - known.keys())
    line = f"t.txt: the model's lexicon lacks {len(missing)} words, pronounced by the letters:"
    assert capsys.readouterr().err.startswith(f"{line} {missing[0]}, ")


def test_nothing_is_guessed_without_a_large_lexicon_of_phones(monkeypatch, capsys):
    small = PhoneTokenizer.from_lexicon(Lexicon(language(1, 300)))
    triphones = PhoneTokenizer.from_lexicon(context_lexicon(small.lexicon))
    letters = CharTokenizer.from_texts(["a b"])
    assert with_guesses(small, ["abab"], "t") is small
    monkeypatch.setattr(letter_to_sound, "FEWEST_WORDS", 200)
    for tokenizer in (triphones, letters):
        assert with_guesses(tokenizer, ["abab"], "t") is tokenizer
    assert with_guesses(small, ["7up", *small.words], "t") is small
    assert capsys.readouterr().err == ""
