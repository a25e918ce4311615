from pathlib import Path

import pytest

from asr.errors import InputError
from asr.scoring.lines import numbered, read_trn, text_readings


def rows(text):
    return numbered(text, Path("a"))


def pairs(reading):
    return [(entry.id, entry.text) for entry in reading.entries]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems(end):
    assert rows(f"a b{end}c\u2028d{end}") == [("a:1", "a b"), ("a:2", "c\u2028d")]


@pytest.mark.parametrize(
    "text",
    [
        "go left (u 1)\nstop (u 2)\n",
        ";; comment\ngo left ( u 1 )\n\nstop(u  2)\n",
    ],
)
def test_blanks_around_an_id_in_parentheses(text):
    assert pairs(read_trn(rows(text))) == [("u 1", "go left"), ("u 2", "stop")]


@pytest.mark.parametrize("scores", ["-7716", "-7716.5 12", "-1e+03 .5 7"])
def test_sphinx_scores_and_symbols_are_removed(scores):
    text = f"<s> go(2) <sil> left ++BREATH++ </s> (rec_1 {scores})\nstop (rec_2 -1)\n"
    assert pairs(read_trn(rows(text))) == [("rec_1", "go left"), ("rec_2", "stop")]


def test_symbols_outside_sphinx_files_are_words():
    assert pairs(read_trn(rows("go <sil> (u1)\n"))) == [("u1", "go <sil>")]


def test_trn_line_without_an_id_is_refused():
    with pytest.raises(InputError, match="a:2: has no id at its end"):
        read_trn(rows("go (u1)\nstop\n"))


def test_file_name_without_tab_is_an_id_with_empty_text():
    reading = text_readings(rows("my file.wav\tgo left\nother file.wav\n"))[0]
    assert reading.certain
    assert pairs(reading) == [("my file.wav", "go left"), ("other file.wav", "")]


def test_words_in_parentheses_are_not_certain_ids():
    assert not text_readings(rows("yes (oh well)\nno (uh huh)\n"))[0].certain
