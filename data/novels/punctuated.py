"""A sentence of a novel -> its words as they are spoken, with marks and cases."""

import re

from spoken import spell_numbers, spell_titles

from asr.text.punctuation import written_words

SPLITS = {9: "dev", 19: "test"}
"""Of twenty books in order, these numbers, from 0, go to dev and test as a whole."""

_HEADING = re.compile(
    r"\W*(?:chapter|book|part|volume|vol)\b\W*(?:the\s+)?(?:[ivxlc]+|\d+|\w+)\W*", re.IGNORECASE
)
_INNER_STOP = re.compile(r"(?<=\w)\.(?=\s+[^\s.])")


def split_of_book(number: int) -> str:
    """train, dev or test, for the book with this number, from 0."""
    return SPLITS.get(number % 20, "train")


def punctuated_line(sentence: str) -> str:
    """The sentence with `asr.text.punctuation.MARKS`, without abbreviations and numbers.

    It is "" for a sentence without a word or with digits among letters, and for headings: those
    in capitals alone, "Chapter I", and all that do not end in a mark.
    """
    is_shouted = sentence == sentence.upper() and sum(map(str.isalpha, sentence)) > 1
    if is_shouted or _HEADING.fullmatch(sentence.strip()):
        return ""
    text, _ = spell_numbers(spell_titles(sentence.strip()))
    words = written_words(_INNER_STOP.sub("", text))
    line = " ".join(f"{word.spelling}{word.tag.mark}" for word in words)
    if not words or not words[-1].tag.mark or any(map(str.isdigit, line)):
        return ""
    return line[0].upper() + line[1:]
