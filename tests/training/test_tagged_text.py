import numpy as np
import pytest

from asr.errors import InputError
from asr.text.punctuation import CASES, MARKS, Tag, punctuated
from asr.training.tagged_text import (
    NOT_COUNTED,
    TaggedWords,
    frequent_words,
    read_punctuated,
    windows,
    with_errors,
)


def text_of(tmp_path, *lines):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_punctuated(str(path))


def written(tagged, distinct):
    tags = [Tag(MARKS[mark], CASES[case]) for mark, case in zip(tagged.marks, tagged.cases)]  # noqa: B905
    return " ".join(punctuated([distinct[word] for word in tagged.words], tags, {}))


def test_a_text_is_read_with_its_sentences(tmp_path):
    text = text_of(tmp_path, "He came, late.", "* * *", "Why? Ask the MP!")
    assert text.distinct == ("he", "came", "late", "why", "ask", "the", "mp")
    assert written(text.tagged, text.distinct) == "He came, late. Why? Ask the MP!"
    assert text.ends == [3, 7]
    assert frequent_words(text_of(tmp_path, "A b a b. B c"), 2, 2) == ["b", "a"]
    assert frequent_words(text_of(tmp_path, "A b a b. B c"), 9, 2) == ["b", "a"]


def test_special_capitals_are_listed_if_they_are_the_usual_ones(tmp_path):
    lines = ["I saw McNab."] * 3 + ["Mcnab saw O'Brien."] + ["God's D'Or"] * 2
    assert text_of(tmp_path, *lines).spellings == {"mcnab": "McNab"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("He came", r"has no \. \? or !; expected a punctuated text"),
        ("he came.", "has no capital letter; expected a text in upper and lower case"),
        ("", "has no sentence"),
    ],
)
def test_texts_without_tags_are_refused(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        text_of(tmp_path, line)


@pytest.mark.parametrize("length", [1, 4, 7, 30, 1000])
def test_windows_are_whole_sentences_as_many_as_fit(length):
    lengths = np.random.default_rng(0).integers(1, 15, size=60)
    ends = np.cumsum(lengths).tolist()
    found = windows(ends, length)
    borders = [0, *(end for _, end in found)]
    assert [begin for begin, _ in found] == borders[:-1]
    assert borders[-1] == ends[-1]
    for begin, end in found:
        assert 1 <= end - begin <= length
        if end in ends:  # the next sentence does not fit
            assert end == ends[-1] or ends[ends.index(end) + 1] > begin + length
        else:  # the sentence is longer than a window
            assert end - begin == length
            assert not any(begin < other <= end for other in ends)


def test_errors_have_the_given_rates_and_leave_the_rest(tmp_path):
    U = 20_000
    generator = np.random.default_rng(0)
    words = np.arange(U, dtype=np.int32)
    tagged = TaggedWords(words, np.zeros(U, dtype=np.int8), np.zeros(U, dtype=np.int8))
    pool = np.array([-1], dtype=np.int32)
    found = with_errors(tagged, 0.1, 0.05, pool, generator)
    is_replaced = found.words == -1
    assert len(found) == pytest.approx(0.95 * U, rel=0.01)
    assert is_replaced.mean() == pytest.approx(0.1 / 0.95, rel=0.1)
    assert (np.diff(found.words[~is_replaced]) > 0).all()
    assert (found.cases[is_replaced] == NOT_COUNTED).all()
    assert (found.cases[~is_replaced] == 0).all()
    assert np.array_equal(tagged.words, np.arange(U))  # unchanged
    same = with_errors(tagged, 0.0, 0.0, pool, generator)
    assert np.array_equal(same.words, tagged.words)


class Planted:
    """Drops the words with these indices, and replaces one."""

    def __init__(self, *dropped, replaced=-1):
        self.dropped, self.replaced = dropped, replaced

    def random(self, n):
        draws = np.where(np.isin(np.arange(n), self.dropped), 1.0, 0.5)
        draws[np.arange(n) == self.replaced] = 0.0
        return draws

    def integers(self, high, size):
        return np.zeros(size, dtype=int)


def test_tags_of_dropped_words_go_to_their_neighbours(tmp_path):
    text = text_of(tmp_path, "He came, so late. The dog went! Why?")

    def left(*dropped):
        pool = text.tagged.words
        found = with_errors(text.tagged, 0.1, 0.1, pool, Planted(*dropped))
        return written(found, text.distinct)

    assert left(3) == "He came, so. The dog went! Why?"
    assert left(1) == "He, so late. The dog went! Why?"
    assert left(4) == "He came, so late. Dog went! Why?"
    assert left(3, 4, 5) == "He came, so. Went! Why?"
    assert left(0, 7) == "He came, so late. The dog went?"


def test_a_replaced_word_that_begins_a_sentence_has_no_case(tmp_path):
    text = text_of(tmp_path, "He came. The dog went!")
    planted = Planted(2, replaced=3)  # "the" is dropped, and "dog" replaced
    found = with_errors(text.tagged, 0.1, 0.1, text.tagged.words, planted)
    assert found.cases.tolist() == [CASES.index("capital"), 0, NOT_COUNTED, 0]
