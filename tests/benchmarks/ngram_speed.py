"""Minutes and memory of an n-gram model: at most 10 minutes and 12 GB for 14 M words, order 5.

Each step is a process of its own, with one thread: our estimation from normalised text to an ARPA
file, lmplz's where it is on PATH, and our reading of the file. Both files have to have the same
numbers of n-grams. Then a batch of hypotheses is scored, as at one frame of a beam search.
Processor's minutes stand beside the wall's: they say more where other programs take their share.

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
    """Write the normalised sentences of a text that have words, without the novels' titles."""
    from asr.sentences import read_sentences
    from asr.text import normalise

    lines = (normalise(line) for line in read_sentences(source) if not line.startswith("== "))
    with open(target, "w", encoding="utf-8") as file:
        for line in itertools.islice(filter(None, lines), n_sentences):
            file.write(line + "\n")


def estimate_ours(text, order, target):
    """From text to an ARPA file; the seconds of each step go to stderr."""
    from asr.kneser_ney import EstimateSettings, estimate
    from asr.ngram import NgramModel, write_ngram
    from asr.sentences import read_sentences
    from asr.vocabulary import Vocabulary

    clock = [time.monotonic()]
    vocabulary = Vocabulary.from_texts(read_sentences(text))
    sentences = [vocabulary.encode(line) for line in read_sentences(text)]
    clock.append(time.monotonic())
    trie = estimate(sentences, len(vocabulary.symbols), EstimateSettings(int(order)))
    clock.append(time.monotonic())
    write_ngram(target, NgramModel(vocabulary, trie))
    clock.append(time.monotonic())
    read, estimated, written = (b - a for a, b in itertools.pairwise(clock))
    print(
        f"  ours: words -> units {read:.0f} s, estimation {estimated:.0f} s, ARPA {written:.0f} s",
        file=sys.stderr,
    )


def read_ours(path, rows=1000, calls=50):
    """Read an ARPA file and score units after random states; milliseconds a call go to stderr."""
    import torch

    from asr.ngram import read_ngram

    model = read_ngram(path)
    generator = torch.Generator().manual_seed(1)
    n_contexts, n_units = len(model.trie.backoffs), model.trie.n_units
    states = torch.randint(n_contexts, (calls, rows), generator=generator)
    units = torch.randint(min(n_units, 5000), (calls, rows), generator=generator)
    start = time.monotonic()
    for state, unit in zip(states, units, strict=True):
        model.score(state, unit)
    milliseconds = 1000 * (time.monotonic() - start) / calls
    print(f"  ours: {milliseconds:.1f} ms to score a batch of {rows} rows", file=sys.stderr)


STEPS = {"normalise": normalise_texts, "estimate": estimate_ours, "read": read_ours}


def run(name, command):
    """Run a command that succeeds, and print its row; the wall's minutes and gigabytes."""
    start = time.monotonic()
    # fork and exec, since only wait4 gives the memory of one child
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
    if len(sys.argv) > 1 and sys.argv[1] in STEPS:  # a process of its own
        name, *arguments = sys.argv[1:]
        if name == "normalise":
            arguments[2] = int(arguments[2]) or None
        STEPS[name](*arguments)
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    novels = Path(os.environ.get("ASR_DATA", "."), "text", "english_novels.txt.xz")
    parser.add_argument("--text", default=str(novels), help="a sentence a line (%(default)s)")
    parser.add_argument("--order", default="5", help="(%(default)s)")
    parser.add_argument("--sentences", default="0", help="at most; 0: all")
    options = parser.parse_args()

    from asr.results import machine

    print(machine("cpu"))
    print(f"{'':24}{'minutes':>10}{'processor':>12}{'GB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        text, ours, theirs = (str(Path(folder, name)) for name in ("text", "a.arpa", "b.arpa"))
        step = [sys.executable, __file__]
        run("normalise", [*step, "normalise", options.text, text, options.sentences])
        minutes, gigabytes = run("ours", [*step, "estimate", text, options.order, ours])
        if shutil.which("lmplz"):
            command = ["lmplz", "-o", options.order, "-S", "4G", "-T", folder]
            run("lmplz", [*command, "--text", text, "--arpa", theirs])
            if ngram_counts(ours) != ngram_counts(theirs):
                sys.exit(f"{ngram_counts(ours)} of ours; expected {ngram_counts(theirs)}")
        run("reading ours", [*step, "read", ours])
    print(f"ours: at most {BAR_MINUTES} minutes and {BAR_GB} GB")
    sys.exit(0 if minutes <= BAR_MINUTES and gigabytes <= BAR_GB else 1)


if __name__ == "__main__":
    main()
