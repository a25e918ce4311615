import re

import pytest

from asr.evaluation.text_case import case_fault
from asr.text.lexicon import parse_lexicon
from asr.text.tokenizer import CharTokenizer, PhoneTokenizer, UnitTokenizer

SMALL, CAPITAL, MIXED = (CharTokenizer.from_texts([text]) for text in ("one", "ONE", "One oNE"))


@pytest.mark.parametrize(
    ("texts", "tokenizer", "fault"),
    [
        (
            ["ONE"],
            SMALL,
            "in capitals, .* in small letters; the model can write none",
        ),
        (
            ["one"],
            CAPITAL,
            "in small letters, those of the model in capitals; the model can write none",
        ),
        (["One one", "one one"], SMALL, "and capitals, .* the model can't write 25.0% of their"),
        (["One ONE"], CAPITAL, "and capitals, those of the model in capitals; .* write 50.0% of"),
        (["one"], MIXED, "in small letters, .* in small letters and capitals; words that differ"),
        (["ONE"], MIXED, "in capitals, those of the model in small letters and capitals; words"),
    ],
)
def test_texts_in_another_case_are_told_with_the_share_of_lost_words(texts, tokenizer, fault):
    assert re.search(f"^its texts are .*{fault}", case_fault(texts, tokenizer))


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [
        (["one two"], SMALL),
        (["one"], UnitTokenizer.from_texts(["one", "two"])),
        (["ONE"], CAPITAL),
        (["One ONE"], MIXED),
        (["12", "中"], CAPITAL),
        ([], MIXED),
    ],
)
def test_texts_in_the_same_case_or_none_have_no_fault(texts, tokenizer):
    assert case_fault(texts, tokenizer) == ""


def test_words_without_a_pronunciation_are_lost():
    phones = PhoneTokenizer.from_lexicon(parse_lexicon(["Three TH R IY", "one W AH N"], "x"))
    fault = case_fault(["three one"], phones)
    assert fault.endswith("the model can't write 50.0% of their words")
