import numpy as np
import pytest
from numba import njit

from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.ngram import NgramModel
from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.beam import CTC
from asr.search.lexicon_tree import Trie
from asr.search.pruning import select_highest
from asr.search.searches import Searches
from asr.search.space import BeamSettings, SearchSpace
from asr.text.tokenizer import BLANK_SYMBOL, UnitTokenizer

compiled = njit(_nrt=False)


@compiled
def call_select_highest(scores, order, n, k):
    select_highest(scores, order, n, k)


def test_the_highest_scores_move_to_the_front():
    generator = np.random.default_rng(0)
    for _ in range(200):
        n = int(generator.integers(1, 60))
        k = int(generator.integers(1, n + 1))
        n_values = int(generator.integers(1, 2 * n + 1))  # with a few values there are many ties
        before = generator.normal(size=n_values)[generator.integers(0, n_values, size=n + 3)]
        before[generator.random(n + 3) < 0.1] = -np.inf
        scores, order = before.copy(), np.arange(n + 3)
        call_select_highest(scores, order, n, k)
        assert sorted(scores[:k]) == sorted(before[:n])[n - k :]
        assert sorted(order[:n]) == list(range(n))
        np.testing.assert_array_equal(scores, before[order])
        np.testing.assert_array_equal(scores[n:], before[n:])  # those after the n are not touched


def recombining_runs(seed, T=25, beam_width=30):
    """The search of one utterance with homophones and an n-gram model, after T frames."""
    generator, words = np.random.default_rng(seed), ("p", "pea", "pq", "q", "rr", "r")
    lexicon = {"p": [(1,)], "pea": [(1,)], "pq": [(1, 2)], "q": [(2,)], "rr": [(3, 3)], "r": [(3,)]}
    sentences = [tuple(generator.integers(2, 8, size=n).tolist()) for n in range(2, 12)]
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *words))
    settings = EstimateSettings(order=2, discount_fallback=True)
    lm = NgramModel(vocabulary, estimate(sentences, 8, settings))
    tokenizer = UnitTokenizer((BLANK_SYMBOL, "p", "q", "r"))
    settings = BeamSettings(beam_width, beam_width, -np.inf, -np.inf, lm_weight=0.5)
    searches = Searches(SearchSpace(tokenizer, settings, Trie.build(lexicon, None, 4), lm), CTC)
    searches.feed([np.log(generator.dirichlet(np.ones(4) / 2, size=T))])
    return searches


@pytest.mark.parametrize("seed", range(5))
def test_no_two_prefixes_in_the_beam_are_equivalent(seed):
    tree = recombining_runs(seed).trees[0]
    kept = tree.prefixes[tree.beam[: tree.now[0]["n_beam"]]]
    kinds = [
        tuple(prefix[name] for name in ("token", "node", "lm_state", "phrase")) for prefix in kept
    ]
    assert len(kinds) > 5
    assert len(set(kinds)) == len(kinds)
    assert np.isfinite(kept["log_prob"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_dropped_prefixes_are_not_better_than_the_kept_ones(seed):
    tree = recombining_runs(seed).trees[0]
    drops = tree.drops[: tree.now[0]["n_drops"]]
    assert len(drops) > 5
    assert (drops["score"] <= 0).all()
    gone, kept = (tree.prefixes[tree.onsets["prefix"][drops[name]]] for name in ("onset", "kept"))
    for name in ("token", "node", "lm_state", "phrase"):
        np.testing.assert_array_equal(gone[name], kept[name])
    assert (tree.onsets["frame"][drops["onset"]] <= drops["frame"]).all()
    assert (tree.onsets["frame"][drops["kept"]] <= drops["frame"]).all()


@pytest.mark.parametrize("beam_width", [1, 2, 7])
def test_the_beam_has_at_most_beam_width_prefixes(beam_width):
    tree = recombining_runs(0, beam_width=beam_width).trees[0]
    assert 1 <= tree.now[0]["n_beam"] <= beam_width
    outside = np.ones(tree.now[0]["n_prefixes"], dtype=bool)
    outside[tree.beam[: tree.now[0]["n_beam"]]] = False
    assert (tree.prefixes["log_prob"][: len(outside)][outside] == -np.inf).all()
