import random
import unicodedata

import pytest

from asr.errors import InputError
from asr.lm.vocabulary import EOS, UNK, Vocabulary, vocabulary_from_dict
from asr.text.normalisation import TextSettings, normalise, words_and_marks
from asr.text.subword import SubwordModel

TEXTS = ["The cat sat.", "the cat's mat", "THE dog 한국어", "한국 음성", "the mat"]
KEPT = TextSettings(case="keep", punctuation="keep")
EACH_UNIT = pytest.mark.parametrize(
    ("unit", "max_size"), [("word", None), ("char", None), ("jamo", None), ("bpe", 36)]
)


def of(unit="word", texts=TEXTS, **options):
    return Vocabulary.from_texts(texts, unit, **options)


def spelled(vocabulary, text):
    return [vocabulary.symbols[unit] for unit in vocabulary.encode(text)]


def test_units_are_sorted_by_frequency_and_then_spelling():
    assert of().symbols == (
        *("<unk>", "<eos>", "the", "mat", "cat", "cat's"),
        *("dog", "sat", "음성", "한국", "한국어"),
    )
    assert (UNK, EOS) == (0, 1)


@EACH_UNIT
def test_the_order_of_the_texts_does_not_matter(unit, max_size):
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    assert shuffled != TEXTS
    assert of(unit, shuffled, max_size=max_size) == of(unit, max_size=max_size)


@EACH_UNIT
@pytest.mark.parametrize("text", [TextSettings(), KEPT])
def test_decoding_gives_the_normalised_text(unit, max_size, text):
    size = max_size and max_size + 4 * (text == KEPT)
    vocabulary = of(unit, max_size=size, text=text)
    for line in TEXTS:
        units = vocabulary.encode(line)
        assert UNK not in units
        assert EOS not in units
        expected = normalise(line, text)
        if unit == "word" and text == KEPT:
            expected = " ".join(words_and_marks(expected))
        assert vocabulary.decode(units) == expected
        assert vocabulary.encode(vocabulary.decode(units)) == units


@EACH_UNIT
def test_vocabularies_survive_a_round_trip_through_plain_values(unit, max_size):
    vocabulary = of(unit, max_size=max_size)
    again = vocabulary_from_dict(vocabulary.to_dict(), "model.json")
    assert again == vocabulary
    assert again.encode("the cat sat") == vocabulary.encode("the cat sat")
    assert again.to_dict() == vocabulary.to_dict()


@pytest.mark.parametrize(
    ("unit", "text", "pieces"),
    [
        ("word", "the bat sat", ["the", "<unk>", "sat"]),
        ("word", "", []),
        ("char", "the zoo", ["t", "h", "e", " ", "<unk>", "o", "o"]),
        ("bpe", "zt", ["▁", "<unk>", "t"]),
        ("bpe", "zzt", ["▁", "<unk>", "<unk>", "t"]),
    ],
)
def test_units_missing_from_the_vocabulary_are_unknown(unit, text, pieces):
    assert spelled(of(unit, max_size=36 if unit == "bpe" else None), text) == pieces


@pytest.mark.parametrize("unit", ["word", "char"])
def test_special_symbols_in_a_text_have_no_special_meaning(unit):
    vocabulary = of(unit, ["<eos> a <unk>", "<eos> <eos>"])
    assert EOS not in vocabulary.encode("a <eos>")
    if unit == "word":
        assert vocabulary.symbols == ("<unk>", "<eos>", "a")
        assert vocabulary.encode("<eos> a <unk>") == (UNK, 2, UNK)


def test_hangul_units_are_syllables_or_letters():
    letters = unicodedata.normalize("NFD", "한국어")
    assert len(letters) == 8
    assert spelled(of("char"), "한국어") == ["한", "국", "어"]
    assert spelled(of("jamo"), "한국어") == list(letters)
    assert spelled(of("jamo"), letters) == list(letters)
    assert of("jamo").decode(of("jamo").encode("한국어")) == "한국어"
    # a syllable that was never seen is made of letters that were
    assert spelled(of("char"), "극") == ["<unk>"]
    assert spelled(of("jamo", ["그", "국"]), "극") == list(unicodedata.normalize("NFD", "극"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello, world", "hello , world"),
        ("don't stop!", "don't stop !"),
        ("'tis the dogs' day", "' tis the dogs ' day"),
        ("“wait…”", "“ wait … ”"),
        ("well-known; 50% of $5...", "well - known ; 50% of $5 . . ."),
        ("3.5, at 10:30: -5", "3.5 , at 10:30 : -5"),
        ("''", "' '"),
        ("rock 'n' roll", "rock ' n ' roll"),
    ],
)
def test_a_kept_punctuation_mark_is_a_word(text, words):
    assert words_and_marks(text) == words.split()
    vocabulary = of(texts=[text], text=TextSettings(punctuation="keep"))
    assert spelled(vocabulary, text) == words.split()
    assert vocabulary.decode(vocabulary.encode(text)) == words


def test_kept_punctuation_marks_are_characters():
    vocabulary = of("char", ["no, don't"], text=TextSettings(punctuation="keep"))
    assert spelled(vocabulary, "no, don't") == list("no, don't")


def test_words_and_marks_without_the_marks_are_the_normalised_words():
    generator = random.Random(0)
    for _ in range(2000):
        text = "".join(generator.choices("ab' ,!?“”-—/…1%é한", k=12))
        apart = [word for word in words_and_marks(text) if normalise(word)]
        assert apart == normalise(text).split(), text


@pytest.mark.parametrize("min_count", [1, 2, 3, 4])
def test_rare_units_are_left_out(min_count):
    counts = {"a": 4, "b": 3, "c": 2, "d": 2, "e": 1}
    texts = [word for word, count in counts.items() for _ in range(count)]
    kept = [word for word in counts if counts[word] >= min_count]
    assert list(of(texts=texts, min_count=min_count).symbols[2:]) == kept
    assert list(of(texts=texts, min_count=min_count, max_size=4).symbols[2:]) == kept[:2]


def test_a_vocabulary_of_pieces_has_the_wanted_size():
    vocabulary = of("bpe", max_size=36)
    assert len(vocabulary.symbols) == 36
    pieces = SubwordModel.from_text(vocabulary.subwords)
    assert vocabulary.symbols[2:] == pieces.pieces
    assert spelled(vocabulary, "THE cat's") == pieces.encode("the cat's")


@pytest.mark.parametrize("texts", [[], ["", " "], ["?!"], ["<eos>"]])
def test_texts_without_a_unit_are_refused(texts):
    with pytest.raises(InputError, match="the texts have no unit; expected at least one word"):
        of(texts=texts)
    with pytest.raises(InputError, match=r"min_count is 3; .* comes 2 times; expected 2 or less"):
        of(texts=["a b", "b"], min_count=3)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "data.max_size is null; expected how many pieces there are, with <unk> and <eos>"),
        (
            {"max_size": 40, "min_count": 2},
            "min_count is 2; expected 1: all pieces are kept",
        ),
        ({"max_size": 2}, "max_size is 2; expected 3 or more"),
        ({"max_size": 9}, "max_size is 9, <unk> and <eos> among them: n_pieces is 7; the texts"),
        ({"max_size": 999}, "max_size is 999, <unk> and .* the texts give at most"),
    ],
)
def test_invalid_numbers_of_pieces_are_refused(options, line):
    with pytest.raises(InputError, match=line):
        of("bpe", **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("word", ("a", "b")), r"symbols begin with \['a', 'b'\]; expected <unk>, <eos>"),
        (("word", ("<unk>", "<eos>", "a", "a")), "symbols has 'a' more than once"),
        (("bpe", ("<unk>", "<eos>", "a")), "subwords is missing and unit bpe; bpe alone has"),
        (
            ("word", of("bpe", max_size=36).symbols, TextSettings(), "x"),
            "subwords is there and unit word; bpe alone has subwords",
        ),
        (
            ("bpe", ("<unk>", "<eos>"), TextSettings(), of("bpe", max_size=36).subwords),
            "symbols are other pieces than those of subwords",
        ),
    ],
)
def test_invalid_symbols_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(*values)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"more": 1}, "m.json: vocabulary has unit, symbols, text, more; expected unit, symbols"),
        ({"unit": "phone"}, "m.json: unit is 'phone'; expected word, char, jamo or bpe"),
        ({"symbols": "abc"}, "m.json: symbols is no list of texts; expected one"),
        ({"symbols": ["<unk>", 1]}, "m.json: symbols is no list of texts; expected one"),
        ({"symbols": ["a", "b"]}, r"m.json: symbols begin with \['a', 'b'\]"),
        ({"text": {"case": "title"}}, "m.json: text: case is 'title'; expected 'lower', 'keep'"),
        ({"text": 5}, "m.json: text is 5; expected settings by name"),
        ({"unit": "bpe", "subwords": "?"}, "m.json: the subword model is damaged"),
        ({"unit": "bpe", "subwords": "AAAA"}, "m.json: the subword model is damaged"),
        ({"unit": "bpe", "subwords": 7}, "m.json: subwords is 7; expected a text"),
        ({"unit": "bpe"}, "m.json: subwords is missing and unit bpe"),
    ],
)
def test_invalid_values_are_refused(change, line):
    with pytest.raises(InputError, match=line) as refused:
        vocabulary_from_dict(of().to_dict() | change, "m.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("values", [5, [], {"unit": "word"}])
def test_values_with_missing_parts_are_refused(values):
    with pytest.raises(InputError, match=r"m.json: vocabulary has .*; expected unit, symbols, tex"):
        vocabulary_from_dict(values, "m.json")


# --- another case -------------------------------------------------------------------------------


def vocabulary(symbols, unit="word", case="lower"):
    return Vocabulary(unit, ("<unk>", "<eos>", *symbols), TextSettings(case))


def test_a_vocabulary_can_be_converted_to_upper_case():
    small = vocabulary(["straße", "o'er", "x", "é"])
    capitals = small.in_case("upper")
    assert capitals.symbols[2:] == ("STRASSE", "O'ER", "X", "É")
    assert capitals.encode("STRASSE O'ER X É o'er") == (2, 3, 4, 5, 0)
    assert capitals.in_case("upper") == capitals
    assert small.in_case("keep") is small
    assert small.in_case("lower") is small


def test_a_unit_keeps_its_case_if_the_other_is_taken():
    mixed = vocabulary(["essen", "Essen", "Haus", "<SIL>"], case="keep")
    assert mixed.in_case("lower").symbols[2:] == ("essen", "Essen", "haus", "<sil>")
    assert mixed.in_case("lower").encode("essen Essen haus Haus") == (2, 3, 4, 0)


def test_characters_stay_single_characters_in_another_case():
    letters = vocabulary(["a", " ", "ß", "é"], "char").in_case("upper")
    assert letters.symbols[2:] == ("A", " ", "ß", "É")
    assert letters.encode("A É") == (2, 3, 5)
