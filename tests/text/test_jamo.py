import itertools
import unicodedata

import numpy as np
import pytest

from asr.text.jamo import (
    DEFAULT_MEDIAL,
    SILENT_INITIAL,
    compose,
    decompose,
    first_incomplete,
    may_follow,
    position_of,
)

INITIALS = [chr(0x1100 + n) for n in range(19)]
MEDIALS = [chr(0x1161 + n) for n in range(21)]
FINALS = ["", *(chr(0x11A8 + n) for n in range(27))]
LETTERS = [*INITIALS, *MEDIALS, *FINALS[1:]]
SYLLABLES = {
    initial + medial + final: chr(0xAC00 + (21 * i + m) * 28 + f)
    for i, initial in enumerate(INITIALS)
    for m, medial in enumerate(MEDIALS)
    for f, final in enumerate(FINALS)
}
"""Letters -> syllable, by the formula of The Unicode Standard, section 3.12."""


def syllables_of(letters):
    """The text of letters, by a look at one letter after the other."""
    parts = []  # [initial, medial, final] of each syllable
    for letter in letters:
        place = 0 if letter in INITIALS else 1 if letter in MEDIALS else 2
        if not parts or any(parts[-1][place:]):
            parts.append(["", "", ""])
        parts[-1][place] = letter
    return "".join(SYLLABLES[(i or "\u110b") + (m or "\u1173") + f] for i, m, f in parts)


def test_every_syllable_is_decomposed_and_composed_as_in_unicode():
    assert len(SYLLABLES) == 11_172
    for letters, syllable in SYLLABLES.items():
        assert decompose(syllable) == letters == unicodedata.normalize("NFD", syllable)
        assert compose(letters) == syllable == unicodedata.normalize("NFC", letters)
    text = "".join(SYLLABLES.values())
    assert compose(decompose(text)) == text


@pytest.mark.parametrize("seed", range(20))
def test_any_letters_are_whole_syllables_without_a_loss(seed):
    letters = "".join(np.random.default_rng(seed).choice(LETTERS, size=40))
    text = compose(letters)
    assert text == syllables_of(letters)
    assert set(text) <= set(SYLLABLES.values())
    rest = iter(decompose(text))
    assert all(letter in rest for letter in letters)  # in order; the others were added
    assert len(decompose(text)) - len(letters) <= sum(map(decompose(text).count, "\u110b\u1173"))


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        ("\u1161", "아"),
        ("\u1100", "그"),
        ("\u11a8", "윽"),
        ("\u1100\u11a8", "극"),
        ("\u1100\u1100\u1161", "그가"),
        ("\u1100\u1161\u1161", "가아"),
        ("\u1112\u1161\u11ab\u11ab", "한은"),
        ("\u1100 a", "그 a"),
    ],
)
def test_incomplete_syllables_get_a_silent_consonant_or_the_default_vowel(letters, text):
    assert compose(letters) == text


def test_other_characters_stay():
    for text in ("", "abc 3.5", "ㅋㅋ ㅠ", "café", "語 ｶﾞ"):
        assert compose(decompose(text)) == text
    assert decompose("ㅋ3 a") == "ㅋ3 a"
    assert compose("각") == "각"


def test_letters_know_their_position():
    for position, letters in (("initial", INITIALS), ("medial", MEDIALS), ("final", FINALS[1:])):
        assert {position_of(letter) for letter in letters} == {position}
    assert not any(map(position_of, "가aㅋ \u1113\u1160\u11a7"))
    assert (position_of(SILENT_INITIAL), position_of(DEFAULT_MEDIAL)) == ("initial", "medial")


def test_letters_that_may_follow_one_another_are_whole_syllables():
    for letters in itertools.product("\u1100\u1161\u11a8 ", repeat=4):
        positions = [None, *map(position_of, letters), None]
        allowed = all(itertools.starmap(may_follow, itertools.pairwise(positions)))
        text = "".join(letters)
        assert allowed == (decompose(compose(text)) == text) == (not first_incomplete(text))
