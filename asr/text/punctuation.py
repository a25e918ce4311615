"""Written text <-> words as they are recognised, each with its punctuation mark and its case."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from asr.text.normalisation import TextSettings, canonical, lower_case, normalise

MARKS = ("", ",", ".", "!", "?")
"""What may follow a word; where several marks meet, the last one of this list stays."""

SENTENCE_ENDS = (".", "!", "?")
"""The marks that end a sentence."""

WordCase = Literal["lower", "capital", "upper"]

CASES: tuple[WordCase, ...] = ("lower", "capital", "upper")
"""How a word is spelled: in small letters, with a capital, or in two or more capitals alone."""


class Tag(NamedTuple):
    """What recognised words lack.

    Args:
        mark: the mark after the word, one of `MARKS`.
        case: of the word. All spellings but "lower" and "upper" are "capital", such as "McNab".
    """

    mark: str
    case: WordCase


class WrittenWord(NamedTuple):
    """A word of a written text.

    Args:
        word: as `asr.text.normalisation.normalise` gives it.
        spelling: the same in its case.
        tag: its mark and case.
    """

    word: str
    spelling: str
    tag: Tag


def written_words(text: str, place: str = "text") -> list[WrittenWord]:
    """The words of a written text, as they are recognised, with their marks and cases.

    Colons, semicolons and dashes between words count as commas. Of several marks the last one of
    `MARKS` counts: "?!" is a question mark. A full stop before a small letter belongs to an
    abbreviation and is left out; several, as in "well ... yes", count as a comma there. Quotation
    marks, brackets and hyphens are left out.

    Args:
        text: one or more sentences.
        place: where the text comes from; the error message starts with it.

    Returns:
        words: the same as those of `normalise(text)`.

    Raises:
        InputError: the text is not valid, see `asr.text.normalisation.canonical`.
    """
    spellings: list[str] = []
    gaps: list[str] = []  # the marks after each word
    for chunk in _APART.sub(r" \g<0> ", canonical(text, place)).split():
        found, gap = _words_of(chunk)
        spellings += found
        gaps += [""] * len(found)
        if gaps:
            gaps[-1] += gap
    words = []
    for number, spelling in enumerate(spellings):
        following = spellings[number + 1] if number + 1 < len(spellings) else ""
        tag = Tag(_mark(gaps[number], following), case_of_word(spelling))
        words.append(WrittenWord(lower_case(spelling), spelling, tag))
    return words


def case_of_word(spelling: str) -> WordCase:
    """The case of a written word."""
    if spelling == lower_case(spelling):
        return "lower"
    n_letters = sum(map(str.isalpha, spelling))
    return "upper" if n_letters > 1 and spelling == spelling.upper() else "capital"


def spelled(word: str, case: WordCase, spellings: Mapping[str, str]) -> str:
    """A word in a case.

    Args:
        word: in small letters.
        case: one of `CASES`.
        spellings: words whose capital is not simply the first letter, such as "mcnab": "McNab".
    """
    match case:
        case "lower":
            return word
        case "upper":
            return word.upper()
    return spellings.get(word) or word[:1].upper() + word[1:]


def punctuated(
    words: Sequence[str], tags: Sequence[Tag], spellings: Mapping[str, str]
) -> list[str]:
    """The words in their cases, each followed by its mark.

    Args:
        words: in small letters.
        tags: one for each word.
        spellings: see `spelled`.
    """
    return [
        spelled(word, case, spellings) + mark
        for word, (mark, case) in zip(words, tags, strict=True)
    ]


def with_capitals(tags: Sequence[Tag]) -> list[Tag]:
    """The tags of a text, with a capital for the first word and those after a full stop."""
    found = []
    begins = True
    for mark, case in tags:
        found.append(Tag(mark, "capital" if begins and case == "lower" else case))
        begins = mark == "."
    return found


_KEEP_CASE = TextSettings(case="keep")
_APART = re.compile(r"--+|[‒–—―]|\.{2,}|…")
_COMMAS = ",;:-‒–—―"


@lru_cache(maxsize=1 << 16)
def _words_of(chunk: str) -> tuple[tuple[str, ...], str]:
    """The words of a piece of text without blanks, and what follows the last one."""
    found = tuple(normalise(chunk, _KEEP_CASE).split())
    if not found:
        return (), chunk
    end = max((n for n, character in enumerate(chunk, 1) if character.isalnum()), default=0)
    return found, chunk[end:].replace("-", "")  # such as the hyphen of "two- or threefold"


def _mark(gap: str, following: str) -> str:
    """The strongest mark in `gap`, between a word and the word `following`, "" at the end."""
    if "?" in gap or "!" in gap:
        return "?" if "?" in gap else "!"
    n_stops = gap.count(".") + 3 * gap.count("…")
    if n_stops and not following[:1].islower():
        return "."
    if n_stops > 1 or any(mark in gap for mark in _COMMAS):
        return ","
    return ""
