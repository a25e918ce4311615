import json
import random

import pytest

from asr.errors import InputError
from asr.text import normalise
from asr.tokenizer import (
    BLANK_SYMBOL,
    CharTokenizer,
    UnitTokenizer,
    tokenizer_from_dict,
)


def test_characters_of_the_texts_become_tokens_and_come_back():
    tokenizer = CharTokenizer.from_texts(["go on", "it's"])
    assert tokenizer.symbols == (BLANK_SYMBOL, " ", "'", "g", "i", "n", "o", "s", "t")
    assert tokenizer.encode("go in") == (3, 6, 1, 4, 5)
    assert tokenizer.decode((3, 6, 1, 4, 5)) == "go in"


@pytest.mark.parametrize("seed", range(3))
def test_normalised_texts_survive_the_way_there_and_back(seed):
    generator = random.Random(seed)
    texts = ["".join(generator.choices("abĵ한국 'ßçक्षि語", k=30)) for _ in range(50)]
    texts = [normalise(text) for text in texts]
    for tokenizer in (CharTokenizer.from_texts(texts), UnitTokenizer.from_texts(texts)):
        again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())), "model.json")
        assert again == tokenizer
        for text in texts:
            tokens = again.encode(text)
            assert again.decode(tokens) == text
            assert 0 not in tokens


def test_a_character_is_a_code_point_of_the_composed_form():
    tokenizer = CharTokenizer.from_texts(["cafe\u0301"])
    assert tokenizer.symbols == (BLANK_SYMBOL, "a", "c", "f", "é")
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("café") == (2, 1, 3, 4)


def test_units_are_what_white_space_separates():
    tokenizer = UnitTokenizer.from_texts(["h# k aw n", "h#  aw h#"])
    assert tokenizer.symbols == (BLANK_SYMBOL, "aw", "h#", "k", "n")
    assert tokenizer.encode(" h# k\taw n ") == (2, 3, 1, 4)
    assert tokenizer.decode((2, 3, 1, 4)) == "h# k aw n"
    assert tokenizer.encode("") == ()
    assert tokenizer.decode(()) == ""


def test_a_character_outside_the_alphabet_is_named_with_its_place():
    tokenizer = CharTokenizer.from_texts(["abc d"])
    expected = (
        r"^utterance an251-fash-b: character 'é' \(U\+00E9\) is not in the alphabet;"
        r" expected one of the 5 of ' abcd'$"
    )
    with pytest.raises(InputError, match=expected):
        tokenizer.encode("abé", place="utterance an251-fash-b")


def test_an_unknown_unit_is_named_and_long_alphabets_are_cut():
    tokenizer = UnitTokenizer.from_texts([f"unit{n}" for n in range(1000)])
    with pytest.raises(
        InputError, match=r"^u1: unit 'ax' is not in .* of the 1000 of 'unit0 "
    ) as e:
        tokenizer.encode("unit1 ax", place="u1")
    assert len(str(e.value)) < 250


@pytest.mark.parametrize("token", [0, 4, -1])
def test_tokens_without_a_text_are_refused(token):
    with pytest.raises(ValueError, match=f"token {token} stands for no text; expected 1 to 3"):
        CharTokenizer.from_texts(["abc"]).decode((1, token))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "syllable"}, "is of kind 'syllable'; expected one of char, unit, bpe, phone"),
        ({"kind": "char", "symbols": ["a", "b"]}, r"symbols\[0\] is 'a'; expected '<blank>'"),
        ({"kind": "char", "symbols": []}, r"symbols\[0\] is missing; expected '<blank>'"),
        (
            {"kind": "char", "symbols": [BLANK_SYMBOL, "a", "b", "a"]},
            r"symbols\[3\] is 'a', like symbols\[1\]; expected it once",
        ),
        ({"kind": "char", "symbols": [BLANK_SYMBOL, "ab"]}, "'ab'; expected one character"),
        ({"kind": "unit", "symbols": [BLANK_SYMBOL, "a b"]}, "'a b'; expected no white space"),
        ({"kind": "char", "symbols": "abc"}, "symbols is 'abc'; expected a list of texts"),
        ({"kind": "char"}, "tokenizer has kind; expected kind, symbols"),
    ],
)
def test_what_is_no_tokenizer_is_refused_with_its_place(values, message):
    with pytest.raises(InputError, match=f"^exp/an4/model.json: .*{message}"):
        tokenizer_from_dict(values, "exp/an4/model.json")
