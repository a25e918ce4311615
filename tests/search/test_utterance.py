"""The search with plain arguments, against the sum over all alignments."""

import itertools
import math

import numpy as np
import pytest
import torch

import asr
from asr.errors import InputError
from asr.lm.ngram import write_ngram
from asr.text.lexicon import Lexicon

LETTERS = ("-", " ", "a", "b")
PHONES = ("<blk>", "AA", "BB", "CC")


def random_log_probs(T=5, C=4, seed=0):
    # no token is below the floor of the search, so nothing is pruned
    return np.log(np.random.default_rng(seed).dirichlet(np.full(C, 5.0), size=T))


def enumerate_all(log_probs, blank=0):
    """P of every token sequence, by adding up all C ** T alignments."""
    T, C = log_probs.shape
    sums = {}
    for path in itertools.product(range(C), repeat=T):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        log_prob = sum(log_probs[t, token] for t, token in enumerate(path))
        sums[tokens] = np.logaddexp(sums.get(tokens, -np.inf), log_prob)
    return sums


def texts(sums, symbols=LETTERS):
    """P of every text of words that a lexicon allows: of its most probable tokens.

    There are single spaces between words, and perhaps one after the last.
    """
    found = {}
    for tokens, log_prob in sums.items():
        said = "".join(symbols[token] for token in tokens)
        text = " ".join(said.split())
        if said in (text, f"{text} ") and said != " ":
            found[text] = max(log_prob, found.get(text, -np.inf))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_plain_search_equals_the_sum_over_all_alignments(seed):
    log_probs = random_log_probs(seed=seed)
    expected = enumerate_all(log_probs)
    for given in (log_probs, torch.from_numpy(log_probs)):
        nbest = asr.beam_search(given, LETTERS, beam_width=1000)
        assert [h.tokens for h in nbest] == sorted(expected, key=expected.get, reverse=True)
        found = [h.log_prob for h in nbest]
        np.testing.assert_allclose(found, sorted(expected.values(), reverse=True), rtol=1e-9)
        spelled = ["".join(LETTERS[token] for token in h.tokens).split() for h in nbest]
        assert [h.text for h in nbest] == [" ".join(words) for words in spelled]
        assert all(len(h.frames) == len(h.tokens) for h in nbest)


@pytest.mark.parametrize("seed", range(3))
def test_scores_with_lexicon_and_lm_are_as_documented(seed, tmp_path):
    log_probs = random_log_probs(seed=seed)
    lm = asr.train_ngram(["a b", "ab a", "b b", "a"], order=2)
    words = ["a", "ab", "b"]
    scores = {
        text: log_prob + 0.6 * lm.log_prob(text) + 0.5 * len(text.split())
        for text, log_prob in texts(enumerate_all(log_probs)).items()
        if set(text.split()) <= set(words)
    }
    expected = sorted(scores, key=scores.get, reverse=True)
    write_ngram(tmp_path / "lm.arpa", lm)
    (tmp_path / "words.txt").write_text("\n".join(words))
    for given in (lm, tmp_path / "lm.arpa", str(tmp_path / "lm.arpa")):
        for lexicon in (words, None, tmp_path / "words.txt"):
            # the search keeps the best of the prefixes that the model can't distinguish; the others
            # are bounded by it, and the best hypothesis is exact
            best = asr.beam_search(log_probs, LETTERS, lexicon, given, 0.6, 0.5, 1000)[0]
            assert best.text == expected[0]
            assert best.score == pytest.approx(scores[expected[0]], abs=1e-5)
            assert best.lm_log_prob == pytest.approx(lm.log_prob(best.text), abs=1e-5)


def test_words_are_converted_to_the_case_of_the_symbols(tmp_path):
    log_probs = random_log_probs()
    write_ngram(tmp_path / "lm.arpa", asr.train_ngram(["a b", "ab a", "b b", "a"], order=2))
    small = asr.beam_search(log_probs, LETTERS, ["A", "AB", "B", "b"], tmp_path / "lm.arpa")
    capitals = [symbol.upper() for symbol in LETTERS]
    for words in (["a", "ab", "b"], ["A", "AB", "B"], None):
        nbest = asr.beam_search(log_probs, capitals, words, tmp_path / "lm.arpa")
        assert [h.text for h in nbest] == [h.text.upper() for h in small]
        assert nbest[0].score == pytest.approx(small[0].score, abs=1e-5)


def test_phones_are_decoded_to_words_of_the_lexicon():
    log_probs = random_log_probs(T=4)
    lexicon = {"one": "AA BB", "two": [["BB"], ["CC", "AA"]]}
    sums = enumerate_all(log_probs)
    said = {(1, 2): "one", (2,): "two", (3, 1): "two", (2, 2): "two two", (2, 1, 2): "two one"}
    expected = max((tokens for tokens in said if tokens in sums), key=sums.get)
    for given in (lexicon, Lexicon({"one": (("AA", "BB"),), "two": (("BB",), ("CC", "AA"))})):
        nbest = asr.beam_search(log_probs, PHONES, given, beam_width=1000)
        assert all(h.text.split() for h in nbest if h.tokens)
        found = {h.tokens: h for h in nbest}
        assert found[expected].text == said[expected]
        assert found[expected].log_prob == pytest.approx(sums[expected], rel=1e-9)
        assert set(said) & set(sums) <= set(found)
    assert asr.beam_search(log_probs, PHONES)[0].text.split()[0] in PHONES


def test_without_a_possible_word_the_text_is_empty():
    best = asr.beam_search(random_log_probs(T=2), LETTERS, ["ababab"])
    assert best[0].text == ""


def test_the_beam_finds_a_text_that_greedy_search_misses():
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert asr.greedy_search(log_probs, ["-", "a"]).text == ""
    best = asr.beam_search(log_probs, ["-", "a"])[0]
    assert (best.text, math.exp(best.log_prob)) == ("a", pytest.approx(0.64))


def test_arguments_that_do_not_fit_are_refused():
    log_probs = random_log_probs()
    wrong = log_probs.copy()
    wrong[3, 1] = np.nan
    for search in (asr.beam_search, asr.greedy_search):
        with pytest.raises(ValueError, match=r"log_probs has shape \(5, 1, 4\); expected \(T, C\)"):
            search(log_probs[:, None], LETTERS)
        with pytest.raises(ValueError, match="symbols has 3; log_probs has 4 columns"):
            search(log_probs, LETTERS[:3])
        with pytest.raises(ValueError, match=r"log_probs has NaN at \(3, 1\)"):
            search(wrong, LETTERS)
        with pytest.raises(ValueError, match=r"symbols\[2\] is '▁th', a subword piece"):
            search(log_probs, ["-", "e", "▁th", "ree"])
    with pytest.raises(ValueError, match="symbols is None; expected the text of each token"):
        asr.beam_search(random_log_probs(), None)
    with pytest.raises(ValueError, match="lexicon is 5; expected words, words with phones"):
        asr.beam_search(random_log_probs(), LETTERS, lexicon=5)
    with pytest.raises(ValueError, match="lm is 5; expected a language model or the path of one"):
        asr.beam_search(random_log_probs(), LETTERS, lm=5)
    with pytest.raises(ValueError, match="lexicon has 'a b' as word 1; expected one word"):
        asr.beam_search(log_probs, LETTERS, ["a", "a b"])
    with pytest.raises(ValueError, match="lexicon has no word"):
        asr.beam_search(log_probs, LETTERS, [])
    with pytest.raises(InputError, match=r"lexicon: .* spell none of its 1 words, such as 'cc'"):
        asr.beam_search(log_probs, LETTERS, ["cc"])
    with pytest.raises(InputError, match="beam_width is 0; expected 1 or more"):
        asr.beam_search(log_probs, LETTERS, beam_width=0)
    with pytest.raises(ValueError, match="has no words; give the search its symbols"):
        _ = asr.greedy_search(log_probs).text


def test_a_text_may_end_with_a_space():
    frames = np.log([[0.4, 1e-9, 0.6, 1e-9], [0.001, 0.989, 1e-9, 0.01]])
    for lexicon in (["a", "ab"], None):
        best = asr.beam_search(frames, ["<blank>", " ", "a", "b"], lexicon)[0]
        assert best.text.split() == ["a"]
        assert best.log_prob == pytest.approx(np.log(0.6 * 0.989))


def test_a_language_model_of_other_words_is_refused():
    lm = asr.train_ngram(["x y", "y"], order=2)
    with pytest.raises(InputError, match="knows none of the lexicon's 2 words"):
        asr.beam_search(random_log_probs(), LETTERS, ["a", "b"], lm)


def test_scores_may_be_bfloat16():
    frames = torch.tensor([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]).log().bfloat16()
    symbols = ["<blank>", "a", "b"]
    assert asr.greedy_search(frames, symbols).text == "b"
    assert asr.beam_search(frames, symbols)[0].text == "b"
    with pytest.raises(InputError, match="lm_weight is nan; expected 0 or more"):
        asr.beam_search(frames, symbols, lm_weight=math.nan)
