import itertools
import random

import pytest

from asr.alignment.times import Word
from asr.transcribing import captions as module
from asr.transcribing.captions import GAP_MS, MAX_LINE, MAX_MS, MIN_MS, Caption, captions

FUNCTION_WORDS = ["the", "and", "of", "that"]
LENGTHS = [1, 3, 6, 12, 20, 30, 45]


def random_words(n_words, seed):
    """Words of many lengths, slow and fast, with and without pauses and punctuation."""
    generator = random.Random(seed)
    words, now = [], generator.uniform(0, 2)
    speed_s = generator.choice([0.02, 0.1, 0.3])
    for _ in range(n_words):
        text = generator.choice([*FUNCTION_WORDS, *("x" * length for length in LENGTHS)])
        text += generator.choice(["", "", "", ",", "."])
        end = now + speed_s * generator.uniform(0.5, 2) * max(2, len(text))
        words.append(Word(text, now, end, 0.5))
        now = end + generator.choice([0, 0, 0.1, 0.25, 0.6, 2])
    return words


def plain_penalty(words, division):
    """(missing milliseconds, looks) of a division; None if it breaks a limit.

    A division is a list of captions, each a list of lines, each a list of indices of words.
    """
    missing, looks = 0, 0.0
    for number, lines in enumerate(division):
        ids = [n for line in lines for n in line]
        start, end = round(1000 * words[ids[0]].start), round(1000 * words[ids[-1]].end)
        too_wide = any(len(" ".join(words[n].text for n in line)) > MAX_LINE for line in lines)
        if (too_wide or end - start > MAX_MS) and len(ids) > 1:
            return None
        shown = max(end, start + 1000)
        if ids[-1] + 1 < len(words):
            following = round(1000 * words[ids[-1] + 1].start)
            if following - shown < 500:
                shown = following - min(80, (following - start) // 2)
        missing += max(0, 1000 - (min(shown, start + 7000) - start))
        looks += 1
        for before, after in itertools.pairwise(ids):
            looks += 5 * max(0, words[after].start - words[before].end - 0.3)
        if number + 1 < len(division):
            looks += 2 * module._border(words[ids[-1]], words[ids[-1] + 1])
        if len(lines) == 2:
            width, other = (len(" ".join(words[n].text for n in line)) for line in lines)
            looks += module._border(words[lines[0][-1]], words[lines[1][0]])
            looks += abs(width - other) / MAX_LINE
    return missing, looks


def all_captions(ids, words):
    """All ways to put words into lines; two lines only if one is too short."""
    text = " ".join(words[n].text for n in ids)
    if len(ids) == 1 or len(text) <= MAX_LINE:
        return [[ids]]
    return [[ids[:middle], ids[middle:]] for middle in range(1, len(ids))]


def all_divisions(words):
    """All divisions of the words into captions, and of the captions into lines."""
    n_words = len(words)
    for is_border in itertools.product([False, True], repeat=n_words - 1):
        borders = [0, *(n + 1 for n, border in enumerate(is_border) if border), n_words]
        parts = [list(range(*pair)) for pair in itertools.pairwise(borders)]
        yield from itertools.product(*(all_captions(part, words) for part in parts))


def as_division(words, found):
    ids = iter(range(len(words)))
    return [[[next(ids) for _ in line.split()] for line in caption.lines] for caption in found]


@pytest.mark.parametrize("seed", range(30))
def test_no_other_division_has_a_smaller_penalty(seed):
    words = random_words(n_words=1 + seed % 7, seed=seed)
    possible = (plain_penalty(words, division) for division in all_divisions(words))
    expected = min(penalty for penalty in possible if penalty is not None)
    found = plain_penalty(words, as_division(words, captions(words)))
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_every_word_comes_once_and_limits_hold(seed):
    words = random_words(n_words=200, seed=seed)
    found = captions(words)
    assert " ".join(line for caption in found for line in caption.lines).split() == [
        word.text for word in words
    ]
    for caption, lines in zip(found, as_division(words, found), strict=True):
        first = words[lines[0][0]]
        assert caption.start_ms == round(1000 * first.start)
        assert 1 <= len(lines) <= 2
        assert all(len(line) <= MAX_LINE or len(line.split()) == 1 for line in caption.lines)
        assert max(map(len, caption.lines)) <= MAX_LINE or len(caption.lines) == 1
        assert 0 < caption.end_ms - caption.start_ms <= MAX_MS
        last = words[lines[-1][-1]]
        early_ms = round(1000 * last.end) - caption.end_ms
        assert early_ms <= GAP_MS or len(lines[0]) == 1  # a word of more than 7 s
    for caption, after in itertools.pairwise(found):
        room = after.start_ms - caption.start_ms
        assert caption.end_ms <= after.start_ms - min(GAP_MS, room // 2)
        assert (
            not GAP_MS < after.start_ms - caption.end_ms < 500
            or caption.end_ms - caption.start_ms == MAX_MS
        )


@pytest.mark.parametrize("seed", range(30))
def test_speech_of_usual_speed_is_shown_for_a_second(seed):
    generator = random.Random(seed)
    words, now = [], 0.0
    for _ in range(200):
        text = "x" * generator.randint(1, 12)
        words.append(Word(text, now, now + 0.06 * len(text) + 0.05, 0.5))
        now = words[-1].end + generator.choice([0, 0, 0.1, 0.7])
    assert all(caption.end_ms - caption.start_ms >= MIN_MS for caption in captions(words))


def test_the_last_caption_disappears_at_the_end_of_the_recording():
    words = [Word("go", 5.0, 5.06, 0.5)]
    for latest, end in ((None, 6000), (8000, 6000), (5700, 5700), (5060, 5060)):
        assert captions(words, latest) == [Caption(("go",), 5000, end)]
    words.append(Word("now", 15.0, 15.5, 0.5))
    assert [one.end_ms for one in captions(words, 15700)] == [6000, 15700]


def spoken(text, pause_after=(), pause_s=0.6):
    words, now = [], 0.0
    for word in text.split():
        words.append(Word(word, now, now + 0.06 * len(word), 0.9))
        now = words[-1].end + (pause_s if word in pause_after else 0.0)
    return words


@pytest.mark.parametrize(
    ("text", "pause_after", "expected"),
    [
        (
            "he set off for the bull walking rapidly lest a shrill whistle might call",
            ["bull"],
            [("he set off for the bull",), ("walking rapidly lest", "a shrill whistle might call")],
        ),
        (
            "the house stood on a hill above the river and nobody had lived there for years",
            [],
            [("the house stood on a hill above the river", "and nobody had lived there for years")],
        ),
        (
            "Martha was the first who went in, because she was not afraid of the house. Nobody"
            " else was.",
            [],
            [
                (
                    "Martha was the first who went in,",
                    "because she was not afraid of the house.",
                ),
                ("Nobody else was.",),
            ],
        ),
    ],
)
def test_captions_and_lines_end_at_pauses_and_phrases(text, pause_after, expected):
    assert [caption.lines for caption in captions(spoken(text, pause_after))] == expected


def test_a_long_word_is_kept_whole():
    long = "x" * (MAX_LINE + 1)
    found = captions(spoken(f"go {long} now"))
    assert [caption.lines for caption in found] == [("go",), (long,), ("now",)]


def test_no_words_give_no_captions():
    assert captions([]) == []
