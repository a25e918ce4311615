"""punctuated text -> its words and tags as numbers -> windows of whole sentences, and errors."""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from asr.errors import InputError
from asr.text.punctuation import CASES, MARKS, SENTENCE_ENDS, spelled, written_words
from asr.text.sentences import read_sentences

NOT_COUNTED = -100
"""A target that has no loss."""

_LOWER, _CAPITAL = CASES.index("lower"), CASES.index("capital")
_ENDS = tuple(map(MARKS.index, SENTENCE_ENDS))
_FEWEST_SPELLINGS = 3  # of a word with a special capital, such as McNab


@dataclass(frozen=True)
class TaggedWords:
    """Words with their tags, each as a number.

    Args:
        words: (U,), int32, indices in a list of words.
        marks: (U,), int8, indices in `MARKS`.
        cases: (U,), int8, indices in `CASES`; or `NOT_COUNTED`.
    """

    words: np.ndarray
    marks: np.ndarray
    cases: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, where: slice | np.ndarray) -> "TaggedWords":
        return TaggedWords(self.words[where], self.marks[where], self.cases[where])


@dataclass(frozen=True)
class PunctuatedText:
    """A text of many sentences.

    Args:
        distinct: its distinct words, in the order of their first occurrence.
        tagged: all its words.
        ends: for each sentence the number of words up to its end.
        spellings: words whose capital is mostly not simply the first letter, with their spelling.
    """

    distinct: tuple[str, ...]
    tagged: TaggedWords
    ends: list[int]
    spellings: dict[str, str]


def read_punctuated(path: str) -> PunctuatedText:
    """Read a text with marks and capitals; see `asr.text.sentences.read_sentences`.

    Raises:
        InputError: the file can't be read, or has no word, no sentence end or no capital.
    """
    numbers: dict[str, int] = {}
    words, marks, cases, lengths = array("i"), array("b"), array("b"), array("i")
    capitals: Counter[tuple[str, str]] = Counter()
    for sentence in read_sentences(path):
        found = written_words(sentence)
        lengths.append(len(found))
        for word, spelling, (mark, case) in found:
            words.append(numbers.setdefault(word, len(numbers)))
            marks.append(MARKS.index(mark))
            cases.append(CASES.index(case))
            if case == "capital":
                capitals[word, spelling] += 1
    tagged = TaggedWords(np.array(words), np.array(marks), np.array(cases))
    if not np.isin(tagged.marks, _ENDS).any():
        raise InputError(f"{path}: has no . ? or !; expected a punctuated text")
    if not tagged.cases.any():
        raise InputError(f"{path}: has no capital letter; expected a text in upper and lower case")
    ends = list(accumulate(filter(None, lengths)))
    return PunctuatedText(tuple(numbers), tagged, ends, _special_spellings(capitals))


def frequent_words(text: PunctuatedText, max_size: int, min_count: int) -> list[str]:
    """The most frequent words of a text, the most frequent one first."""
    counts = np.bincount(text.tagged.words)
    order = np.argsort(-counts, kind="stable")[:max_size]
    return [text.distinct[number] for number in order if counts[number] >= min_count]


def windows(ends: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Divide a text into windows of at most `length` words.

    Windows consist of whole sentences, as many as possible; only longer sentences are cut.

    Args:
        ends: for each sentence the number of words up to its end.
        length: largest number of words.

    Returns:
        windows: index of the first word, and index after the last one.
    """
    found = []
    begin = 0
    while begin < ends[-1]:
        sentence = bisect_right(ends, begin + length) - 1
        whole = ends[sentence] if sentence >= 0 else 0
        end = whole if whole > begin else begin + length
        found.append((begin, end))
        begin = end
    return found


def with_errors(
    tagged: TaggedWords,
    replaced: float,
    dropped: float,
    pool: np.ndarray,
    generator: np.random.Generator,
) -> TaggedWords:
    """Words with errors as a recogniser makes them.

    The mark after a dropped word goes to the word before it, unless that has a later one of
    `MARKS`. If a sentence loses its first word, the next one begins it with a capital. The case of
    a replaced word is `NOT_COUNTED`.

    Args:
        tagged: the words of a window; the first one is never dropped.
        replaced: probability that a word is replaced by one of `pool`.
        dropped: probability that a word is left out.
        pool: words, each as often as it is to be drawn.
        generator: of the random numbers.
    """
    words, marks, cases = tagged.words.copy(), tagged.marks.copy(), tagged.cases.copy()
    draws = generator.random(len(words))
    others = pool[generator.integers(len(pool), size=len(words))]
    is_replaced = draws < replaced
    words[is_replaced], cases[is_replaced] = others[is_replaced], NOT_COUNTED
    is_kept = draws < 1 - dropped
    is_kept[0] = True
    kept = 0  # the last word before the place
    for place in range(1, len(words)):
        if is_kept[place]:
            kept = place
            continue
        begins_sentence = cases[place] != _LOWER and marks[kept] in _ENDS
        if begins_sentence and place + 1 < len(words) and not is_replaced[place + 1]:
            cases[place + 1] = max(cases[place + 1], _CAPITAL)
        marks[kept] = max(marks[kept], marks[place])
    return TaggedWords(words, marks, cases)[is_kept]


def _special_spellings(capitals: Counter[tuple[str, str]]) -> dict[str, str]:
    """The most frequent spelling of each word with a capital, where it is a special one."""
    found: dict[str, str] = {}
    for (word, spelling), count in capitals.most_common():
        if count >= _FEWEST_SPELLINGS:
            found.setdefault(word, spelling)
    usual = ((word, spelled(word, "capital", {})) for word in found)
    return {word: found[word] for word, capital in usual if found[word] != capital}
