import math

import numpy as np
import pytest
import torch
from stream_models import hybrid_recognizer, recognizer_of

from asr.streaming.pauses import find_end, speech_scores


def scores_of(pattern):
    """Scores of frames: a letter is speech, a point a pause."""
    return np.array([-0.3 if frame == "." else 0.3 for frame in pattern])


@pytest.mark.parametrize(
    ("pattern", "end"),
    [
        ("", 0),
        ("aaaa", 0),
        ("aa...aa", 0),
        ("aa....", 4),
        ("aa....aa", 4),
        ("aa......aa", 6),
        ("aa....aa....", 4),  # the first of two
        ("....", 2),  # without speech, too
        ("...aa....", 7),
    ],
)
def test_a_segment_ends_in_its_first_long_pause(pattern, end):
    assert find_end(scores_of(pattern), 4, 100) == end


def test_a_pause_of_infinite_length_never_ends_a_segment():
    assert find_end(scores_of("a" + 50 * "."), math.inf, 100) == 0


@pytest.mark.parametrize(
    ("pattern", "end"),
    [
        ("a..aaaaa.aa..aaaaaa", 12),  # in the longest pause of frames 8 to 15
        ("a..aaaaa.aa..aaaaaaaaaaaaaaa", 12),  # wherever it is noticed
        ("a" * 14, 0),
    ],
)
def test_a_long_segment_is_cut_in_the_longest_pause_of_its_second_half(pattern, end):
    assert find_end(scores_of(pattern), 4, 16) == end


def test_without_a_pause_the_cut_is_at_the_lowest_score():
    scores = np.linspace(0.1, 0.5, 20)
    scores[11] = 0.05
    assert find_end(scores, 4, 16) == 11


@pytest.mark.parametrize("pause", [0.2, 1.0, 3.5])
def test_every_end_is_progress(pause):
    generator = np.random.default_rng(0)
    for _ in range(200):
        scores = generator.normal(size=30)
        assert find_end(scores, pause, 20) > 0


def test_scores_are_above_0_where_blank_space_and_silence_are_improbable():
    model = recognizer_of().model
    rows = torch.log(torch.tensor([[0.2, 0.4, 0.2, 0.1, 0.1], [0.2, 0.1, 0.1, 0.1, 0.5]]))
    np.testing.assert_allclose(speech_scores(model, rows), [-0.1, 0.2], atol=1e-6)
    hybrid = hybrid_recognizer().model  # its silence is the last of five states
    posteriors = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.6]]).log()
    emissions = posteriors - hybrid.acoustic.log_priors
    np.testing.assert_allclose(speech_scores(hybrid, emissions), [-0.1], atol=1e-6)
