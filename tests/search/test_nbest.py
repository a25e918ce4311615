import math

import numpy as np
import pytest
import torch

from asr.hmm.topology import left_to_right
from asr.search.beam import ctc_beam_search
from asr.search.flashlight import flashlight_search
from asr.search.greedy import greedy_search
from asr.search.hmm_beam import hmm_beam_search
from asr.search.nbest import Hypothesis, spelled
from asr.search.space import SearchSpace
from asr.text.tokenizer import CharTokenizer

SPACE = SearchSpace(CharTokenizer(("<blank>", "a", "b")))
TOPOLOGY = left_to_right(3, 2, 1)


def hmm_search(emissions, space):
    return hmm_beam_search(emissions, space, TOPOLOGY)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("search", [ctc_beam_search, flashlight_search, hmm_search])
def test_every_search_refuses_nan_and_infinity(search, value):
    C = 5 if search is hmm_search else 3
    log_probs = torch.full((4, C), -1.0)
    log_probs[2, 1] = value
    name = "emissions" if search is hmm_search else "log_probs"
    with pytest.raises(ValueError, match=f"{name} has NaN or inf; expected natural logs"):
        search([torch.zeros(4, C), log_probs], SPACE)


@pytest.mark.parametrize("shape", [(), (4,), (4, 2), (1, 4, 3)])
@pytest.mark.parametrize("search", [ctc_beam_search, hmm_search])
def test_every_search_refuses_other_shapes(search, shape):
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(T, "):
        search([torch.zeros(5, 5 if search is hmm_search else 3), torch.zeros(shape)], SPACE)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_greedy_search_refuses_nan_and_infinity(value):
    log_probs = np.full((4, 3), -1.0)
    log_probs[3, 0] = value
    with pytest.raises(
        ValueError, match=r"log_probs has (NaN|inf) at \(3, 0\); expected natural log"
    ):
        greedy_search(log_probs)


def test_minus_infinity_is_accepted():
    log_probs = np.full((2, 3), -math.inf)
    log_probs[:, 0] = 0.0
    assert greedy_search(log_probs).tokens == ()


def test_words_are_given_or_spelled_by_the_tokens():
    tokenizer, tokens, frames = (
        CharTokenizer(("<blank>", " ", "a", "b")),
        (1, 2, 3, 1, 3),
        (0, 2, 3, 7, 9),
    )
    given = Hypothesis(
        tokens, -1.0, frames, ("said", "so"), first_frames=(0, 5), last_frames=(4, 6)
    )
    found, without_frames, same = spelled(
        [Hypothesis(tokens, -1.0, frames, score=2.0), Hypothesis(tokens, -1.0), given], tokenizer
    )
    words = ("ab", "b")
    assert found == Hypothesis(tokens, -1.0, frames, words, 0.0, 2.0, (2, 9), (3, 9))
    assert without_frames == Hypothesis(tokens, -1.0, words=words)
    assert same is given
