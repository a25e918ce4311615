"""Lines of text of two files -> whether the first word of each line is an id."""

import re
from collections.abc import Sequence

from asr.errors import InputError
from asr.scoring.entries import Reading

# a digit somewhere after a letter (utt1), an underscore (0_1_1), numbers with two hyphens
_ID = re.compile(r"[^\W\d_].*\d|_|^\d+(-\d+){2,}")
# names of files, and numbers with marks: 1. [1] (1) #1
_NO_WORD = re.compile(r"/|\.[A-Za-z]\w{1,4}$|^(\[\w+\]|\(\w+\)|#\w+|\d+[.):])$")


def first_words_are_ids(said: Reading, heard: Reading) -> bool | None:
    """Whether every line of two files begins with an id.

    With ids, both files have the same first words, each once. But so do lines of text whose first
    words were all recognised correctly. Therefore the words must also look like ids, be in another
    order, or be more than such lines of text are likely to have.

    Args:
        said: the lines of the reference, with their first words as ids.
        heard: the lines of the hypothesis, likewise.

    Returns:
        whether they are ids; None if they may be ids, but look like words.

    Raises:
        InputError: the first words may be either, or look like ids but differ.
    """
    ids, other_ids = said.ids, heard.ids
    words = [
        word for file in (said, heard) for entry in file.entries for word in entry.text.split()
    ]
    if not words:
        return False
    same = set(ids) == set(other_ids) and len(set(ids)) == len(ids) == len(other_ids)
    come_again = [not set(names).isdisjoint(words) for names in (ids, other_ids)]
    looks = [
        not again and _look_like_ids(names)
        for again, names in zip(come_again, (ids, other_ids), strict=True)
    ]
    # words of the text may look like ids; but so many first words of texts don't all agree
    # without any of them being repeated
    certain = same and not any(come_again) and len(ids) >= 20
    if any(looks) and not certain and _share_like(ids if looks[0] else other_ids, words) > 0.5:
        raise id_or_word(said if looks[0] else heard)
    if not same:
        return _differing_are_ids(said, heard, looks)
    if any(come_again):  # as words do
        if ids != other_ids or (len(ids) > 1 and all(map(_ID.search, ids))):
            raise id_or_word(said)
        return False
    if ids != other_ids or all(looks) or all(map(_NO_WORD.search, ids)):
        return True
    if _each_could_be(ids):
        if len(ids) < 5:
            raise id_or_word(said)
        return True
    if len(ids) >= 20 or (len(ids) > 2 and _differ_at_the_end(ids)):
        raise id_or_word(said)
    return None if len(ids) > 1 else False


def _differing_are_ids(said: Reading, heard: Reading, looks: Sequence[bool]) -> bool:
    common = set(said.ids) & set(heard.ids)
    if all(looks) and common and _one_shape([*said.ids, *heard.ids]):
        return True  # some hypotheses are missing
    for reading, look in ((said, looks[0]), (heard, looks[1])):
        if look and (len(reading.ids) > 1 or _ID.search(reading.ids[0]) is not None):
            raise id_or_word(reading)
    return False


def _look_like_ids(ids: Sequence[str]) -> bool:
    if not _each_could_be(ids):
        return False
    if all(id.isdecimal() for id in ids):
        return any(len(id) > 1 and id.startswith("0") for id in ids) or _consecutive(ids)
    return _one_shape(ids)


def look_like_ids(reading: Reading) -> bool:
    """Whether the first words of several lines are almost certainly ids."""
    texts = any(entry.text for entry in reading.entries)
    return len(reading.ids) > 1 and texts and _look_like_ids(reading.ids)


def id_or_word(reading: Reading) -> InputError:
    """The error for lines whose first words may be ids or words."""
    first = reading.entries[0]
    return InputError(
        f"{first.place}: {first.id!r} may be an id or a word; expected --ids or --no-ids"
    )


def _each_could_be(ids: Sequence[str]) -> bool:
    return bool(ids) and all(_looks(id) for id in ids)


def _looks(word: str) -> bool:
    return word.isdecimal() or _ID.search(word) is not None


def _share_like(ids: Sequence[str], words: Sequence[str]) -> float:
    """The fraction of the words that look like the ids."""
    shape = _shape(ids[0])
    return sum(_looks(word) and _shape(word) == shape for word in words) / len(words)


def _one_shape(ids: Sequence[str]) -> bool:
    """Whether ids have the same pattern of letters, numbers and signs, as in most corpora."""
    return len({_shape(id) for id in ids}) == 1


def _shape(id: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", id))


def _consecutive(ids: Sequence[str]) -> bool:
    if len(ids) < 3 or max(map(len, ids)) > 18:  # int() of a long text is slow
        return False
    numbers = sorted(map(int, ids))
    return numbers == list(range(numbers[0], numbers[0] + len(ids)))


def _differ_at_the_end(ids: Sequence[str]) -> bool:
    """Whether words differ only in the last letter: utta, uttb, uttc."""
    return len({id[:-1] for id in ids}) == 1 and len(ids[0]) > 3
