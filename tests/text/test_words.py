import pytest

from asr.text.lexicon import Lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer, UnitTokenizer, tokenizer_of
from asr.text.words import as_lexicon, as_words

TWO = {"one": (("W", "AH", "N"),), "a": (("AH",), ("EY",))}


@pytest.mark.parametrize(
    "lexicon",
    [
        Lexicon(TWO),
        TWO,
        {"one": "W AH N", "a": [["AH"], ["EY"]]},
        {"one": ["W", "AH", "N"], "a": [("AH",), ("EY",), ("AH",)]},
    ],
)
def test_phones_of_every_accepted_type(lexicon):
    assert dict(as_lexicon(lexicon).pronunciations) == TWO
    assert as_words(lexicon) == ["one", "a"]


def test_words_without_phones_are_spelled_by_letters():
    assert dict(as_lexicon(["ab", "e\u0301", "ab"]).pronunciations) == {
        "ab": (("a", "b"),),
        "é": (("é",),),
    }
    assert as_words(word for word in ["e\u0301", "b"]) == ["é", "b"]


def test_lexicon_files_are_read(tmp_path):
    (tmp_path / "words.dic").write_text("one  W AH N\na  AH\na(2)  EY\n")
    (tmp_path / "words.txt").write_text("one\na\n")
    for path in (tmp_path / "words.dic", str(tmp_path / "words.dic")):
        assert dict(as_lexicon(path).pronunciations) == TWO
        assert as_words(path) == ["one", "a"]
    assert as_words(tmp_path / "words.txt") == ["one", "a"]
    assert as_words(["don’t", "don't"]) == ["don't"]


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ({}, "lexicon has no word"),
        ({"one": ""}, r"lexicon\['one'\] is ''; expected phones, such as 'TH R IY'"),
        ({"one": ["W AH N"]}, r"lexicon\['one'\] is \['W AH N'\]; expected phones"),
        ({"one": [["W", 1]]}, r"lexicon\['one'\] is \[\['W', 1\]\]; expected phones"),
        ({"one": 3}, r"lexicon\['one'\] is 3; expected phones"),
        ({"": "W"}, "lexicon has '' as word 0; expected one word"),
        (["one two"], "lexicon has 'one two' as word 0"),
        ([3], "lexicon has 3 as word 0"),
        # would be lost when a model is saved
        (
            {"a": "AH", "[noise]": "NSN"},
            r"lexicon has '\[noise\]' as word 1; expected a spoken word",
        ),
        (["a", "#"], "lexicon has '#' as word 1; expected a spoken word"),
    ],
)
def test_invalid_lexicons_are_refused(lexicon, message):
    with pytest.raises(ValueError, match=message):
        as_lexicon(lexicon)


def test_symbols_give_a_tokenizer_of_letters_or_units():
    assert tokenizer_of("- ab") == CharTokenizer(("<blank>", " ", "a", "b"))
    assert tokenizer_of(["<eps>", "AH", "N"]) == UnitTokenizer(("<blank>", "AH", "N"))
    lexicon = Lexicon({"a": (("AH",),)})
    assert tokenizer_of(["_", "AH", "N"], lexicon) == PhoneTokenizer(
        ("<blank>", "AH", "N"), lexicon
    )
    assert tokenizer_of(tokenizer_of("-ab")) == tokenizer_of("_ab")
    with pytest.raises(ValueError, match=r"symbols\[1\] is 7; expected a text"):
        tokenizer_of(["-", 7])
    with pytest.raises(ValueError, match=r"symbols\[2\] is 'a', like symbols\[1\]"):
        tokenizer_of("-aa")
