import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr.beam import beam_search
from asr.decoder import BeamSettings, Decoder
from asr.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer
from asr.trie import Trie
from asr.vocabulary import EOS, EOS_SYMBOL, UNK_SYMBOL, Vocabulary

ALL = BeamSettings(beam_width=3000, n_best=3000, token_floor=-np.inf, score_floor=-np.inf)
CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))  # " " is token 1
PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))


class TableLM:
    """Knows all units so far, as a number; what follows each number was drawn once and for all."""

    def __init__(self, symbols, seed, unit="word", states=997):
        self.vocabulary = Vocabulary(unit, (UNK_SYMBOL, EOS_SYMBOL, *symbols))
        probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(symbols) + 2), states)
        self.table = torch.from_numpy(np.log(probabilities))
        self.rows = 0  # how many were asked for

    def start(self, rows):
        return torch.full((rows,), EOS)

    def score(self, state, units):
        self.rows += len(units)
        return self.table[state, units], (state * 31 + units) % len(self.table)

    def log_probs(self, state):
        return self.table[state]


def of_units(lm, units):
    """Natural log-probability of a sentence with its end, unit by unit."""
    state, sum_ = lm.start(1), 0.0
    for unit in [*units, EOS]:
        log_prob, state = lm.score(state, torch.tensor([unit]))
        sum_ += log_prob.item()
    return sum_


def random_log_probs(T, C, seed, sharpness=1.0):
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(C) / sharpness, size=T))


def enumerate_all(log_probs):
    """Log-probability of every token sequence, by adding up all C ** T alignments."""
    T, C = log_probs.shape
    sums = {}
    for path in itertools.product(range(C), repeat=T):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token)
        log_prob = sum(log_probs[t, token] for t, token in enumerate(path))
        sums[tokens] = np.logaddexp(sums.get(tokens, -np.inf), log_prob)
    return sums


def search(log_probs, decoder):
    """The n-best list of one utterance, (T, C)."""
    log_probs = torch.from_numpy(np.asarray(log_probs))
    return beam_search(log_probs[:, None], torch.tensor([len(log_probs)]), decoder)[0]


def expect(nbest, expected):
    """Compare with {(tokens, words): (log_prob, lm_log_prob, score)}."""
    found = {(h.tokens, h.words): (h.log_prob, h.lm_log_prob, h.total) for h in nbest}
    assert len(found) == len(nbest)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-11, atol=1e-11)
    totals = [h.total for h in nbest]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("T", "C"), [(1, 4), (4, 4), (5, 3), (8, 2)])
def test_a_wide_beam_finds_every_sequence_with_its_exact_probability(T, C, seed):
    log_probs = random_log_probs(T, C, seed)
    nbest = search(log_probs, Decoder(units(C), ALL))
    expect(nbest, {(tokens, None): (p, 0.0, p) for tokens, p in enumerate_all(log_probs).items()})


def units(C):
    return UnitTokenizer((BLANK_SYMBOL, *map(str, range(1, C))))


@pytest.mark.parametrize("seed", range(4))
def test_tokens_scored_by_a_language_model_and_paid_by_the_word(seed):
    lm = TableLM((" ", "a", "b"), seed, unit="char")
    settings = replace(ALL, lm_weight=0.7, word_bonus=0.3)
    log_probs = random_log_probs(5, 4, seed)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        lm_log_prob = of_units(lm, [token + 1 for token in tokens])
        n_words = len(CHARS.decode(tokens).split())
        score = log_prob + 0.7 * lm_log_prob + 0.3 * n_words
        expected[tokens, None] = log_prob, lm_log_prob, score
    expect(search(log_probs, Decoder(CHARS, settings, lm=lm)), expected)


def test_without_a_separator_every_token_is_paid_for():
    log_probs = random_log_probs(4, 4, 0)
    nbest = search(log_probs, Decoder(PHONES, replace(ALL, word_bonus=0.5)))
    expected = enumerate_all(log_probs)
    expect(nbest, {(t, None): (p, 0.0, p + 0.5 * len(t)) for t, p in expected.items()})


# homophones, words that others begin with, one that repeats a token, one that is not in the lexicon
SPELLED = {
    "a": [(2,)],
    "ab": [(2, 3)],
    "abb": [(2, 3, 3)],
    "eh": [(2,)],
    "ebb": [(2, 3, 3), (3, 3)],
    "ba": [(3, 2)],
}
SPOKEN = {
    "p": [(1,)],
    "pea": [(1,)],
    "pq": [(1, 2)],
    "q": [(2,), (2, 1)],
    "rr": [(3, 3)],
    "rp": [(3, 1)],
}


def readings(tokens, lexicon, separator):
    """All sequences of words that tokens may stand for, by trying all."""
    if not tokens:
        return [()]
    if separator is not None:
        ends = [-1, *(n for n, token in enumerate(tokens) if token == separator), len(tokens)]
        spelled = [tokens[begin + 1 : end] for begin, end in itertools.pairwise(ends)]
        choices = [[word for word, some in lexicon.items() if one in some] for one in spelled]
        return list(itertools.product(*choices))
    return [
        (word, *rest)
        for word, some in lexicon.items()
        for spelling in some
        if tokens[: len(spelling)] == spelling
        for rest in readings(tokens[len(spelling) :], lexicon, separator)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.0, 0.8])
@pytest.mark.parametrize(
    ("tokenizer", "lexicon"), [(CHARS, SPELLED), (PHONES, SPOKEN)], ids=["separated", "joined"]
)
def test_words_of_a_lexicon_scored_by_a_language_model(tokenizer, lexicon, weight, seed):
    lm = TableLM(tuple(lexicon)[:-1], seed)  # one word is unknown to it
    number = {symbol: unit for unit, symbol in enumerate(lm.vocabulary.symbols)}
    trie = Trie.build(lexicon, tokenizer.separator, 4)
    settings = replace(ALL, lm_weight=weight, word_bonus=-0.4)
    log_probs = random_log_probs(6, 4, seed)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        for words in readings(tokens, lexicon, tokenizer.separator):
            lm_log_prob = of_units(lm, [number.get(word, 0) for word in words])
            score = log_prob + weight * lm_log_prob - 0.4 * len(words)
            expected[tokens, words] = log_prob, lm_log_prob, score
    expect(search(log_probs, Decoder(tokenizer, settings, trie, lm)), expected)
