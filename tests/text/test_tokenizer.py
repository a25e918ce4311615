import json
import random

import pytest

from asr.errors import InputError
from asr.text.lexicon import Lexicon, parse_lexicon
from asr.text.normalisation import normalise
from asr.text.tokenizer import (
    BLANK_SYMBOL,
    BpeTokenizer,
    CharTokenizer,
    JamoTokenizer,
    PhoneTokenizer,
    UnitTokenizer,
    spelled_words,
    spellings,
    tokenizer_from_dict,
    tokenizer_of,
)

LEXICON = parse_lexicon(["go G OW", "on AO N", "on(2) AA N", "a AH", "a(2) EY"], "words.dic")


def test_characters_round_trip():
    tokenizer = CharTokenizer.from_texts(["go on", "it's"])
    assert tokenizer.symbols == (BLANK_SYMBOL, " ", "'", "g", "i", "n", "o", "s", "t")
    assert tokenizer.encode("go in") == (3, 6, 1, 4, 5)
    assert tokenizer.decode((3, 6, 1, 4, 5)) == "go in"


@pytest.mark.parametrize("seed", range(3))
def test_normalised_texts_round_trip(seed):
    generator = random.Random(seed)
    texts = ["".join(generator.choices("abĵ한국 'ßçक्षि語", k=30)) for _ in range(50)]
    texts = [normalise(text) for text in texts]
    for tokenizer in (
        CharTokenizer.from_texts(texts),
        JamoTokenizer.from_texts(texts),
        UnitTokenizer.from_texts(texts),
        BpeTokenizer.from_texts(texts, n_pieces=40),
    ):
        again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())), "model.json")
        assert again == tokenizer
        for text in texts:
            tokens = again.encode(text)
            assert again.decode(tokens) == text
            assert 0 not in tokens


def test_characters_are_code_points_of_nfc():
    tokenizer = CharTokenizer.from_texts(["cafe\u0301"])
    assert tokenizer.symbols == (BLANK_SYMBOL, "a", "c", "f", "é")
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("café") == (2, 1, 3, 4)


def test_jamo_are_letters_of_syllables_and_other_characters():
    tokenizer = JamoTokenizer.from_texts(["각 a", "나ㅋ"])
    assert tokenizer.symbols == (BLANK_SYMBOL, *" a\u1100\u1102\u1161\u11a8ㅋ")
    assert tokenizer.encode("각 나") == (3, 5, 6, 1, 4, 5)
    assert tokenizer.decode((3, 5, 6, 1, 4, 5)) == "각 나"
    assert tokenizer.decode((6, 7, 3, 1, 5)) == "윽ㅋ그 아"  # each syllable is completed
    assert tokenizer.separator == 1
    assert JamoTokenizer.from_texts(["각"]).separator is None


def test_jamo_in_no_syllable_are_refused():
    tokenizer = JamoTokenizer.from_texts(["각"])
    for text, codes in (
        ("가\u1100", r"U\+1100"),
        ("각\u11a8", r"U\+11A8"),
        ("\u1161 각", r"U\+1161"),
        ("\u1100\u11a8", r"U\+1100 U\+11A8"),
        ("\u1112\u119e\u11ab", r"U\+1112"),  # a vowel of the 15th century
    ):
        with pytest.raises(InputError, match=rf"^u1: jamo .* \({codes}\) are no whole syllable;"):
            tokenizer.encode(text, place="u1")
    with pytest.raises(
        InputError, match=r"^u1: letter '\u1175' \(U\+1175\) is not in the alphabet;"
    ):
        tokenizer.encode("기", place="u1")
    for symbol in ("각", "é", "ab", ""):
        with pytest.raises(ValueError, match=r"symbols\[1\] is .*; expected one letter or other"):
            JamoTokenizer((BLANK_SYMBOL, symbol))


def test_symbols_with_jamo_spell_syllables():
    symbols = ("_", *" \u1100\u1102\u1161")
    tokenizer = tokenizer_of(symbols)
    assert tokenizer == JamoTokenizer((BLANK_SYMBOL, *symbols[1:]))
    assert spelled_words((2, 4, 1, 3, 4, 2), tokenizer) == [("가", 0, 1), ("나그", 3, 5)]


def test_units_are_separated_by_white_space():
    tokenizer = UnitTokenizer.from_texts(["h# k aw n", "h#  aw h#"])
    assert tokenizer.symbols == (BLANK_SYMBOL, "aw", "h#", "k", "n")
    assert tokenizer.encode(" h# k\taw n ") == (2, 3, 1, 4)
    assert tokenizer.decode((2, 3, 1, 4)) == "h# k aw n"
    assert tokenizer.encode("") == ()
    assert tokenizer.decode(()) == ""


def test_subword_pieces_are_tokens_from_1_on():
    tokenizer = BpeTokenizer.from_texts(["ab ab abc", "b a"], n_pieces=8)
    assert tokenizer.symbols == (BLANK_SYMBOL, *tokenizer.model.pieces)
    assert len(tokenizer.symbols) == 9
    tokens = tokenizer.encode("abc b")
    assert [tokenizer.symbols[token] for token in tokens] == tokenizer.model.encode("abc b")
    # a hypothesis may begin within a word, which no text does
    assert tokenizer.decode([tokenizer.symbols.index(piece) for piece in ("a", "▁b")]) == "a b"


def test_words_are_encoded_by_their_first_pronunciation():
    tokenizer = PhoneTokenizer.from_lexicon(LEXICON)
    assert tokenizer.symbols == (BLANK_SYMBOL, "AA", "AH", "AO", "EY", "G", "N", "OW")
    assert tokenizer.encode(" go on\ta ") == (5, 7, 3, 6, 2)
    assert tokenizer.decode((5, 7, 3, 6, 2)) == "G OW AO N AH"
    assert tokenizer.encode("") == ()


def test_phone_tokenizer_keeps_its_lexicon_in_to_dict():
    tokenizer = PhoneTokenizer.from_lexicon(LEXICON)
    again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())), "model.json")
    assert again == tokenizer
    assert again.to_dict()["lexicon"][3:] == ["a  AH", "a(2)  EY"]


def test_lexicon_may_get_new_words_but_no_new_phones():
    values = PhoneTokenizer.from_lexicon(LEXICON).to_dict()
    values["lexicon"].append("no N OW")
    tokenizer = tokenizer_from_dict(values, "model.json")
    assert tokenizer.encode("no") == (6, 7)
    assert tokenizer.symbols == PhoneTokenizer.from_lexicon(LEXICON).symbols
    values["lexicon"].append("zoo Z UW")
    message = (
        "^model.json: the lexicon has phone 'UW' in 'zoo', which is not in symbols;"
        " expected 'AA AH AO EY G N OW'$"
    )
    with pytest.raises(InputError, match=message):
        tokenizer_from_dict(values, "model.json")
    with pytest.raises(ValueError, match="the lexicon has phone 'Z'"):
        PhoneTokenizer((BLANK_SYMBOL, "A"), Lexicon({"a": (("Z",),)}))


def test_words_without_a_pronunciation_are_named():
    tokenizer = PhoneTokenizer.from_lexicon(LEXICON)
    line = "^utterance u7: no pronunciation in the lexicon for 'Go', 'bee', 'zoo'$"
    with pytest.raises(InputError, match=line):
        tokenizer.encode("go zoo bee on Go zoo", place="utterance u7")


@pytest.mark.parametrize(
    "tokenizer",
    [
        CharTokenizer.from_texts(["go on a"]),
        JamoTokenizer.from_texts(["go on a"]),
        BpeTokenizer.from_texts(["go on a", "go on"], n_pieces=9),
        PhoneTokenizer.from_lexicon(LEXICON),
        UnitTokenizer.from_texts(["go on a"]),
    ],
    ids=lambda tokenizer: tokenizer.kind,
)
def test_joined_spellings_equal_the_encoded_text(tokenizer):
    words = ["on", "go", "a", "zoo", "on"]
    found = spellings(words, tokenizer)
    assert list(found) == ["on", "go", "a", "zoo"]
    assert found["zoo"] == ()
    between = () if tokenizer.separator is None else (tokenizer.separator,)
    for text in ("go on", "a a go", "on"):
        joined = ()
        for word in text.split():
            joined += (between if joined else ()) + found[word][0]
        assert joined == tokenizer.encode(text)


def test_spellings_of_words():
    chars = CharTokenizer.from_texts(["go on"])
    assert spellings(["go", "on"], chars) == {"go": ((2, 4),), "on": ((4, 3),)}
    assert chars.separator == chars.symbols.index(" ") == 1
    assert CharTokenizer.from_texts(["go"]).separator is None  # no text has two words
    pieces = BpeTokenizer.from_texts(["go go on", "go on"], n_pieces=7)
    (spelled,) = spellings(["go"], pieces)["go"]
    assert [pieces.symbols[token] for token in spelled] == ["▁go"]
    assert pieces.separator is None
    phones = PhoneTokenizer.from_lexicon(LEXICON)
    assert spellings(["on"], phones) == {"on": ((3, 6), (1, 6))}
    assert phones.separator is None


@pytest.mark.parametrize("word", ["", "two words", " go"])
def test_invalid_words_are_refused(word):
    with pytest.raises(ValueError, match=f"words has '{word}'; expected words without white space"):
        spellings([word], CharTokenizer.from_texts(["go on"]))


def test_unknown_piece_is_named_with_its_place():
    tokenizer = BpeTokenizer.from_texts(["ab ab"], n_pieces=4)
    with pytest.raises(InputError, match=r"^u1: piece 'é' \(U\+00E9\) is not in the alphabet;"):
        tokenizer.encode("aéb", place="u1")
    with pytest.raises(InputError, match=r"^u1: 'a▁b' has '▁' \(U\+2581\)"):
        tokenizer.encode("a▁b", place="u1")


def test_unknown_character_is_named_with_its_place():
    tokenizer = CharTokenizer.from_texts(["abc d"])
    expected = (
        r"^utterance an251-fash-b: character 'é' \(U\+00E9\) is not in the alphabet;"
        r" expected one of the 5 of ' abcd'$"
    )
    with pytest.raises(InputError, match=expected):
        tokenizer.encode("abé", place="utterance an251-fash-b")


def test_unknown_unit_is_named_and_alphabet_shortened():
    tokenizer = UnitTokenizer.from_texts([f"unit{n}" for n in range(1000)])
    with pytest.raises(
        InputError, match=r"^u1: unit 'ax' is not in .* of the 1000 of 'unit0 "
    ) as e:
        tokenizer.encode("unit1 ax", place="u1")
    assert len(str(e.value)) < 250


@pytest.mark.parametrize(
    "tokenizer",
    [
        CharTokenizer((BLANK_SYMBOL, " ", "a", "b")),
        UnitTokenizer((BLANK_SYMBOL, "h#", "k", "aw")),
        BpeTokenizer.from_texts(["ab ba b", "a bab abba"], n_pieces=8),
        PhoneTokenizer.from_lexicon(LEXICON),
    ],
    ids=["char", "unit", "bpe", "phone"],
)
def test_spelled_words_are_those_of_the_text_with_their_places(tokenizer):
    generator, n_tokens = random.Random(0), len(tokenizer.symbols)
    for length in [0, *range(1, 60)]:
        tokens = generator.choices(range(1, n_tokens), k=length)
        words = spelled_words(tokens, tokenizer)
        assert [word for word, _, _ in words] == tokenizer.decode(tokens).split()
        ends = [-1, *(last for _, _, last in words)]
        for (word, first, last), before in zip(words, ends, strict=False):
            assert tokenizer.decode(tokens[first : last + 1]).split() == [word]
            assert tokenizer.decode(tokens[before + 1 : first]).split() == []
    with pytest.raises(ValueError, match="token 0 stands for no text"):
        spelled_words([1, 0], tokenizer)


@pytest.mark.parametrize("token", [0, 4, -1])
def test_tokens_without_a_symbol_are_refused(token):
    with pytest.raises(ValueError, match=f"token {token} stands for no text; expected 1 to 3"):
        CharTokenizer.from_texts(["abc"]).decode((1, token))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "syllable"},
            "is of kind 'syllable'; expected one of char, jamo, unit, bpe, phone",
        ),
        ({"kind": "char", "symbols": ["a", "b"]}, r"symbols\[0\] is 'a'; expected '<blank>'"),
        ({"kind": "char", "symbols": []}, r"symbols\[0\] is missing; expected '<blank>'"),
        (
            {"kind": "char", "symbols": [BLANK_SYMBOL, "a", "b", "a"]},
            r"symbols\[3\] is 'a', like symbols\[1\]; expected each symbol once",
        ),
        ({"kind": "char", "symbols": [BLANK_SYMBOL, "ab"]}, "'ab'; expected one character"),
        ({"kind": "unit", "symbols": [BLANK_SYMBOL, "a b"]}, "'a b'; expected no white space"),
        ({"kind": "char", "symbols": "abc"}, "symbols is 'abc'; expected a list of texts"),
        ({"kind": "char"}, "tokenizer has kind; expected kind, symbols"),
        ({"kind": "bpe", "model": "ab"}, "the subword model is damaged; expected"),
        ({"kind": "bpe", "model": ["ab"]}, r"model is \['ab'\]; expected text"),
        ({"kind": "bpe", "symbols": []}, "tokenizer has kind, symbols; expected kind, model"),
        (
            {"kind": "phone", "symbols": [BLANK_SYMBOL, "AH"], "lexicon": ["a AH", "b"]},
            "lexicon:2: is 'b'; expected WORD PHONE PHONE",
        ),
        (
            {"kind": "phone", "symbols": [BLANK_SYMBOL, "AH"], "lexicon": "a AH"},
            "lexicon is 'a AH'; expected a list of texts",
        ),
    ],
)
def test_invalid_tokenizer_values_are_refused(values, message):
    with pytest.raises(InputError, match=f"^exp/an4/model.json: .*{message}"):
        tokenizer_from_dict(values, "exp/an4/model.json")


def test_spellings_cover_all_pronunciations():
    lexicon = parse_lexicon(["a AH", "a(2) EY", "the DH AH", "the(2) DH IY"], "x")
    phones = PhoneTokenizer.from_lexicon(lexicon)
    said = {phones.decode(tokens) for tokens in phones.spellings("the a")}
    assert said == {"DH AH AH", "DH AH EY", "DH IY AH", "DH IY EY"}
    assert phones.spellings("the a")[0] == phones.encode("the a")
    assert phones.words == ("a", "the")
    with pytest.raises(InputError, match="x: no pronunciation in the lexicon for 'b', 'c'"):
        phones.spellings("a c b", "x")
    letters = CharTokenizer.from_texts(["the a"])
    assert letters.spellings("a the") == [letters.encode("a the")]
    assert letters.words == ()


def test_case_is_that_of_the_training_texts():
    for text, case in (("ab", "lower"), ("AB", "upper"), ("aB", "keep")):
        assert CharTokenizer.from_texts([text]).case == case
        assert BpeTokenizer.from_texts([text], n_pieces=4).case == case
        assert PhoneTokenizer.from_lexicon(parse_lexicon([f"{text} AH"], "x")).case == case
    assert UnitTokenizer.from_texts(["AH B"]).case == "keep"
