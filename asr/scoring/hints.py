"""Errors that a reader can't see, or would not count -> hints of the option that mends them."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from asr.scoring.error_rates import Alignment

_QUOTES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4`\u2032\uff07", "'"))


def hints(alignments: Iterable[Alignment]) -> list[str]:
    """What a user should know of words that count as errors: they look alike, or differ in case."""
    alike: Counter[tuple[str, str]] = Counter()
    case: Counter[tuple[str, str]] = Counter()
    for alignment in alignments:
        for said, heard in alignment:
            if said == heard or not said or not heard:
                continue
            if said.lower() == heard.lower():
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
    return found


def _look(word: str) -> str:
    """What a reader sees of a word: without what is invisible, composed, in one case."""
    seen = unicodedata.normalize("NFKC", word).translate(_QUOTES)
    return "".join(c for c in seen if unicodedata.category(c) != "Cf").lower()


def _code_points(word: str) -> str:
    shown = " ".join(f"U+{ord(c):04X}" for c in word if not c.isascii())
    return f"{word!r} ({shown or 'ASCII'})"
