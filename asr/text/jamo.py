"""Hangul's syllables <-> their letters (jamo), with initial and final consonants told apart."""

import re
import unicodedata
from typing import Literal

Position = Literal["initial", "medial", "final"]
"""Where a letter stands in its syllable: a consonant, a vowel, and perhaps a consonant."""

SILENT_INITIAL = "\u110b"
"""The ㅇ of 아: it is written where a syllable begins with its vowel."""

DEFAULT_MEDIAL = "\u1173"
"""The ㅡ of 그: Korean adds this vowel to consonants without one, as to those of loanwords."""


def decompose(text: str) -> str:
    """The letters of a text: Unicode's decomposed form (NFD).

    A syllable becomes an initial consonant, a vowel and perhaps a final consonant. Initial and
    final consonants are different characters, so that letters alone tell where syllables begin.
    Accents come after their letters. All other characters stay, also single letters (ㅋㅋ).

    >>> len(decompose("한국")), decompose("한국")[2] == decompose("한국")[3]
    (6, False)
    """
    return unicodedata.normalize("NFD", text)


def compose(letters: str) -> str:
    """The text of letters, in Unicode's composed form (NFC); every letter is in a syllable.

    It is the inverse of `decompose` for complete syllables. Others are completed, and no letter is
    lost: a missing initial consonant becomes the silent ㅇ, and a missing vowel ㅡ. So the vowel ㅏ
    becomes 아, the initial ㄱ becomes 그, and the final ㄱ 윽.

    Source: The Unicode Standard, section 3.12, "Standard Korean Syllable Blocks", which completes
    them by invisible fillers; here by ㅇ, which Korean writes where no consonant is said, and ㅡ,
    which it adds in loanwords.
    """
    return unicodedata.normalize("NFC", _SYLLABLE.sub(_completed, letters))


def first_incomplete(letters: str) -> str:
    """The letters of the first syllable that `compose` completes; empty if there is none."""
    syllables = _SYLLABLE.finditer(letters)
    return next((one[0] for one in syllables if not (one[1] and one[2])), "")


def position_of(character: str) -> Position | None:
    """Where a letter stands in its syllable; None for all but the letters of modern syllables."""
    for position, (first, last) in _RANGES.items():
        if first <= character <= last:
            return position
    return None


def may_follow(before: Position | None, after: Position | None) -> bool:
    """Whether a letter may follow another in a text of whole syllables.

    Args:
        before: position of the first; None for another character, or the start of the text.
        after: position of the second; None for another character, or the end of the text.
    """
    if before == "initial" or after == "medial":
        return (before, after) == ("initial", "medial")
    return after != "final" or before == "medial"


_RANGES: dict[Position, tuple[str, str]] = {
    "initial": ("\u1100", "\u1112"),
    "medial": ("\u1161", "\u1175"),
    "final": ("\u11a8", "\u11c2"),
}

_INITIAL, _MEDIAL, _FINAL = (f"{first}-{last}" for first, last in _RANGES.values())
_SYLLABLE = re.compile(
    f"(?=[{_INITIAL}{_MEDIAL}{_FINAL}])([{_INITIAL}]?)([{_MEDIAL}]?)([{_FINAL}]?)"
)


def _completed(syllable: re.Match[str]) -> str:
    initial, medial, final = syllable.groups()
    return (initial or SILENT_INITIAL) + (medial or DEFAULT_MEDIAL) + final
