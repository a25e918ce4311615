"""Time of `asr score` from start to end: at most 0.8 s, for the sizes of AN4 and test-clean.

The files are random texts as `id text` lines, with errors in a tenth of the words. Each run is a
separate process. The time in which Python starts and ends is shown too. Wall time decides. CPU time
is shown too, since it is more reliable if other programs are running.

Run: python tests/benchmarks/score_speed.py [--runs 5]
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asr.evaluation.provenance import machine

BAR_S = 0.8
SIZES = ((130, 6), (2620, 20))  # utterances, words in each: AN4's test set, test-clean


def write_texts(folder, n_utterances, n_words):
    """Write references and hypotheses; return the paths of both files."""
    generator = random.Random(1)
    words = [
        "".join(generator.choices("abcdefghij", k=generator.randint(1, 8))) for _ in range(999)
    ]
    paths = folder / "references.txt", folder / "hypotheses.txt"
    with paths[0].open("w") as references, paths[1].open("w") as hypotheses:
        for n in range(n_utterances):
            reference = generator.choices(words, k=n_words)
            hypothesis = [
                w if generator.random() < 0.9 else generator.choice(words) for w in reference
            ]
            print(f"utt-{n:05}", *reference, file=references)
            print(f"utt-{n:05}", *hypothesis, file=hypotheses)
    return paths


def seconds(command):
    """Wall and CPU seconds of one run of a command, which must succeed."""
    wall, processor = time.perf_counter(), _processor_s()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - wall, _processor_s() - processor


def _processor_s():
    times = os.times()
    return times.children_user + times.children_system


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each (%(default)s)")
    n_runs = parser.parse_args().runs
    print(machine("cpu"))
    heads = ("median s", "least s", "most s", "processor s")
    print(f"{'':28}" + "".join(f"{head:>13}" for head in heads))
    medians = []
    with tempfile.TemporaryDirectory() as folder:
        commands = {"python -c pass": [sys.executable, "-c", "pass"]}
        for n_utterances, n_words in SIZES:
            paths = write_texts(Path(tempfile.mkdtemp(dir=folder)), n_utterances, n_words)
            command = [sys.executable, "-m", "asr.cli", "score", *map(str, paths)]
            commands[f"score, {n_utterances} utterances"] = command
        for name, command in commands.items():
            runs = [seconds(command) for _ in range(n_runs)]
            walls, processors = zip(*runs, strict=True)
            medians.append(statistics.median(walls))
            row = (medians[-1], min(walls), max(walls), statistics.median(processors))
            print(f"{name:28}" + "".join(f"{value:13.2f}" for value in row))
    print(f"at most {BAR_S} s")
    sys.exit(0 if max(medians) <= BAR_S else 1)


if __name__ == "__main__":
    main()
