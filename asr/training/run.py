"""A training run in its folder: begun, stopped, taken up again where it was, finished."""

import fcntl
import json
import logging
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytorch_lightning as pl
import yaml
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from asr.errors import InputError
from asr.files import read_text, write_text
from asr.training.checkpoints import (
    BEFORE,
    LAST,
    CheckpointFiles,
    KeptEpochs,
    average_weights,
    newest_whole,
    remove_leftovers,
)
from asr.training.memory import ReturnMemory, limit_kernels

EARLY = 60.0
"""Seconds after which the time that a training will take is estimated."""


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
    """Add Lightning's own settings, as `--trainer.max_epochs` and so on."""
    ours = {"logger", "callbacks", "default_root_dir", "use_distributed_sampler"}
    without_a_model = {"fast_dev_run", "barebones", "enable_checkpointing"}
    parser.add_class_arguments(
        pl.Trainer, "trainer", instantiate=False, skip=ours | without_a_model
    )
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
    """A run's folder: `settings.yaml`, `data.json`, `checkpoints/`, `tensorboard/`, then the model.

    Args:
        out: the folder; nothing is written before training begins.
        settings: all settings as YAML.
        digests: of the data, by name.

    Raises:
        InputError: the folder holds a run with other settings, or on other data.
    """

    def __init__(self, out: Path, settings: str, digests: Mapping[str, str] | None = None) -> None:
        self.out = out
        self.folder = out / "checkpoints"
        self._settings = settings
        self._digests = dict(digests or {})
        there = any((self.folder / name).exists() for name in (LAST, BEFORE))
        if self.is_finished() or there:
            remedy = "give another --out, or remove the folder"
            old = _read(out / "settings.yaml")
            # what data are their digests say, wherever they lie
            paths = {f"data.{name}" for name in self._digests}
            # and what is kept in memory changes no result
            paths.add("data.cache_gb")
            found = [
                f"{name} is {there} there, {now} now"
                for name, there, now in _differences(old, yaml.safe_load(settings))
                if name not in paths
            ]
            if found:
                listed = "; ".join(found)
                raise InputError(f"{out}: holds a run with other settings ({listed}); {remedy}")
            known = _read(out / "data.json")  # of earlier versions not of all that counts
            now = {name: value for name, value in self._digests.items() if name in known}
            for name, *_ in _differences(known, now):
                raise InputError(f"{out}: holds a run on other data ({name} differs); {remedy}")

    def is_finished(self) -> bool:
        """Whether the model is there."""
        return (self.out / "model.json").exists()

    @cached_property
    def checkpoint(self) -> Path | None:
        """What training goes on from; None where it begins.

        Raises:
            InputError: there are checkpoints, and none of them is whole.
        """
        try:
            path, self._fault = newest_whole(self.folder)
        except InputError as error:
            raise InputError(f"{error}; remove {self.out} to train from the start") from None
        if path and self._fault:
            print(f"{self._fault}; training goes on from {path.name}", file=sys.stderr)
        return path

    def fit(
        self,
        task: pl.LightningModule,
        data: pl.LightningDataModule,
        trainer_settings: Namespace,
        averaging: AveragingSettings,
        monitor: str,
    ) -> float:
        """Train to the end, from where an earlier process stopped; leave the averaged weights.

        Of several processes only the first returns, the others end here.

        Args:
            task: what is trained.
            data: on what.
            trainer_settings: Lightning's.
            averaging: which epochs the weights are averaged over.
            monitor: what the task logs and is lower for a better epoch.

        Returns:
            minutes: of training in this and all earlier processes.

        Raises:
            InputError: Lightning refuses its settings, they end training before the first epoch
                does, or the checkpoint to go on from is damaged.
        """
        strategy = str(trainer_settings.strategy)
        if strategy.endswith(("_spawn", "_fork", "_notebook")):
            # their processes keep what they learn of the checkpoints to themselves
            raise InputError(f"trainer.strategy is {strategy}; expected auto, ddp or another")
        if _is_alone_in_slurm() and not trainer_settings.plugins:
            # Lightning would take the job's number of tasks for processes of this training
            trainer_settings = trainer_settings.clone()
            trainer_settings.plugins = [LightningEnvironment()]
        _quiet()
        limit_kernels()
        kept = KeptEpochs(
            self.folder,
            filename="{epoch:04d}",
            enable_version_counter=False,
            monitor=monitor if averaging.which == "best" else "step",
            mode="min" if averaging.which == "best" else "max",
            save_top_k=averaging.n_epochs,
            save_weights_only=True,
            save_on_train_epoch_end=True,
        )
        clock, stop = Clock(), StopCleanly(self.folder / LAST)
        try:
            trainer = self._trainer(
                trainer_settings, averaging, monitor, [kept, clock, stop, ReturnMemory()]
            )
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"Lightning refuses the settings under trainer: {error}") from None
        try:
            with self._begin(), stop.listening():
                trainer.fit(task, data, ckpt_path=self.checkpoint, weights_only=True)
        except MisconfigurationException as error:  # such as a monitored value never logged
            raise InputError(f"Lightning refuses the settings under trainer: {error}") from None
        except OSError as error:
            error.filename = error.filename or str(self.out)  # of TensorBoard, which names none
            raise
        if not trainer.is_global_zero:
            sys.exit()
        if not kept.best_k_models:
            raise InputError(f"{self.out}: no epoch was kept; see the settings under trainer")
        task.load_state_dict(average_weights(sorted(kept.best_k_models)))
        return clock.seconds / 60

    @contextmanager
    def _begin(self) -> Iterator[None]:
        """Take the folder for this process alone, and keep in it what the run is."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / ".lock").open("a") as lock:
            if "LOCAL_RANK" not in os.environ:  # set for Lightning's other processes of one run
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise InputError(
                        f"{self.out}: another process trains there; wait for it"
                    ) from None
                remove_leftovers(self.folder)
            digests = json.dumps(self._digests, indent=1)
            _update(self.out / "settings.yaml", self._settings)
            _update(self.out / "data.json", digests + "\n")
            yield

    def _trainer(
        self,
        settings: Namespace,
        averaging: AveragingSettings,
        monitor: str,
        callbacks: list[Callback],
    ) -> pl.Trainer:
        # behind the kept epochs, since it saves their list with all else
        last = KeptEpochs(
            self.folder,
            filename=Path(LAST).stem,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        callbacks += [last, LearningRateMonitor("step")]
        if averaging.patience:
            callbacks.append(EarlyStopping(monitor, patience=averaging.patience))
        options = dict(settings)
        given = options.pop("plugins", None) or []
        files = CheckpointFiles(last_is_whole=not (self.checkpoint and self._fault))
        if options["enable_progress_bar"] is None and not sys.stderr.isatty():
            options["enable_progress_bar"] = False
        if options["enable_progress_bar"] is False:
            callbacks.append(EpochLines())
        return pl.Trainer(
            **options,
            logger=TensorBoardLogger(self.out, name="", version="tensorboard"),
            callbacks=callbacks,
            plugins=[*(given if isinstance(given, list) else [given]), files],
            default_root_dir=self.out,
            use_distributed_sampler=False,  # our samplers deal the batches out themselves
        )


class StopCleanly(Callback):
    """Ctrl-C or SIGTERM end training after the step under way, with its state saved.

    During an epoch's last step or the validation behind it, they do once that is over. A second
    one ends the process at once; then, as after SIGKILL, the state of the last epoch's end remains.

    Args:
        checkpoint: where the state goes.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._received: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within it signals are noted; behind it they do what they did before."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()  # Lightning has put its own before it

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
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches  # gradients aren't saved
        if not accumulating and not trainer.is_last_batch and self._stops(trainer):
            trainer.save_checkpoint(self.checkpoint)
            self._exit(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch and self._stops(trainer):  # the epoch before is saved
            self._exit(trainer)

    def _stops(self, trainer: pl.Trainer) -> bool:
        # one process may have the signal before another: all stop at the same step
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def _exit(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            step = f"step {trainer.global_step} of {trainer.estimated_stepping_batches}"
            print(f"stopped after {step}; the same command goes on from there", file=sys.stderr)
        sys.exit(128 + (self._received or signal.SIGTERM))


class Clock(Callback):
    """Seconds of training, those before an interruption included."""

    def __init__(self) -> None:
        self._earlier = 0.0
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._earlier + time.monotonic() - self._since

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._earlier = state_dict["seconds"]


class EpochLines(Callback):
    """One line an epoch on stderr, where there is no terminal for a progress bar.

    Where the first epoch takes more than a minute, another line says how long all will take.
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # when, and with which batch; then told

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
        self._began = math.inf, 0  # nothing more to tell
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


def _is_alone_in_slurm() -> bool:
    """Whether this runs in a job of Slurm, but was not started by srun as one of several."""
    steps = os.environ.get("SLURM_STEP_NUM_TASKS", "1")  # what srun sets, salloc's shell to 1
    return "SLURM_NTASKS" in os.environ and steps == "1" and "TORCHELASTIC_RUN_ID" not in os.environ


def _quiet() -> None:
    """Leave out Lightning's notes and advertising, and warnings of what is as it should be."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`isinstance.treespec", FutureWarning)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than")
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
    threading.excepthook = _tell_thread_error


def _tell_thread_error(found: threading.ExceptHookArgs) -> None:
    """Leave out a full disk of TensorBoard's thread, which is raised in the main one as well."""
    if not issubclass(found.exc_type, OSError):
        threading.__excepthook__(found)


def _update(path: Path, text: str) -> None:
    """Write a file, unless it says the same already."""
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def _read(path: Path) -> dict[str, Any]:
    """The values of a YAML file (JSON is YAML too), none where there is no file."""
    try:
        values = yaml.safe_load(read_text(path)) if path.exists() else {}
    except yaml.YAMLError:
        raise InputError(f"{path}: is not YAML; expected what training wrote") from None
    return values if isinstance(values, dict) else {}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, old value, new value) of what differs."""
    there, now = dict(_flat(old)), dict(_flat(new))
    for name in sorted(there.keys() | now.keys()):
        values = there.get(name, "missing"), now.get(name, "missing")
        if values[0] != values[1]:
            yield name, *values


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
