"""Speed of `asr transcribe` on one core: real-time factor, and time until the first text.

The limits: a real-time factor of at most 0.02, and the first line on stdout after at most 4 s.

The command runs as a separate process on one core with one thread: with one file, and with all
files. The real-time factor is the difference of their times divided by the difference of their
durations of audio, so it does not include the start. The factor of the whole run, which includes
it, is shown too. Wall time decides. The factor of CPU time is shown too, since it is more reliable
if other programs are running.

Run: python tests/benchmarks/transcribe_speed.py [AUDIO ...] [--model exp/an4/ctc] [--runs 3]
Without audio, the test recordings of the digits are used, which must be prepared. Without a model,
one of the size of conf/an4/ctc.yaml with random weights is used; weights do not change the speed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from asr.audio.features import Features
from asr.audio.load import read_info
from asr.config import check_file, parse, settings_parser
from asr.corpus.manifest import read_manifest
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.model import Model, save_model
from asr.networks.acoustic import AcousticModel
from asr.text.tokenizer import CharTokenizer
from asr.training.ctc import CTCSettings
from asr.training.run import add_trainer_options

ROOT = Path(__file__).resolve().parent.parent.parent
REAL_TIME_BAR = 0.02
FIRST_TEXT_BAR_S = 4.0


class Timing(NamedTuple):
    """Seconds since the start of the process."""

    first_line: float
    end: float
    processor: float  # user and system, of the whole run


def transcribe(model, audio):
    """Run `asr transcribe`, which must print one line for each file."""
    command = [sys.executable, "-m", "asr.cli", "transcribe", "--model", model, "--device", "cpu"]
    started, processor = time.perf_counter(), _processor_s()
    with subprocess.Popen([*command, *audio], stdout=subprocess.PIPE) as process:
        lines = [process.stdout.readline()]
        first_line = time.perf_counter() - started
        lines += process.stdout.readlines()
    if process.returncode or len(lines) != len(audio):
        sys.exit(f"transcribe_speed: status {process.returncode}, {len(lines)} lines")
    return Timing(first_line, time.perf_counter() - started, _processor_s() - processor)


def _processor_s():
    times = os.times()
    return times.children_user + times.children_system


def import_torch():
    """Seconds in which Python starts and imports torch, a lower bound of the time of a start."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


def random_model(folder):
    """Save an untrained model of the size of AN4's."""
    config = ROOT / "conf" / "an4" / "ctc.yaml"
    parser = settings_parser("transcribe_speed", CTCSettings)
    add_trainer_options(parser)
    check_file(parser, config)
    arguments = ["--config", str(config), "--out", str(folder)]
    settings = parse(parser, CTCSettings, arguments).settings
    tokenizer = CharTokenizer.from_texts(["abcdefghijklmnopqrstuvwxyz '"])
    torch.manual_seed(1)
    acoustic = AcousticModel(settings.features.n_features, len(tokenizer.symbols), settings.model)
    save_model(folder, Model(Features(settings.features), acoustic, tokenizer))


def one_core():
    """Pin this process and its children to one core, with one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if not hasattr(os, "sched_setaffinity"):
        return "this system can't pin a process to a core"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"core {core}"


def measure(arguments, folder):
    """(seconds to import torch, Timing of one file, Timing of all files) of each run; durations."""
    manifest = ROOT / "data" / "digits" / "test.jsonl"
    if not arguments.audio and not manifest.exists():
        raise InputError(f"{manifest}: is missing; run python data/digits/prepare.py first")
    audio = arguments.audio or [Path(u.audio) for u in read_manifest(manifest)]
    if len(audio) < 2:
        raise InputError(f"{audio[0]}: is one file; expected two or more")
    durations = [read_info(path).duration for path in audio]
    if not arguments.model:
        random_model(folder)
    model = arguments.model or folder
    runs = [
        (import_torch(), transcribe(model, audio[:1]), transcribe(model, audio))
        for _ in range(arguments.runs)
    ]
    return runs, durations


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", nargs="*", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--runs", type=int, default=3, help="number of runs (%(default)s)")
    with reported("transcribe_speed"), tempfile.TemporaryDirectory() as folder:
        core = one_core()
        runs, durations = measure(parser.parse_args(), Path(folder))

    print(f"{len(durations)} files, {sum(durations):.0f} s; {machine('cpu')}, {core}")
    heads = ("import torch s", "first text s", "all s", "RTF", "with start", "processor's")
    print(f"{'run':>4}" + "".join(f"{head:>15}" for head in heads))
    table = []
    for torch_s, one, every in runs:
        more_s = sum(durations[1:])
        factor, processor = (
            (every.end - one.end) / more_s,
            (every.processor - one.processor) / more_s,
        )
        whole = every.end / sum(durations)
        table.append((torch_s, one.first_line, every.end, factor, whole, processor))
    medians = [statistics.median(column) for column in zip(*table, strict=True)]
    for name, row in [*enumerate(table, 1), ("med.", medians)]:
        seconds, factors = row[:3], row[3:]
        print(f"{name:>4}" + "".join(f"{value:15.2f}" for value in seconds), end="")
        print("".join(f"{value:15.4f}" for value in factors))
    print(f"at most: first text {FIRST_TEXT_BAR_S:g} s, RTF {REAL_TIME_BAR:g}")
    sys.exit(0 if medians[1] <= FIRST_TEXT_BAR_S and medians[3] <= REAL_TIME_BAR else 1)


if __name__ == "__main__":
    main()
