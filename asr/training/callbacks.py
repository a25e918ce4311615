"""Callbacks of a training: a clean stop at a signal, a clock, progress in lines, memory."""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from asr.training.memory import return_freed_memory

EARLY = 60.0
"""Seconds after which the duration of the training is estimated."""


class StopCleanly(Callback):
    """Ctrl-C or SIGTERM ends training after the current step and saves its state.

    In the last step of an epoch, training ends after the validation. A second signal ends the
    process at once; then, as after SIGKILL, the state at the end of the last epoch remains.

    Args:
        checkpoint: file for the state.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._received: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals in this context; restore the earlier handlers after it."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()  # Lightning has replaced the handlers by its own

    def _listen(self) -> None:
        if self._received is None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # checkpoints have no gradients, so none is written between steps
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches
        if not accumulating and not trainer.is_last_batch and self._stops(trainer):
            trainer.save_checkpoint(self.checkpoint)
            self._exit(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch and self._stops(trainer):  # the epoch before is saved
            self._exit(trainer)

    def _stops(self, trainer: pl.Trainer) -> bool:
        # processes may receive the signal at different times, but must stop at the same step
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def _exit(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            step = f"step {trainer.global_step} of {trainer.estimated_stepping_batches}"
            print(f"stopped after {step}; the same command goes on from there", file=sys.stderr)
        sys.exit(128 + (self._received or signal.SIGTERM))


class Clock(Callback):
    """Seconds of training, including those before an interruption."""

    def __init__(self) -> None:
        self._earlier = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return self._earlier + time.monotonic() - self._since

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._earlier = state_dict["seconds"]


class EpochLines(Callback):
    """One line per epoch on stderr, where no terminal can show a progress bar.

    If the first epoch takes more than a minute, one more line estimates the remaining minutes. A
    resumed training says so first.
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # time and number of the first batch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.ckpt_path and trainer.is_global_zero:
            step, epoch = trainer.global_step, trainer.current_epoch + 1
            print(f"resumed after step {step}, in epoch {epoch}", file=sys.stderr, flush=True)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._began is None:
            self._began = time.monotonic(), batch_idx

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        assert self._began is not None
        seconds, done = time.monotonic() - self._began[0], batch_idx + 1 - self._began[1]
        if seconds < EARLY or not trainer.is_global_zero:
            return
        self._began = math.inf, 0  # estimated once
        n_batches, epochs = int(trainer.num_training_batches), trainer.max_epochs or 0
        left = n_batches * (epochs - trainer.current_epoch) - batch_idx - 1
        if left > 0:
            more = f"about {seconds / done * left / 60:.0f} minutes more"
            print(f"{n_batches} batches an epoch, {epochs} epochs: {more}", file=sys.stderr)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = math.inf, 0
        if not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        of_epoch = sorted(name for name in values if not name.endswith(("_step", "_epoch")))
        parts = [f"{name} {_number(name, values[name])}" for name in of_epoch if "/" not in name]
        print(f"epoch {trainer.current_epoch + 1}", *parts, file=sys.stderr, flush=True)


def _number(name: str, value: float) -> str:
    return f"{value:.0f}" if name.startswith("n_") else f"{value:.4f}"  # counts are whole


class ReturnMemory(Callback):
    """Returns freed memory to the system before each epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        return_freed_memory()
