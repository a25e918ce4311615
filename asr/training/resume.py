"""A stopped run -> the same run going on: clean stops, and which checkpoint to take up."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from asr.errors import InputError

LAST = Path("checkpoints") / "last.ckpt"
"""Within a run's folder."""

SETTINGS = "settings.yaml"


def checkpoint_to_resume(out: Path, settings: str) -> Path | None:
    """The checkpoint from which a run goes on, None where it begins.

    Args:
        out: the run's folder.
        settings: all settings as text; kept there at the beginning.

    Raises:
        InputError: the folder holds a run with other settings.
    """
    kept = out / SETTINGS
    if kept.exists():
        old, new = kept.read_text().splitlines(), settings.splitlines()
        if old != new:
            changed = next(iter(set(new) - set(old)), "a setting less").strip()
            raise InputError(
                f"{out}: holds a run with other settings (now {changed});"
                " expected the same, or another --out"
            )
    else:
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(settings)
    return out / LAST if (out / LAST).exists() else None


class StopCleanly(pl.Callback):
    """Ctrl-C or SIGTERM end training after the step under way, with its state saved.

    A second Ctrl-C ends it at once; then, as after SIGKILL, the last epoch's state remains.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, self._before[number])

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._received is not None:
            trainer.save_checkpoint(self.out / LAST)
            print(
                f"stopped after step {trainer.global_step} of epoch {trainer.current_epoch + 1};"
                " the same command goes on from there",
                file=sys.stderr,
            )
            sys.exit(128 + self._received)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class EpochLines(pl.Callback):
    """One line an epoch on stderr, where there is no terminal for a progress bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = ("train_loss_epoch", "dev_loss", "dev_wer", "dev_cer")
        parts = [f"{name} {values[name]:.4f}" for name in shown if name in values]
        print(f"epoch {trainer.current_epoch + 1}", *parts, file=sys.stderr, flush=True)
