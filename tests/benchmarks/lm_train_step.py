"""Time of language-model training with Lightning compared with a bare loop, and its memory.

- Time: at most 1.15 times that of a bare loop. Both train the same model with the same optimiser,
  precision and clipping on the same chunks, in one process. Their epochs alternate, so that a
  slower machine slows both down. Training is `Run.fit` as in `recipes/train_lm.py`: reading chunks
  from the file, seeds of dropout, logs, learning rate, a checkpoint after each epoch; without
  development data. The bare loop has its chunks in memory: forward, loss, backward, clipping,
  optimiser. The first epoch is not counted. Wall time decides. CPU time is shown too, since it is
  more reliable if other programs are running.
- Memory: with a text that is 8 times as long, the peak is at most 1.05 times as high. Separate
  processes read the text, make the vocabulary, encode it and train a few steps of a small model,
  whose own memory is too small to hide that of the text.

The words of the text are random with Zipf's distribution, so no corpus is needed.

Run: python tests/benchmarks/lm_train_step.py [--config conf/novels/lm.yaml] [--rounds 5]
[--model.hidden_size 128 ...]; other options change the settings.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback

from asr.config import parse, settings_parser
from asr.errors import reported
from asr.evaluation.provenance import machine
from asr.training.lm import LMData, LMSettings, LMTraining, losses_of
from asr.training.run import Run, add_trainer_options
from asr.training.stream import ChunkDraw

ROOT = Path(__file__).resolve().parent.parent.parent
TIME_BAR, MEMORY_BAR = 1.15, 1.05
N_STEPS = 8  # per epoch
N_TYPES = 60_000  # number of different words
SMALL = ["--model.embedding_size=16", "--model.hidden_size=16", "--data.rows=4"]


class BareLoop(Callback):
    """Times each of Lightning's epochs, then a bare loop on the same chunks."""

    def __init__(self, model):
        self.model = copy.deepcopy(model)
        self.rows = []  # (training, bare), each (wall, CPU) seconds
        self._epoch = 0
        self._since = None

    def on_train_epoch_start(self, trainer, pl_module):
        self._end_epoch(trainer, pl_module)
        self._since = _clocks()

    def on_train_end(self, trainer, pl_module):
        self._end_epoch(trainer, pl_module)

    def _end_epoch(self, trainer, task):
        if self._since is None:
            self._optimizer = _adamw(self.model, task.settings.optim)
            return
        training = _elapsed(self._since)
        chunks = trainer.train_dataloader.dataset
        drawn = [chunks[ChunkDraw(place, self._epoch)] for place in range(len(chunks))]
        self._epoch += 1
        since = _clocks()
        state = None
        for chunk in drawn:
            with trainer.precision_plugin.forward_context():
                losses, state = losses_of(self.model, chunk, state)
                loss = losses.sum() / chunk.size
            state = state.detach()
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), trainer.gradient_clip_val)
            self._optimizer.step()
        self.rows.append((training, _elapsed(since)))


def _adamw(model, optim):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=optim.lr, weight_decay=optim.weight_decay)


def _clocks():
    return time.perf_counter(), time.process_time()


def _elapsed(since):
    return tuple(now - then for now, then in zip(_clocks(), since, strict=True))


def write_text(path, n_words):
    """Write sentences of 18 random words with Zipf's distribution."""
    generator = np.random.default_rng(0)
    weights = 1 / np.arange(1, N_TYPES + 1)
    with path.open("w") as file:
        for begin in range(0, n_words, 18_000):
            n_sentences = min(1000, -(-(n_words - begin) // 18))
            words = generator.choice(N_TYPES, (n_sentences, 18), p=weights / weights.sum())
            file.writelines(" ".join(f"w{word}" for word in row) + "\n" for row in words)


def settings_of(arguments, options, folder):
    """The settings of the command line, with the random text as corpora."""
    parser = settings_parser("lm_train_step", LMSettings)
    add_trainer_options(parser)
    words = ["--config", arguments.config, "--out", folder / "run"]
    words += ["--data.train", folder / "text.txt", "--data.dev", folder / "text.txt"]
    words += ["--trainer.limit_val_batches", 0, "--trainer.accelerator", "cpu"]
    words += ["--trainer.val_check_interval", 1.0]
    return parse(parser, LMSettings, [*map(str, words), *options])


def train(settings, text, trainer, out, callbacks):
    """Train as `recipes/train_lm.py` does."""
    data = LMData(settings)
    data.encode(out / "units")
    torch.manual_seed(settings.seed)
    task = LMTraining(settings, data.vocabulary)
    task.configure_callbacks = lambda: [kind(task.model) for kind in callbacks]
    Run(out, text).fit(task, data, trainer, settings.averaging, monitor="dev_loss")


def measure_time(arguments, options, folder):
    """The rows of `BareLoop`, without that of the first epoch."""
    options = ["--trainer.max_epochs", str(arguments.rounds + 1), *options]
    settings, chosen, text, _ = settings_of(arguments, options, folder)
    n_units = N_STEPS * settings.data.rows * settings.data.chunk
    write_text(folder / "text.txt", n_units * 18 // 19)  # each sentence's end is a unit
    loops = []

    def bare_loop(model):
        loops.append(BareLoop(model))
        return loops[0]

    train(settings, text, chosen.trainer, folder / "run", [bare_loop])
    return loops[0].rows[1:]


def measure_memory(arguments, options, folder, n_words):
    """Peak memory in MiB of a process that trains on `n_words` words."""
    write_text(folder / "text.txt", n_words)
    command = [sys.executable, __file__, "--config", arguments.config, "--peak-of", folder]
    printed = subprocess.run(
        [*map(str, command), *SMALL, *options], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(printed.stdout.split()[-1])


def print_peak(arguments, options):
    """Train and print the peak memory, in a process of `measure_memory`."""
    options = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", *options]
    settings, chosen, text, _ = settings_of(arguments, options, arguments.peak_of)
    train(settings, text, chosen.trainer, arguments.peak_of / "run", [])
    # not getrusage's peak, which starts with that of the parent process
    status = Path("/proc/self/status").read_text().split()
    print(int(status[status.index("VmHWM:") + 1]) / 1024)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, default=ROOT / "conf" / "novels" / "lm.yaml")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each (%(default)s)")
    parser.add_argument("--words", type=int, default=400_000, help="the shorter text (%(default)s)")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.peak_of:
        print_peak(arguments, options)
        return
    print(f"{arguments.config}; {machine('cpu')}")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_time(arguments, options, Path(folder))
    print(f"{'':8}{'ms a step, wall':>33}{'ms a step, processor':>33}")
    print(f"{'round':>8}" + "".join(f"{head:>11}" for head in ("training", "bare", "ratio") * 2))
    ratios = []
    for number, (training, bare) in enumerate(rows, 1):
        cells = ""
        ratios.append([a / b for a, b in zip(training, bare, strict=True)])
        for a, b in zip(training, bare, strict=True):
            cells += f"{1000 * a / N_STEPS:11.1f}{1000 * b / N_STEPS:11.1f}{a / b:11.3f}"
        print(f"{number:8}{cells}")
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median ratio {wall:.3f} (processor {processor:.3f}); at most {TIME_BAR}")

    peaks = []
    for n_words in (arguments.words, 8 * arguments.words):
        with tempfile.TemporaryDirectory() as folder:
            peaks.append(measure_memory(arguments, options, Path(folder), n_words))
        print(f"{n_words} words: {peaks[-1]:.0f} MiB at most")
    growth = peaks[1] / peaks[0]
    print(f"8 times the words: {growth:.3f} times the memory; at most {MEMORY_BAR}")
    sys.exit(0 if wall <= TIME_BAR and growth <= MEMORY_BAR else 1)


if __name__ == "__main__":
    with reported("lm_train_step"):
        main()
