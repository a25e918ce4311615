import random
import sys
import unicodedata

import pytest

from asr.errors import InputError
from asr.text.normalisation import TextSettings, canonical, lower_case, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello,\tWORLD!\n", "hello world"),
        ("It’s the dog‘s, ISNʼT it?", "it's the dog's isn't it"),
        ("“Quoted,” ‘he’ said 'so'.", "quoted he said so"),
        ("'tis the boys' o'clock", "tis the boys o'clock"),
        ("well-known — and/or… wait...what", "well known and or wait what"),
        ("snake_case U.S. 1,000", "snake case us 1,000"),
        ("customer,welcome!Come in(now)", "customer welcome come in now"),
        ("It costs 3.5, or .5, at 10:30.", "it costs 3.5 or .5 at 10:30"),
        ("it is −5, (−.5) −$5 3−5 − x", "it is -5 -.5 -$5 3−5 − x"),
        ("it is –5 now", "it is 5 now"),
        ("-5 (-5) $-5 -$.5 50%-60% 3-5 a-5 --5", "-5 -5 $-5 -$.5 50% 60% 3 5 a 5 5"),
        ("1,000.50 1/2 24/7 3,,5 3..5 5. ,5", "1,000.50 1/2 24/7 3 5 3 5 5 5"),
        ("at 5 p.m. in e.g. the U.S.A., end.Start", "at 5 pm in eg the usa end start"),
        ("ＡＢＣ　３．５％ ﬁne ｶﾞｷﾞ 𝐇𝐢 5㎏", "abc 3.5% fine ガギ hi 5kg"),
        ("3½ ½ 10² x₂ 5①", "3 1/2 1/2 10² x₂ 5①"),
        ("don´t don`t rock´n´roll", "don't don't rock'n'roll"),
        ('col·lecció λέξη·άλλη ինչպե՞ս צה״ל צה"ל צ׳יפס', None),
        ("ﾡﾡ ㅋㅋ น้ำ", "ㄱㄱ ㅋㅋ น้ำ"),
        ("50% of $5 & more", "50% of $5 & more"),
        ("İSTANBUL I", "istanbul i"),
        ("ΟΔΥΣΣΕΥΣ-ΟΔΟΣ. ΣΑΣ", "οδυσσευς οδος σας"),
        ("STRASSE Straße", "strasse straße"),
        ("¿Qué? ¡Sí!", "qué sí"),
        ("soft\u00adhyphen\u200b \ufeffmark", "softhyphen mark"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
        (" ' - … ", ""),
        ("rock ' n roll ''", "rock n roll"),
    ],
)
def test_texts_are_normalised_as_documented(text, expected):
    if expected is None:
        expected = "collecció λέξη άλλη ինչպես צהל צהל צ'יפס"
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thre\u0301e ONE", "Thrée ONE"),
        (" one\ttwo\r\nthree\u00a0four\u2028five\x85six\u3000seven  eight", None),
        ("\ufefft\u200bw\u2060o\u00ad \u200ethree\u2069 ❤\ufe0f\u3164", "two three ❤"),
        ("don’t ‘n’ пʼять rock＇n`roll", "don't 'n' п'ять rock'n`roll"),
        ("one\u200dtwo e\u200c\u0301 three\u200c", "onetwo é three"),
        ("می\u200cخواهم\u200c خانه\u200c\u200c\u200dها", "می\u200cخواهم خانه\u200cها"),
        ("അവന\u0d4d\u200d ක\u0dca\u200dෂ", "അവന\u0d4d\u200d ක\u0dca\u200dෂ"),
        ("\u200d一\u200d二 한\u200d\u1100\u1161", "一二 한가"),
        ("\u06dd٣ İ", "\u06dd٣ İ"),
    ],
)
def test_texts_that_look_the_same_become_equal(text, expected):
    if expected is None:
        expected = "one two three four five six seven eight"
    assert canonical(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("three \ud83d one", r"U\+D83D, half of a surrogate pair"),
        ("\udc80", r"U\+DC80, half of a surrogate pair"),
        ("t\0h", r"U\+0000, a control character"),
        ("don\x92t", r"U\+0092, a control character"),
        ("\x1b[31m", r"U\+001B, a control character"),
        ("a\ufffe", r"U\+FFFE, never a character"),
    ],
)
def test_control_characters_are_refused(text, found):
    with pytest.raises(InputError, match=f"^m.jsonl:7: has {found}; expected a text$"):
        canonical(text, "m.jsonl:7")


def test_lower_case_of_dotted_i_is_plain_i():
    composed, decomposed = "İSTANBUL", "I\u0307STANBUL"
    assert lower_case(composed) == lower_case(canonical(decomposed)) == "istanbul"
    assert lower_case("İstanbul".lower()) == "istanbul"
    assert lower_case("THRÉE ΟΔΟΣ") == "thrée οδος"
    assert lower_case("İ\u0307i\u0307\u0307") == "ii"


def random_texts(n=3000):
    """Texts of all valid characters, with more marks and joiners than usual."""
    generator = random.Random(0)
    letters = [chr(code) for code in range(sys.maxunicode + 1)]
    # every character except those without case, such as Chinese and composed Hangul
    letters = [c for c in letters if unicodedata.category(c) not in ("Cs", "Co", "Cn", "Lo")]
    letters = [c for c in letters if c.isspace() or unicodedata.category(c) != "Cc"]
    marks = [c for c in letters if unicodedata.category(c).startswith(("P", "M", "Z", "Cf"))]
    # letters of scripts with joiners, Hangul, digits and marks in numbers
    marks += list("İΣiaeo\u0307\u0301خمیनकक\u094d가각\u1100\u1161\u11a8ＡＢ") * 20
    marks += (
        list("\u200b\u200c\u200d\u00ad\ufe0f'’. ") * 20 + list('0123456789.,:/-$(·‧"אבLl½') * 20
    )
    texts = ["".join(generator.choices(letters + marks * 50, k=20)) for _ in range(n)]
    plain = ["".join(generator.choices("ab' .,-1", k=12)) for _ in range(n)]  # ASCII only
    return [*letters, *texts, *plain]


TEXTS = random_texts()


def test_canonical_is_idempotent():
    for text in TEXTS:
        once = canonical(text)
        assert canonical(once) == once, ascii(text)
        assert unicodedata.is_normalized("NFC", once)
        assert once == " ".join(once.split())
        lower = lower_case(once)
        assert canonical(lower) == lower == lower_case(lower), ascii(text)


def test_composed_and_decomposed_texts_become_equal():
    for text in TEXTS:
        decomposed = unicodedata.normalize("NFD", text)
        assert canonical(decomposed) == canonical(text), ascii(text)


@pytest.mark.parametrize("case", ["lower", "keep"])
@pytest.mark.parametrize("punctuation", ["remove", "keep"])
def test_normalise_is_idempotent(case, punctuation):
    settings = TextSettings(case, punctuation)
    for text in TEXTS:
        once = normalise(text, settings)
        assert normalise(once, settings) == once, ascii(text)
        assert canonical(once) == once
        assert once == " ".join(once.split())
