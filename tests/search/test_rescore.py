import itertools
import math

import jiwer
import numpy as np
import pytest
import torch
from table_model import TableModel, random_model

from asr.lm.vocabulary import EOS_SYMBOL, UNK_SYMBOL, Vocabulary
from asr.networks.ctc import log_probability
from asr.search import rescore as module
from asr.search.nbest import Hypothesis, spelled
from asr.search.rescore import (
    RescoreWeights,
    exact_log_probs,
    hypothesis_errors,
    lm_log_probs,
    rescore,
    text_of,
    united,
)
from asr.text.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer(("<blank>", " ", "a", "b"))


def random_log_probs(T, C, seed):
    return np.log(np.random.default_rng(seed).dirichlet(np.ones(C), size=T))


def hypotheses(*texts, log_probs=None):
    log_probs = log_probs or [-float(n) for n in range(len(texts))]
    return [
        Hypothesis((), p, words=tuple(t.split())) for t, p in zip(texts, log_probs, strict=True)
    ]


def enumerate_texts(log_probs):
    """P of every text, by adding up all C ** T alignments: slow, and obviously correct."""
    sums = {}
    for alignment in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        tokens = [token for token, _ in itertools.groupby(alignment) if token]
        words = tuple(TOKENIZER.decode(tokens).split())
        score = sum(row[token] for row, token in zip(log_probs, alignment, strict=True))
        sums[words] = np.logaddexp(sums.get(words, -np.inf), score)
    return sums


@pytest.mark.parametrize("seed", range(3))
def test_exact_log_probs_sum_over_all_alignments_of_a_text(seed):
    log_probs = random_log_probs(T=5, C=4, seed=seed)
    every = [tokens for U in range(6) for tokens in itertools.product((1, 2, 3), repeat=U)]
    nbest = spelled([Hypothesis(tokens, -99.0, score=7.0) for tokens in every], TOKENIZER)
    exact = exact_log_probs(log_probs, nbest)
    expected = enumerate_texts(log_probs)
    found = {hypothesis.words: hypothesis.log_prob for hypothesis in exact}
    assert len(found) == len(exact)  # each text once
    for words, log_prob in found.items():
        assert log_prob == pytest.approx(expected.get(words, -math.inf), rel=1e-12)
    assert expected.keys() <= found.keys()
    assert [h.total for h in exact] == sorted(found.values(), reverse=True)


def test_two_spellings_of_a_text_are_merged():
    log_probs = np.log([[0.1, 0.1, 0.7, 0.1], [0.1, 0.6, 0.2, 0.1]])
    tokens, frames = [(2,), (2, 1), (3,)], [(0,), (0, 1), (0,)]
    nbest = [Hypothesis(t, -1.0, frames=f) for t, f in zip(tokens, frames, strict=True)]
    first, second = exact_log_probs(log_probs, spelled(nbest, TOKENIZER))
    assert (first.words, first.tokens, first.frames) == (("a",), (2, 1), (0, 1))
    # alignments of "a": in both frames, then blank, or after blank; and "a" with a space
    assert first.log_prob == pytest.approx(math.log(0.7 * 0.2 + 0.7 * 0.1 + 0.1 * 0.2 + 0.7 * 0.6))
    assert second.words == ("b",)


def test_united_lists_have_each_text_with_its_larger_probability():
    def of(**log_probs):
        return [Hypothesis((1,), p, words=(word,)) for word, p in log_probs.items()]

    found = united(of(a=-1.0, b=-3.0), of(b=-2.0, c=-0.5, a=-4.0))
    assert found == of(c=-0.5, a=-1.0, b=-2.0)
    assert united([], []) == []


def test_batches_give_the_same_as_one_hypothesis_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)
    log_probs = random_log_probs(T=30, C=4, seed=0).astype(np.float32)
    texts = [" ".join(words) for words in itertools.product(("a", "b", "ab"), repeat=2)] + ["", "a"]
    nbest = spelled([Hypothesis(TOKENIZER.encode(text), 0.0) for text in texts], TOKENIZER)
    exact = exact_log_probs(log_probs, nbest)
    assert len(exact) == len(texts)
    for hypothesis in exact:
        alone = log_probability(torch.from_numpy(log_probs), hypothesis.tokens)
        assert hypothesis.log_prob == pytest.approx(alone, rel=1e-6)


def test_hypotheses_too_long_for_the_frames_have_probability_0():
    nbest = spelled([Hypothesis((2, 2, 2), -1.0), Hypothesis((2,), -2.0)], TOKENIZER)
    exact = exact_log_probs(random_log_probs(T=4, C=4, seed=0), nbest)
    assert [h.words for h in exact] == [("a",), ("aaa",)]
    assert exact[1].log_prob == -math.inf
    zeros = np.zeros((2, 1))
    assert [h.words for h in rescore(exact, zeros, RescoreWeights((1.0,), 5.0))] == [
        ("a",),
        ("aaa",),
    ]


def test_without_frames_the_empty_text_has_probability_1():
    nbest = spelled([Hypothesis((2,), -1.0), Hypothesis((), -2.0)], TOKENIZER)
    exact = exact_log_probs(np.zeros((0, 4), dtype=np.float32), nbest)
    assert [(h.words, h.log_prob) for h in exact] == [((), 0.0), (("a",), -math.inf)]


def test_words_are_given_or_spelled_by_the_tokens():
    assert text_of(Hypothesis((1, 2, 1, 1, 3, 2, 1), 0.0), TOKENIZER) == "a ba"
    assert text_of(Hypothesis((2,), 0.0, words=("said", "so")), TOKENIZER) == "said so"
    assert text_of(Hypothesis((2,), 0.0, words=()), TOKENIZER) == ""


class Asked(TableModel):
    """A language model that records what it is asked to score."""

    calls: list[list[tuple[int, ...]]]

    def sentence_log_probs(self, sentences):
        self.calls.append(list(sentences))
        return super().sentence_log_probs(sentences)


def test_lm_log_probs_equal_those_of_the_models_tables():
    word = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, "a", "ba"))
    char = Vocabulary("char", (UNK_SYMBOL, EOS_SYMBOL, " ", "a", "b"))
    generator = np.random.default_rng(0)
    lms = [Asked(v, generator.dirichlet(np.ones(n), size=n)) for v, n in ((word, 4), (char, 5))]
    for lm in lms:
        lm.calls = []
    nbests = [hypotheses("a ba", "a", "b"), hypotheses("", "a")]
    found = lm_log_probs(nbests, lms)
    assert [rows.shape for rows in found] == [(3, 2), (2, 2)]
    # by hand: (previous unit, unit) of each text; "b" is not a word, and EOS also starts sentences
    words = {"a ba": [2, 3], "a": [2], "b": [0], "": []}
    chars = {"a ba": [3, 2, 4, 3], "a": [3], "b": [4], "": []}
    for nbest, rows in zip(nbests, found, strict=True):
        for hypothesis, row in zip(nbest, rows, strict=True):
            for lm, units, log_prob in zip(lms, (words, chars), row, strict=True):
                text = [1, *units[" ".join(hypothesis.words)], 1]
                expected = sum(lm.table[pair].item() for pair in itertools.pairwise(text))
                assert log_prob == pytest.approx(expected, rel=1e-12)
    # all in one call, and a text of two lists once
    assert [[len(sentences) for sentences in lm.calls] for lm in lms] == [[4], [4]]


def test_lm_log_probs_without_language_models_or_lists():
    (found,) = lm_log_probs([hypotheses("a", "b")], [])
    assert found.shape == (2, 0)
    assert lm_log_probs([], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_weighted_sums_and_sort_the_list(seed):
    generator = np.random.default_rng(seed)
    texts = ["a " * generator.integers(6) for _ in range(20)]
    nbest = hypotheses(*texts, log_probs=generator.normal(-2000, 100, size=20).tolist())  # an HMM's
    found = generator.normal(-30, 10, size=(20, 2))
    weights = RescoreWeights((8.0, 4.5), 12.0)
    scored = rescore(nbest, found, weights)
    expected = {
        h.log_prob: h.log_prob + 8.0 * row[0] + 4.5 * row[1] + 12.0 * len(h.words)
        for h, row in zip(nbest, found.tolist(), strict=True)
    }
    assert [h.score for h in scored] == pytest.approx(sorted(expected.values(), reverse=True))
    for hypothesis in scored:
        assert hypothesis.total == pytest.approx(expected[hypothesis.log_prob], rel=1e-12)


def test_weights_of_0_give_the_acoustic_order_and_ties_keep_theirs():
    nbest = hypotheses("a", "b", "c", "d", log_probs=[-3.0, -1.0, -3.0, -1.0])
    # a weight of 0 times a log-probability of -inf is 0, not nan
    found = np.array([[-math.inf], [-5.0], [-1.0], [-math.inf]])
    scored = rescore(nbest, found, RescoreWeights((0.0,), 0.0))
    assert [h.words[0] for h in scored] == ["b", "d", "a", "c"]
    assert [h.score for h in scored] == [-1.0, -1.0, -3.0, -3.0]
    scored = rescore(nbest, found, RescoreWeights((0.1,), 0.0))
    assert [h.words[0] for h in scored] == ["b", "c", "a", "d"]


def test_a_language_model_decides_between_homophones():
    vocabulary = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, "to", "two", "go"))
    table = np.full((5, 5), 0.02)
    table[1, 2] = table[2, 4] = table[4, 1] = 0.92  # to, go, end
    nbest = hypotheses("two go", "to go", log_probs=[-1.0, -1.5])
    (found,) = lm_log_probs([nbest], [TableModel(vocabulary, table)])
    texts = [
        [" ".join(h.words) for h in rescore(nbest, found, RescoreWeights((weight,), 0.0))]
        for weight in (0.0, 0.05, 0.2)
    ]
    assert [text[0] for text in texts] == ["two go", "two go", "to go"]


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_every_hypothesis_equal_jiwers(seed):
    generator = np.random.default_rng(seed)
    texts = [
        " ".join(generator.choice(["a", "b", "c"], size=generator.integers(7))) for _ in "x" * 12
    ]
    reference, *recognised = [*texts[:-1], "c a b"][::-1]
    nbest = hypotheses(*recognised)
    every = [jiwer.process_words(reference, text) for text in recognised]
    expected = [o.substitutions + o.deletions + o.insertions for o in every]
    lists = [nbest[:2], [*nbest[2:], *hypotheses(reference)]]
    found = hypothesis_errors(lists, [reference] * 2)
    assert [len(counts) for counts in found] == [2, 10]
    assert [c.errors for counts in found for c in counts] == [*expected, 0]
    assert {c.words for counts in found for c in counts} == {3}


def test_invalid_lists_and_log_probs_are_refused():
    weights, nbest = RescoreWeights((1.0,), 0.0), hypotheses("a", "b")
    with pytest.raises(ValueError, match="the nbest of lm_log_probs is empty; expected at least"):
        rescore([], np.zeros((0, 1)), weights)
    with pytest.raises(ValueError, match=r"shape \(3, 1\); expected a row for each of 2 hypothes"):
        rescore(nbest, np.zeros((3, 1)), weights)
    with pytest.raises(ValueError, match="of 2 language models; there are weights for 1"):
        rescore(nbest, np.zeros((2, 2)), weights)
    with pytest.raises(ValueError, match="lm_log_probs has nan or inf; expected natural logs"):
        rescore(nbest, np.array([[0.0], [math.nan]]), weights)
    with pytest.raises(ValueError, match="log_prob of the nbest of lm_log_probs has nan"):
        rescore(hypotheses("a", log_probs=[math.nan]), np.zeros((1, 1)), weights)
    with pytest.raises(ValueError, match="1 nbests for 2 references"):
        hypothesis_errors([nbest], ["a", "b"])


def test_hypotheses_without_words_and_log_probs_of_a_batch_are_refused():
    nbest = [Hypothesis((2,), -1.0)]
    log_probs = random_log_probs(T=3, C=4, seed=0)
    lm = random_model(Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL)), seed=0)
    for wordless in (
        lambda: exact_log_probs(log_probs, nbest),
        lambda: rescore(nbest, np.zeros((1, 1)), RescoreWeights((1.0,), 0.0)),
        lambda: lm_log_probs([nbest], [lm]),
        lambda: hypothesis_errors([nbest], ["a"]),
    ):
        with pytest.raises(ValueError, match=r"hypothesis \(2,\) has no words; expected those of"):
            wordless()
    with pytest.raises(ValueError, match=r"log_probs has shape \(3, 1, 4\); expected \(T, C\)"):
        exact_log_probs(log_probs[:, None], hypotheses("a"))
    with pytest.raises(ValueError, match="targets has 9; expected from 0 to 3"):
        exact_log_probs(log_probs, [Hypothesis((9,), 0.0, words=("z",))])
