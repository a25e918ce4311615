import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from table_model import random_model

from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE, Topology
from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.search.hmm_beam import hmm_beam_search
from asr.search.lexicon_tree import Trie
from asr.search.space import BeamSettings, SearchSpace
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer, UnitTokenizer, spellings

ALL = BeamSettings(beam_width=3000, n_best=3000, score_floor=-np.inf, recombine=False)
LEXICON = Lexicon(
    {
        "see": (("s", "i"),),
        "sea": (("s", "i"),),  # a homophone
        "is": (("i", "s"),),
        "i": (("i",), ("a", "i")),
        "a": (("a",),),
    }
)
PHONES = PhoneTokenizer.from_lexicon(LEXICON)  # a, i, s


def topology(n_states, n_silent, seed=0, n_tokens=4):
    """Every state of every token has its own pdf, except that a's last state shares i's first."""
    generator = np.random.default_rng(seed)
    pdfs = np.full((n_tokens, n_states), -1)
    pdfs[1:] = np.arange((n_tokens - 1) * n_states).reshape(-1, n_states)
    pdfs[1, -1] = pdfs[2, 0]
    silence = range((n_tokens - 1) * n_states, (n_tokens - 1) * n_states + n_silent)
    loops = np.log(generator.uniform(0.2, 0.8, (n_tokens - 1) * n_states + n_silent))
    return Topology(torch.from_numpy(pdfs), tuple(silence), torch.from_numpy(loops))


def random_emissions(T, topology, seed):
    shape = T, len(topology.self_loops)
    return np.random.default_rng(seed).normal(-3.0, 2.0, shape)


def chain_probability(emissions, pdfs, loops):
    """Probability of passing through a chain of states, as a product of matrices."""
    if not pdfs:
        return 1.0 if not len(emissions) else 0.0
    stay = np.exp(loops[pdfs])
    step = np.diag(stay) + np.diag((1 - stay)[:-1], 1)
    mass = np.zeros(len(pdfs))
    for t, frame in enumerate(np.exp(emissions)):
        mass = np.eye(len(pdfs))[0] if t == 0 else mass @ step
        mass = mass * frame[pdfs]
    return mass[-1] * (1 - stay[-1])


def said(emissions, spoken, topology):
    """log p of words, each given by its tokens, summed over all choices of silences around them."""
    loops, silence = topology.self_loops.numpy(), list(topology.silence)
    chains = [[int(pdf) for token in word for pdf in topology.pdfs[token]] for word in spoken]
    gaps = len(chains) + 1
    total = 0.0
    for silent in itertools.product([False, True], repeat=gaps) if silence else [(False,) * gaps]:
        pdfs = silence * silent[0]
        for chain, blank_is_over in zip(chains, silent[1:], strict=True):
            pdfs = pdfs + chain + silence * blank_is_over
        weight = sum(ENTER_SILENCE if one else PASS_SILENCE for one in silent) if silence else 0.0
        total += math.exp(weight) * chain_probability(emissions, pdfs, loops)
    return math.log(total) if total else -math.inf


def search(emissions, space, topology):
    return hmm_beam_search([emissions], space, topology)[0]


def expect(nbest, expected):
    """Compare with {(tokens, words): (log_prob, total)}."""
    found = {(h.tokens, h.words): (h.log_prob, h.total) for h in nbest}
    assert len(found) == len(nbest)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-10, atol=1e-10)
    totals = [h.total for h in nbest]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("n_silent", [0, 1, 2])
@pytest.mark.parametrize(("n_states", "T"), [(1, 4), (2, 5), (3, 7)])
def test_a_wide_beam_finds_every_sequence_of_units_with_its_exact_probability(
    n_states, T, n_silent
):
    hmm = topology(n_states, n_silent)
    emissions = random_emissions(T, hmm, seed=T)
    expected = {}
    for n in range(T // n_states + 1):
        for tokens in itertools.product([1, 2, 3], repeat=n):
            log_prob = said(emissions, [(token,) for token in tokens], hmm)
            if log_prob > -math.inf:
                expected[tokens, None] = log_prob, log_prob
    units = UnitTokenizer(("<blank>", "a", "i", "s"))
    expect(search(emissions, SearchSpace(units, ALL), hmm), expected)


@pytest.mark.parametrize("n_silent", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_lexicon_with_lm_equals_the_enumeration(n_silent, seed):
    hmm = topology(2, n_silent, seed)
    emissions = random_emissions(7, hmm, seed)
    words = list(LEXICON.pronunciations)
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *words))
    lm = random_model(vocabulary, seed)
    settings = replace(ALL, lm_weight=5.0, word_bonus=1.5)
    trie = Trie.build(spellings(words, PHONES), None, len(PHONES.symbols))
    expected = {}
    for n in range(4):
        for sentence in itertools.product(words, repeat=n):
            units = vocabulary.encode(" ".join(sentence))
            lm_log_prob = lm.sentence_log_probs([units])[0].sum()
            for spoken in itertools.product(*(PHONES.pronunciations(word) for word in sentence)):
                log_prob = said(emissions, spoken, hmm)
                if log_prob > -math.inf:
                    total = log_prob + 5.0 * lm_log_prob + 1.5 * n
                    tokens = tuple(token for word in spoken for token in word)
                    assert (tokens, sentence) not in expected
                    expected[tokens, sentence] = log_prob, total
    expect(search(emissions, SearchSpace(PHONES, settings, trie, lm), hmm), expected)


def test_other_utterances_in_the_batch_change_nothing():
    hmm, words = topology(3, 2), list(LEXICON.pronunciations)
    trie = Trie.build(spellings(words, PHONES), None, len(PHONES.symbols))
    lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, *words)), seed=0)
    settings = BeamSettings(20, 10, score_floor=-40.0, lm_weight=3.0, word_bonus=2.0)
    space = SearchSpace(PHONES, settings, trie, lm)
    lengths = [9, 25, 0, 14, 25]
    alone = [random_emissions(T, hmm, seed) for seed, T in enumerate(lengths)]
    together = hmm_beam_search(alone, space, hmm)
    assert together == [search(emissions, space, hmm) for emissions in alone]


def test_scores_of_a_narrow_beam_are_lower_bounds():
    hmm = topology(2, 1)
    emissions = random_emissions(20, hmm, seed=3)
    units = UnitTokenizer(("<blank>", "a", "i", "s"))
    nbest = search(emissions, SearchSpace(units, BeamSettings(8, 8, score_floor=-50.0)), hmm)
    exact = [said(emissions, [(t,) for t in h.tokens], hmm) for h in nbest]
    found = [hypothesis.log_prob for hypothesis in nbest]
    assert (np.array(found) <= np.array(exact) + 1e-9).all()
    wide = BeamSettings(500, 8, score_floor=-math.inf)
    best = search(emissions, SearchSpace(units, wide), hmm)[0]
    assert best.log_prob >= found[0]
    assert best.log_prob == pytest.approx(
        said(emissions, [(t,) for t in best.tokens], hmm), abs=0.01
    )


def test_planted_words_are_found_at_their_frames():
    hmm = topology(2, 1)
    s, i, silence = hmm.pdfs[3].tolist(), hmm.pdfs[2].tolist(), hmm.silence[0]
    path = [silence] * 3 + s + i + [silence] * 4 + i + s
    emissions = np.full((len(path), len(hmm.self_loops)), -20.0)
    emissions[np.arange(len(path)), path] = 0.0
    trie = Trie.build(spellings(["see", "is"], PHONES), None, len(PHONES.symbols))
    best = search(emissions, SearchSpace(PHONES, replace(ALL, beam_width=50), trie), hmm)[0]
    assert best.words == ("see", "is")
    assert best.frames == (3, 5, 11, 13)


@pytest.mark.parametrize("shape", [(5, 1, 7), (5, 3), (7,)])
def test_wrong_shapes_are_refused(shape):
    expected = re.escape(f"emissions has shape {shape}; expected (T, 7)")
    with pytest.raises(ValueError, match=expected):
        hmm_beam_search([torch.zeros(shape)], SearchSpace(PHONES), topology(2, 1))


def test_a_topology_of_other_tokens_is_refused():
    hmm = topology(2, 1, n_tokens=5)
    emissions = torch.zeros(3, len(hmm.self_loops))
    with pytest.raises(ValueError, match="topology has 5 tokens; the tokenizer has 4"):
        hmm_beam_search([emissions], SearchSpace(PHONES), hmm)
