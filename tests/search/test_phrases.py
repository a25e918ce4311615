import re

import numpy as np
import pytest

from asr.errors import InputError
from asr.search.phrases import PhraseBoosts, read_phrases

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
        sums.append(sums[-1] + float(boosts.worth[after] - boosts.lent[state]))
        state = after
    return sums, float(boosts.end[state])


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


def test_a_file_of_phrases_with_and_without_bonuses(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text("\ufeffnew\u00a0 york\n\nrubout\t3.5\n don’t\t -1\r\n", "utf-8")
    assert read_phrases(path) == [
        ("new york", 2.0, f"{path}:1: phrase 'new york'"),
        ("rubout", 3.5, f"{path}:3: phrase 'rubout'"),
        ("don't", -1.0, f'{path}:4: phrase "don\'t"'),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": has no phrase; expected one per line"),
        ("a\n\n\t2\n", ":3: has no phrase; expected each phrase once"),
        ("a b\na  b\t3\n", ":2: has 'a b' again; expected each phrase once"),
        ("a\tmuch\n", ":1: has 'much'; expected a bonus in nats after the tab"),
        ("a\tnan\n", ":1: has 'nan'; expected a bonus in nats after the tab, from -1e+06 to 1e+06"),
        ("a\t2\rb\t1e999", ":2: has '1e999'; expected a bonus in nats"),
        ("a\t\n", ":1: has ''; expected a bonus in nats after the tab"),
        ("\udcff", ":1: has the byte 0xff; expected UTF-8"),
        ("a\x7f\t2\n", ":1: has U+007F, a control character; expected a text"),
        ("thre\u0301e\nthrée\n", ":2: has 'thrée' again; expected each phrase once"),
    ],
)
def test_invalid_files_of_phrases_are_refused(tmp_path, text, message):
    path = tmp_path / "phrases.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read_phrases(path)
    with pytest.raises(InputError, match="nowhere: can't be read: No such file"):
        read_phrases(tmp_path / "nowhere")
