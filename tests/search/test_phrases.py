import numpy as np
import pytest

from asr.search.phrases import PhraseBoosts

PHRASES = {(2,): 0.5, (2, 3): 0.8, (3, 2, 3): 0.3, (2, 3, 2): 1.1, (2, 1, 2): -0.4, (4, 4): 0.7}


def occurrences(tokens, phrase, separator):
    edge = () if separator is None else (separator,)
    padded, wanted = edge + tokens + edge, edge + phrase + edge
    return sum(padded[n : n + len(wanted)] == wanted for n in range(len(padded)))


def walk(boosts, tokens):
    """The score after each token."""
    state, sums = boosts.start, [0.0]
    for token in tokens:
        after = int(boosts.after[state, token])
        sums.append(sums[-1] + float(boosts.entry_bonus[after] - boosts.taken_back[state]))
        state = after
    return sums, float(boosts.end_bonus[state])


@pytest.mark.parametrize("separator", [None, 1])
@pytest.mark.parametrize("seed", range(20))
def test_each_phrase_counts_wherever_it_occurs(seed, separator):
    boosts = PhraseBoosts.build(PHRASES, separator, 5)
    tokens = tuple(np.random.default_rng(seed).integers(1, 5, 30).tolist())
    sums, end = walk(boosts, tokens)
    expected = sum(
        nats * len(phrase) * occurrences(tokens, phrase, separator)
        for phrase, nats in PHRASES.items()
    )
    assert sums[-1] + end == pytest.approx(expected, abs=1e-12)


def test_the_bonus_grows_with_each_token_and_is_taken_back_on_a_break():
    boosts = PhraseBoosts.build({(2, 3, 4): 0.5}, 1, 5)
    assert walk(boosts, (2, 3, 4, 1, 2))[0] == [0, 0.5, 1.0, 1.5, 1.5, 2.0]
    assert walk(boosts, (2, 3, 3))[0] == [0, 0.5, 1.0, 0]
    assert walk(boosts, (2, 3))[1] == -1.0  # the end of the utterance breaks the phrase
    assert walk(boosts, (2, 3, 4))[1] == 0.0


def test_with_a_separator_only_whole_words_count():
    boosts = PhraseBoosts.build({(2, 3): 1.0}, 1, 5)
    for tokens, whole in [((2, 3), 2), ((4, 1, 2, 3, 1, 4), 2), ((4, 2, 3), 0), ((2, 3, 4), 0)]:
        sums, end = walk(boosts, tokens)
        assert sums[-1] + end == whole


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ({}, "phrases has none; expected at least one"),
        ({(): 1.0}, r"phrases has \(\); expected words with separators between them"),
        ({(2, 1): 1.0}, r"phrases has \(2, 1\); expected words with separators between them"),
        ({(2, 5): 1.0}, r"phrases has \(2, 5\); expected tokens from 1 to 4"),
        ({(2, 3): float("nan")}, r"phrases\[\(2, 3\)\] is nan; expected nats"),
    ],
)
def test_invalid_phrases_are_refused(phrases, message):
    with pytest.raises(ValueError, match=message):
        PhraseBoosts.build(phrases, 1, 5)
