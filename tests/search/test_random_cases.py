"""Random searches with everything that a search space may have, against plain dictionaries."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.load import with_words
from asr.lm.ngram import NgramModel
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK, UNK_SYMBOL, Vocabulary
from asr.search.beam import ctc_beam_search
from asr.search.lexicon_tree import Trie
from asr.search.phrases import PhraseBoosts
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer

SEPARATOR, C = 1, 5
CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b", "c"))
UNITS = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r", "s"))
ROUNDING = 1e-4  # the n-gram models add up their log-probabilities as float32
WORDS = ("one", "two", "three", "four", "five", "six")


class Case(NamedTuple):
    """One random search; `log_probs` is (T, C), `lexicon` has the spellings of each word."""

    log_probs: np.ndarray
    space: SearchSpace
    lexicon: dict[str, list[tuple[int, ...]]] | None


class Known(NamedTuple):
    """What is known of a prefix, besides its alignments."""

    part: tuple[int, ...]  # the tokens of the word that has begun
    state: int  # of the language model
    phrase: int
    lm: float
    extra: float  # the score without the acoustic log-probability


def random_ngram(generator, vocabulary):
    """An n-gram model of random sentences: frequent units have n-grams, others back off."""
    V = len(vocabulary.symbols)
    frequent = generator.dirichlet(np.ones(V - 2))
    sentences = [
        tuple(generator.choice(np.arange(2, V), size=generator.integers(1, 7), p=frequent).tolist())
        for _ in range(generator.integers(4, 30))
    ]
    order = int(generator.integers(1, 4))
    settings = EstimateSettings(order=order, discount_fallback=True)
    return NgramModel(vocabulary, estimate(sentences, V, settings))


def random_case(seed):
    generator = np.random.default_rng(seed)

    def one_of(*values):
        return values[generator.integers(len(values))]

    tokenizer = one_of(CHARS, UNITS)
    letters = np.arange(1 if tokenizer.separator is None else 2, C)
    lexicon, trie, lm, boosts = None, None, None, None
    kind = one_of("none", "token", "word", "word")
    weight = one_of(0.4, 1.3) if kind == "word" else one_of(0.0, 0.4, 1.3)
    if kind == "token":
        vocabulary = Vocabulary("char", (UNK_SYMBOL, EOS_SYMBOL, *tokenizer.symbols[1:]))
        lm = random_ngram(generator, vocabulary)
    if kind == "word" or generator.random() < 0.6:
        lengths = range(1, 4) if kind == "word" else (1, 2) if tokenizer is CHARS else (2,)
        every = [s for n in lengths for s in itertools.product(letters.tolist(), repeat=n)]
        some = [every[n] for n in generator.permutation(len(every))]
        # homophones, if a language model can tell them apart
        one = [some[generator.integers(5)] if kind == "word" else some[n] for n in range(6)]
        lexicon = {word: [spelling] for word, spelling in zip(WORDS, one, strict=True)}
        if tokenizer.separator is not None:
            lexicon["one"] = [*lexicon["one"], some[6]]
        trie = Trie.build(lexicon, tokenizer.separator, C)
    if kind == "word":
        known = WORDS[: generator.integers(5, 7)]
        lm = random_ngram(generator, Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *known)))
        lm = with_words(lm, WORDS) if generator.random() < 0.5 else lm
    if generator.random() < 0.4:
        phrases = {
            tuple(generator.choice(letters, size=n).tolist()): generator.normal() for n in (1, 2, 3)
        }
        boosts = PhraseBoosts.build(phrases, tokenizer.separator, C)
    width = int(one_of(1, 2, 3, 5, 8, 13))
    settings = BeamSettings(
        beam_width=width,
        n_best=width,
        token_floor=one_of(-np.inf, -3.0, -1.5),
        score_floor=one_of(-np.inf, -8.0, -4.0, -2.0),
        blank_skip=one_of(1.0, 1.0, 0.6),
        recombine=bool(one_of(True, False)),
        lm_weight=weight,
        word_bonus=one_of(0.0, 0.7, -0.6),
    )
    sharpness = one_of(1.0, 3.0)
    log_probs = np.log(generator.dirichlet(np.ones(C) / sharpness, size=generator.integers(0, 13)))
    return Case(
        log_probs.clip(min=-30.0), SearchSpace(tokenizer, settings, trie, lm, boosts), lexicon
    )


class Scores:
    """The language model, look-ahead, bonuses and phrases of a case, one prefix at a time."""

    def __init__(self, case):
        self.lexicon, self.boosts = case.lexicon, case.space.boosts
        self.settings, self.separator = case.space.settings, case.space.tokenizer.separator
        self.lm = case.space.lm
        self.of_words = self.lm is not None and self.lm.vocabulary.unit == "word"
        self.symbols = case.space.tokenizer.symbols
        if self.lm is not None:
            self.number = {symbol: unit for unit, symbol in enumerate(self.lm.vocabulary.symbols)}
            _, unknown = self.lm.score(self.lm.start(1), torch.tensor([UNK]))
            self.unigrams = self.lm.log_probs(unknown)[0].double().numpy()

    def start(self):
        state = 0 if self.lm is None else self.lm.start(1).item()
        phrase = 0 if self.boosts is None else self.boosts.start
        return Known((), state, phrase, 0.0, self.ahead(()))

    def ahead(self, part):
        if not self.of_words:
            return 0.0
        below = [w for w, some in self.lexicon.items() if any(s[: len(part)] == part for s in some)]
        best = max(self.unigrams[self.number.get(word, UNK)] for word in below)
        return self.settings.lm_weight * max(best, -1e4)

    def ways(self, part, token):
        """The ways to read a token: (the word that ends, the tokens of the word that has begun)."""
        if self.lexicon is None:
            return [(None, ())]
        spellings = [(word, s) for word, some in self.lexicon.items() for s in some]
        if token == self.separator:
            return [(word, ()) for word, s in spellings if s == part]
        longer, n = (*part, token), len(part) + 1
        inner = [s for _, s in spellings if s[:n] == longer and (self.separator or len(s) > n)]
        ended = [(w, ()) for w, s in spellings if s == longer and self.separator is None]
        return ended + [(None, longer)] * bool(inner)

    def bonus(self, last, token, word):
        separates = self.separator is not None
        if self.lexicon is not None:
            n = word is not None
        elif separates:
            n = token not in (0, self.separator) and last in (0, self.separator)
        else:
            n = token != 0
        return self.settings.word_bonus * n

    def without_lm(self, known, last, token, word, part, at_end=False):
        """The extension of a prefix before the language model has read its last word or token."""
        extra = known.extra - self.ahead(known.part) + (0.0 if at_end else self.ahead(part))
        extra, phrase = extra + self.bonus(last, token, word), known.phrase
        if self.boosts is not None and token:
            phrase = int(self.boosts.after[phrase, token])
            extra += self.boosts.entry_bonus[phrase] - self.boosts.taken_back[known.phrase]
        elif self.boosts is not None and at_end:
            extra += self.boosts.end_bonus[phrase]
        return known._replace(part=part, phrase=phrase, extra=extra)

    def read(self, known, unit):
        """The same after the language model has read a unit."""
        if self.lm is None or unit is None:
            return known
        log_prob, state = self.lm.score(torch.tensor([known.state]), torch.tensor([unit]))
        extra = known.extra + self.settings.lm_weight * log_prob.item()
        return known._replace(state=state.item(), lm=known.lm + log_prob.item(), extra=extra)

    def unit(self, token, word):
        if self.lm is None or (self.of_words and word is None):
            return None
        return self.number.get(word, UNK) if self.of_words else self.number[self.symbols[token]]

    def ends(self, prefix, known, whole):
        """The last words of a prefix at the end of the utterance, None for none."""
        if not whole or self.lexicon is None or not prefix:
            return [None]
        if self.separator is None or not known.part:
            return [None] * (not known.part)
        return [word for word, some in self.lexicon.items() if known.part in some]

    def end(self, prefix, known, word):
        """The scores of a prefix with its last word at the end of the utterance."""
        last = prefix[-1][0] if prefix else 0
        if self.of_words and word is not None:
            known = self.read(self.without_lm(known, last, 0, word, ()), self.unit(0, word))
            word = None
        known = self.without_lm(known, last, 0, word, (), at_end=True)
        return self.read(known, None if self.lm is None else EOS)


class TieError(Exception):
    """A choice depends on rounding."""


def above(score, threshold):
    """Whether a score is at least a threshold."""
    if abs(score - threshold) < ROUNDING:
        raise TieError
    return score > threshold


def reference(case):
    """Prefix search with dictionaries: {(tokens, words): (log_prob, lm_log_prob, score)}.

    A prefix is a tuple of (token, the word that ends with it or None). Without recombined ones.
    """
    scores, settings = Scores(case), case.space.settings
    width = settings.beam_width
    beam, known = {(): (0.0, -np.inf)}, {(): scores.start()}  # (ends in blank, in its last token)
    for frame in case.log_probs:
        floor = min(settings.token_floor, frame[0])
        sure = settings.blank_skip < 1 and frame[0] >= np.log(settings.blank_skip)
        tried = [] if sure else [token for token in range(1, C) if frame[token] >= floor]
        if not tried:
            beam = {p: (np.logaddexp(*ends) + frame[0], -np.inf) for p, ends in beam.items()}
            continue

        def arrives(prefix, token, beam=beam, frame=frame):
            repeats = prefix and prefix[-1][0] == token
            return (beam[prefix][0] if repeats else np.logaddexp(*beam[prefix])) + frame[token]

        grown = {}
        for prefix, ends in beam.items():
            label = ends[1] + (frame[prefix[-1][0]] if prefix else 0.0)
            if prefix and prefix[:-1] in beam:
                label = np.logaddexp(label, arrives(prefix[:-1], prefix[-1][0]))
            grown[prefix] = np.logaddexp(*ends) + frame[0], label
        score = {p: np.logaddexp(*ends) + known[p].extra for p, ends in grown.items()}
        lowest = min(score.values()) if len(beam) == width else -np.inf
        least = max(lowest, max(score.values()) + settings.score_floor)
        for prefix in beam:
            last = prefix[-1][0] if prefix else 0
            for token in tried:
                mass = arrives(prefix, token)
                for word, part in scores.ways(known[prefix].part, token):
                    longer = (*prefix, (token, word))
                    new = scores.without_lm(known[prefix], last, token, word, part)
                    if longer in beam or mass == -np.inf or not above(mass + new.extra, least):
                        continue
                    known[longer] = scores.read(new, scores.unit(token, word))
                    score[longer] = mass + known[longer].extra
                    if above(score[longer], lowest):
                        grown[longer] = -np.inf, mass
        best = sorted(grown, key=score.get, reverse=True)
        if len(best) > width:
            above(score[best[width - 1]], score[best[width]])
        kept = {}
        for prefix in best[:width]:
            future = prefix[-1:] and prefix[-1][0], *known[prefix][:3]
            future = future if case.space.recombines else prefix
            if future not in kept or above(score[prefix], score[kept[future]]):
                kept[future] = prefix
        beam = {prefix: grown[prefix] for prefix in kept.values()}
    found = {}
    for whole in (True, False):
        for prefix, masses in beam.items():
            for last in scores.ends(prefix, known[prefix], whole):
                end, total = scores.end(prefix, known[prefix], last), np.logaddexp(*masses)
                words = (*(word for _, word in prefix), last)
                words = None if case.lexicon is None else tuple(word for word in words if word)
                text = tuple(token for token, _ in prefix), words
                new = total, end.lm, total + end.extra
                found[text] = max(found.get(text, new), new, key=lambda values: values[2])
        if found:
            break
    return found


@pytest.mark.parametrize("first", range(0, 1040, 260))
def test_a_search_equals_one_with_dictionaries(first):
    n_ties = 0
    for seed in range(first, first + 260):
        case = random_case(seed)
        (nbest,) = ctc_beam_search([case.log_probs], case.space)
        try:
            expected = reference(case)
        except TieError:
            n_ties += 1
            continue
        compare(nbest, expected, case, f"seed {seed}")
    assert n_ties <= 10


def compare(nbest, expected, case, place):
    """Compare an n-best list with the hypotheses that were not recombined."""
    n_best = case.space.settings.n_best
    found = {(h.tokens, h.words): (h.log_prob, h.lm_log_prob, h.total) for h in nbest}
    assert len(found) == len(nbest), place
    totals = [h.total for h in nbest]
    assert totals == sorted(totals, reverse=True), place
    best = sorted(expected, key=lambda text: -expected[text][2])
    if not case.space.recombines:
        assert len(found) == min(len(expected), n_best), place
    elif best:
        np.testing.assert_allclose(totals[0], expected[best[0]][2], atol=ROUNDING, err_msg=place)
    for text in best[:n_best]:
        values = expected[text]
        if text in found:  # a text may return with a better score by another way to read it
            better = case.space.recombines and found[text][2] > values[2] + ROUNDING
            if not better:
                np.testing.assert_allclose(found[text], values, atol=ROUNDING, err_msg=place)
        else:
            assert case.space.recombines or values[2] < totals[-1] + ROUNDING, place
            assert len(found) == n_best, place
            assert values[2] < totals[-1] + ROUNDING, place
