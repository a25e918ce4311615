"""words with times -> captions: short texts of one or two lines, with the times to show them."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from asr.alignment.times import Word

MAX_LINE = 42
"""Characters in a line. Only a longer word has a longer line, and is a caption of its own."""

MIN_MS = 1000
"""Milliseconds that a caption is shown, if what comes after it leaves so much time."""

MAX_MS = 7000
"""Milliseconds that a caption is shown at most."""

GAP_MS = 80
"""Milliseconds between two captions, two frames of a film: the viewer sees the text change."""

SHORT_GAP_MS = 500
"""A caption that ends less than this before the next one is shown until `GAP_MS` before it."""


class Caption(NamedTuple):
    """A text on the screen."""

    lines: tuple[str, ...]  # one or two
    start_ms: int  # from the start of the recording
    end_ms: int


def captions(words: Sequence[Word], latest_end_ms: int | None = None) -> list[Caption]:
    """Divide words into captions, and each caption into lines.

    Of all divisions that keep the limits above, the one with the smallest penalty is taken. There
    are penalties for each caption, for pauses inside captions, for captions and lines that end
    within a phrase, and for lines of different lengths. Phrases are recognised by pauses,
    punctuation, and English function words, which begin them.

    A caption appears with its first word. It disappears after its last word and `MIN_MS`, but
    `GAP_MS` before the next one. If no division shows every caption for `MIN_MS`, as little time
    as possible is missing in all.

    Args:
        words: in order of time, as in a `Transcript`; they don't overlap.
        latest_end_ms: when the last caption disappears at the latest, such as at the recording's
            end; not before the last word's.

    Returns:
        captions: every word is in exactly one caption, in order.

    Source: Knuth and Plass 1981, "Breaking paragraphs into lines", for the search; Netflix, "Timed
        Text Style Guide", for the limits, with 1 s for its 5/6 s.
    """
    text = _measured(words, latest_end_ms)
    # for the first n words: the smallest penalty, and the first word of the last caption
    best: list[tuple[_Penalty, int]] = [(_Penalty(0, 0.0), 0)]
    for end in range(1, len(words) + 1):
        divisions = []
        for first in range(end - 1, -1, -1):
            penalty = _penalty(text, first, end)
            if penalty is None:
                break  # a longer caption doesn't fit either
            divisions.append((_sum(best[first][0], penalty), first))
        best.append(min(divisions))
    found: list[Caption] = []
    end = len(words)
    while end:
        first = best[end][1]
        found.append(_caption(text, first, end))
        end = first
    return found[::-1]


def milliseconds(seconds: float) -> int:
    """A time in whole milliseconds; every format rounds like this."""
    return round(1000 * seconds)


class _Penalty(NamedTuple):
    missing_ms: int  # by how much captions are too short; compared first
    looks: float


def _sum(one: _Penalty, other: _Penalty) -> _Penalty:
    return _Penalty(one.missing_ms + other.missing_ms, one.looks + other.looks)


class _Text(NamedTuple):
    """N words, as the search needs them."""

    words: list[str]
    start_ms: list[int]
    end_ms: list[int]
    offsets: list[int]  # (N + 1,) characters before each word, with a blank after each
    borders: list[float]  # (N + 1,) penalty of a border before each word
    pauses: list[float]  # (N,) penalty of the pauses before each word, if all were inside a caption
    latest_end_ms: int | None


_CAPTION = 1.0
_PAUSE_INSIDE = 5.0  # a second, beyond _PAUSE_S
_UNEQUAL_LINES = 1.0  # if one line is longer by MAX_LINE
_CAPTION_BORDER = 2.0  # times the penalty of a line's end
_AFTER_FUNCTION_WORD = 3.0
_WITHIN_PHRASE = 1.0
_BEFORE_FUNCTION_WORD = 0.5
_AFTER_CLAUSE = 0.2

_PAUSE_S = 0.3  # separates phrases as well as the end of a sentence does

_SENTENCE_ENDS = tuple(".?!…。？！")
_CLAUSE_ENDS = tuple(",;:–—、，；：")

_CONJUNCTIONS = (
    "and or but nor because although though if unless that than while when where which who"
)
_PREPOSITIONS = (
    "about above across after against along among around as at before behind below beneath beside"
    " between beyond by down during except for from in inside into like near of off on onto out"
    " over past since through to toward towards under until up upon with within without"
)
_DETERMINERS = "a an the my your his her its our their every"
_PRONOUNS = "i he she we they"
_FUNCTION_WORDS = frozenset(f"{_CONJUNCTIONS} {_PREPOSITIONS} {_DETERMINERS} {_PRONOUNS}".split())


def _measured(words: Sequence[Word], latest_end_ms: int | None) -> _Text:
    pauses = [after.start - before.end for before, after in pairwise(words)]
    inside = (_PAUSE_INSIDE * max(0.0, pause - _PAUSE_S) for pause in pauses)
    borders = [_border(before, after) for before, after in pairwise(words)]
    return _Text(
        words=[word.text for word in words],
        start_ms=[milliseconds(word.start) for word in words],
        end_ms=[milliseconds(word.end) for word in words],
        offsets=list(accumulate((len(word.text) + 1 for word in words), initial=0)),
        borders=[0.0, *borders, 0.0],
        pauses=list(accumulate(inside, initial=0.0)),
        latest_end_ms=latest_end_ms,
    )


def _border(before: Word, after: Word) -> float:
    """Penalty of the end of a line or a caption between two words."""
    ending = before.text.rstrip("\"')]}»”’")
    if ending.endswith(_SENTENCE_ENDS):
        return 0.0
    if ending.endswith(_CLAUSE_ENDS):
        penalty = _AFTER_CLAUSE
    elif before.text.lower() in _FUNCTION_WORDS:
        penalty = _AFTER_FUNCTION_WORD
    elif after.text.lower() in _FUNCTION_WORDS:
        penalty = _BEFORE_FUNCTION_WORD
    else:
        penalty = _WITHIN_PHRASE
    return penalty * max(0.0, 1 - (after.start - before.end) / _PAUSE_S)


def _penalty(text: _Text, first: int, end: int) -> _Penalty | None:
    """Penalty of the caption of words[first:end]; None if they don't fit into one."""
    too_long = text.end_ms[end - 1] - text.start_ms[first] > MAX_MS and end - first > 1
    line = None if too_long else _first_line(text, first, end)
    if line is None:
        return None
    shown = _end_ms(text, first, end) - text.start_ms[first]
    pauses = text.pauses[end - 1] - text.pauses[first]
    return _Penalty(
        max(0, MIN_MS - shown),
        _CAPTION + _CAPTION_BORDER * text.borders[end] + pauses + line.penalty,
    )


class _FirstLine(NamedTuple):
    penalty: float
    end: int  # the word after it


def _first_line(text: _Text, first: int, end: int) -> _FirstLine | None:
    """The best first line of a caption; None if the words don't fit into two lines."""
    if end - first == 1 or _length(text, first, end) <= MAX_LINE:
        return _FirstLine(0.0, end)
    possible = []
    for middle in range(first + 1, end):
        lengths = _length(text, first, middle), _length(text, middle, end)
        if max(lengths) <= MAX_LINE:
            unequal = _UNEQUAL_LINES * abs(lengths[0] - lengths[1]) / MAX_LINE
            possible.append(_FirstLine(text.borders[middle] + unequal, middle))
    return min(possible, default=None)


def _length(text: _Text, first: int, end: int) -> int:
    return text.offsets[end] - text.offsets[first] - 1


def _end_ms(text: _Text, first: int, end: int) -> int:
    """When a caption disappears."""
    start = text.start_ms[first]
    shown_until = max(text.end_ms[end - 1], start + MIN_MS)
    if end < len(text.words):
        following = text.start_ms[end]
        if following - shown_until < SHORT_GAP_MS:
            shown_until = following - min(GAP_MS, (following - start) // 2)
    elif text.latest_end_ms is not None:
        shown_until = min(shown_until, text.latest_end_ms)
    return min(shown_until, start + MAX_MS)


def _caption(text: _Text, first: int, end: int) -> Caption:
    line = _first_line(text, first, end)
    middle = line.end if line else end
    lines = [" ".join(words) for words in (text.words[first:middle], text.words[middle:end])]
    return Caption(tuple(filter(None, lines)), text.start_ms[first], _end_ms(text, first, end))
