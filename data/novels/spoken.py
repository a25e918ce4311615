"""Titles, numbers and sums of money -> words as they are read aloud."""

import re

TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "messrs": "messieurs",
    "dr": "doctor",
    "st": "saint",
    "capt": "captain",
    "col": "colonel",
    "gen": "general",
    "lieut": "lieutenant",
    "rev": "reverend",
    "hon": "honourable",
    "prof": "professor",
    "esq": "esquire",
}
_TITLE = re.compile(r"\b(?:(Mrs?|Dr)\b\.?|(Messrs|St|Capt|Col|Gen|Lieut|Rev|Hon|Prof|Esq)\.)\s*")


def spell_titles(text: str) -> str:
    """The text with titles such as "Mr." in words, as LibriSpeech's transcripts: "Mister"."""
    text = _TITLE.sub(lambda match: f"{TITLES[(match[1] or match[2]).lower()].title()} ", text)
    return text.replace("&c", "et cetera").replace("&", " and ")


LARGEST = 10**12 - 1
COINS = {"l": ("pound", "pounds"), "s": ("shilling", "shillings"), "d": ("penny", "pence")}
_NUMBER = re.compile(
    r"(?P<number>\bNo\.\s*)?(?<![A-Za-z\d])(?P<pounds>[£L]\s?)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
    r"(?:(?P<ordinal>st|nd|rd|th|(?<=[23])d(?!\.))|(?P<coin>[lsd](?=\.)))?"
    r"(?![A-Za-z\d])(?P<possessive>['’]s)?",
    re.IGNORECASE,
)


def spell_numbers(text: str) -> tuple[str, int]:
    """The text with its numbers in words, and their count.

    Numbers are whole numbers, with commas or without. Those of four digits from 1100 to 1999 are
    read as years. L and £ before a number, or "l.", "s." and "d." after it, are pounds, shillings
    and pence. A full stop inside, as in 7.30, separates two numbers. Digits among letters are not
    changed.
    """
    found = 0

    def in_words(match: re.Match[str]) -> str:
        nonlocal found
        number = int(match["digits"].replace(",", ""))
        if number > LARGEST:
            return match[0]
        found += 1
        before = "number " if match["number"] else ""
        return f" {before}{_words(match, number)}{match['possessive'] or ''} "

    return _NUMBER.sub(in_words, text), found


def _words(match: re.Match[str], number: int) -> str:
    if match["ordinal"]:
        return ordinal(number)
    coin = "l" if match["pounds"] else (match["coin"] or "").lower()
    if coin:
        return f"{cardinal(number)} {COINS[coin][number != 1]}"
    if match["digits"].startswith("0"):
        return " ".join(cardinal(int(digit)) for digit in match["digits"])
    if len(match["digits"]) == 4 and 1100 <= number < 2000:
        return year(number)
    return cardinal(number)


ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
POWERS = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def cardinal(number: int) -> str:
    """A number in British English: 1842 is one thousand eight hundred and forty two."""
    for power, name in POWERS:
        if number >= power:
            front, rest = divmod(number, power)
            joint = " and " if rest < 100 else " "
            return f"{cardinal(front)} {name}" + (f"{joint}{cardinal(rest)}" if rest else "")
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f" {ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """An ordinal number in words: 21 is twenty first."""
    words = cardinal(number).split(" ")
    last = words[-1]
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*words[:-1], IRREGULAR.get(last, regular)])


def year(number: int) -> str:
    """A year in words: 1842 is eighteen forty two, 1805 eighteen hundred and five."""
    century, rest = divmod(number, 100)
    if rest < 10:
        return f"{cardinal(century)} hundred" + (f" and {cardinal(rest)}" if rest else "")
    return f"{cardinal(century)} {cardinal(rest)}"
