import pytest

from asr.errors import InputError
from asr.text.lexicon import Lexicon
from asr.text.spelling import spellable_words
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer, UnitTokenizer

LETTERS = CharTokenizer.from_texts(["abcdefghijklmnopqrstuvwxyz "])


@pytest.mark.parametrize(
    ("symbols", "written", "words"),
    [
        ("abcdehlnorw ", "Hello,\n\tWORLD -- a\N{SOFT HYPHEN}b!\r\n", "hello world ab"),
        ("ABCDEHLNORW ", "Hello, world.", "HELLO WORLD"),
        ("HWehllord, ", "Hello, World.", "Hello, World"),  # keeps what it can spell
        ("elknow- ", "well-known", "well-known"),
        ("elknow ", "well-known", "well known"),
        ("dont' ", "\N{LEFT SINGLE QUOTATION MARK}Don\N{RIGHT SINGLE QUOTATION MARK}t", "don't"),
        ("eé ", "e\N{COMBINING ACUTE ACCENT}e", "ée"),
    ],
)
def test_words_get_the_form_that_the_model_spells(symbols, written, words):
    assert spellable_words(written, CharTokenizer.from_texts([symbols])) == words.split()


def test_words_of_a_lexicon_are_found_in_its_case():
    lexicon = Lexicon({"DON'T": (("D", "OW"),), "U.S.": (("Y", "UW"),), "'TIS": (("D",),)})
    phones = PhoneTokenizer.from_lexicon(lexicon)
    assert spellable_words("“Don’t!” ’tis u.s.", phones) == ["DON'T", "'TIS", "U.S."]
    line = r"a\.txt: has words that the model can't spell: NO; expected words of its lexicon$"
    with pytest.raises(InputError, match=line):
        spellable_words("No, don't", phones, "a.txt")


def test_units_are_kept():
    units = UnitTokenizer.from_texts(["h# k aw"])
    assert spellable_words("h# k\naw", units) == ["h#", "k", "aw"]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("a 42 don't 42", "t: has words that the model can't spell: 42, don't; expected words of"),
        ("a 42", "xyz'; numbers are to be written as words"),
        (" ".join(f"w{n}" for n in range(12)), "w8, w9 and 2 others; expected words of ' abcdef"),
        ("", "t: has no word; expected the text of the recording"),
        (" ... -- \n", "t: has no word; expected the text of the recording"),
        ("a\x07b", r"t: has U\+0007, a control character"),
    ],
)
def test_texts_that_can_not_be_spelled_are_refused(written, line):
    with pytest.raises(InputError, match=line):
        spellable_words(written, LETTERS, "t")
