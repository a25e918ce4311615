"""reference and recognised text -> ErrorCounts, where digits stand for all their usual readings.

Corpora have numbers in words, as they were said. Some systems write digits, which don't tell how
they were said: 218 is "two hundred and eighteen", "two hundred eighteen", "two eighteen" or "two
one eight". All of them become alternatives in sclite's notation, and the scoring takes the one with
the fewest errors, so that a system has no errors only because it writes digits.
"""

import re
import runpy
from pathlib import Path

from asr.corpus.spoken_text import ENGLISH
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.scoring.notation import Rules, resolve, word_graph
from asr.text.normalisation import normalise

_SPOKEN = runpy.run_path(
    str(Path(__file__).resolve().parent.parent.parent / "data" / "novels" / "spoken.py")
)
cardinal, ordinal = _SPOKEN["cardinal"], _SPOKEN["ordinal"]

SIGNS = {"%": " percent ", "&": " and ", "@": " at ", ".": " point "}
"""How signs are read; of dots, those that `normalise` leaves, which are in numbers."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DOLLARS = re.compile(r"\$([\d.]*\d)")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_PARTS = re.compile(r"\d+|[^\W\d]+(?:'[^\W\d]+)*")


def count_word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Word errors of one text in the words of `scored_words`, with the best alternatives."""
    graphs = [
        word_graph(scored_words(text), what, "timed", Rules(optional=False))
        for what, text in (("reference", reference), ("hypothesis", hypothesis))
    ]
    said, heard = resolve(*graphs)
    return word_errors([said], [heard])[0]


def scored_words(text: str) -> str:
    """The words of a text in lower case, with alternatives for numbers in sclite's notation.

    Punctuation is removed and separates words, as in `normalise`; so does the border between a
    letter and a digit. Abbreviations such as mr are written out, as in the corpora's references.
    Thousands may have commas. $5 is "five dollars", 3.5 "three point five"; other marks in numbers
    separate them. Signs other than `SIGNS` are removed.

    >>> scored_words("Enter 1-18, Mr. B.")
    'enter one { eighteen / one eight } mister b'
    """
    text = _DOLLARS.sub(r"\1 dollars", _THOUSANDS.sub("", normalise(text)))
    for sign, words in SIGNS.items():
        text = text.replace(sign, words)
    text = _ORDINAL.sub(lambda found: f" {ordinal(int(found[1]))} ", text)
    return " ".join(_read(part) for part in _PARTS.findall(text))


def readings(digits: str) -> list[str]:
    """The usual ways to read a whole number, such as 1905 or 007, without repetitions.

    The value with and without "and", the digits one by one with "zero" or "oh", and for three or
    four digits the hundreds and the rest: "nineteen oh five", "two eighteen", "twelve hundred".
    """
    value = cardinal(int(digits))
    single = " ".join(cardinal(int(digit)) for digit in digits)
    found = [value, value.replace(" and ", " "), single, single.replace("zero", "oh")]
    if len(digits) in (3, 4) and digits[0] != "0":
        hundreds, rest = divmod(int(digits), 100)
        ending = "hundred" if rest == 0 else f"oh {cardinal(rest)}" if rest < 10 else cardinal(rest)
        found.append(f"{cardinal(hundreds)} {ending}")
    return list(dict.fromkeys(found))


def _read(part: str) -> str:
    if not part.isdecimal():
        return ENGLISH.get(part, part)
    found = readings(part)
    return found[0] if len(found) == 1 else f"{{ {' / '.join(found)} }}"
