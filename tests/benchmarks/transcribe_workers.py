"""Throughput of batches, two threads and two processes, against one file after the other.

The limit, on two cores that do nothing else: batches with two threads, as in `asr transcribe` with
OMP_NUM_THREADS=2, are at least 1.6 times as fast as one file after the other with one thread.

Each way recognises the same files in each round, and must find the same texts. The ratio is that of
wall times in the same round, without the loading of the model; the median of the rounds decides.
Where other programs run, a second thread gets less than a core. So the processor's seconds are
shown too: those of one file after the other, divided by those of the busiest thread, are the most
that the ratio can be on free cores. Threads of OpenMP count while they wait for each other, unless
OMP_WAIT_POLICY=passive is set.

Run: python tests/benchmarks/transcribe_workers.py --model DIR [--manifest FILE] [--files 130]
         [--decoder greedy] [--rounds 3] [--words]
Without a manifest, the test utterances of AN4, which must be prepared.
"""

import argparse
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

import asr
from asr.audio.load import read_info
from asr.corpus.manifest import read_manifest
from asr.errors import reported
from asr.evaluation.provenance import machine
from asr.transcribing.files import transcribe_files

ROOT = Path(__file__).resolve().parent.parent.parent
RATIO_BAR = 1.6
BATCH_S = 60.0


class Way(NamedTuple):
    """A way to recognise many files."""

    name: str
    batch_s: float | None  # None: one file after the other, without a thread that reads ahead
    n_threads: int = 1
    n_processes: int = 1


BASE = Way("one after the other", None)
LIMITED = Way("batches, 2 threads", BATCH_S, n_threads=2)
WAYS = [
    BASE,
    Way("the same, 2 threads", None, n_threads=2),
    Way("batches", BATCH_S),
    LIMITED,
    Way("batches, 2 processes", BATCH_S, n_processes=2),
]


class Cost(NamedTuple):
    """What the recognition of all files took, in seconds."""

    wall: float
    processor: float  # of all threads and processes
    busiest: float  # the processor's, of the thread that has most


def load_model(model, decoder):
    """In a process of its own: load the recogniser that `recognise` uses."""
    global recognizer
    recognizer = asr.load(model, "cpu", decoder)


def recognise(paths, batch_s, n_threads, with_words):
    """In such a process: the texts, CPU seconds of all threads, and those of the busiest one."""
    torch.set_num_threads(n_threads)
    before, threads_before = time.process_time(), seconds_of_threads()
    if batch_s is None:
        transcripts = map(recognizer.transcribe, paths)
    else:
        transcripts = transcribe_files(recognizer, paths, batch_s=batch_s)
    texts = []
    for transcript in transcripts:
        if isinstance(transcript, Exception):
            raise transcript
        texts.append((transcript.text, with_words and len(transcript.words)))
    threads = seconds_of_threads()
    busiest = max(threads[id] - threads_before.get(id, 0.0) for id in threads)
    return texts, time.process_time() - before, busiest


def seconds_of_threads():
    """The processor's seconds of each thread of this process."""
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        seconds[task.name] = (int(fields[11]) + int(fields[12])) / ticks  # utime, stime
    return seconds


def run(way, processes, paths, with_words):
    """The texts of all files, and their cost."""
    started = time.perf_counter()
    n = way.n_processes
    jobs = [
        process.submit(recognise, paths[number::n], way.batch_s, way.n_threads, with_words)
        for number, process in enumerate(processes[:n])
    ]
    found = [job.result() for job in jobs]
    wall = time.perf_counter() - started
    texts = [None] * len(paths)
    for number, (part, _, _) in enumerate(found):
        texts[number::n] = part
    return texts, Cost(wall, sum(f[1] for f in found), max(f[2] for f in found))


def measure(arguments):
    """Print a line for each way, and return whether the limit is kept."""
    paths = [u.audio for u in read_manifest(arguments.manifest)][: arguments.files]
    duration = sum(read_info(path).duration for path in paths)
    costs = {way: [] for way in WAYS}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                ProcessPoolExecutor(
                    1, get_context("spawn"), load_model, (arguments.model, arguments.decoder)
                )
            )
            for _ in range(2)
        ]
        expected, _ = run(WAYS[-1], processes, paths, arguments.words)  # loads and warms up
        for _ in range(arguments.rounds):
            for way, own in costs.items():
                texts, cost = run(way, processes, paths, arguments.words)
                own.append(cost)
                if texts != expected:
                    sys.exit(f"transcribe_workers: {way.name}: other texts than in processes")
    print(f"{len(paths)} files, {duration:.0f} s, {arguments.rounds} rounds; {machine('cpu')}")
    heads = ("wall s", "RTF", "CPU s", "busiest thread s", "ratio", "at most")
    print(f"{'':20}" + "".join(f"{head:>18}" for head in heads))
    ratios = {}
    for way, own in costs.items():
        wall, processor, busiest = map(statistics.median, zip(*own, strict=True))
        pairs = list(zip(costs[BASE], own, strict=True))
        ratios[way] = statistics.median(base.wall / cost.wall for base, cost in pairs)
        most = statistics.median(base.processor / cost.busiest for base, cost in pairs)
        row = (wall, wall / duration, processor, busiest, ratios[way], most)
        print(f"{way.name:20}" + "".join(f"{value:18.3f}" for value in row))
    print(f"at least: ratio {RATIO_BAR} for {LIMITED.name}")
    return ratios[LIMITED] >= RATIO_BAR


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, default=ROOT / "data" / "an4" / "test.jsonl")
    parser.add_argument("--files", type=int, default=130, help="number of files (%(default)s)")
    parser.add_argument("--decoder", help="default: as in the model's folder")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (%(default)s)")
    parser.add_argument("--words", action="store_true", help="with the times of words")
    with reported("transcribe_workers"):
        kept = measure(parser.parse_args())
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
