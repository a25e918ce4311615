import itertools

import numpy as np
import pytest
from numba import njit

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import NgramModel
from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.backtrace import count_repeats, pop, push
from asr.search.beam import ctc_beam_search
from asr.search.lexicon_tree import Trie
from asr.search.prefixes import allocate_tree
from asr.search.space import BeamSettings, SearchSpace
from asr.search.tables import make_tables
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer, UnitTokenizer

PHONES = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))
CHARS = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
SPOKEN = {"p": [(1,)], "pea": [(1,)], "pp": [(1, 1)], "q": [(2,), (2, 1)], "rr": [(3, 3)]}
SPELLED = {"a": [(2,)], "eh": [(2,)], "ab": [(2, 3)], "ebb": [(3, 3), (2, 3)]}

compiled = njit(_nrt=False)


@compiled
def call_push(tree, n, number):
    return push(tree, n, number)


@compiled
def call_pop(tree, n):
    return pop(tree, n)


@compiled
def call_count_repeats(tokens):
    return count_repeats(tokens)


def test_the_queue_gives_the_best_branch_first():
    generator = np.random.default_rng(0)
    tree = allocate_tree(make_tables(SearchSpace(PHONES, BeamSettings(4, 4))), 4, 2)
    for _ in range(100):
        n_values = generator.integers(2, 40)  # with ties
        tree.branches["score"][:60] = generator.integers(0, n_values, size=60)
        inside, new = set(), iter(range(60))
        for pushes in generator.random(200) < 0.5:
            number = next(new, None)
            if number is not None and pushes:
                assert call_push(tree, len(inside), number) == len(inside) + 1
                inside.add(number)
            elif inside:
                best = tree.queue[0]
                assert tree.branches["score"][best] == max(tree.branches["score"][[*inside]])
                assert call_pop(tree, len(inside)) == len(inside) - 1
                inside.remove(best)
            assert set(tree.queue[: len(inside)]) == inside


@pytest.mark.parametrize("tokens", [(), (1,), (1, 1), (1, 2, 1), (2, 2, 2, 1, 1)])
def test_repeats_are_counted(tokens):
    expected = sum(one == other for one, other in itertools.pairwise(tokens))
    assert call_count_repeats(np.array(tokens, np.int64)) == expected


def recombining_space(tokenizer, spellings, width):
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *spellings))
    generator, V = np.random.default_rng(0), len(vocabulary.symbols)
    sentences = [tuple(generator.integers(2, V, size=n).tolist()) for n in range(2, 12)]
    settings = EstimateSettings(order=2, discount_fallback=True)
    lm = NgramModel(vocabulary, estimate(sentences, V, settings))
    settings = BeamSettings(width, width, -np.inf, -np.inf, lm_weight=0.5, word_bonus=0.2)
    return SearchSpace(tokenizer, settings, Trie.build(spellings, tokenizer.separator, 4), lm)


def spells(tokens, words, spellings, separator):
    """Whether the words can be spelled by the tokens."""
    for choice in itertools.product(*(spellings[word] for word in words)):
        said = [(separator, *some) if n and separator else some for n, some in enumerate(choice)]
        found = tuple(itertools.chain(*said))
        if tokens in (found, (*found, separator)):  # perhaps one after the last word
            return True
    return False


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("tokenizer", "spellings"), [(PHONES, SPOKEN), (CHARS, SPELLED)], ids=["joined", "separated"]
)
def test_lists_have_each_text_once_with_its_own_words_and_scores(tokenizer, spellings, seed):
    space = recombining_space(tokenizer, spellings, width=40)
    assert space.recombines
    T = 6 + 2 * seed
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(4) / 2, size=T))
    (nbest,) = ctc_beam_search([log_probs], space)
    texts = [(hypothesis.tokens, hypothesis.words) for hypothesis in nbest]
    assert len(set(texts)) == len(texts) > 5
    scores = [hypothesis.total for hypothesis in nbest]
    assert scores == sorted(scores, reverse=True)
    number = {symbol: unit for unit, symbol in enumerate(space.lm.vocabulary.symbols)}
    for hypothesis in nbest:
        tokens, words = hypothesis.tokens, hypothesis.words
        assert spells(tokens, words, spellings, tokenizer.separator)
        (of_lm,) = space.lm.sentence_log_probs([[number[word] for word in words]])
        assert hypothesis.lm_log_prob == pytest.approx(of_lm.sum(), abs=1e-4)
        total = hypothesis.log_prob + 0.5 * hypothesis.lm_log_prob + 0.2 * len(words)
        assert hypothesis.total == pytest.approx(total, abs=1e-9)
        frames = list(hypothesis.frames)
        assert len(frames) == len(tokens)
        assert frames == sorted(set(frames))
        assert all(0 <= frame < T for frame in frames)
        for word, first, last in zip(
            words, hypothesis.first_frames, hypothesis.last_frames, strict=True
        ):
            spoken = tokens[frames.index(first) : frames.index(last) + 1]
            assert spoken in spellings[word]
        repeats = sum(one == other for one, other in itertools.pairwise(tokens))
        assert len(tokens) + repeats <= T  # other texts have no alignment


def test_a_shorter_list_is_the_beginning_of_a_longer_one():
    space = recombining_space(PHONES, SPOKEN, width=40)
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(4) / 2, size=15))
    (nbest,) = ctc_beam_search([log_probs], space)
    settings = BeamSettings(40, 7, -np.inf, -np.inf, lm_weight=0.5, word_bonus=0.2)
    shorter = SearchSpace(PHONES, settings, space.lexicon, space.lm)
    assert ctc_beam_search([log_probs], shorter)[0] == nbest[:7]
