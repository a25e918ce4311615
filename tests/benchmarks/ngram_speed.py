"""Time and memory of an n-gram model: at most 10 minutes and 12 GB for 14 M words, order 5.

Each step is a separate process with one thread: our estimation from normalised text to a model's
folder and an ARPA file, lmplz's estimation if it is on PATH, and reading our folder. Both ARPA
files must have the same numbers of n-grams. Then batches of hypotheses are scored, as for one frame
of a beam search.
CPU time is shown beside wall time, since it is more reliable if other programs are running.

Run: python tests/benchmarks/ngram_speed.py [--text FILE] [--order 5] [--sentences N]
"""

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

BAR_MINUTES, BAR_GB = 10, 12


def normalise_texts(source, target, n_sentences):
    """Write the normalised sentences of a text, without empty ones and the titles of novels."""
    from asr.text.normalisation import normalise
    from asr.text.sentences import read_sentences

    lines = (normalise(line) for line in read_sentences(source) if not line.startswith("== "))
    with open(target, "w", encoding="utf-8") as file:
        for line in itertools.islice(filter(None, lines), n_sentences):
            file.write(line + "\n")


def estimate_ours(text, order, folder, arpa):
    """Estimate a model, write its folder and an ARPA file, and print the seconds on stderr."""
    from asr.lm.estimate import EstimateSettings, estimate
    from asr.lm.ngram import NgramModel, save_ngram, write_ngram
    from asr.lm.vocabulary import Vocabulary
    from asr.text.sentences import read_sentences

    clock = [time.monotonic()]
    vocabulary = Vocabulary.from_texts(read_sentences(text))
    sentences = [vocabulary.encode(line) for line in read_sentences(text)]
    clock.append(time.monotonic())
    trie = estimate(sentences, len(vocabulary.symbols), EstimateSettings(int(order)))
    clock.append(time.monotonic())
    model = NgramModel(vocabulary, trie)
    save_ngram(folder, model, {}, {})
    clock.append(time.monotonic())
    write_ngram(arpa, model)
    clock.append(time.monotonic())
    seconds = [b - a for a, b in itertools.pairwise(clock)]
    names = ("words -> units", "estimation", "folder", "ARPA")
    steps = ", ".join(f"{name} {part:.1f} s" for name, part in zip(names, seconds, strict=True))
    print(f"  ours: {steps}", file=sys.stderr)
    sizes = [Path(path).stat().st_size / 1e6 for path in (f"{folder}/weights.safetensors", arpa)]
    print("  ours: weights {:.0f} MB, ARPA {:.0f} MB".format(*sizes), file=sys.stderr)


def read_ours(folder, calls=200):
    """Read a model's folder, score units after random states, and print the times on stderr."""
    import torch

    from asr.lm.ngram import load_ngram

    start = time.process_time()
    model = load_ngram(folder)
    print(f"  ours: {time.process_time() - start:.2f} s to read", file=sys.stderr)
    generator = torch.Generator().manual_seed(1)
    n_contexts, n_units = len(model.trie.backoffs), model.trie.n_units
    for rows in (50, 300, 1000):
        states = torch.randint(n_contexts, (calls, rows), generator=generator)
        units = torch.randint(min(n_units, 5000), (calls, rows), generator=generator)
        start = time.process_time()
        for state, unit in zip(states, units, strict=True):
            model.score(state, unit)
        milliseconds = 1000 * (time.process_time() - start) / calls
        print(f"  ours: {milliseconds:.2f} ms to score {rows} rows", file=sys.stderr)


STEPS = {"normalise": normalise_texts, "estimate": estimate_ours, "read": read_ours}


def run(name, command):
    """Run a command, which must succeed, and print its row; return wall minutes and gigabytes."""
    start = time.monotonic()
    # not subprocess, since only wait4 gives the memory of one child
    pid = os.posix_spawnp(command[0], command, os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{name} failed with status {os.waitstatus_to_exitcode(status)}")
    minutes = (time.monotonic() - start) / 60
    processor = (usage.ru_utime + usage.ru_stime) / 60
    gigabytes = usage.ru_maxrss * 1024 / 1e9
    print(f"{name:24}{minutes:10.2f}{processor:12.2f}{gigabytes:10.2f}", flush=True)
    return minutes, gigabytes


def ngram_counts(path):
    with open(path, "rb") as file:
        lines = itertools.takewhile(lambda line: not line.startswith(b"\\1-"), file)
        return [line.strip() for line in lines if line.startswith(b"ngram ")]


def main():
    if len(sys.argv) > 1 and sys.argv[1] in STEPS:  # the process of one step
        name, *arguments = sys.argv[1:]
        if name == "normalise":
            arguments[2] = int(arguments[2]) or None
        STEPS[name](*arguments)
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    novels = Path(os.environ.get("ASR_DATA", "."), "text", "english_novels.txt.xz")
    parser.add_argument("--text", default=str(novels), help="one sentence per line (%(default)s)")
    parser.add_argument("--order", default="5", help="(%(default)s)")
    parser.add_argument("--sentences", default="0", help="largest number of sentences; 0: all")
    options = parser.parse_args()

    from asr.evaluation.provenance import machine

    print(machine("cpu"))
    print(f"{'':24}{'minutes':>10}{'processor':>12}{'GB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        names = ("text", "lm", "a.arpa", "b.arpa")
        text, model, ours, theirs = (str(Path(folder, name)) for name in names)
        step = [sys.executable, __file__]
        run("normalise", [*step, "normalise", options.text, text, options.sentences])
        minutes, gigabytes = run("ours", [*step, "estimate", text, options.order, model, ours])
        if shutil.which("lmplz"):
            command = ["lmplz", "-o", options.order, "-S", "4G", "-T", folder]
            run("lmplz", [*command, "--text", text, "--arpa", theirs])
            if ngram_counts(ours) != ngram_counts(theirs):
                sys.exit(f"{ngram_counts(ours)} of ours; expected {ngram_counts(theirs)}")
        run("reading ours", [*step, "read", model])
    print(f"ours: at most {BAR_MINUTES} minutes and {BAR_GB} GB")
    sys.exit(0 if minutes <= BAR_MINUTES and gigabytes <= BAR_GB else 1)


if __name__ == "__main__":
    main()
