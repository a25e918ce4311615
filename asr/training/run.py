"""A training run in its folder: begun, stopped, taken up again where it was, finished."""

import logging
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from asr.errors import InputError


@dataclass(frozen=True)
class AveragingSettings:
    """Which epochs the final model is the mean of, and when training ends.

    Args:
        which: the epochs that were best on development data, or the last ones.
        n_epochs: how many.
        patience: epochs without a better one after which training ends; 0 is a fixed budget.
    """

    which: Literal["best", "last"] = "last"
    n_epochs: int = 5
    patience: int = 0

    def __post_init__(self) -> None:
        if self.n_epochs < 1:
            raise InputError(f"averaging.n_epochs is {self.n_epochs}; expected 1 or more")
        if self.patience < 0:
            raise InputError(f"averaging.patience is {self.patience}; expected 0 or more")


def add_trainer_options(parser: ArgumentParser) -> None:
    """Add `--out`, and Lightning's own settings as `--trainer.max_epochs` and so on."""
    parser.add_argument("--out", type=str, required=True, help="folder of the run and its model")
    ours = {"logger", "callbacks", "default_root_dir", "use_distributed_sampler"}
    parser.add_class_arguments(pl.Trainer, "trainer", instantiate=False, skip=ours)
    parser.set_defaults(
        {
            "trainer.max_epochs": 100,
            "trainer.gradient_clip_val": 5.0,
            "trainer.log_every_n_steps": 10,
            "trainer.num_sanity_val_steps": 0,
            "trainer.enable_model_summary": False,
        }
    )


class Run:
    """A run's folder: `settings.yaml`, `checkpoints/`, `tensorboard/`, in the end the model.

    Args:
        out: the folder; made where there is none.
        settings: all settings as text.

    Raises:
        InputError: the folder holds a run with other settings.
    """

    def __init__(self, out: Path, settings: str) -> None:
        self.out = out
        self.last = out / "checkpoints" / "last.ckpt"
        kept = out / "settings.yaml"
        if kept.exists() and (difference := _difference(kept.read_text("utf-8"), settings)):
            raise InputError(
                f"{out}: holds a run with other settings ({difference});"
                " expected the same ones, or another --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        kept.write_text(settings, "utf-8")

    def is_finished(self) -> bool:
        """Whether the model is there."""
        return (self.out / "model.json").exists()

    def fit(
        self,
        task: pl.LightningModule,
        data: pl.LightningDataModule,
        trainer_settings: Namespace,
        averaging: AveragingSettings,
        monitor: str,
    ) -> float:
        """Train to the end, from where an earlier process stopped; leave the averaged weights.

        Args:
            task: what is trained.
            data: on what.
            trainer_settings: Lightning's.
            averaging: which epochs the weights are averaged over.
            monitor: what the task logs and is lower for a better epoch.

        Returns:
            minutes: of training in this and all earlier processes.
        """
        kept = ModelCheckpoint(
            self.last.parent,
            filename="{epoch:04d}",
            monitor=monitor if averaging.which == "best" else "step",
            mode="min" if averaging.which == "best" else "max",
            save_top_k=averaging.n_epochs,
            save_weights_only=True,
            save_on_train_epoch_end=True,
        )
        last = ModelCheckpoint(
            self.last.parent,
            filename=self.last.stem,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        callbacks: list[Callback] = [kept, last, StopCleanly(self.last), Clock()]
        callbacks.append(LearningRateMonitor("step"))
        if averaging.patience:
            callbacks.append(EarlyStopping(monitor, patience=averaging.patience))
        options = dict(trainer_settings)
        if options["enable_progress_bar"] is None and not sys.stderr.isatty():
            options["enable_progress_bar"] = False
        if options["enable_progress_bar"] is False:
            callbacks.append(EpochLines())
        # its notes on hardware and its advertising; warnings stay
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", "`isinstance.treespec", FutureWarning)
        logger = TensorBoardLogger(self.out, name="", version="tensorboard")
        trainer = pl.Trainer(
            **options,
            logger=logger,
            callbacks=callbacks,
            default_root_dir=self.out,
            use_distributed_sampler=False,  # our samplers deal the batches out themselves
        )
        trainer.fit(task, data, ckpt_path=self.last if self.last.exists() else None)
        task.load_state_dict(average_weights(list(kept.best_k_models)))
        return next(c.seconds for c in callbacks if isinstance(c, Clock)) / 60


def average_weights(checkpoints: Sequence[str | Path]) -> dict[str, Tensor]:
    """The mean of each weight over Lightning checkpoints."""
    mean: dict[str, Tensor] = {}
    for path in checkpoints:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for name, value in state.items():
            mean[name] = mean.get(name, 0) + value / len(checkpoints)
    return mean


class StopCleanly(Callback):
    """Ctrl-C or SIGTERM end training after the step under way, with its state saved.

    A second one ends it at once; then, as after SIGKILL, the state of the last epoch's end remains.

    Args:
        checkpoint: where the state goes.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
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
            trainer.save_checkpoint(self.checkpoint)
            place = f"step {trainer.global_step} in epoch {trainer.current_epoch + 1}"
            print(f"stopped after {place}; the same command goes on from there", file=sys.stderr)
            sys.exit(128 + self._received)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class Clock(Callback):
    """Seconds of training, those before an interruption included."""

    def __init__(self) -> None:
        self._earlier = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._since

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._earlier = state_dict["seconds"]


class EpochLines(Callback):
    """One line an epoch on stderr, where there is no terminal for a progress bar."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = [f"{name} {value:.4f}" for name, value in sorted(values.items())]
        print(f"epoch {trainer.current_epoch + 1}", *parts, file=sys.stderr, flush=True)


def _difference(old: str, new: str) -> str:
    """The first lines in which two YAML texts differ, but for the config file's own name."""
    pairs = zip(_lines(old), _lines(new), strict=False)
    return next((f"{a.strip()} there, {b.strip()} now" for a, b in pairs if a != b), "")


def _lines(text: str) -> list[str]:
    return text.splitlines()
