"""Compare errors counted by `asr score`, jiwer, kaldialign and NIST sclite.

Random pairs are checked against a list of the counts of all alignments of each pair:

- `asr score` takes an alignment with the fewest errors, and of these the one with most hits. Its
  total equals jiwer's; jiwer's split into S, D and I may differ.
- sclite minimises a cost: 4 per substitution, 3 per deletion or insertion. Among alignments with the
  fewest errors this is the one with most hits, so the split is the same.
- sclite may count more than the fewest errors, never less: two deletions and two insertions cost the
  same as three substitutions (12 = 12), three and three cost less than five (18 < 20), and so on.
  This needs pairs in which nearly all words are wrong, as in the second table. For the errors of the
  first table, all of S, D and I are equal; this is checked.

With `--files`, both score the files of sclite's own tests (src/sclite/testdata of usnistgov/SCTK),
with alternatives, optional words, fragments, STM and CTM. S, D, I and words must be those that its
tests expect (base/*.raw, in a folder `expected` there), or without such a report those of sclite on
this machine. An older sclite cuts CTM files at other places (test13: 256, 104 and 49 with SCTK 2.4.10).
Options that `asr score` does not have are not compared: -d (diff), -S (inferred words), -T (times as
costs), -m (reduced files) and -c (characters without the blanks between words).

Run: python tests/benchmarks/score_against_sclite.py [--pairs 1000] [--seed 1] [--files FOLDER]; needs sclite (Debian: sctk).
"""  # noqa: E501

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jiwer
import kaldialign

from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.scoring.notation import Rules
from asr.scoring.transcripts import read_pairs, write_trn

WORDS = ["a", "i", "o", "the", "cat", "sat", "on", "mat", "it's", "go", "stop", "rubout", "enter"]
WORDS += ["erase", "one", "two", "three", "four", "five", "six"]


def random_pairs(n_pairs, seed, unrelated=0.0):
    """References, and hypotheses with random errors; every tenth is empty or one character.

    Args:
        n_pairs: number of pairs.
        seed: of the random numbers.
        unrelated: share of hypotheses that are random texts instead.
    """
    generator = random.Random(seed)
    references, hypotheses = [], []
    for n in range(n_pairs):
        if n % 10 == 0:
            reference, hypothesis = generator.choices(["", "a", "i", "o"], k=2)
        else:
            words = generator.choices(WORDS, k=generator.randint(1, 20))
            reference = " ".join(words)
            hypothesis = " ".join(
                _with_errors(words, generator.choice([0.05, 0.2, 0.5]), generator)
            )
            if generator.random() < unrelated:
                hypothesis = " ".join(generator.choices(WORDS, k=generator.randint(0, 20)))
        references.append(reference)
        hypotheses.append(hypothesis)
    return references, hypotheses


def _with_errors(words, rate, generator):
    hypothesis = []
    for word in words:
        error = generator.choice("SDI") if generator.random() < rate else ""
        if error != "D":
            hypothesis.append(generator.choice(WORDS) if error == "S" else word)
        if error == "I":
            hypothesis.append(generator.choice(WORDS))
    return hypothesis


def possible_counts(reference, hypothesis):
    """The set of (S, D, I) of all alignments of two lists of words: slow, but simple."""
    row = [{(0, 0, j)} for j in range(len(hypothesis) + 1)]
    for i, expected in enumerate(reference, 1):
        above, row = row, [{(0, i, 0)}]
        for j, found in enumerate(hypothesis, 1):
            row.append(
                {(s + (expected != found), d, n) for s, d, n in above[j - 1]}
                | {(s, d + 1, n) for s, d, n in above[j]}
                | {(s, d, n + 1) for s, d, n in row[j - 1]}
            )
    return row[-1]


def sclite_command():
    """The command of sclite on this machine, or None."""
    if shutil.which("sclite"):
        return ["sclite"]
    return ["sctk", "sclite"] if shutil.which("sctk") else None


def sclite_files():
    """The folder of the files of sclite's own tests on this machine, or None."""
    data = Path(os.environ.get("ASR_DATA", Path(__file__).parents[3] / "shared" / "data"))
    folder = data.parent / "cases" / "sclite"
    return folder if folder.is_dir() else None


def sclite_errors(references, hypotheses, folder):
    """sclite's counts for each pair; case-sensitive."""
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        write_trn(folder / f"{name}.trn", {f"pair-{n:06}": text for n, text in enumerate(texts)})
    command = [*sclite_command(), "-s", "-i", "spu_id", "-o", "pralign", "stdout"]
    command += ["-r", str(folder / "ref.trn"), "trn", "-h", str(folder / "hyp.trn"), "trn"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(
        r"id: \(pair-(\d+)\)\s+Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", report
    )
    counts = {}
    for n, right, *errors in found:
        substitutions, deletions, insertions = map(int, errors)
        words = int(right) + substitutions + deletions
        counts[int(n)] = ErrorCounts(substitutions, deletions, insertions, words)
    return [counts[n] for n in range(len(references))]


def jiwer_total(references, hypotheses):
    """jiwer's counts over all pairs, with its own splitting into words."""
    output = jiwer.process_words(references, hypotheses)
    words = sum(map(len, output.references))
    return ErrorCounts(output.substitutions, output.deletions, output.insertions, words)


def kaldialign_total(references, hypotheses, sclite_mode):
    """kaldialign's counts over all pairs."""
    pairs = [(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True)]
    counts = kaldialign.batch_error_rate(*zip(*pairs, strict=True), sclite_mode=sclite_mode)
    return ErrorCounts(counts["sub"], counts["del"], counts["ins"], counts["ref_len"])


def compare(references, hypotheses):
    """Print a table of all tools' counts and check them against all possible alignments.

    Returns:
        right: `asr score` and sclite are optimal for all pairs, our total equals jiwer's, and all
            pairs with the same errors as sclite's have the same split.
        equal: all counts equal sclite's.
    """
    with tempfile.TemporaryDirectory() as folder:
        sclite = sclite_errors(references, hypotheses, Path(folder))
        # from the same files, as in `asr score ref.trn hyp.trn`
        pairs = read_pairs(Path(folder) / "ref.trn", Path(folder) / "hyp.trn")
    ours = word_errors(pairs.references, pairs.hypotheses)
    totals = {
        "asr score": sum(ours, ErrorCounts()),
        "jiwer": jiwer_total(references, hypotheses),
        "kaldialign": kaldialign_total(references, hypotheses, sclite_mode=False),
        "sclite": sum(sclite, ErrorCounts()),
        "kaldialign, sclite's costs": kaldialign_total(references, hypotheses, sclite_mode=True),
    }
    print(f"{'':28}{'errors':>8}{'S':>8}{'D':>8}{'I':>8}{'words':>8}")
    for name, c in totals.items():
        numbers = (c.errors, c.substitutions, c.deletions, c.insertions, c.words)
        print(f"{name:28}" + "".join(f"{number:8}" for number in numbers))

    best = cheapest = 0
    for reference, hypothesis, our, their in zip(references, hypotheses, ours, sclite, strict=True):
        possible = possible_counts(reference.split(), hypothesis.split())
        mine = our.substitutions, our.deletions, our.insertions
        best += mine == most_hits(possible)
        cost = 4 * their.substitutions + 3 * (their.deletions + their.insertions)
        cheapest += cost == min(4 * s + 3 * (d + n) for s, d, n in possible)
    n = len(ours)
    same_sum = sum(our.errors == their.errors for our, their in zip(ours, sclite, strict=True))
    same_split = sum(our == their for our, their in zip(ours, sclite, strict=True))
    print(f"asr score has the fewest errors, and of those the most hits, in {best} of {n} pairs")
    print(f"sclite has the least cost (4 S + 3 D + 3 I) possible in {cheapest} of {n}")
    print(f"equal to sclite: errors in {same_sum}, and S, D and I each in {same_split} of {n}")
    right = best == cheapest == n and totals["asr score"].errors == totals["jiwer"].errors
    return right and same_split == same_sum, same_split == n


STM, CTM, TRN = ("stm",), ("ctm",), ("trn", "-i", "spu_id")
# the letters of these files are shifted; some become the capitals of others, so case counts
WITH_CASE = Rules(ignore_case=False, fragments=True)
MISSING = [
    ("test16_2", "missall"),
    ("test16_3", "missfile1"),
    ("test16_4", "missfile1chanA"),
    ("test16_5", "missfile1chanb"),
    ("test16_6", "missfile2"),
    ("test16_7", "missfile2chanA"),
    ("test16_8", "missfile2chanB"),
]
FILES = [
    # name of the expected file, reference, hypothesis, format, sclite's options, our rules
    ("test1", "csrnab.ref", "csrnab.hyp", ("trn", "-i", "wsj"), "", Rules()),
    ("test1e", "csrnab.ref", "csrnab.hyp", ("trn", "-i", "wsj"), "-e utf-8", Rules()),
    ("test3", "lvc_ref.stm", "lvc_hyp.ctm", STM, "", Rules()),
    ("test3a", "lvc_refe.stm", "lvc_hyp.ctm", STM, "", Rules()),
    ("test3b", "lvc_ref.stm", "lvc_hypc.ctm", STM, "", Rules()),
    ("test3c", "lvc_refm.stm", "lvc_hypm.ctm", STM, "", Rules()),
    ("test7", "tests.ref", "tests.hyp", TRN, "-F -D", Rules(fragments=True)),
    ("test7_6", "tests.ref", "tests.hyp", TRN, "-F -D -e utf-8", Rules(fragments=True)),
    ("test7_noD", "tests.ref", "tests.hyp", TRN, "-F", Rules(optional=False, fragments=True)),
    ("test7 -D", "tests.ref", "tests.hyp", TRN, "-D", Rules()),
    ("test7 plain", "tests.ref", "tests.hyp", TRN, "", Rules(optional=False)),
    ("test7_r", "tests.hyp", "tests.ref", TRN, "-F -D", Rules(fragments=True)),
    *(
        (f"test7-{utf}", f"tests.ref.{utf}", f"tests.hyp.{utf}", TRN, flags, WITH_CASE)
        for utf in ("utf8-2bytes", "utf8-3bytes", "utf8-4bytes")
        for flags in ["-F -D -e utf-8"]
    ),
    ("mandarin", "mand_ref.stm", "mand_hyp.ctm", STM, "-e gb", Rules()),
    ("test13", "tima_ref.ctm", "tima_hyp.ctm", CTM, "", Rules()),
    ("test13_D", "tima_ref.ctm", "tima_hyp.ctm", CTM, "-D", Rules(optional=True)),
    ("test14", "lvc_refr.stm", "lvc_hypr.ctm", STM, "", Rules()),
    ("test15_a", "test.cantonese.stm", "test.cantonese.ctm", STM, "-e utf-8", Rules()),
    (
        "test15_a -D",
        "test.cantonese.stm",
        "test.cantonese.ctm",
        STM,
        "-e utf-8 -D",
        Rules(optional=True),
    ),
    ("test15_c", "test.turkish.ref", "test.turkish.hyp", TRN, "-e utf-8 babel_turkish", Rules()),
    ("test15_d", "test.ukranian.ref", "test.ukranian.hyp", TRN, "-e utf-8", Rules()),
    (
        "test17",
        "test.vietnamese.ref.trn",
        "test.vietnamese.hyp.trn",
        TRN,
        "-e utf-8 babel_vietnamese",
        Rules(),
    ),
    *(
        (name, "stm2ctm_missing.ref.stm", f"stm2ctm_missing.hyp-{file}.ctm", STM, "", Rules())
        for name, file in MISSING
    ),
    ("test16_9", "stm2ctm_missing.ref.stm", "stm2ctm_missing.hyp.ctm", STM, "", Rules()),
    ("demo", "demo.ref.txt", "demo.hyp.txt", TRN, "", Rules()),
]


def most_hits(possible):
    """Of all (S, D, I), that with the fewest errors, and of these with most hits."""
    return min(possible, key=lambda counts: (sum(counts), counts[0]))


def compare_files(folder):
    """Print a table of sclite's own files; return whether all counts are equal."""
    print(f"{'':17}{'asr score':>24}{'sclite here':>26}{'sclite expects':>26}")
    print(f"{'':17}" + f"{'words':>8}{'S':>6}{'D':>5}{'I':>5}  " * 3)
    equal = True
    for name, reference, hypothesis, forms, options, rules in FILES:
        ours = our_counts(folder / reference, folder / hypothesis, "gb" in options, rules)
        theirs = _sclite_counts(folder, reference, hypothesis, forms, options.split())
        expected = raw_counts(folder / "expected" / f"{name}.raw")
        same = ours == (expected or theirs)
        equal = equal and same
        rows = "".join(_counts_text(counts) for counts in (ours, theirs, expected))
        print(f"{name:17}{rows}{'' if same else '  <- differ'}")
    return equal


def _counts_text(counts):
    if counts is None:
        return f"{'-':>8}{'-':>6}{'-':>5}{'-':>5}  "
    c = counts
    return f"{c.words:8}{c.substitutions:6}{c.deletions:5}{c.insertions:5}  "


def our_counts(reference, hypothesis, is_gb, rules):
    """The counts of `asr score`; `is_gb`: the files are in GB 18030."""
    with tempfile.TemporaryDirectory() as scratch:
        if is_gb:
            paths = [Path(scratch) / path.name for path in (reference, hypothesis)]
            for path, old in zip(paths, (reference, hypothesis), strict=True):
                path.write_text(old.read_bytes().decode("gb18030"), encoding="utf-8")
            reference, hypothesis = paths
        pairs = read_pairs(reference, hypothesis, missing_is_deleted=True, rules=rules)
    return sum(word_errors(pairs.references, pairs.hypotheses), ErrorCounts())


def _sclite_counts(folder, reference, hypothesis, forms, options):
    form, *ids = forms
    hypothesis_form = "trn" if form == "trn" else "ctm"
    with tempfile.TemporaryDirectory() as out:
        command = [*sclite_command(), "-r", reference, form, "-h", hypothesis, hypothesis_form]
        command += [*ids, *options, "-o", "rsum", "-O", out, "-n", "counts", "-f", "0"]
        subprocess.run(command, capture_output=True, check=True, cwd=folder)
        return raw_counts(Path(out) / "counts.raw")


def raw_counts(path, speaker="Sum"):
    """The counts of a row of sclite's report; None if the file is missing."""
    if not path.exists():
        return None
    numbers = r" +\|[^|]*?(\d+) *\| *\d+ +(\d+) +(\d+) +(\d+)"
    row = re.search(rf"\| {speaker}{numbers}".encode(), path.read_bytes())
    words, *errors = map(int, row.groups())
    return ErrorCounts(*errors, words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=Path, help="folder of sclite's own tests")
    arguments = parser.parse_args()
    if not sclite_command():
        sys.exit("score_against_sclite: sclite is not on PATH; expected it (Debian: sctk)")
    print(f"{arguments.pairs} pairs with errors as recognisers make them")
    right, equal = compare(*random_pairs(arguments.pairs, arguments.seed))
    print(f"\n{arguments.pairs} pairs, half of them unrelated texts")
    right_too, _ = compare(*random_pairs(arguments.pairs, arguments.seed, unrelated=0.5))
    same_files = True
    if arguments.files:
        print(f"\nsclite's own files in {arguments.files}")
        same_files = compare_files(arguments.files)
        print("all are equal" if same_files else "some differ")
    sys.exit(0 if right and right_too and equal and same_files else 1)


if __name__ == "__main__":
    main()
