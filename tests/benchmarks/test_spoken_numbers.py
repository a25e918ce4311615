import itertools
import re

import jiwer
import pytest
from benchmarks.spoken_numbers import count_word_errors, readings, scored_words


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


def all_texts(alternatives):
    """Each plain text of a text in sclite's notation, without nested braces."""
    parts = re.split(r"[{}]", alternatives)
    choices = [part.split("/") if n % 2 else [part] for n, part in enumerate(parts)]
    return [" ".join("".join(chosen).split()) for chosen in itertools.product(*choices)]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("enter one oh four and one hundred and four", "Enter 104 and 104.", 0),
        ("g f t u one three three two", "G-F-T-U-1332.", 0),
        ("one five two one seven", "1-5-2-17", 0),
        ("in nineteen oh five it rained", "In 1905, it reigned", 1),
        ("two eighteen", "281", 2),
        ("no", "", 1),
    ],
)
def test_the_reading_with_the_fewest_errors_counts(reference, hypothesis, errors):
    counts = count_word_errors(reference, hypothesis)
    by_jiwer = [
        jiwer.process_words(reference, text) for text in all_texts(scored_words(hypothesis))
    ]
    fewest = min(output.substitutions + output.deletions + output.insertions for output in by_jiwer)
    assert counts.errors == fewest == errors
    assert counts.words == len(reference.split())
