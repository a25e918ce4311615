"""Kill a training while it writes a checkpoint, and fill its disk: no training must be lost.

    python tests/benchmarks/kill_while_saving.py [--kills 20] [--full 5] [--seed 0]

A small model is trained once without interruption. Each further training has its own folder. It
gets SIGKILL while it writes a checkpoint (as soon as the temporary file exists, or some
milliseconds later), and is then resumed with the same command. TMPDIR is on another file system
than the models. The final weights must be the same, bit for bit. Other trainings fill their disk
while they write a checkpoint (a tmpfs, which needs root), and are resumed on a larger one.

Prints a line for each training. The exit status is 1 if any weights differ.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from conftest import Tones, assert_same_model, write_tones  # noqa: E402

MODEL = ["--model.hidden_size=160", "--model.n_layers=3", "--optim.lr=0.001"]
EPOCHS = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="kill_while_saving", allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--full", type=int, default=5, help="number of full disks")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    options = parser.parse_args()
    chosen = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        tempfile.TemporaryDirectory(dir="/dev/shm") as temporary,
    ):
        if os.stat(folder).st_dev == os.stat(temporary).st_dev:
            sys.exit("kill_while_saving: /tmp and /dev/shm are one file system; expected two")
        write_tones(Path(folder, "tones"), {"train": 12, "dev": 4}, seed=0)
        training = Training(Path(folder), temporary)
        straight = Path(folder, "straight")
        training.finish(straight)
        size = (straight / "checkpoints" / "last.ckpt").stat().st_size
        print(f"checkpoint {size / 1e6:.1f} MB, {EPOCHS} epochs", flush=True)
        same = [kill(training, straight, n, chosen) for n in range(options.kills)]
        print(f"{sum(same)} of {len(same)} killed trainings ended with the same weights")
        full = [fill(training, straight, n, size, chosen) for n in range(options.full)]
        print(f"{sum(full)} of {len(full)} trainings on a full disk ended with the same weights")
    if not all(same + full):
        sys.exit(1)


class Training:
    """A training command."""

    def __init__(self, folder: Path, temporary: str) -> None:
        self.folder = folder
        self._options = [*Tones(folder / "tones").options, *MODEL, f"--trainer.max_epochs={EPOCHS}"]
        self._environment = os.environ | {"TMPDIR": temporary, "PYTHONPATH": str(ROOT)}

    def start(self, out: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "recipes/train_ctc.py", *self._options, "--out", str(out)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=pipe, stderr=pipe, text=True
        )

    def finish(self, out: Path) -> str:
        """Train to the end; return the lines of stderr that are not about epochs."""
        process = self.start(out)
        _, printed = process.communicate()
        if process.returncode:
            sys.exit(f"kill_while_saving: training failed: {printed}")
        return "; ".join(line for line in printed.splitlines() if not line.startswith("epoch "))


def kill(training: Training, straight: Path, number: int, chosen: random.Random) -> bool:
    """Kill a training while it writes a random one of its files, resume it, compare the weights."""
    out = training.folder / f"killed{number}"
    ended = None
    while ended != -signal.SIGKILL:  # again, if it ended before the kill
        shutil.rmtree(out, ignore_errors=True)
        wanted, share = chosen.randint(1, 2 * EPOCHS), chosen.random()
        process = training.start(out)
        written, before = 0, False
        while process.poll() is None and written < wanted:
            now = _is_writing(out)
            written += now and not before
            before = now
        time.sleep(share * 0.015)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ended = process.returncode
    left = sorted(path.name for path in (out / "checkpoints").iterdir())
    told = training.finish(out)
    found = _same(straight, out)
    short = [name.partition(".ckpt.")[0] + "+" if ".partial" in name else name for name in left]
    short = [name.removesuffix(".ckpt") for name in short]
    print(f"kill {number + 1}: left {' '.join(short)}: {_words(found, told)}", flush=True)
    return found


def fill(training: Training, straight: Path, number: int, size: int, chosen: random.Random) -> bool:
    """Fill the disk of a training, resume it on a larger disk, compare the weights."""
    disk = training.folder / f"disk{number}"
    disk.mkdir()
    room = round(size * chosen.uniform(0.2, 3.5))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", disk], check=True)
    try:
        process = training.start(disk / "run")
        _, printed = process.communicate()
        lines = [line for line in printed.splitlines() if not line.startswith("epoch ")]
        more = f"remount,size={20 * size}"
        subprocess.run(["mount", "-o", more, disk], check=True)
        again = training.finish(disk / "run")
        found = _same(straight, disk / "run")
    finally:
        subprocess.run(["umount", disk], check=True)
    place = f"disk of {room / 1e6:.1f} MB, status {process.returncode}"
    said = "; ".join(line.replace(str(training.folder), "") for line in lines)
    print(f"{place}: {said}: {_words(found, again)}", flush=True)
    return found and process.returncode == 1


def _is_writing(out: Path) -> bool:
    try:
        return any(name.endswith(".partial") for name in os.listdir(out / "checkpoints"))
    except FileNotFoundError:  # the folder does not exist yet
        return False


def _same(straight: Path, out: Path) -> bool:
    try:
        assert_same_model(straight, out)
    except AssertionError:
        return False
    return True


def _words(same: bool, told: str) -> str:
    found = "the same weights" if same else "OTHER WEIGHTS"
    return f"{found} ({told})" if told else found


if __name__ == "__main__":
    main()
