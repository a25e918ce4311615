import random

import pytest

from asr.errors import InputError
from asr.text.normalisation import normalise
from asr.text.punctuation import (
    CASES,
    MARKS,
    Tag,
    case_of_word,
    punctuated,
    spelled,
    with_capitals,
    written_words,
)

NOVEL = (
    '"Now go, my dear," the Old Gentleman said -- at last; "why?" he asked... "NO! I\'m McNab\'s'
    " - etc. and all - well-known; M.P.: yes?! It cost 3.5%\u2014or ... 10:30. (He left.)"
    " 'Tis late."
)


def plain(text):
    return [f"{spelling}{tag.mark}" for _, spelling, tag in written_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Now go, my dear," he said.', "Now go, my dear, he said."),
        ('"Why?" he said; "why?!"', "Why? he said, why?"),
        ("It is here - see: there--now\u2014so", "It is here, see, there, now, so"),
        ("Dear Sir,-- I am; - yes.", "Dear Sir, I am, yes."),
        ("Well ... yes . . . No... So\u2026 so", "Well, yes. No. So, so"),
        ("The M.P. for Barset, J. Smith, etc. and I.", "The MP for Barset, J. Smith, etc and I."),
        ("Two- or three-fold (so he said).", "Two or three fold so he said."),
        ("'Tis the dogs'. \u201cCome!\u201d", "Tis the dogs. Come!"),
        ("* * *", ""),
        ("& so, 5 %!", "& so, 5 %!"),
    ],
)  # fmt: skip
def test_marks_follow_the_words(text, expected):
    assert " ".join(plain(text)) == expected


def test_words_are_those_that_are_recognised():
    """On 200 texts with marks at random places."""
    generator = random.Random(0)
    for _ in range(200):
        pieces = NOVEL.split(" ")
        for _ in range(10):
            at = generator.randrange(len(pieces))
            pieces[at] += generator.choice(
                [",", ".", "--", "-", "'", '"', ";", "...", "?", "\u2014"]
            )
        text = " ".join(generator.sample(pieces, len(pieces)))
        assert " ".join(word for word, _, _ in written_words(text)) == normalise(text)


def test_written_words_are_read_back():
    words = [word for word in written_words(NOVEL)]
    line = " ".join(f"{word.spelling}{word.tag.mark}" for word in words)
    assert [w.word for w in written_words(line)] == [w.word for w in words]
    assert [w.spelling for w in written_words(line)] == [w.spelling for w in words]
    tags = [word.tag for word in words]
    written = punctuated([w.word for w in words], tags, {"mcnab's": "McNab's"})
    assert " ".join(written) == line


@pytest.mark.parametrize(
    ("spelling", "case"),
    [
        ("and", "lower"),
        ("And", "capital"),
        ("I", "capital"),
        ("I'm", "capital"),
        ("NEVER", "upper"),
        ("I'M", "upper"),
        ("McNab", "capital"),
        ("d'Urberville", "capital"),
        ("Étienne", "capital"),
        ("10:30", "lower"),
    ],
)
def test_case_of_words(spelling, case):
    assert case_of_word(spelling) == case


def test_words_in_their_cases():
    list_of = {"mcnab": "McNab"}
    assert [spelled("mcnab", case, list_of) for case in CASES] == ["mcnab", "McNab", "MCNAB"]
    accented = [spelled("été", case, {}) for case in CASES]
    assert accented == ["été", "Été", "ÉTÉ"]


def test_sentences_begin_with_a_capital():
    words = ["he", "came", "the", "dog", "why", "he", "said", "no"]
    marks = ["", ".", "", "", "?", "", ",", "."]
    tags = with_capitals([Tag(mark, "lower") for mark in marks])
    assert " ".join(punctuated(words, tags, {})) == "He came. The dog why? he said, no."
    assert set(marks) <= set(MARKS)


def test_control_characters_are_refused_with_their_place():
    with pytest.raises(InputError, match=r"a\.txt:3: has U\+0007, a control character"):
        written_words("be\x07ll", "a.txt:3")
