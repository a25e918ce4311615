"""1,000 random pairs -> errors as `asr score`, jiwer, kaldialign and NIST sclite count them.

What is equal, and checked for every pair by listing what all alignments of it reach:

- `asr score` and jiwer: substitutions, deletions and insertions, as the alignment is the same;
  their sum is the fewest errors that any alignment has.
- sclite lets a substitution cost 4, a deletion or insertion 3, and has the least such cost. Among
  alignments with the fewest errors that is the one with the fewest substitutions (a deletion and
  an insertion cost 6, two substitutions 8), so that its split may differ.
- The sums of asr score and sclite are equal unless two deletions and two insertions can stand for
  three substitutions (12 = 12), or three and three for five (18 < 20), and so on: then sclite may
  count more than the fewest, never less. That takes pairs which are wrong nearly throughout, as
  the second table's; with errors as in the first, where it is checked, the sums are equal.

Run: python tests/benchmarks/score_against_sclite.py [--pairs 1000] [--seed 1]; needs sclite (Debian: sctk).
"""  # noqa: E501

import argparse
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
from asr.scoring.transcripts import read_pairs, write_trn

WORDS = ["a", "i", "o", "the", "cat", "sat", "on", "mat", "it's", "go", "stop", "rubout", "enter"]
WORDS += ["erase", "one", "two", "three", "four", "five", "six"]


def random_pairs(n_pairs, seed, unrelated=0.0):
    """Texts with errors as recognisers make them; every tenth empty or one character.

    Args:
        n_pairs: how many.
        seed: of the random numbers.
        unrelated: the fraction of hypotheses that have nothing to do with their reference.
    """
    generator = random.Random(seed)
    references, hypotheses = [], []
    for n in range(n_pairs):
        if n % 10 == 0:
            reference, hypothesis = generator.choices(["", "a", "i", "o"], k=2)
        else:
            words = generator.choices(WORDS, k=generator.randint(1, 20))
            reference = " ".join(words)
            hypothesis = " ".join(_misheard(words, generator.choice([0.05, 0.2, 0.5]), generator))
            if generator.random() < unrelated:
                hypothesis = " ".join(generator.choices(WORDS, k=generator.randint(0, 20)))
        references.append(reference)
        hypotheses.append(hypothesis)
    return references, hypotheses


def _misheard(words, rate, generator):
    heard = []
    for word in words:
        error = generator.choice("SDI") if generator.random() < rate else ""
        if error != "D":
            heard.append(generator.choice(WORDS) if error == "S" else word)
        if error == "I":
            heard.append(generator.choice(WORDS))
    return heard


def possible_counts(reference, hypothesis):
    """(S, D, I) of every alignment of two lists of words: slow, and plainly right."""
    row = [{(0, 0, j)} for j in range(len(hypothesis) + 1)]
    for i, said in enumerate(reference, 1):
        above, row = row, [{(0, i, 0)}]
        for j, heard in enumerate(hypothesis, 1):
            row.append(
                {(s + (said != heard), d, n) for s, d, n in above[j - 1]}
                | {(s, d + 1, n) for s, d, n in above[j]}
                | {(s, d, n + 1) for s, d, n in row[j - 1]}
            )
    return row[-1]


def sclite_command():
    """How sclite is called here, or None."""
    if shutil.which("sclite"):
        return ["sclite"]
    return ["sctk", "sclite"] if shutil.which("sctk") else None


def sclite_errors(references, hypotheses, folder):
    """What sclite counts, case-sensitively, for each pair."""
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
    """What jiwer counts over all pairs, by itself."""
    output = jiwer.process_words(references, hypotheses)
    words = sum(map(len, output.references))
    return ErrorCounts(output.substitutions, output.deletions, output.insertions, words)


def kaldialign_total(references, hypotheses, sclite_mode):
    """What kaldialign counts over all pairs."""
    pairs = [(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True)]
    counts = kaldialign.batch_error_rate(*zip(*pairs, strict=True), sclite_mode=sclite_mode)
    return ErrorCounts(counts["sub"], counts["del"], counts["ins"], counts["ref_len"])


def compare(references, hypotheses):
    """Print the table; return whether each tool is right by its costs, and the sums are equal."""
    with tempfile.TemporaryDirectory() as folder:
        sclite = sclite_errors(references, hypotheses, Path(folder))
        # through the files, as `asr score ref.trn hyp.trn` goes
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

    fewest = cheapest = 0
    for reference, hypothesis, our, their in zip(references, hypotheses, ours, sclite, strict=True):
        possible = possible_counts(reference.split(), hypothesis.split())
        fewest += our.errors == min(map(sum, possible))
        cost = 4 * their.substitutions + 3 * (their.deletions + their.insertions)
        cheapest += cost == min(4 * s + 3 * (d + n) for s, d, n in possible)
    n = len(ours)
    same_sum = sum(our.errors == their.errors for our, their in zip(ours, sclite, strict=True))
    same_split = sum(our == their for our, their in zip(ours, sclite, strict=True))
    print(f"asr score has the fewest errors possible in {fewest} of {n} pairs")
    print(f"sclite has the least cost (4 S + 3 D + 3 I) possible in {cheapest} of {n}")
    print(f"equal to sclite: errors in {same_sum}, and S, D and I each in {same_split} of {n}")
    right = fewest == cheapest == n and totals["asr score"] == totals["jiwer"]
    return right, same_sum == n


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not sclite_command():
        sys.exit("score_against_sclite: sclite is not on PATH; expected it (Debian: sctk)")
    print(f"{arguments.pairs} pairs with errors as recognisers make them")
    right, equal = compare(*random_pairs(arguments.pairs, arguments.seed))
    print(f"\n{arguments.pairs} pairs, half of them unrelated texts")
    right_too, _ = compare(*random_pairs(arguments.pairs, arguments.seed, unrelated=0.5))
    sys.exit(0 if right and right_too and equal else 1)


if __name__ == "__main__":
    main()
