"""Is this working tree as fast as another commit? Whole commands of both, in turn, as ratios.

The other commit is checked out into a temporary folder. Both run the same commands on the same
model, audio and language models, one after the other in every round, so that a machine that slows
down slows both. Told is the ratio of processor time (user and system, of all threads) and of the
wall's clock, new over old: the median of the rounds. Only commands that are kept stable are used:

- start-up: `asr --help`, and `asr transcribe` of one recording;
- scoring: `asr score` of 2,620 utterances;
- search: `asr transcribe --lm` of a test set, beam search with an n-gram;
- rescoring: the same with the model's own `decoding.json`, n-best lists rescored;
- training step: three epochs of digits, `recipes/train_ctc.py`.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/against_commit.py COMMIT --model exp/an4/ctc-mfcc
         --lm exp/an4/ngram --manifest data/an4/test.jsonl [--rounds 5] [--only search rescoring]
The model needs a `decoding.json` with rescorers (`recipes/evaluate.py --rescorer ... --tune ...`)
that both commits can read, and data/digits must be prepared.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asr.corpus.manifest import read_manifest
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine

ROOT = Path(__file__).resolve().parent.parent.parent
ASR = ["-m", "asr.cli"]


def commands(arguments, texts, folder):
    """The options behind `python` of each command, by name; {out} is a new folder."""
    audio = [utterance.audio for utterance in read_manifest(arguments.manifest)]
    model = [*ASR, "transcribe", "--model", arguments.model.resolve(), "--device", "cpu"]
    digits = [f"--data.{part}={ROOT}/data/digits/{part}.jsonl" for part in ("train", "dev")]
    return {
        "start-up": [*ASR, "--help"],
        "first text": [*model, "--decoder", "greedy", audio[0]],
        "scoring": [*ASR, "score", *texts],
        "search": [*model, "--lm", arguments.lm.resolve(), "--beam-width", "200", *audio],
        "rescoring": [*model, *audio],
        "training step": [
            *("recipes/train_ctc.py", "--config", "conf/digits/ctc.yaml", *digits),
            *("--trainer.max_epochs=3", "--trainer.accelerator=cpu", "--out", folder / "{out}"),
        ],
    }


def write_texts(folder):
    """References and hypotheses of as many utterances as LibriSpeech's test-clean has."""
    words = ["".join(letters) for letters in itertools.product("abcde", "xyz", "abcde", "klmnop")]
    paths = folder / "references.txt", folder / "hypotheses.txt"
    for shift, path in enumerate(paths):
        rows = (
            [words[(7 * n * k + shift * (k % 13 == 0)) % len(words)] for k in range(20)]
            for n in range(2620)
        )
        path.write_text("".join(f"u{n} {' '.join(row)}\n" for n, row in enumerate(rows)))
    return paths


def seconds(tree, options, number):
    """Processor and wall seconds of one command in a working tree."""
    words = [str(word).replace("{out}", f"run{number}") for word in options]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise InputError(f"{tree}: {words[:4]} failed: {told.decode()[-500:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="what this working tree is measured against")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True, help="n-gram model of words")
    parser.add_argument("--manifest", type=Path, required=True, help="test set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of commands")
    arguments = parser.parse_args()
    with reported("against_commit"), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = folder / "other"
        git = ["git", "-C", ROOT, "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", other, arguments.commit], check=True)
        try:
            compare(arguments, commands(arguments, write_texts(folder), folder), other)
        finally:
            subprocess.run([*git, "remove", "--force", other], check=True)


def compare(arguments, given, other):
    """Print the table of all commands."""
    print(f"this working tree against {arguments.commit}; {machine('cpu')}")
    heads = ("old, s", "new, s", "processor", "wall")
    print(f"{'':16}" + "".join(f"{head:>12}" for head in heads), flush=True)
    number = 0
    for name, options in given.items():
        if arguments.only and name not in arguments.only:
            continue
        rows = []
        for turn in range(arguments.rounds + 1):
            trees = (other, ROOT) if turn % 2 else (ROOT, other)
            found = {}
            for tree in trees:
                number += 1
                found[tree] = seconds(tree, options, number)
            if turn:  # the first round fills caches
                rows.append((*found[other], *found[ROOT]))
        old, old_wall, new, new_wall = zip(*rows, strict=True)
        processor = statistics.median(b / a for a, b in zip(old, new, strict=True))
        wall = statistics.median(b / a for a, b in zip(old_wall, new_wall, strict=True))
        cells = f"{statistics.median(old):12.2f}{statistics.median(new):12.2f}"
        print(f"{name:16}{cells}{processor:12.3f}{wall:12.3f}", flush=True)


if __name__ == "__main__":
    main()
