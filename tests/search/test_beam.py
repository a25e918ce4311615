import itertools
import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch
from table_model import random_model

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import NgramModel
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.networks.ctc import log_probability
from asr.search.beam import ctc_beam_search
from asr.search.greedy import greedy_search
from asr.search.lexicon_tree import Trie
from asr.search.nbest import Hypothesis
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import (
    BLANK_SYMBOL,
    BpeTokenizer,
    CharTokenizer,
    JamoTokenizer,
    UnitTokenizer,
)

ALL = BeamSettings(3000, 3000, token_floor=-np.inf, score_floor=-np.inf, recombine=False)
CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))  # " " is token 1
JAMO = JamoTokenizer((BLANK_SYMBOL, " ", "\u1100", "\u1161", "\u11a8"))
PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))


class TableLM:
    """A model with a random distribution for each history; a state is the history's number."""

    def __init__(self, symbols, seed, unit="word", states=997):
        self.vocabulary = Vocabulary(unit, (UNK_SYMBOL, EOS_SYMBOL, *symbols))
        probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(symbols) + 2), states)
        self.table = torch.from_numpy(np.log(probabilities))
        self.rows = 0  # number of distributions that were requested

    def start(self, rows):
        return torch.full((rows,), EOS, device=self.table.device)

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


def search(log_probs, space):
    """The n-best list of one utterance, (T, C)."""
    return ctc_beam_search([log_probs], space)[0]


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
    nbest = search(log_probs, SearchSpace(units(C), ALL))
    expect(nbest, {(tokens, None): (p, 0.0, p) for tokens, p in enumerate_all(log_probs).items()})


def units(C):
    return UnitTokenizer((BLANK_SYMBOL, *map(str, range(1, C))))


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_equal_the_ctc_loss(seed):
    log_probs = random_log_probs(7, 4, seed)
    for hypothesis in search(log_probs, SearchSpace(units(4), ALL)):
        exact = log_probability(torch.from_numpy(log_probs), hypothesis.tokens)
        assert hypothesis.log_prob == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_token_lm_and_word_bonus_equal_the_enumeration(seed):
    lm = TableLM((" ", "a", "b"), seed, unit="char")
    settings = replace(ALL, lm_weight=0.7, word_bonus=0.3)
    log_probs = random_log_probs(5, 4, seed)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        lm_log_prob = of_units(lm, [token + 1 for token in tokens])
        n_words = len(CHARS.decode(tokens).split())
        score = log_prob + 0.7 * lm_log_prob + 0.3 * n_words
        expected[tokens, None] = log_prob, lm_log_prob, score
    expect(search(log_probs, SearchSpace(CHARS, settings, lm=lm)), expected)


def test_without_a_separator_every_token_gets_the_word_bonus():
    log_probs = random_log_probs(4, 4, 0)
    nbest = search(log_probs, SearchSpace(PHONES, replace(ALL, word_bonus=0.5)))
    expected = enumerate_all(log_probs)
    expect(nbest, {(t, None): (p, 0.0, p + 0.5 * len(t)) for t, p in expected.items()})


def test_only_word_initial_pieces_get_the_word_bonus():
    pieces = BpeTokenizer.from_texts(["ab b ab"], n_pieces=5)
    assert set(pieces.symbols[1:]) == {"▁", "a", "b", "ab", "▁ab"}
    log_probs = random_log_probs(4, 6, 0)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        begins = [pieces.symbols[token].startswith("▁") for token in tokens]
        n_words = sum(begins) + (tokens != () and not begins[0])
        expected[tokens, None] = log_prob, 0.0, log_prob + 0.5 * n_words
    expect(search(log_probs, SearchSpace(pieces, replace(ALL, word_bonus=0.5))), expected)


# homophones, words that begin other words, a word with a repeated token, a word that is not there
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
    """All sequences of words that tokens can spell, by exhaustive search."""
    if not tokens:
        return [()]
    if separator is not None:
        if tokens[-1] == separator and len(tokens) > 1:  # after the last word
            tokens = tokens[:-1]
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
def test_lexicon_with_word_lm_equals_the_enumeration(tokenizer, lexicon, weight, seed):
    lm = TableLM(tuple(lexicon)[:-1], seed)  # the last word is out of its vocabulary
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
    expect(search(log_probs, SearchSpace(tokenizer, settings, trie, lm)), expected)


@pytest.mark.parametrize("seed", range(2))
def test_lexicon_with_token_lm_equals_the_enumeration(seed):
    lm = TableLM((" ", "a", "b"), seed, unit="char")
    settings = replace(ALL, lm_weight=0.6, word_bonus=0.2)
    log_probs = random_log_probs(6, 4, seed)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        lm_log_prob = of_units(lm, [token + 1 for token in tokens])
        for words in readings(tokens, SPELLED, 1):
            score = log_prob + 0.6 * lm_log_prob + 0.2 * len(words)
            expected[tokens, words] = log_prob, lm_log_prob, score
    trie = Trie.build(SPELLED, 1, 4)
    expect(search(log_probs, SearchSpace(CHARS, settings, trie, lm)), expected)


def test_jamo_are_found_in_whole_syllables_only():
    log_probs = random_log_probs(6, 5, seed=1)
    lm = TableLM(JAMO.symbols[1:], seed=2, unit="jamo")
    whole = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        letters = "".join(JAMO.symbols[token] for token in tokens)
        if unicodedata.normalize("NFD", JAMO.decode(tokens)) == letters:  # none was added
            whole[tokens] = log_prob, of_units(lm, [token + 1 for token in tokens])
    settings = replace(ALL, lm_weight=0.6)
    nbest = search(log_probs, SearchSpace(JAMO, settings, lm=lm))
    assert {h.tokens for h in nbest} == whole.keys()
    for h in nbest:
        assert (h.log_prob, h.lm_log_prob) == pytest.approx(whole[h.tokens], rel=1e-11)


def test_an_unfinished_last_syllable_is_completed_if_no_syllable_ends():
    log_probs = np.log([[0.01, 0.01, 0.96, 0.01, 0.01]])
    space = SearchSpace(JAMO, BeamSettings(1, 1))
    (hypothesis,) = search(log_probs, space)
    assert hypothesis.tokens == (2,)
    assert JAMO.decode(hypothesis.tokens) == "그"


PHRASES = {(2,): 0.5, (2, 3): 0.8, (3, 2, 3): 0.3, (2, 1, 2): -0.4}


def boost(tokens, separator):
    """The bonuses of all phrases in a text, by looking for each phrase at each position."""
    edge = () if separator is None else (separator,)
    padded = edge + tokens + edge
    found = 0.0
    for phrase, nats in PHRASES.items():
        wanted = edge + phrase + edge
        starts = range(len(padded) - len(wanted) + 1)
        times = sum(padded[n : n + len(wanted)] == wanted for n in starts)
        found += times * nats * len(phrase)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokenizer", [CHARS, PHONES], ids=["separated", "joined"])
def test_phrases_are_boosted_wherever_they_occur(tokenizer, seed):
    boosts = PhraseBoosts.build(PHRASES, tokenizer.separator, 4)
    log_probs = random_log_probs(6, 4, seed)
    expected = {
        (tokens, None): (log_prob, 0.0, log_prob + boost(tokens, tokenizer.separator))
        for tokens, log_prob in enumerate_all(log_probs).items()
    }
    expect(search(log_probs, SearchSpace(tokenizer, ALL, boosts=boosts)), expected)


@pytest.mark.parametrize(
    ("tokenizer", "lexicon"), [(CHARS, SPELLED), (PHONES, SPOKEN)], ids=["separated", "joined"]
)
def test_phrases_with_lexicon_and_lm_equal_the_enumeration(tokenizer, lexicon):
    lm = TableLM(tuple(lexicon), 0)
    number = {symbol: unit for unit, symbol in enumerate(lm.vocabulary.symbols)}
    settings = replace(ALL, lm_weight=0.5)
    log_probs = random_log_probs(6, 4, 1)
    expected = {}
    for tokens, log_prob in enumerate_all(log_probs).items():
        for words in readings(tokens, lexicon, tokenizer.separator):
            lm_log_prob = of_units(lm, [number[word] for word in words])
            score = log_prob + 0.5 * lm_log_prob + boost(tokens, tokenizer.separator)
            expected[tokens, words] = log_prob, lm_log_prob, score
    trie = Trie.build(lexicon, tokenizer.separator, 4)
    boosts = PhraseBoosts.build(PHRASES, tokenizer.separator, 4)
    expect(search(log_probs, SearchSpace(tokenizer, settings, trie, lm, boosts)), expected)


def reference(log_probs, settings, score_of=lambda prefix: 0.0, future_of=lambda prefix: prefix):
    """Prefix search of one utterance with plain dictionaries, pruned as `BeamSettings` documents.

    Args:
        log_probs: (T, C).
        settings: settings of the search.
        score_of: the part of a prefix's score that is not acoustic.
        future_of: of the prefixes with the same value, only the best is kept.
    """
    beam = {(): (0.0, -np.inf)}
    for frame in log_probs:
        floor = min(settings.token_floor, frame[0])
        tried = [token for token in range(1, len(frame)) if frame[token] >= floor]
        if not tried:
            beam = {p: (np.logaddexp(*ends) + frame[0], -np.inf) for p, ends in beam.items()}
            continue
        stays = {
            prefix: [
                np.logaddexp(blank, token) + frame[0],
                token + frame[prefix[-1]] if prefix else -np.inf,
            ]
            for prefix, (blank, token) in beam.items()
        }
        for prefix, (blank, token) in beam.items():
            for last in range(1, len(frame)):
                if (*prefix, last) in beam:  # added to that prefix, whether tried or not
                    from_ = blank if prefix[-1:] == (last,) else np.logaddexp(blank, token)
                    ends = stays[(*prefix, last)]
                    ends[1] = np.logaddexp(ends[1], from_ + frame[last])
        scores = [np.logaddexp(*ends) + score_of(prefix) for prefix, ends in stays.items()]
        least = max(scores) + settings.score_floor
        grown = dict(stays)
        for prefix, (blank, token) in beam.items():
            for last in tried:
                from_ = blank if prefix[-1:] == (last,) else np.logaddexp(blank, token)
                score = from_ + frame[last] + score_of((*prefix, last))
                if (*prefix, last) not in beam and score >= least:
                    grown[(*prefix, last)] = [-np.inf, from_ + frame[last]]
        score = {prefix: np.logaddexp(*grown[prefix]) + score_of(prefix) for prefix in grown}
        best = sorted(grown, key=lambda prefix: -score[prefix])[: settings.beam_width]
        futures = [future_of(prefix) for prefix in best]
        kept = [prefix for n, prefix in enumerate(best) if futures[n] not in futures[:n]]
        beam = {prefix: tuple(grown[prefix]) for prefix in kept}
    return {(prefix, None): np.logaddexp(*ends) for prefix, ends in beam.items()}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("token_floor", "score_floor"), [(-np.inf, -np.inf), (-2.5, -np.inf), (-3.0, -4.0)]
)
@pytest.mark.parametrize("beam_width", [1, 4, 16])
def test_pruning_equals_a_search_with_dictionaries(beam_width, token_floor, score_floor, seed):
    settings = BeamSettings(beam_width, 16, token_floor, score_floor)
    log_probs = random_log_probs(25, 6, seed, sharpness=4.0)
    nbest = search(log_probs, SearchSpace(units(6), settings))
    expect(nbest, {key: (p, 0.0, p) for key, p in reference(log_probs, settings).items()})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beam_width", [4, 16])
def test_recombination_keeps_the_best_of_equivalent_prefixes(beam_width, seed):
    words = ("p", "q", "r")
    lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *words)), seed)

    def lm_of(prefix, *end):
        return lm.sentence_log_probs([[token + 1 for token in prefix]])[0][: len(prefix) + len(end)]

    def score_of(prefix, *end):
        return 0.7 * lm_of(prefix, *end).sum() + 0.3 * len(prefix)

    lexicon = Trie.build({word: [(n,)] for n, word in enumerate(words, 1)}, None, 4)
    settings = BeamSettings(beam_width, 16, -np.inf, -np.inf, lm_weight=0.7, word_bonus=0.3)
    log_probs = random_log_probs(25, 4, seed, sharpness=4.0)
    kept = reference(log_probs, settings, score_of, future_of=lambda prefix: prefix[-1:])
    kept = {prefix: p for (prefix, _), p in kept.items()}
    nbest = search(log_probs, SearchSpace(PHONES, settings, lexicon, lm))
    best = max(kept, key=lambda prefix: kept[prefix] + score_of(prefix, EOS))
    assert nbest[0].tokens == best
    assert len({hypothesis.tokens for hypothesis in nbest}) == len(nbest) == beam_width
    for hypothesis in nbest:  # the kept ones, and those dropped on their paths
        tokens = hypothesis.tokens
        assert hypothesis.words == tuple(words[token - 1] for token in tokens)
        np.testing.assert_allclose(hypothesis.lm_log_prob, lm_of(tokens, EOS).sum(), rtol=1e-11)
        total = hypothesis.log_prob + score_of(tokens, EOS)
        np.testing.assert_allclose(hypothesis.total, total, rtol=1e-11)
        if tokens in kept:
            np.testing.assert_allclose(hypothesis.log_prob, kept[tokens], rtol=1e-11)


def test_recombined_prefixes_return_with_exact_scores():
    words = ("p", "q", "r")
    lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *words)), 0)
    lexicon = Trie.build({word: [(n,)] for n, word in enumerate(words, 1)}, None, 4)
    # every text has exactly one alignment: token, blank, token, blank, ...
    log_probs = np.full((10, 4), -np.inf)
    log_probs[0::2, 1:] = random_log_probs(5, 3, seed=0)
    log_probs[1::2, 0] = 0.0
    settings = replace(ALL, recombine=True, lm_weight=0.7, word_bonus=0.3)
    expected = {}
    for tokens in itertools.product((1, 2, 3), repeat=5):
        log_prob = sum(log_probs[2 * n, token] for n, token in enumerate(tokens))
        of_lm = lm.sentence_log_probs([[token + 1 for token in tokens]])[0].sum()
        said = tuple(words[token - 1] for token in tokens)
        expected[tokens, said] = log_prob, of_lm, log_prob + 0.7 * of_lm + 0.3 * 5
    assert len(expected) == 3**5  # only three are kept after the last event
    expect(search(log_probs, SearchSpace(PHONES, settings, lexicon, lm)), expected)


def test_recombination_keeps_the_best_of_a_wide_beam():
    lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *SPELLED)), 0)
    trie, boosts = Trie.build(SPELLED, 1, 4), PhraseBoosts.build(PHRASES, 1, 4)
    apart = replace(ALL, lm_weight=0.8, word_bonus=-0.4)
    for seed in range(10):
        log_probs = random_log_probs(7, 4, seed, sharpness=4.0)
        every = search(log_probs, SearchSpace(CHARS, apart, trie, lm, boosts))
        together = SearchSpace(CHARS, replace(apart, recombine=True), trie, lm, boosts)
        some = search(log_probs, together)
        assert some[0].words == every[0].words
        assert some[0].total <= every[0].total + 1e-9
        of_lm = {(h.tokens, h.words): h.lm_log_prob for h in every}
        assert all(np.isclose(h.lm_log_prob, of_lm[h.tokens, h.words]) for h in some)


def test_pruned_scores_are_lower_bounds():
    log_probs = random_log_probs(20, 5, 0)
    rows = torch.from_numpy(log_probs)
    for token_floor in (-1.0, -3.0, -np.inf):
        for beam_width in (1, 3, 20):
            settings = BeamSettings(beam_width, 20, token_floor, -5.0)
            for hypothesis in search(log_probs, SearchSpace(units(5), settings)):
                assert hypothesis.log_prob <= log_probability(rows, hypothesis.tokens) + 1e-6


def peaky(seed, T=40, C=6):
    """Log-probabilities, (T, C), with one nearly certain token in each frame, mostly blank."""
    generator = np.random.default_rng(seed)
    said = np.where(generator.random(T) < 0.6, 0, generator.integers(1, C, T))
    probabilities = generator.dirichlet(np.ones(C), T) * 0.02
    probabilities[range(T), said] += 0.98
    return np.log(probabilities)


@pytest.mark.parametrize("seed", range(10))
def test_nearly_certain_frames_give_the_greedy_result_and_times(seed):
    log_probs = peaky(seed)
    best, greedy = search(log_probs, SearchSpace(units(6)))[0], greedy_search(log_probs)
    assert best.tokens == greedy.tokens
    assert best.frames == greedy.frames
    assert best.log_prob >= greedy.log_prob


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_tokens_are_ascending(seed):
    log_probs = random_log_probs(30, 5, seed)
    for hypothesis in search(log_probs, SearchSpace(units(5))):
        assert len(hypothesis.frames) == len(hypothesis.tokens)
        assert list(hypothesis.frames) == sorted(set(hypothesis.frames))
        assert all(0 <= frame < 30 for frame in hypothesis.frames)


def test_a_token_begins_where_most_of_its_alignments_begin():
    # a first hint of the token in frame 1, the token itself in frame 4
    probabilities = np.full((6, 2), [0.999, 0.001])
    probabilities[1] = [0.99, 0.01]
    probabilities[4] = [0.02, 0.98]
    best = search(np.log(probabilities), SearchSpace(units(2)))[0]
    assert (best.tokens, best.frames) == ((1,), (4,))


def informed_decoders():
    """A search space without a language model, one with a token LM, one with everything."""
    tokens = TableLM((" ", "a", "b"), 0, unit="char")
    words = TableLM(tuple(SPELLED), 1)
    trie = Trie.build(SPELLED, 1, 4)
    boosts = PhraseBoosts.build(PHRASES, 1, 4)
    settings = BeamSettings(20, 10, token_floor=-2.0, lm_weight=0.5, word_bonus=0.1)
    return {
        "nothing": SearchSpace(CHARS, BeamSettings(20, 10, token_floor=-2.0)),
        "tokens": SearchSpace(CHARS, settings, lm=tokens),
        "words": SearchSpace(CHARS, settings, trie, words, boosts),
    }


@pytest.mark.parametrize("name", ["nothing", "tokens", "words"])
def test_other_utterances_change_nothing(name):
    space = informed_decoders()[name]
    generator = np.random.default_rng(0)
    lengths = [17, 0, 30, 1, 30, 5, 24]
    utterances = [np.log(generator.dirichlet(np.ones(4) / 2, T)) for T in lengths]
    together = ctc_beam_search(utterances, space)
    assert together == [search(rows, space) for rows in utterances]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["nothing", "tokens", "words"])
def test_a_gpu_gives_the_same_result(name):
    batch = [torch.from_numpy(random_log_probs(T, 4, T)) for T in (17, 0, 30, 29)]
    expected = ctc_beam_search(batch, informed_decoders()[name])
    space = informed_decoders()[name]
    if space.lm is not None:
        space.lm.table = space.lm.table.cuda()
    batch = [rows.cuda() for rows in batch]
    for nbest, there in zip(ctc_beam_search(batch, space), expected, strict=True):
        assert [(h.tokens, h.words, h.frames) for h in nbest] == [
            (h.tokens, h.words, h.frames) for h in there
        ]
        for name in ("log_prob", "lm_log_prob", "total"):
            found = [getattr(h, name) for h in nbest]
            np.testing.assert_allclose(found, [getattr(h, name) for h in there], rtol=1e-9)


def test_without_frames_the_text_is_empty_with_log_prob_0():
    nbest = search(torch.zeros(0, 4), SearchSpace(PHONES))
    assert nbest == [Hypothesis(tokens=(), log_prob=0.0)]
    assert ctc_beam_search([], SearchSpace(PHONES)) == []


def test_impossible_hypotheses_are_not_returned():
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.5, 0.5, 0.0, 0.0], [0.0, 0.25, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0]])
    nbest = search(log_probs, SearchSpace(PHONES, ALL))
    assert {h.tokens for h in nbest} == {(1,), (2,), (1, 2)}
    assert search(log_probs, SearchSpace(PHONES, ALL, Trie.build({"r": [(3,)]}, None, 4))) == []


def test_an_unfinished_last_word_is_left_out_if_no_word_ends():
    lexicon = {"a": [(2,)], "ab": [(2, 3)], "bb": [(3, 3)]}
    log_probs = np.log(np.full((5, 4), 0.01))
    for frame, token in enumerate([2, 3, 1, 3, 0]):
        log_probs[frame, token] = np.log(0.97)
    nbest = search(
        log_probs, SearchSpace(CHARS, BeamSettings(beam_width=1), Trie.build(lexicon, 1, 4))
    )
    assert [(h.tokens, h.words) for h in nbest] == [((2, 3, 1, 3), ("ab",))]


def test_blank_skip_tries_no_token_where_blank_is_probable():
    log_probs = peaky(0)
    decoders = {
        skip: SearchSpace(units(6), BeamSettings(blank_skip=skip)) for skip in (1.0, 0.999, 0.5)
    }
    found = {skip: search(log_probs, space) for skip, space in decoders.items()}
    assert found[0.999] == found[1.0]  # blank is less probable than that in all frames
    assert found[0.5][0].tokens == found[1.0][0].tokens
    assert found[0.5][0].log_prob < found[1.0][0].log_prob
    nearly_sure = np.log([[0.7, 0.3], [0.01, 0.99]])
    first = search(nearly_sure, SearchSpace(units(2), BeamSettings(blank_skip=0.6)))[0]
    # of the alignments of token 1, only (blank, 1) is left
    assert first.log_prob == pytest.approx(np.log(0.7 * 0.99), rel=1e-12)


def test_at_most_n_best_hypotheses_are_returned():
    log_probs = random_log_probs(10, 5, 0)
    many = search(log_probs, SearchSpace(units(5), BeamSettings(20, 20)))
    assert search(log_probs, SearchSpace(units(5), BeamSettings(20, 3))) == many[:3]
    assert len(many) == 20


def test_the_language_model_reads_each_prefix_at_most_once():
    lm = TableLM((" ", "a", "b"), 0, unit="char")
    space = SearchSpace(CHARS, BeamSettings(10, 10, token_floor=-3.0, lm_weight=0.5), lm=lm)
    quiet = np.log([[0.97, 0.01, 0.01, 0.01]] * 50)
    said = np.log([[0.02, 0.01, 0.96, 0.01]])
    search(np.concatenate((quiet, said, quiet)), space)
    # the empty prefix is read at the start, so only the other prefix is read, for its end
    assert lm.rows == 1


@pytest.mark.parametrize("kind", ["rnn", "rnn in bfloat16", "n-gram"])
def test_lm_scores_in_search_equal_sentence_scores(kind):
    texts = ["a ba ab", "ab ab", "b a bb a", "bb"]
    vocabulary = Vocabulary.from_texts(texts, "char")
    tolerance = 1e-4
    if kind == "n-gram":
        encoded = [vocabulary.encode(text) for text in texts]
        settings = EstimateSettings(order=3, discount_fallback=True)
        lm = NgramModel(vocabulary, estimate(encoded, len(vocabulary.symbols), settings))
    else:
        torch.manual_seed(0)
        lm = RNNLM(vocabulary, RNNLMSettings(hidden_size=24, n_layers=2, embedding_size=8)).eval()
        if "bfloat16" in kind:
            lm, tolerance = lm.bfloat16(), 0.2
    settings = BeamSettings(20, 20, lm_weight=0.5)
    for hypothesis in search(random_log_probs(20, 4, 0), SearchSpace(CHARS, settings, lm=lm)):
        sentence = vocabulary.encode(CHARS.decode(hypothesis.tokens))
        if CHARS.decode(hypothesis.tokens) == vocabulary.decode(sentence):  # no extra space
            expected = float(lm.sentence_log_probs([sentence])[0].sum())
            assert hypothesis.lm_log_prob == pytest.approx(expected, abs=tolerance)


def test_half_precision_and_float32_are_accepted():
    log_probs, space = torch.from_numpy(peaky(3)), SearchSpace(units(6))
    best = search(log_probs, space)[0]
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 0.05)):
        found = search(log_probs.to(dtype), space)[0]
        assert found.tokens == best.tokens
        assert found.log_prob == pytest.approx(best.log_prob, abs=tolerance)


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        space = informed_decoders()["words"]
        search(random_log_probs(10, 4, 0), space)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_values_are_plain_python():
    space = informed_decoders()["words"]
    for hypothesis in search(random_log_probs(10, 4, 0), space):
        numbers = (hypothesis.log_prob, hypothesis.lm_log_prob, hypothesis.score)
        assert {type(number) for number in numbers} == {float}
        assert {type(number) for number in hypothesis.tokens + hypothesis.frames} <= {int}
        assert {type(word) for word in hypothesis.words} <= {str}


@pytest.mark.parametrize("shape", [(5, 1, 4), (5, 3), (4,)])
def test_wrong_shapes_are_refused_by_name(shape):
    expected = re.escape(f"log_probs has shape {shape}; expected (T, 4)")
    with pytest.raises(ValueError, match=expected):
        ctc_beam_search([torch.zeros(5, 4), torch.zeros(shape)], SearchSpace(PHONES))
