"""The words of two CTM files -> short pieces that end at pauses common to both."""

from collections.abc import Sequence

from asr.scoring.entries import Entry, TimedWord

_PIECE = 50
"""Lines of a CTM file in one piece; more if the two files have no common pause before."""

_NEVER_S = float("inf")


def cut_at_common_pauses(said: Entry, heard: Entry) -> list[tuple[Entry, Entry]]:
    """Cut a recording into pieces of about 50 words, so that words far apart in time don't match.

    A pause is the time from the end of a word to the beginning of the next one; it may be empty.
    A piece ends at the last pauses of the reference and the hypothesis that have a moment in
    common, but not beside alternatives. While one text is silent, a piece has words of the other
    only. Texts are not cut if their times are not of the same recording: all words of one have the
    same time, or one ends before the other begins.

    Args:
        said: the words of the reference; its `words` have times.
        heard: the words of the hypothesis, likewise.

    Returns:
        pieces: pairs in the order of time. The ids have the times in seconds if there are several.

    Source: NIST SCTK, src/sclite/ctm2ctm.c, `chop_WTOKE_2`, commit 82955db. We differ where 50
    words have no common pause: sclite then cuts off a word or two, with others of the other text,
    so that a right hypothesis that is 0.25 s late may have 50 % errors. SCTK 2.4.10, which Debian
    has, is older; some of its cuts differ by a word.
    """
    if not _can_be_compared(said.words, heard.words):
        return [(said, heard)]
    pieces = []
    mine, other = said.words, heard.words
    while mine or other:
        lines = _PIECE
        while not (cut := _last_cut(mine, other, lines)):
            lines *= 2
        pieces.append((mine[: cut[0]], other[: cut[1]]))
        mine, other = mine[cut[0] :], other[cut[1] :]
    if len(pieces) == 1:
        return [(said, heard)]
    return [(_part(said, *piece), _part(heard, *piece[::-1])) for piece in pieces]


def _can_be_compared(said: Sequence[TimedWord], heard: Sequence[TimedWord]) -> bool:
    """Whether the times of two texts seem to be of the same recording."""
    spans = []
    for words in (said, heard):
        begins = {word.begin for word in words}
        if not words or (len(words) > 1 and len(begins) == 1):
            return False
        spans.append((min(begins), max(word.end for word in words)))
    return _meet(*spans)


def _last_cut(
    said: Sequence[TimedWord], heard: Sequence[TimedWord], lines: int
) -> tuple[int, int] | None:
    """How many words of each text are before the last cut in `lines` lines; None without a cut."""
    if not said or not heard or (_fit(said, lines) and _fit(heard, lines)):
        return len(said), len(heard)
    i, j = _last_within(said, lines), _last_within(heard, lines)
    if i < 0 or j < 0:
        return None
    # go back to where both texts are at the same time
    if said[i].begin > heard[j].begin:
        i = _back_to(said, i, heard[j])
    else:
        j = _back_to(heard, j, said[i])
    if i < 0 or j < 0:  # one text is silent
        return i + 1, j + 1
    while i >= 0 and j >= 0:
        if _meet(_pause_after(said, i), _pause_after(heard, j)):
            return i + 1, j + 1
        if said[i].begin > heard[j].begin:
            i = _previous(said, i)
            j = _back_to(heard, j, said[i]) if i >= 0 else j
        else:
            j = _previous(heard, j)
            i = _back_to(said, i, heard[j]) if j >= 0 else i
    return None


def _fit(words: Sequence[TimedWord], lines: int) -> bool:
    return len(words) <= lines and sum(word.lines for word in words) <= lines


def _last_within(words: Sequence[TimedWord], lines: int) -> int:
    """The index of the last word, not alternatives, of the first `lines + 1` lines; -1 if none."""
    last, seen = -1, 0
    for index, word in enumerate(words):
        seen += word.lines
        if seen > lines + 1:
            break
        if word.lines == 1:
            last = index
    return last


def _back_to(words: Sequence[TimedWord], index: int, other: TimedWord) -> int:
    """Step back over the words that are later than another word and don't overlap it."""
    while index >= 0 and words[index].begin > other.begin:
        if _meet((words[index].begin, words[index].end), (other.begin, other.end)):
            break
        index = _previous(words, index)
    return index


def _previous(words: Sequence[TimedWord], index: int) -> int:
    """The index of the previous word that has no alternatives; -1 if there is none."""
    index -= 1
    while index >= 0 and words[index].lines > 1:
        index -= 1
    return index


def _pause_after(words: Sequence[TimedWord], index: int) -> tuple[float, float]:
    if index + 1 == len(words):
        return words[index].end, _NEVER_S
    if words[index + 1].lines > 1:  # no cut beside alternatives
        return _NEVER_S, -_NEVER_S
    return words[index].end, words[index + 1].begin


def _meet(interval: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(interval[0], other[0]) <= min(interval[1], other[1])


def _part(whole: Entry, words: Sequence[TimedWord], others: Sequence[TimedWord]) -> Entry:
    both = [*words, *others]
    times = f"{min(word.begin for word in both):.2f} {max(word.end for word in both):.2f}"
    return Entry(
        words[0].place if words else whole.place,
        " ".join(word.text for word in words),
        f"{whole.id} {times}",
        words=tuple(words),
    )
