"""Alignments -> hints about errors that are not real, and the options against them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from asr.scoring.error_rates import Alignment

_SIGN = re.compile(r"<[^<>]+>|\+\+\S+\+\+|\[\S+\]|[-–—{}/]")
_QUOTES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`\u2032\uff07", "'"))


def hints(alignments: Iterable[Alignment]) -> list[str]:
    """Lines about errors that look alike, differ only in case, or are not words."""
    alike: Counter[tuple[str, str]] = Counter()
    case: Counter[tuple[str, str]] = Counter()
    none: Counter[str] = Counter()
    for alignment in alignments:
        for said, heard in alignment:
            if said == heard:
                continue
            none.update(word for word in (said, heard) if word and _is_no_word(word))
            if not said or not heard:
                continue
            if without_case(said) == without_case(heard):
                case[said, heard] += 1
            elif not (said.isascii() and heard.isascii()) and _look(said) == _look(heard):
                alike[said, heard] += 1
    found = []
    if alike:
        said, heard = (_code_points(word) for word in alike.most_common(1)[0][0])
        found.append(
            f"{alike.total()} substitutions look alike, such as {heard} for {said}: the same"
            " characters in another Unicode form; --normalise may make them equal"
        )
    if case:
        said, heard = case.most_common(1)[0][0]
        found.append(
            f"{case.total()} substitutions differ only in case, such as {heard!r} for {said!r};"
            " --ignore-case ignores case"
        )
    if none:
        found.append(
            f"{none.total()} errors are special symbols that count as words, such as"
            f" {_code_points(none.most_common(1)[0][0])}"
        )
    return found


def without_case(text: str) -> str:
    """The text in lower case, where İ becomes i. The Unicode form stays unchanged."""
    return text.replace("İ", "i").lower()


def _is_no_word(word: str) -> bool:
    """Whether a word is a symbol such as `<eps>` and `++NOISE++`, or is invisible."""
    if word.isalnum():  # the usual case
        return False
    return _SIGN.fullmatch(word) is not None or not _look(word)


def _look(word: str) -> str:
    """The visible form of a word: without invisible characters, in NFKC and lower case."""
    seen = unicodedata.normalize("NFKC", word).translate(_QUOTES)
    return without_case("".join(c for c in seen if unicodedata.category(c) not in ("Cf", "Cc")))


def _code_points(word: str) -> str:
    shown = " ".join(f"U+{ord(c):04X}" for c in word if not c.isascii())
    return f"{word!r} ({shown})" if shown else f"{word!r}"
