import pytest

from asr.scoring.hints import hints


@pytest.mark.parametrize(
    ("said", "heard", "hint"),
    [
        ("caf\u00e9", "cafe\u0301", "look alike"),
        ("don\u2019t", "don't", "look alike"),
        ("ab", "a\u00adb", "look alike"),
        ("ab", "a\u200bb", "look alike"),
        ("Go", "go", "differ only in case"),
        ("İstanbul", "istanbul", "differ only in case"),
        ("", "<eps>", "special symbols that count as words"),
        ("++NOISE++", "", "special symbols that count as words"),
        ("", "\ufeff", "special symbols that count as words, such as '\\ufeff' (U+FEFF)"),
    ],
)
def test_unreal_errors_give_a_hint(said, heard, hint):
    (found,) = hints([[("x", "x"), (said, heard)]])
    assert hint in found


def test_real_errors_and_correct_symbols_give_no_hint():
    assert hints([[("go", "stop"), ("", "left"), ("<unk>", "<unk>")]]) == []
