import pytest

from asr.corpus.spoken_text import ENGLISH, spoken_texts


def test_texts_are_normalised_and_abbreviations_written_out():
    texts = {"b": "“Mr. Smith’s”, etc.", "a": "Don't -- ask\nMRS.\tDrew!"}
    spoken = spoken_texts(texts, "tiny", ENGLISH)
    assert spoken == {"b": "mister smith's et cetera", "a": "don't ask missus drew"}
    assert list(spoken) == ["b", "a"]


def test_initials_are_separate_words():
    texts = {"a": "At 'nine p.m.' the U.S.A., and J. F. Kennedy.", "b": "I am. So do I.It is us."}
    expected = {"a": "at nine p m the u s a and j f kennedy", "b": "i am so do i it is us"}
    assert spoken_texts(texts, "tiny", {}) == expected


def test_letters_of_all_scripts_stay():
    texts = {"de": "Größe", "hi": "हिन्दी", "fa": "می‌شود", "zh": "你好。", "tr": "İyi"}
    expected = {"de": "größe", "hi": "हिन्दी", "fa": "می‌شود", "zh": "你好", "tr": "iyi"}
    assert spoken_texts(texts, "tiny", {}) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("She died in 2011.", "its text 'she died in 2011' has '2'; expected letters only"),
        ("salt & pepper", "its text 'salt & pepper' has '&'; expected letters only"),
        (" ... '", "its text has no word"),
        ("", "its text has no word"),
        ("bell\x07", "its text: has U+0007, a control character; expected a text"),
    ],
)
def test_texts_with_more_than_letters_are_left_out_with_a_line(text, line, capsys):
    assert spoken_texts({"x": text, "y": "yes"}, "tiny", ENGLISH) == {"y": "yes"}
    assert capsys.readouterr().err == f"tiny: x is left out: {line}\n"
