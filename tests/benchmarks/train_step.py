"""Time of a training epoch with Lightning compared with a bare loop: at most 1.05 times.

Both train the same model with the same optimiser, precision, clipping and loss on the same batches,
in one process. Their epochs alternate, so that a slower machine slows both down.

- training: `Run.fit` as in `recipes/train_ctc.py`: reading, augmenting and padding batches,
  features, masks, logs, learning rate, a checkpoint after each epoch; without development data.
- bare loop: forward, loss, backward, clipping, optimiser, on precomputed features.

The first epoch is not counted, since only later ones have a filled cache. With `--data.cache_gb 0`
no audio is kept, and all of it is decoded in every epoch. Wall time decides. CPU time (user and
system) is shown too, since it is more reliable if other programs are running: for all threads,
including those that read ahead, and for the main thread. The latter equals the wall time of an idle
machine with OMP_NUM_THREADS=1 and a second CPU for reading.

Run: python tests/benchmarks/train_step.py [--corpus an4] [--rounds 5] [--data.cache_gb 0 ...]
The corpus must be prepared; other options change settings of conf/CORPUS/ctc.yaml.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from pytorch_lightning.callbacks import Callback

from asr.audio.augment import spec_augment
from asr.config import parse, settings_parser
from asr.corpus.dataset import collate
from asr.errors import InputError, reported
from asr.evaluation.provenance import machine
from asr.networks.ctc import ctc_loss
from asr.training.ctc import CTCData, CTCSettings, CTCTraining
from asr.training.run import Run, add_trainer_options

ROOT = Path(__file__).resolve().parent.parent.parent
BAR = 1.05
CLOCKS = ("wall", "all threads", "main thread")


class BareLoop(Callback):
    """Times each of Lightning's epochs, then a bare loop on the same batches."""

    def __init__(self, acoustic):
        self.acoustic = copy.deepcopy(acoustic)
        self.rows = []  # (steps, training, bare); the last two have seconds for each of CLOCKS
        self._since = None

    def on_train_epoch_start(self, trainer, pl_module):
        self._end_epoch(trainer, pl_module)
        self._since = _clocks()

    def on_train_end(self, trainer, pl_module):
        self._end_epoch(trainer, pl_module)

    def _end_epoch(self, trainer, task):
        if self._since is None:
            self._optimizer = _adamw(self.acoustic, task.settings.optim)
            return
        training = _elapsed(self._since)
        batches = list(_precomputed(trainer, task))
        since = _clocks()
        for features, input_lengths, targets, target_lengths in batches:
            with trainer.precision_plugin.forward_context():
                log_probs, lengths = self.acoustic(features, input_lengths)
                losses = ctc_loss(log_probs, targets, lengths, target_lengths)
                loss = losses.sum() / target_lengths.sum()
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.acoustic.parameters(), trainer.gradient_clip_val)
            self._optimizer.step()
        self.rows.append((len(batches), training, _elapsed(since)))


@torch.no_grad()
def _precomputed(trainer, task):
    """The inputs of the acoustic model in the epoch that has just ended."""
    sampler, dataset = trainer.train_dataloader.batch_sampler, trainer.train_dataloader.dataset
    generator = torch.Generator().manual_seed(1)
    for draws in sampler.batches(sampler.epoch):
        batch = collate([dataset[draw] for draw in draws])
        features, lengths = task.features(batch.waveforms, batch.sample_lengths)
        features = spec_augment(features, lengths, task.settings.augment, generator)
        yield features, lengths, batch.targets, batch.target_lengths


def _adamw(model, optim):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=optim.lr, weight_decay=optim.weight_decay)


def _clocks():
    return time.perf_counter(), time.process_time(), time.thread_time()


def _elapsed(since):
    return tuple(now - then for now, then in zip(_clocks(), since, strict=True))


def measure(corpus, rounds, options, out):
    """The rows of `BareLoop`, without that of the first epoch."""
    manifests = [ROOT / "data" / corpus / f"{part}.jsonl" for part in ("train", "dev")]
    if not manifests[0].exists():
        raise InputError(f"{manifests[0]}: is missing; run python data/{corpus}/prepare.py first")
    parser = settings_parser("train_step", CTCSettings)
    add_trainer_options(parser)
    words = ["--config", ROOT / "conf" / corpus / "ctc.yaml", "--out", out]
    words += ["--data.train", manifests[0], "--data.dev", manifests[1]]
    words += ["--trainer.max_epochs", rounds + 1, "--trainer.limit_val_batches", 0]
    words += ["--trainer.accelerator", "cpu"]
    settings, chosen, text, _ = parse(parser, CTCSettings, [*map(str, words), *options])
    data = CTCData(settings)
    torch.manual_seed(settings.seed)
    task = CTCTraining(settings, data.tokenizer)
    bare_loop = BareLoop(task.acoustic)
    task.configure_callbacks = lambda: [bare_loop]
    Run(out, text).fit(task, data, chosen.trainer, settings.averaging, monitor=task.monitor)
    return bare_loop.rows[1:]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default="digits")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each (%(default)s)")
    arguments, options = parser.parse_known_args()
    with reported("train_step"), tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments.corpus, arguments.rounds, options, Path(folder) / "run")

    print(f"{arguments.corpus}; {machine('cpu')}")
    print(f"{'':16}" + "".join(f"{f'ms a step, {clock}':>33}" for clock in CLOCKS))
    heads = ("training", "bare", "ratio")
    print(f"{'round':>8}{'steps':>8}" + "".join(f"{head:>11}" for head in heads * len(CLOCKS)))
    ratios = []
    for number, (steps, training, bare) in enumerate(rows, 1):
        cells = ""
        ratios.append([a / b for a, b in zip(training, bare, strict=True)])
        for a, b in zip(training, bare, strict=True):
            cells += f"{1000 * a / steps:11.1f}{1000 * b / steps:11.1f}{a / b:11.3f}"
        print(f"{number:8}{steps:8}{cells}")
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    named = ", ".join(f"{m:.3f} {clock}" for m, clock in zip(medians, CLOCKS, strict=True))
    print(f"median ratio {named}; at most {BAR} in wall time")
    sys.exit(0 if medians[0] <= BAR else 1)


if __name__ == "__main__":
    main()
