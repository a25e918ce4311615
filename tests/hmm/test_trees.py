import itertools
import json
import random

import pytest

from asr.errors import InputError
from asr.hmm.trees import (
    EDGE,
    DecisionTrees,
    Split,
    context_lexicon,
    middle_phone,
    parse_unit,
    trees_from_dict,
)
from asr.text.lexicon import Lexicon, parse_lexicon
from asr.text.tokenizer import PhoneTokenizer, tokenizer_from_dict

VOICED = Split("right", frozenset({"B", "D"}), 3, 2)
TREES = DecisionTrees({"AE": (Split("left", frozenset({EDGE}), 0, VOICED), 1), "SIL": (4,)})


def test_phones_become_word_internal_triphones():
    lexicon = parse_lexicon(["cat K AE T", "a AH", "a EY", "at AE T"], "x")
    assert context_lexicon(lexicon).pronunciations == {
        "cat": (("#-K+AE", "K-AE+T", "AE-T+#"),),
        "a": (("#-AH+#",), ("#-EY+#",)),
        "at": (("#-AE+T", "AE-T+#"),),
    }


@pytest.mark.parametrize("seed", range(3))
def test_triphones_are_parsed_into_the_phones_they_were_made_of(seed):
    generator = random.Random(seed)
    names = ["-", "+", "a", "'", "é", "语", "h#", "AE1", "##"]
    words = {str(n): (tuple(generator.choices(names, k=1 + n % 7)),) for n in range(200)}
    for word, (units,) in context_lexicon(Lexicon(words)).pronunciations.items():
        phones = words[word][0]
        assert [middle_phone(unit) for unit in units] == list(phones)
        assert [parse_unit(unit)[0] for unit in units] == [EDGE, *phones[:-1]]
        assert [parse_unit(unit)[2] for unit in units] == [*phones[1:], EDGE]


def test_a_unit_without_context_is_its_own_phone():
    assert middle_phone("SIL") == "SIL"
    assert parse_unit("<sil>") == ("", "<sil>", "")
    assert parse_unit("-") == ("", "-", "")


def test_a_triphone_lexicon_makes_a_tokenizer():
    lexicon = context_lexicon(parse_lexicon(["x-ray x - r a y", "a a", "a(2) e y"], "x"))
    tokenizer = PhoneTokenizer.from_lexicon(lexicon)
    again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())), "model.json")
    assert again == tokenizer
    assert again.decode(again.encode("x-ray a")) == "#-x+- x--+r --r+a r-a+y a-y+# #-a+#"


@pytest.mark.parametrize("phone", ["#", "a-b", "t+", "-k", "--"])
def test_a_phone_that_makes_triphones_ambiguous_is_refused(phone):
    with pytest.raises(
        InputError, match=rf"the lexicon has phone '{phone[0]}.*triphones such as K-AE"
    ):
        context_lexicon(Lexicon({"word": ((phone, "a"),)}))


def test_the_answers_lead_to_each_states_pdf():
    assert TREES.n_pdfs == 5
    assert TREES.pdfs("#-AE+B") == (0, 1)
    assert TREES.pdfs("K-AE+B") == (3, 1)
    assert TREES.pdfs("B-AE+K") == (2, 1)
    assert TREES.pdfs("K-AE+#") == (2, 1)
    assert TREES.pdfs("AE") == (2, 1)
    assert TREES.pdfs("SIL") == (4,)
    assert TREES.pdfs("K-SIL+D") == (4,)


def random_tree(generator, depth, leaves):
    if depth == 0 or generator.random() < 0.2:
        return next(leaves)
    phones = frozenset(generator.choices("abc#-é", k=3))
    yes, no = (random_tree(generator, depth - 1, leaves) for _ in range(2))
    return Split(generator.choice(["left", "right"]), phones, yes, no)


@pytest.mark.parametrize("seed", range(3))
def test_trees_survive_a_round_trip_through_json(seed):
    generator, leaves = random.Random(seed), itertools.count()
    trees = {p: tuple(random_tree(generator, 5, leaves) for _ in range(3)) for p in "abc"}
    trees = DecisionTrees(trees)
    text = json.dumps(trees.to_dict())
    again = trees_from_dict(json.loads(text), "model.json")
    assert again == trees
    assert json.dumps(again.to_dict()) == text
    assert again.n_pdfs == next(leaves)
    for left, phone, right in itertools.product("abc#-é", "abc", "abc#-é"):
        unit = f"{left}-{phone}+{right}"
        assert again.pdfs(unit) == trees.pdfs(unit)


def test_a_triphone_of_an_unseen_phone_is_refused():
    with pytest.raises(InputError, match=r"'K-ZH[+]T' is of phone 'ZH'; expected one of AE SIL"):
        TREES.pdfs("K-ZH+T")


QUESTION = {"side": "left", "phones": ["a"], "yes": 0, "no": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0]], r"trees is \[\[0\]\]; expected lists of trees by phone"),
        ({}, "no leaf has number 0; expected all from 0 on"),
        ({"a": 0}, "phone 'a' has 0; expected a list of trees"),
        ({"a": []}, "phone 'a' has no tree; expected one for each state"),
        ({"a": [0, 2]}, "no leaf has number 1; expected all from 0 on"),
        ({"a": [0, -1]}, "a leaf has number -1; expected 0 or more"),
        ({"a": [True]}, "phone 'a' has True; expected a number, or side, phones, yes and no"),
        ({"a": [0.0]}, "phone 'a' has 0.0; expected a number"),
        ({"a": [QUESTION | {"side": "top"}]}, "phone 'a' has {'side': 'top'.*; expected a number"),
        ({"a": [QUESTION | {"phones": []}]}, "a question has no phones; expected at least one"),
        ({"a": [QUESTION | {"phones": "a"}]}, "phone 'a' has .*; expected a number"),
        ({"a": [QUESTION | {"phones": [1]}]}, "phone 'a' has .*; expected a number"),
        ({"a": [QUESTION | {"no": None}]}, "phone 'a' has None; expected a number"),
        ({"a": [QUESTION | {"gain": 1}]}, "phone 'a' has .*; expected a number"),
        ({"a": [{"side": "left", "phones": ["a"], "yes": 0}]}, "phone 'a' has .*; expected"),
    ],
)
def test_damaged_values_are_refused(values, message):
    with pytest.raises(InputError, match=f"^model.json: {message}"):
        trees_from_dict(values, "model.json")
