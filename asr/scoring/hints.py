"""Errors that a reader can't see, or would not count -> hints of the option that mends them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from asr.scoring.error_rates import Alignment

_SIGN = re.compile(r"<[^<>]+>|\+\+\S+\+\+|\[\S+\]|[-–—{}/]")
_QUOTES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`\u2032\uff07", "'"))


def hints(alignments: Iterable[Alignment]) -> list[str]:
    """What a user should know of words that count as errors: they look alike, or are none."""
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
            f"{alike.total()} substitutions look alike, such as {said} for {heard}: the same"
            " characters, composed otherwise; --normalise may make them one"
        )
    if case:
        said, heard = case.most_common(1)[0][0]
        found.append(
            f"{case.total()} substitutions differ in case alone, such as {heard!r} for {said!r};"
            " --ignore-case does not count them"
        )
    if none:
        found.append(
            f"{none.total()} errors are of signs that count as words, such as"
            f" {_code_points(none.most_common(1)[0][0])}"
        )
    return found


def without_case(text: str) -> str:
    """The text in small letters; of İ an i with one dot. Letters stay composed as they are."""
    return text.replace("İ", "i").lower()


def _is_no_word(word: str) -> bool:
    """Whether a word is a sign such as `<eps>` and `++NOISE++`, or nothing that can be seen."""
    return _SIGN.fullmatch(word) is not None or not _look(word)


def _look(word: str) -> str:
    """What a reader sees of a word: without what is invisible, composed, in one case."""
    seen = unicodedata.normalize("NFKC", word).translate(_QUOTES)
    return without_case("".join(c for c in seen if unicodedata.category(c) not in ("Cf", "Cc")))


def _code_points(word: str) -> str:
    shown = " ".join(f"U+{ord(c):04X}" for c in word if not c.isascii())
    return f"{word!r} ({shown})" if shown else f"{word!r}"
