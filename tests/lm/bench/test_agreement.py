import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binomtest
from table_model import random_model, uniform_model

from asr.errors import InputError
from asr.lm.bench.agreement import GroupResult, by_group, judge, wilson_interval
from asr.lm.bench.minimal_pairs import Pair, read_minimal_pairs, subject_verb_pairs
from asr.lm.vocabulary import Vocabulary

PAIRS = subject_verb_pairs()
SINGULAR, PLURAL = {"was", "is", "has"}, {"were", "are", "have"}
IRREGULAR = {"men", "women", "children", "gentlemen"}


def number_of(noun):
    return noun in IRREGULAR or noun.endswith("s")


class RuleModel:
    """A model whose log-probability of a sentence is given by a rule."""

    def __init__(self, pairs, rule):
        self.vocabulary = Vocabulary.from_texts(text for p in pairs for text in (p.good, p.bad))
        self.rule = rule

    def sentence_log_probs(self, sentences):
        texts = [self.vocabulary.decode(units).split() for units in sentences]
        return [np.full(len(text) + 1, self.rule(text) / (len(text) + 1)) for text in texts]


def verb_at(words):
    return next(n for n, word in enumerate(words) if word in SINGULAR | PLURAL and word != "had")


def nouns_before_verb(words):
    """The words after "the", except the one adjective in the templates."""
    words = [word for word in words[: verb_at(words)] if word != "old"]
    return [after for before, after in itertools.pairwise(words) if before == "the"]


def agrees_with(place):
    return lambda words: (
        0.0
        if number_of(nouns_before_verb(words)[place]) == (words[verb_at(words)] in PLURAL)
        else -1.0
    )


def rates(results):
    return {result.group: result.accuracy for result in results}


def test_a_subject_model_is_always_right_and_a_last_noun_model_is_misled():
    subject = by_group(judge(RuleModel(PAIRS, agrees_with(0)), PAIRS))
    assert {result.accuracy for result in subject} == {1}
    last = rates(by_group(judge(RuleModel(PAIRS, agrees_with(-1)), PAIRS)))
    for between in ("0 words", "1 word", "2 words"):
        assert last[f"{between} between"] == 1
    for between in (3, 4, 5, 6, 8, 11):
        assert last[f"{between} words between"] == 0.5
    assert (last["0 attractors"], last["2 attractors"]) == (1, 0)
    assert 0 < last["1 attractor"] < 0.5


def test_groups_count_the_words_between_and_the_attractors():
    for pair in PAIRS:
        words = pair.good.split()
        between = verb_at(words) - 2
        subject, *others = map(number_of, nouns_before_verb(words))
        attractors = sum(other != subject for other in others)
        assert pair.groups == (
            f"{between} word{'' if between == 1 else 's'} between",
            f"{attractors} attractor{'' if attractors == 1 else 's'}",
        )


def test_a_pair_differs_only_in_the_verb():
    for pair in PAIRS:
        good, bad = pair.good.split(), pair.bad.split()
        [(right, wrong)] = [two for two in zip(good, bad, strict=True) if two[0] != two[1]]
        plural = number_of(good[1])
        assert (right in PLURAL, wrong in PLURAL) == (plural, not plural)
        assert agrees_with(0)(good) == 0
        assert agrees_with(0)(bad) == -1


def test_there_are_hundreds_of_different_pairs():
    assert len(PAIRS) == len({pair.good for pair in PAIRS}) == 528
    assert subject_verb_pairs() == PAIRS
    frames = set()
    for pair in PAIRS:
        words = pair.good.split()
        between = [
            word for word in words[2 : verb_at(words)] if word not in nouns_before_verb(words)
        ]
        frames.add((*between, words[verb_at(words)]))
    assert len(frames) > 60
    nouns = Counter(noun for pair in PAIRS for noun in nouns_before_verb(pair.good.split()))
    assert len(nouns) == 2 * (13 + 11)
    assert min(nouns.values()) > 5


def test_groups_are_sorted_by_words_between_then_attractors():
    groups = [result.group for result in by_group(judge(RuleModel(PAIRS, len), PAIRS))]
    distances = [f"{n} word{'' if n == 1 else 's'} between" for n in (0, 1, 2, 3, 4, 5, 6, 8, 11)]
    assert groups == ["all", *distances, "0 attractors", "1 attractor", "2 attractors"]


def test_word_frequencies_alone_are_right_half_the_time_in_every_group():
    class UnigramModel(RuleModel):
        def sentence_log_probs(self, sentences):
            weights = np.random.default_rng(0).normal(size=len(self.vocabulary.symbols))
            return [weights[[*units, 1]] for units in sentences]

    for result in by_group(judge(UnigramModel(PAIRS, None), PAIRS)):
        assert result.accuracy == 0.5


def test_the_sentence_end_counts_and_a_tie_is_not_right():
    model = random_model(Vocabulary.from_texts(["a b c"]), seed=2)
    pairs = [Pair("a b", "b a"), Pair("a", "c b a"), Pair("b c a", "a")]
    for judgement in judge(model, pairs):
        for text, found in (
            (judgement.pair.good, judgement.good_log_prob),
            (judgement.pair.bad, judgement.bad_log_prob),
        ):
            [row] = model.sentence_log_probs([model.vocabulary.encode(text)])
            assert found == pytest.approx(row.sum(), rel=1e-12)
        assert judgement.right == (judgement.good_log_prob > judgement.bad_log_prob)
    assert not judge(uniform_model(model.vocabulary), [Pair("a b", "b a")])[0].right


def test_pairs_with_oov_words_are_counted_separately():
    model = RuleModel([Pair("a b", "b a")], lambda words: -len(words))
    pairs = [Pair("a", "a b", ("x",)), Pair("a b", "a", ("x",)), Pair("Q", "q z", ("x", "y"))]
    judged = judge(model, pairs)
    assert [judgement.oov for judgement in judged] == [(), (), ("q", "z")]
    assert by_group(judged) == [
        GroupResult("all", 2, 1, 1, 1),
        GroupResult("x", 2, 1, 1, 1),
        GroupResult("y", 0, 0, 1, 1),
    ]
    assert math.isnan(by_group(judged)[2].accuracy)
    assert by_group(judged)[2].interval == (0, 1)


@pytest.mark.parametrize(("right", "pairs"), [(0, 5), (5, 5), (1, 3), (40, 64), (263, 528)])
def test_the_interval_equals_wilsons(right, pairs):
    expected = binomtest(right, pairs).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, pairs) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_file_of_pairs_is_read(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("the cat sits\tthe cat sit\tnear\r\n\n a b \tb a\n", "utf-8")
    assert read_minimal_pairs(path) == [
        Pair("the cat sits", "the cat sit", ("near",)),
        Pair("a b", "b a"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"p\.tsv: has no pair; expected at least one line: good, tab, bad"),
        ("a\tb\nthe cat sits\n", r"p\.tsv:2: is 'the cat sits'; expected good, tab, bad"),
        ("a\t\n", r"p\.tsv:1: is 'a\\t'; expected good, tab, bad"),
        ("a\tb\tc\td\n", r"p\.tsv:1: is .*; expected good, tab, bad"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path, content, message):
    (tmp_path / "p.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_minimal_pairs(tmp_path / "p.tsv")


def test_sentences_that_are_the_same_to_the_model_are_refused():
    model = uniform_model(Vocabulary.from_texts(["a b"]))
    with pytest.raises(InputError, match="pair 2: 'a b' and 'A, b' are the same to this model"):
        judge(model, [Pair("a", "b"), Pair("a b", "A, b")])
    with pytest.raises(InputError, match="pair 1: is 'a' and '!'; expected words in both"):
        judge(model, [Pair("a", "!")])
