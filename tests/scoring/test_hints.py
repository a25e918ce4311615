import pytest

from asr.scoring.hints import hints


@pytest.mark.parametrize(
    ("said", "heard", "hint"),
    [
        ("caf\u00e9", "cafe\u0301", "look alike"),
        ("don\u2019t", "don't", "look alike"),
        ("ab", "a\u00adb", "look alike"),
        ("ab", "a\u200bb", "look alike"),
        ("Go", "go", "differ in case alone"),
        ("İstanbul", "istanbul", "differ in case alone"),
        ("", "<eps>", "signs that count as words"),
        ("++NOISE++", "", "signs that count as words"),
        ("", "\ufeff", "signs that count as words, such as '\\ufeff' (U+FEFF)"),
    ],
)
def test_errors_that_a_reader_would_not_count_are_told(said, heard, hint):
    (found,) = hints([[("x", "x"), (said, heard)]])
    assert hint in found


def test_other_errors_and_signs_that_are_right_have_no_hint():
    assert hints([[("go", "stop"), ("", "left"), ("<unk>", "<unk>")]]) == []
