"""Kill `asr transcribe` at random moments and start it again: no transcript must be lost.

    python tests/benchmarks/kill_while_transcribing.py --model DIR [--manifest data/an4/train.jsonl]
        [--files 500] [--kills 20] [--seed 0] [--batch-s 60] [OPTION ...]

Recordings of a manifest are linked into folders that have the same file names. One command
transcribes them to txt, json and srt without interruption. The same command with another output
folder gets SIGKILL, with its whole process group, as soon as it has written a random number of
files, or some milliseconds later. It is started again and again, and at last runs to its end. Then
there must be the same files as without interruption and no others, such as temporary ones.

The files must be the same byte for byte with `--batch-s 0`. Otherwise a kill changes which
recordings are recognised together, which may rarely change the last digit of JSON's `log_prob` or
`confidence`: these files are counted, and nothing else in them may differ. Further options, such
as `--decoder greedy`, are passed to the command.

Prints a line for each kill. The exit status is 1 if a file differs, is missing or is left over.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from asr.corpus.manifest import read_manifest
from asr.errors import InputError, reported

ROOT = Path(__file__).resolve().parent.parent.parent
FORMATS = ("txt", "json", "srt")
FOLDER_FILES = 20
LATER_S = 0.02
TOLERANCE = 1.01e-3
"""A unit of the last digit of `log_prob` in JSON."""


class Command:
    """The command, which transcribes all recordings of a folder."""

    def __init__(self, audio, model, options):
        program = [sys.executable, "-m", "asr.cli", "transcribe", audio, "--model", model]
        self._command = [*map(str, program), "--format", ",".join(FORMATS), *options]

    def start(self, out):
        return subprocess.Popen(
            [*self._command, "--out", str(out)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, out):
        """Run to the end; return what it told on stderr."""
        process = self.start(out)
        _, told = process.communicate()
        if process.returncode:
            sys.exit(f"kill_while_transcribing: status {process.returncode}: {told}")
        return told


def link_recordings(folder, paths):
    """Link audio files into folders, each with the same file names."""
    for number, path in enumerate(paths):
        place, take = divmod(number, FOLDER_FILES)
        link = folder / f"day {place % 5}" / f"speaker {place // 5}" / f"take {take}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def files_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def kill(command, out, n_more, later_s):
    """Kill the command when it has written so many more files.

    Returns the number of files of each suffix that are there now, and whether it was killed: it may
    have ended before.
    """
    n_before = len(files_in(out))
    process = command.start(out)
    while process.poll() is None and len(files_in(out)) < n_before + n_more:
        time.sleep(0.002)
    time.sleep(later_s)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    _, told = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"kill_while_transcribing: status {process.returncode}: {told}")
    left = files_in(out)
    return Counter(path.suffix for path in left), process.returncode == -signal.SIGKILL


def same_values(one, other):
    """Whether JSON values are the same, but for a last digit that a batch may change."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            math.isclose(one[name], other[name], abs_tol=TOLERANCE)
            if name in ("log_prob", "confidence")
            else same_values(one[name], other[name])
            for name in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_values, one, other))
    return one == other


def differs(one, other):
    """None if the files have the same bytes; "digits" for JSON's last digits; else "content"."""
    contents = one.read_bytes(), other.read_bytes()
    if contents[0] == contents[1]:
        return None
    if one.suffix != ".json" or not all(content.endswith(b"}\n") for content in contents):
        return "content"
    return "digits" if same_values(*map(json.loads, contents)) else "content"


def compare(undisturbed, out, may_differ_in_digits):
    """Print how the folders differ; return whether they are the same."""
    expected, found = files_in(undisturbed), files_in(out)
    for path in sorted({*expected} - {*found}):
        print(f"{path}: is MISSING")
    for path in sorted({*found} - {*expected}):
        print(f"{path}: is LEFT OVER")
    both = sorted({*expected} & {*found})
    differences = {path: differs(undisturbed / path, out / path) for path in both}
    kinds = Counter(differences.values())
    for path, kind in differences.items():
        if kind == "content" or (kind == "digits" and not may_differ_in_digits):
            print(f"{path}: DIFFERS in {kind}")
    print(
        f"{len(expected)} files expected, {len(found)} found; {kinds[None]} have the same bytes,"
        f" {kinds['digits']} differ in the last digits, {kinds['content']} in more"
    )
    same = not kinds["content"] and (may_differ_in_digits or not kinds["digits"])
    return expected == found and same


def measure(arguments, options, folder):
    paths = [Path(u.audio) for u in read_manifest(arguments.manifest) if u.offset is None]
    if len(paths) < arguments.files:
        raise InputError(
            f"{arguments.manifest}: has {len(paths)} recordings; expected {arguments.files} or more"
        )
    audio, undisturbed, out = (folder / name for name in ("audio", "undisturbed", "killed"))
    link_recordings(audio, paths[: arguments.files])
    out.mkdir()
    command = Command(audio, arguments.model, [f"--batch-s={arguments.batch_s}", *options])
    command.finish(undisturbed)
    chosen = random.Random(arguments.seed)
    for n_left in range(arguments.kills, 0, -1):
        n_missing = len(FORMATS) * arguments.files - len(files_in(out))
        n_more = chosen.randint(0, 2 * n_missing // (n_left + 1))
        left, was_killed = kill(command, out, n_more, LATER_S * chosen.random())
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left.items()))
        end = "killed" if was_killed else "ENDED before the kill"
        print(f"{arguments.kills - n_left + 1}: {end}, with {counts or 'no file'}", flush=True)
    print(f"at last: {command.finish(out).strip()}", flush=True)
    return compare(undisturbed, out, may_differ_in_digits=arguments.batch_s > 0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, default=ROOT / "data" / "an4" / "train.jsonl")
    parser.add_argument("--files", type=int, default=500, help="number of files (%(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="number of kills (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (%(default)s)")
    parser.add_argument("--batch-s", type=int, default=60, help="as in the command (%(default)s)")
    arguments, options = parser.parse_known_args()
    with reported("kill_while_transcribing"), tempfile.TemporaryDirectory() as folder:
        same = measure(arguments, options, Path(folder))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
