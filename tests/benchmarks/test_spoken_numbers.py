import pytest
from benchmarks.spoken_numbers import readings, scored_words


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("7", ["seven"]),
        ("0", ["zero", "oh"]),
        ("21", ["twenty one", "two one"]),
        (
            "218",
            [
                "two hundred and eighteen",
                "two hundred eighteen",
                "two one eight",
                "two eighteen",
            ],
        ),
        (
            "104",
            [
                "one hundred and four",
                "one hundred four",
                "one zero four",
                "one oh four",
            ],
        ),
        (
            "1200",
            [
                "one thousand two hundred",
                "one two zero zero",
                "one two oh oh",
                "twelve hundred",
            ],
        ),
        ("007", ["seven", "zero zero seven", "oh oh seven"]),
    ],
)
def test_a_number_has_all_its_usual_readings(digits, expected):
    assert readings(digits) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rub out G-M-E-F-9!", "rub out g m e f nine"),
        ("Mr. O'Neil's dog, isn't it?", "mister o'neil's dog isn't it"),
        ("the 21st of May", "the twenty first of may"),
        ("It’s 3.5% of $9 & more", "it's three point five percent of nine dollars and more"),
        ("1-5-2, B7", "one five two b seven"),
        (
            "over 2,000 metres",
            "over { two thousand / two zero zero zero / two oh oh oh / twenty hundred } metres",
        ),
        ("at 9:30", "at nine { thirty / three zero / three oh }"),
        (" - ", ""),
    ],
)
def test_texts_become_the_words_to_score(text, expected):
    assert scored_words(text) == expected


def test_words_to_score_are_normalised_already():
    words = "he hasn't said two hundred and eighteen"
    assert scored_words(words) == words
