from pathlib import Path

import pytest

from asr.errors import InputError
from asr.scoring.lines import numbered, read_trn, text_readings


def rows(text):
    return numbered(text, Path("a"))


def pairs(reading):
    return [(entry.id, entry.text) for entry in reading.entries]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(end):
    assert rows(f"a b{end}c\u2028d{end}") == [("a:1", "a b"), ("a:2", "c\u2028d")]


@pytest.mark.parametrize(
    "text",
    [
        "go left (u 1)\nstop (u 2)\n",
        ";; comment\ngo left ( u 1 )\n\nstop(u  2)\n",
    ],
)
def test_an_id_in_brackets_may_have_blanks(text):
    assert pairs(read_trn(rows(text))) == [("u 1", "go left"), ("u 2", "stop")]


@pytest.mark.parametrize("scores", ["-7716", "-7716.5 12", "-1e+03 .5 7"])
def test_sphinx_scores_and_signs_are_no_words(scores):
    text = f"<s> go(2) <sil> left ++BREATH++ </s> (rec_1 {scores})\nstop (rec_2 -1)\n"
    assert pairs(read_trn(rows(text))) == [("rec_1", "go left"), ("rec_2", "stop")]


def test_signs_outside_sphinx_files_are_words_as_for_sclite():
    assert pairs(read_trn(rows("go <sil> (u1)\n"))) == [("u1", "go <sil>")]


def test_a_line_without_an_id_is_named():
    with pytest.raises(InputError, match="a:2: has no id at its end"):
        read_trn(rows("go (u1)\nstop\n"))


def test_file_names_are_ids_though_an_empty_text_lost_its_tab():
    reading = text_readings(rows("my file.wav\tgo left\nother file.wav\n"))[0]
    assert reading.certain
    assert pairs(reading) == [("my file.wav", "go left"), ("other file.wav", "")]


def test_words_in_brackets_at_every_end_are_not_surely_ids():
    assert not text_readings(rows("yes (oh well)\nno (uh huh)\n"))[0].certain
