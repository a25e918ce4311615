import itertools

import numpy as np
import pytest
import torch

from asr.networks.ctc import log_probability
from asr.search.greedy import greedy_search


def of_alignment(alignment, C=4):
    """(T, C): the token of each frame has probability 0.7, the others 0.1."""
    probabilities = np.full((len(alignment), C), 0.1)
    probabilities[range(len(alignment)), alignment] = 0.7
    return np.log(probabilities)


@pytest.mark.parametrize(
    ("alignment", "tokens", "frames"),
    [
        ([1, 2, 3], (1, 2, 3), (0, 1, 2)),
        ([0, 1, 1, 2, 2, 2], (1, 2), (1, 3)),  # repeats are merged
        ([1, 1, 0, 1, 0, 0], (1, 1), (0, 3)),  # a blank separates two equal tokens
        ([3, 0, 3, 3, 1, 3], (3, 3, 1, 3), (0, 2, 4, 5)),
        ([0, 0], (), ()),
    ],
)
def test_repeats_are_merged_and_blanks_dropped(alignment, tokens, frames):
    hypothesis = greedy_search(of_alignment(alignment))
    assert hypothesis.tokens == tokens
    assert hypothesis.frames == frames
    assert hypothesis.log_prob == pytest.approx(len(alignment) * np.log(0.7), rel=1e-12)


def test_without_frames_the_text_is_empty_with_probability_1():
    hypothesis = greedy_search(np.zeros((0, 3)))
    assert (hypothesis.tokens, hypothesis.log_prob, hypothesis.frames) == ((), 0.0, ())


@pytest.mark.parametrize("seed", range(20))
def test_log_prob_is_that_of_one_alignment_of_the_tokens(seed):
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), size=8))
    hypothesis = greedy_search(log_probs)
    alignment = log_probs.argmax(axis=1)
    merged = tuple(token for token, _ in itertools.groupby(alignment.tolist()) if token)
    assert hypothesis.tokens == merged
    assert hypothesis.log_prob <= log_probability(torch.from_numpy(log_probs), hypothesis.tokens)
    assert list(hypothesis.frames) == sorted(set(hypothesis.frames))
    for token, frame in zip(hypothesis.tokens, hypothesis.frames, strict=True):
        assert alignment[frame] == token
        assert frame == 0 or alignment[frame - 1] != token


@pytest.mark.filterwarnings("error")
def test_arrays_may_have_any_layout_and_byte_order():
    log_probs = np.random.default_rng(0).dirichlet(np.ones(4), size=9)
    log_probs = np.log(log_probs)
    expected = greedy_search(log_probs)
    fixed = log_probs.copy()
    fixed.setflags(write=False)
    for same in (log_probs[::-1].copy()[::-1], log_probs.astype(">f8"), fixed):
        assert greedy_search(same) == expected


def test_log_probs_without_columns_are_refused():
    with pytest.raises(ValueError, match=r"log_probs has shape \(5, 0\); expected \(T, C\)"):
        greedy_search(np.zeros((5, 0)))


def test_values_are_plain_python():
    hypothesis = greedy_search(of_alignment([1, 2]).astype(np.float32))
    assert type(hypothesis.log_prob) is float
    assert {type(number) for number in hypothesis.tokens + hypothesis.frames} == {int}


def test_a_batch_is_refused_by_name():
    with pytest.raises(ValueError, match=r"log_probs has shape \(5, 2, 3\); expected \(T, C\)"):
        greedy_search(np.zeros((5, 2, 3)))
