"""Resident memory of a training in each epoch: constant within 3 % from the second epoch on.

`Run.fit` trains as in `recipes/train_ctc.py`. The resident memory of this process and its children
is read after every step. The largest and the last value of each epoch are printed. From the second
epoch on, the largest value may be at most 3 % above that of the second. In the first epoch, the
cache (`--data.cache_gb`) fills, and the allocator and the libraries take their memory.

Run: python tests/benchmarks/train_memory.py [--corpus digits] [--epochs 8] [--data.cache_gb 0 ...]
The corpus must be prepared; other options change settings of conf/CORPUS/ctc.yaml.
LibriSpeech's half hour of development data:
  --corpus librispeech --data.train data/librispeech/dev.jsonl
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from asr.config import parse, settings_parser
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.training.ctc import CTCData, CTCSettings, CTCTraining
from asr.training.run import Run, add_trainer_options

ROOT = Path(__file__).resolve().parent.parent.parent
BAR = 1.03
PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory(Callback):
    """Reads resident memory at the end of each step."""

    def __init__(self):
        self.epochs = []  # all values of each epoch, in bytes

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append([])

    def on_train_batch_end(self, *_):
        self.epochs[-1].append(resident_bytes())

    def on_validation_batch_end(self, *_):
        self.epochs[-1].append(resident_bytes())


def resident_bytes():
    """Resident memory of this process and all its descendants."""
    children, pages = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages[int(folder.name)] = int((folder / "statm").read_text().split()[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(folder.name))
    ours = [os.getpid()]
    for pid in ours:  # the list grows during the loop
        ours += children.get(pid, [])
    return PAGE * sum(pages.get(pid, 0) for pid in ours)


def measure(corpus, epochs, options, out):
    """Train and return the values of `Memory`."""
    manifests = [ROOT / "data" / corpus / f"{part}.jsonl" for part in ("train", "dev")]
    if not manifests[0].exists():
        raise InputError(f"{manifests[0]}: is missing; run python data/{corpus}/prepare.py first")
    parser = settings_parser("train_memory", CTCSettings)
    add_trainer_options(parser)
    words = ["--config", ROOT / "conf" / corpus / "ctc.yaml", "--out", out]
    words += ["--data.train", manifests[0], "--data.dev", manifests[1]]
    words += ["--trainer.max_epochs", epochs, "--trainer.accelerator", "cpu"]
    settings, chosen, text, _ = parse(parser, CTCSettings, [*map(str, words), *options])
    data = CTCData(settings)
    pl.seed_everything(settings.seed, verbose=False)
    task = CTCTraining(settings, data.tokenizer)
    memory = Memory()
    task.configure_callbacks = lambda: [memory]
    Run(out, text).fit(task, data, chosen.trainer, settings.averaging, monitor=task.monitor)
    return memory.epochs


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default="digits")
    parser.add_argument("--epochs", type=int, default=8, help="number of epochs (%(default)s)")
    arguments, options = parser.parse_known_args()
    if arguments.epochs < 3:
        parser.error(f"--epochs is {arguments.epochs}; expected 3 or more")
    with reported("train_memory"), tempfile.TemporaryDirectory() as folder:
        epochs = measure(arguments.corpus, arguments.epochs, options, Path(folder) / "run")

    print(f"{arguments.corpus} {' '.join(options)}; {machine('cpu')}")
    print(f"{'epoch':>8}{'highest, MB':>14}{'last, MB':>14}{'to the second':>16}")
    second = max(epochs[1])
    for number, readings in enumerate(epochs, 1):
        highest, last = max(readings), readings[-1]
        print(f"{number:8}{highest / 1e6:14.0f}{last / 1e6:14.0f}{highest / second:16.3f}")
    growth = max(map(max, epochs[1:])) / second
    print(f"highest from the second epoch on: {growth:.3f} of the second's; at most {BAR}")
    sys.exit(0 if growth <= BAR else 1)


if __name__ == "__main__":
    main()
