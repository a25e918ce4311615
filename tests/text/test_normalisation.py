import random
import sys
import unicodedata

import pytest

from asr.text.normalisation import TextSettings, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello,\tWORLD!\n", "hello world"),
        ("It’s the dog‘s, ISNʼT it?", "it's the dog's isn't it"),
        ("“Quoted,” ‘he’ said 'so'.", "quoted he said so"),
        ("'tis the boys' o'clock", "tis the boys o'clock"),
        ("well-known — and/or… wait...what", "well known and or wait what"),
        ("snake_case U.S. 1,000", "snake case us 1000"),
        ("50% of $5 & more", "50% of $5 & more"),
        ("İSTANBUL I", "istanbul i"),
        ("ΟΔΥΣΣΕΥΣ-ΟΔΟΣ. ΣΑΣ", "οδυσσευς οδος σας"),
        ("STRASSE Straße", "strasse straße"),
        ("¿Qué? ¡Sí!", "qué sí"),
        ("soft\u00adhyphen\u200b \ufeffmark", "softhyphen mark"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
        (" ' - … ", ""),
    ],
)
def test_texts_are_normalised_as_documented(text, expected):
    assert normalise(text) == expected


def test_hangul_jamo_become_syllables():
    jamo = unicodedata.normalize("NFD", "한국어 음성")
    assert len(jamo) == 15
    assert normalise(jamo) == "한국어 음성"


def test_settings_keep_case_and_punctuation():
    text = " Don’t  STOP, please! "
    assert normalise(text, TextSettings(case="keep")) == "Don't STOP please"
    assert normalise(text, TextSettings(punctuation="keep")) == "don't stop, please!"


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="case is 'title'; expected lower or keep"):
        TextSettings(case="title")


@pytest.mark.parametrize("case", ["lower", "keep"])
@pytest.mark.parametrize("punctuation", ["remove", "keep"])
def test_normalising_twice_changes_nothing_more(case, punctuation):
    generator = random.Random(0)
    settings = TextSettings(case, punctuation)
    letters = [chr(code) for code in range(sys.maxunicode + 1)]
    # every character but those without case, most of them Chinese or composed Hangul
    letters = [c for c in letters if unicodedata.category(c) not in ("Cs", "Co", "Cn", "Lo")]
    marks = [c for c in letters if unicodedata.category(c).startswith(("P", "M", "Z"))] + ["İ", "Σ"]
    texts = ["".join(generator.choices(letters + marks * 50, k=20)) for _ in range(3000)]
    for text in [*letters, *texts]:
        once = normalise(text, settings)
        assert normalise(once, settings) == once, ascii(text)
        assert unicodedata.is_normalized("NFC", once)
        assert once == " ".join(once.split())
