import math
import random
from pathlib import Path

import jiwer
import pytest
from benchmarks.score_against_sclite import (
    most_hits,
    possible_counts,
    random_pairs,
    sclite_command,
    sclite_errors,
)

from asr.scoring.error_rates import (
    ErrorCounts,
    align_words,
    alignment_text,
    cer,
    character_errors,
    confusions,
    count_errors,
    wer,
    word_errors,
)


def random_text(generator, symbols, longest):
    return "".join(generator.choices(symbols, k=generator.randint(0, longest)))


@pytest.mark.parametrize("seed", range(5))
def test_alignment_has_fewest_errors_then_most_hits(seed):
    references, hypotheses = random_pairs(60, seed, unrelated=0.5)
    for reference, hypothesis, count in zip(
        references, hypotheses, word_errors(references, hypotheses), strict=True
    ):
        found = count.substitutions, count.deletions, count.insertions
        assert found == most_hits(possible_counts(reference.split(), hypothesis.split()))
        assert count.words == len(reference.split())


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_consistent_and_minimal(seed):
    generator = random.Random(seed)
    texts = [[random_text(generator, "ab  cde", 16) for _ in range(60)] for _ in range(2)]
    for way, parts in ((word_errors, str.split), (character_errors, lambda t: " ".join(t.split()))):
        for reference, hypothesis, count in zip(*texts, way(*texts), strict=True):
            possible = possible_counts(list(parts(reference)), list(parts(hypothesis)))
            assert (count.substitutions, count.deletions, count.insertions) in possible
            assert count.errors == min(map(sum, possible))
            assert count.words == len(parts(reference))


def test_three_substitutions_beat_two_hits_with_four_errors():
    # two deletions and two insertions around one hit cost sclite as much as three substitutions
    (count,) = word_errors(["p q a"], ["a r s"])
    assert (count.substitutions, count.deletions, count.insertions) == (3, 0, 0)


@pytest.mark.parametrize("n_words", [1999, 2001, 9000])
def test_long_texts_have_jiwers_errors_and_at_least_its_hits(n_words):
    generator = random.Random(n_words)
    reference = generator.choices("abcdefgh", k=n_words)
    hypothesis = [
        w if generator.random() < 0.8 else generator.choice("abcdefgh") for w in reference
    ]
    hypothesis = [word for word in hypothesis if generator.random() < 0.95]
    (alignment,) = align_words([" ".join(reference)], [" ".join(hypothesis)])
    assert [said for said, _ in alignment if said] == reference
    assert [heard for _, heard in alignment if heard] == hypothesis
    expected = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    count = count_errors(alignment)
    assert count.errors == expected.substitutions + expected.deletions + expected.insertions
    assert n_words - count.substitutions - count.deletions >= expected.hits
    characters = character_errors([" ".join(reference)], [" ".join(hypothesis)])[0]
    assert characters.rate == jiwer.cer(" ".join(reference), " ".join(hypothesis))


def test_sums_agree_with_jiwer():
    references, hypotheses = random_pairs(300, seed=0)
    words = sum(word_errors(references, hypotheses), ErrorCounts())
    expected = jiwer.process_words(references, hypotheses)
    assert words.errors == expected.substitutions + expected.deletions + expected.insertions
    assert words.rate == pytest.approx(expected.wer, rel=1e-12)
    characters = sum(character_errors(references, hypotheses), ErrorCounts())
    assert characters.rate == pytest.approx(jiwer.cer(references, hypotheses), rel=1e-12)


@pytest.mark.skipif(sclite_command() is None, reason="sclite is not on PATH (Debian: sctk)")
def test_kinds_of_errors_agree_with_sclite(tmp_path: Path):
    references, hypotheses = random_pairs(200, seed=0)
    ours, theirs = (
        word_errors(references, hypotheses),
        sclite_errors(references, hypotheses, tmp_path),
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "characters"),
    [
        ("", "", ErrorCounts(), ErrorCounts()),
        ("", "a b", ErrorCounts(insertions=2), ErrorCounts(insertions=3)),
        ("a b", "", ErrorCounts(deletions=2, words=2), ErrorCounts(deletions=3, words=3)),
        ("a", "b", ErrorCounts(substitutions=1, words=1), ErrorCounts(substitutions=1, words=1)),
        (" a\t b ", "a b", ErrorCounts(words=2), ErrorCounts(words=3)),
        ("ab", "a b", ErrorCounts(1, 0, 1, 1), ErrorCounts(insertions=1, words=2)),
        ("A", "a", ErrorCounts(substitutions=1, words=1), ErrorCounts(substitutions=1, words=1)),
    ],
)
def test_short_and_empty_lines_count(reference, hypothesis, words, characters):
    assert word_errors([reference], [hypothesis]) == [words]
    assert character_errors([reference], [hypothesis]) == [characters]


def test_no_utterances_give_no_counts():
    assert word_errors([], []) == character_errors([], []) == []


def test_pooled_rate_is_not_the_mean_rate():
    counts = [ErrorCounts(1, 0, 0, 1), ErrorCounts(0, 1, 2, 9)]
    total = sum(counts, ErrorCounts())
    assert total == ErrorCounts(1, 1, 2, 10)
    assert total.errors == 4
    assert total.rate == 0.4


def test_without_words_the_rate_is_zero_or_infinite():
    assert ErrorCounts().rate == 0.0
    assert math.isinf(ErrorCounts(insertions=1).rate)


def test_different_numbers_of_texts_are_refused():
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        word_errors(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="references is one text; expected a sequence"):
        word_errors("ab", "ab")


def test_alignment_text_has_three_lines():
    (alignment,) = align_words(["the cat sat"], ["the hat sat down"])
    assert alignment == [("the", "the"), ("cat", "hat"), ("sat", "sat"), ("", "down")]
    assert alignment_text(alignment) == (
        "REF:  the cat sat ****\nHYP:  the hat sat down\nEval:     S       I"
    )


def test_confusions_are_sorted_by_frequency():
    alignments = align_words(["a b c", "a b", "b"], ["x b", "x b", "b d"])
    assert confusions(alignments) == [("a", "x", 2), ("", "d", 1), ("c", "", 1)]


@pytest.mark.parametrize("seed", range(5))
def test_wer_and_cer_agree_with_jiwer(seed):
    generator = random.Random(seed)
    texts = [random_text(generator, "ab cd", 16).split() for _ in range(18)]
    joined = [" ".join(words) for words in texts]  # jiwer counts every blank
    references, hypotheses = joined[:9], joined[9:]
    references[0] = "a b"
    for ours, theirs in ((wer, jiwer.wer), (cer, jiwer.cer)):
        assert ours(references, hypotheses).rate == pytest.approx(theirs(references, hypotheses))
        single = ours(references[0], hypotheses[0])
        assert single.rate == pytest.approx(theirs(references[0], hypotheses[0]))
        assert single == ours([references[0]], (hypotheses[0],))
    assert wer([], []) == cer([], []) == ErrorCounts()


@pytest.mark.parametrize("seed", range(5))
def test_cer_without_spaces_is_that_of_closed_up_texts(seed):
    generator = random.Random(seed)
    texts = [random_text(generator, "ab cd", 16) for _ in range(18)]
    closed = [text.replace(" ", "") for text in texts]
    expected = jiwer.cer(["a", *closed[:9]], ["b", *closed[9:]])
    counts = cer(["a", *texts[:9]], ["b", *texts[9:]], spaces=False)
    assert counts.rate == pytest.approx(expected)
    assert cer("할 수 있다", "할수 있다", spaces=False) == ErrorCounts(words=4)
    assert cer("할 수 있다", "할수 있다").errors == 1


@pytest.mark.parametrize("rate", [wer, cer])
def test_invalid_arguments_are_refused(rate):
    for references, hypotheses, message in [
        ("a", ["a"], "references is one text and hypotheses several; expected two texts"),
        (["a"], "a", "references is several and hypotheses one text"),
        (["a", "b"], ["a"], "1 hypotheses for 2 references"),
        (["a", None], ["a", "b"], r"references\[1\] is None; expected a text"),
        (["a"], [["a"]], r"hypotheses\[0\] is \['a'\]; expected a text"),
        ({"u1": "a"}, {"u1": "b"}, "references is of type dict; expected a list of texts"),
        (["a"], {"b"}, "hypotheses is of type set; expected a list of texts"),
        (None, ["a"], "references is None; expected a list of texts"),
    ]:
        with pytest.raises(ValueError, match=message):
            rate(references, hypotheses)
