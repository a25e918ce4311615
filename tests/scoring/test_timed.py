import random

import pytest

from asr.errors import InputError
from asr.scoring.timed import read_ctm, read_stm, words_in_segments


def stm(*rows):
    return read_stm([(f"r.stm:{n}", f"{row}\n") for n, row in enumerate(rows, 1)])


def ctm(*rows):
    return read_ctm([(f"h.ctm:{n}", f"{row}\n") for n, row in enumerate(rows, 1)])


@pytest.mark.parametrize("seed", range(20))
def test_words_belong_to_the_segment_around_their_middle(seed):
    generator = random.Random(seed)
    edges = [round(0.3 * n, 1) for n in range(generator.randint(2, 12))]
    rows = [
        f"c {channel} s {begin} {begin + 0.3:.1f} {channel}{begin}"
        for channel in "AB"
        for begin in edges
    ]
    generator.shuffle(rows)  # out of order by less than a second, and by more
    begins = {c: [round(0.07 * n + 0.01, 2) for n in range(3 * len(edges))] for c in "AB"}
    words = [f"c {c} {begin} 0.05 w{begin}" for c in "AB" for begin in begins[c]]
    pairs = words_in_segments(stm(*rows), ctm(*words), missing_is_deleted=False)
    assert [said.text for said, _ in pairs] == [row.split()[-1] for row in rows]
    for row, (_, heard) in zip(rows, pairs, strict=True):
        _, channel, _, start, stop, _ = row.split()
        inside = [b for b in begins[channel] if float(start) <= b + 0.025 < float(stop)]
        assert heard.text == " ".join(f"w{begin}" for begin in inside)


def test_alternatives_are_one_word_of_several_lines():
    (word,) = ctm(
        "c A * * <ALT_BEGIN>",
        "c A 1.0 0.5 uh",
        "c A * * <ALT>",
        "c A 1.0 0.25 u",
        "c A 1.25 0.5 m",
        "c A * * <ALT_END>",
    )
    assert (word.text, word.lines) == ("{ uh / u m }", 6)
    assert (word.begin, word.middle, word.end) == (1.0, 1.5, 1.75)


def test_a_segment_that_ends_before_it_begins_is_refused():
    with pytest.raises(InputError, match=r"r.stm:1: ends at 1.0 s, before it begins at 2.0 s"):
        stm("c A s 2.0 1.0 a")


def test_a_channel_without_words_is_named_with_its_own_line():
    rows = stm(
        "c A s 0.0 1.0 IGNORE_TIME_SEGMENT_IN_SCORING", "c B s 0.0 1.0 go", "c C s 0.0 1.0 a"
    )
    words = ctm("c C 0.2 0.1 a")
    with pytest.raises(InputError, match=r"r.stm:2: the CTM has no word of c B \(recording"):
        words_in_segments(rows, words, missing_is_deleted=False)
    with pytest.raises(InputError, match=r"h.ctm:1: c D \(recording, channel\) is not in the STM"):
        words_in_segments(rows, ctm("c D 0.2 0.1 a"), missing_is_deleted=True)
