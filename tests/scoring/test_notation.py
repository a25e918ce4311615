import random
import re
import subprocess

import pytest
from benchmarks.score_against_sclite import sclite_command

from asr.errors import InputError
from asr.scoring.error_rates import word_errors
from asr.scoring.notation import (
    Alternatives,
    Rules,
    is_plain,
    parse_notation,
    resolve,
    word_graph,
)
from asr.scoring.transcripts import read_pairs


def counts(reference, hypothesis, fragments=False, notation="trn", **rules):
    """(S, D, I, words) of two texts in sclite's notation."""
    rules = Rules(fragments=fragments, **rules)
    graphs = [word_graph(text, "x:1", notation, rules) for text in (reference, hypothesis)]
    (count,) = word_errors(*([text] for text in resolve(*graphs, fragments)))
    return count.substitutions, count.deletions, count.insertions, count.words


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("i've { um / uh / @ } as far", "i've as far", (0, 0, 0, 3)),
        ("i've { um / uh / @ } as far", "i've uh as far", (0, 0, 0, 4)),
        ("i've { um / uh / @ } as far", "i've oh as far", (0, 0, 1, 3)),
        ("{ seventy-two / seventy two } cars", "seventy two cars", (0, 0, 0, 3)),
        ("{a/b} {c / {d / e f}} g", "b e f g", (0, 0, 0, 4)),
        ("a { / b } c", "a c", (0, 0, 0, 2)),
        ("and/or @ not", "and/or not", (0, 0, 0, 2)),
        ("a (uh) b", "a b", (0, 0, 0, 3)),
        ("a (uh) b", "a uh b", (0, 0, 0, 3)),
        ("a (uh) b", "a x b", (1, 0, 0, 3)),
        ("a b", "a (uh) b", (0, 0, 0, 3)),
        ("dog;noun;x runs*", "dog;y runs", (0, 0, 0, 2)),
        ("a\\;s b", "a\\;s c", (1, 0, 0, 2)),
        ("", "", (0, 0, 0, 0)),
    ],
)
def test_counts_agree_with_hand_calculation(reference, hypothesis, expected):
    assert counts(reference, hypothesis) == expected


def test_optional_words_of_stm_need_the_option():
    assert counts("a (uh) b", "a b", notation="timed") == (0, 1, 0, 3)
    assert counts("a (uh) b", "a b", notation="timed", optional=True) == (0, 0, 0, 3)
    assert counts("a (uh) b", "a uh b", optional=False) == (1, 0, 0, 3)


def test_fragments_match_beginnings_and_ends():
    assert counts("fi- -icks th-", "fish ticks the") == (3, 0, 0, 3)
    assert counts("fi- -icks th-", "fish ticks the", fragments=True) == (0, 0, 0, 3)
    assert counts("fi- -icks -", "wish tick -", fragments=True) == (2, 0, 0, 3)


def test_normalised_words_may_vanish_or_split():
    rules = {"normalise": lambda word: word.lower().replace("-", " ").strip("!?")}
    assert counts("{ Age-Old / x } !", "age old", **rules) == (0, 0, 0, 2)


def test_symbols_in_plain_texts_are_words():
    assert [arc.word for arc in word_graph("{ a; @", "x:1", "", Rules()).arcs[1:]] == [
        "{",
        "a;",
        "@",
    ]
    assert is_plain("{ a / @ }", "", Rules())
    assert not is_plain("{ a / @ }", "trn", Rules())
    assert is_plain("a b-c d/e", "trn", Rules())


def test_alternatives_may_be_nested():
    assert parse_notation("a { b / c { d / e } } f", "x:1") == [
        "a",
        Alternatives([["b"], ["c", Alternatives([["d"], ["e"]])]]),
        "f",
    ]
    for text, message in (("a { b", "'{' without '}'"), ("a } b", "'}' without '{'")):
        with pytest.raises(InputError, match=f"x:1: has {message}"):
            parse_notation(text, "x:1")


def random_notation(generator, depth=0):
    parts = []
    for _ in range(generator.randint(depth == 0, 4 - depth)):
        kind = generator.random()
        if kind < 0.25 and depth < 2:
            inside = [random_notation(generator, depth + 1) or "@" for _ in range(2)]
            parts.append("{ " + " / ".join(inside) + " }")
        elif kind < 0.35 and depth == 0:
            parts.append(f"({generator.choice('abc')})")
        else:
            parts.append(generator.choice(["a", "b", "c", "d", "b-", "-c"]))
    return " ".join(parts)


@pytest.mark.skipif(sclite_command() is None, reason="sclite is not on PATH (Debian: sctk)")
@pytest.mark.parametrize("options", ["", "-D", "-F", "-F -D"])
def test_counts_of_random_notation_agree_with_sclite(tmp_path, options):
    generator = random.Random(len(options))
    references = [random_notation(generator) for _ in range(300)]
    hypotheses = [re.sub("[{}()@]|/", "", random_notation(generator)) for _ in range(300)]
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        lines = [f"{text} (s-{n:04})\n" for n, text in enumerate(texts)]
        (tmp_path / f"{name}.trn").write_text("".join(lines))
    command = [*sclite_command(), "-i", "spu_id", "-o", "pralign", "stdout", *options.split()]
    command += ["-r", str(tmp_path / "ref.trn"), "trn", "-h", str(tmp_path / "hyp.trn"), "trn"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scores = re.findall(r"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", report)
    expected = [tuple(map(int, row)) for row in scores]
    rules = Rules(optional="-D" in options, fragments="-F" in options)
    pairs = read_pairs(tmp_path / "ref.trn", tmp_path / "hyp.trn", rules=rules)
    found = word_errors(pairs.references, pairs.hypotheses)
    assert len(found) == len(expected) == 300
    equal = 0
    for count, (right, *errors) in zip(found, expected, strict=True):
        ours = [count.substitutions, count.deletions, count.insertions]
        equal += ours == errors
        # sclite may take more errors, as its costs are 4 and 3, or of two alternatives with as many
        # errors the one with fewer hits
        our_hits = count.words - count.substitutions - count.deletions
        assert (sum(ours), -our_hits) <= (sum(errors), -int(right))
    assert equal >= 280
