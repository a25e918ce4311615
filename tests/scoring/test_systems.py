import math

import jiwer
import pytest
from benchmarks.score_against_sclite import random_pairs

from asr.errors import InputError
from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.entries import Entry
from asr.scoring.error_rates import word_errors
from asr.scoring.systems import (
    aligned_system,
    field_values,
    group_values,
    has_field,
    score_values,
    system_names,
)
from asr.scoring.transcripts import Pairs


def pairs_of(references, hypotheses, **fields):
    said = [
        Entry(f"ref:{n}", text, fields={name: values[n] for name, values in fields.items()})
        for n, text in enumerate(references)
    ]
    heard = [Entry(f"hyp:{n}", text) for n, text in enumerate(hypotheses)]
    return Pairs(references, hypotheses, None, entries=list(zip(said, heard, strict=True)))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["exp/ctc/hyp.txt"], ["hyp.txt"]),
        (["exp/a.txt", "exp/b.txt"], ["a.txt", "b.txt"]),
        (["ctc/hyp.txt", "hmm/hyp.txt"], ["ctc", "hmm"]),
        (["x/ctc/1/hyp.txt", "x/hmm/1/hyp.txt"], ["ctc", "hmm"]),
        (["ctc/1/hyp.txt", "ctc/2/hyp.txt", "hmm/1/hyp.txt"], ["ctc/1", "ctc/2", "hmm/1"]),
        (["a/hyp.txt", "b/hyp.txt", "b/best.txt"], ["a/hyp.txt", "b/hyp.txt", "b/best.txt"]),
        (["hyp.txt", "a/hyp.txt"], ["hyp.txt", "a/hyp.txt"]),
        (["/hyp.txt", "/a/hyp.txt"], ["hyp.txt", "a/hyp.txt"]),
        (["/hyp.txt", "hyp.txt"], ["/hyp.txt", "hyp.txt"]),
        (["-", "hyp.txt"], ["-", "hyp.txt"]),
        (["a\udcff.txt"], ["a\\xff.txt"]),
    ],
)
def test_names_are_the_shortest_parts_that_differ(paths, names):
    assert system_names(paths) == names


def test_groups_have_the_counts_of_jiwer_and_add_up():
    references, hypotheses = random_pairs(200, seed=0)
    names = [f"s{n % 7}" for n in range(200)]
    groups = group_values(word_errors(references, hypotheses), names)
    for group in groups:
        chosen = [n for n in range(200) if names[n] == group["group"] and references[n]]
        empty = [n for n in range(200) if names[n] == group["group"] and not references[n]]
        assert group["utterances"] == len(chosen) + len(empty)
        expected = jiwer.process_words(
            [references[n] for n in chosen], [hypotheses[n] for n in chosen]
        )
        kinds = ("substitutions", "deletions", "insertions")
        inserted = sum(len(hypotheses[n].split()) for n in empty)
        found = sum(group[kind] for kind in kinds)
        assert found == sum(getattr(expected, kind) for kind in kinds) + inserted
        assert group["wer_low"] <= group["wer"] <= group["wer_high"]
    errors = [sum(each[k] for k in ("substitutions", "deletions", "insertions")) for each in groups]
    assert errors == sorted(errors, reverse=True)
    assert sum(group["words"] for group in groups) == sum(len(text.split()) for text in references)


def test_a_group_is_scored_as_if_it_were_alone():
    references, hypotheses = random_pairs(60, seed=1)
    counts = word_errors(references, hypotheses)
    groups = {each["group"]: each for each in group_values(counts, ["a"] * 20 + ["b"] * 39 + ["c"])}
    low, high = bootstrap_interval(counts[20:59])
    assert (groups["b"]["wer_low"], groups["b"]["wer_high"]) == (low, high)
    assert groups["c"]["utterances"] == 1


def test_several_systems_are_compared_with_the_first():
    references, one = random_pairs(80, seed=2)
    other = [text if n % 2 else references[n] for n, text in enumerate(one)]
    systems = [
        aligned_system(name, pairs_of(references, texts))
        for name, texts in (("one", one), ("two", other))
    ]
    values = score_values(systems, None, "ref")
    assert list(values) == ["systems"]
    first, second = values["systems"]
    alone = score_values(systems[:1], None, "ref")
    assert alone.items() < first.items()
    assert [first[name] for name in ("name", "over", "gain", "p")] == ["one", None, None, None]
    expected = paired_gain(word_errors(references, other), word_errors(references, one))
    found = [second[name] for name in ("over", "gain", "gain_low", "gain_high", "p")]
    assert found == ["one", expected.gain, expected.low, expected.high, expected.p]
    assert second["gain"] == pytest.approx(first["wer"] - second["wer"], rel=1e-12)


def test_references_with_other_numbers_of_words_give_no_p():
    systems = [
        aligned_system("one", pairs_of(["a b"], ["a b"])),
        aligned_system("two", pairs_of(["a"], ["a"])),
    ]
    second = score_values(systems, None, "ref")["systems"][1]
    assert {second[name] for name in ("over", "gain", "gain_low", "gain_high", "p")} == {None}


def test_fields_become_texts():
    pairs = pairs_of(["a"] * 4, ["a"] * 4, speaker=["x", "", None, "y"], take=[1, 2, 1.5, True])
    assert field_values(pairs, "speaker", "ref") == ["x", "", "", "y"]
    assert field_values(pairs, "take", "ref") == ["1", "2", "1.5", "True"]
    assert has_field(pairs_of(["a"], ["a"], speaker=["x"]), "speaker")
    assert not any(has_field(pairs, field) for field in ("speaker", "take", "dialect"))


def test_unknown_fields_are_refused_with_those_there_are():
    pairs = pairs_of(["a", "b"], ["a", "b"], speaker=["x", "y"], words=[[], []])
    with pytest.raises(InputError, match=r"^r: has no field 'sp'; expected one of speaker, words$"):
        field_values(pairs, "sp", "r")
    with pytest.raises(InputError, match=r"ref:0: words is a list; expected text or a number"):
        field_values(pairs, "words", "r")
    with pytest.raises(InputError, match=r"^r: has no field 'sp'; expected a manifest, a table or"):
        field_values(pairs_of(["a"], ["a"]), "sp", "r")
    some = pairs_of(["a", "b"], ["a", "b"], speaker=["x", "y"])
    del some.entries[1][0].fields["speaker"]
    with pytest.raises(InputError, match=r"^ref:1: has no 'speaker'; expected it, as in other"):
        field_values(some, "speaker", "r")


def test_infinite_rates_are_none():
    values = score_values([aligned_system("x", pairs_of([""], ["a"]))], None, "ref")
    assert (values["wer"], values["wer_high"], values["insertions"]) == (None, None, 1)
    assert not any(isinstance(v, float) and math.isinf(v) for v in values.values())
