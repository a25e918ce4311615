"""A training run and its folder: start, stop, resume, finish."""

import fcntl
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from asr.errors import InputError
from asr.files import read_text, write_text
from asr.networks.kernels import limit_kernels
from asr.training.callbacks import Clock, EpochLines, ReturnMemory, StopCleanly
from asr.training.checkpoints import (
    BEFORE,
    LAST,
    CheckpointFiles,
    KeptEpochs,
    average_weights,
    newest_whole,
    remove_leftovers,
)
from asr.training.memory import return_large_blocks


@dataclass(frozen=True)
class AveragingSettings:
    """Which epochs are averaged into the final model, and when training ends.

    Args:
        which: the best epochs on development data, or the last ones.
        n_epochs: number of epochs.
        patience: number of epochs without improvement after which training ends; 0: never.
    """

    which: Literal["best", "last"] = "last"
    n_epochs: int = 5
    patience: int = 0

    def __post_init__(self) -> None:
        if self.n_epochs < 1:
            raise InputError(f"averaging.n_epochs is {self.n_epochs}; expected 1 or more")
        if self.patience < 0:
            raise InputError(f"averaging.patience is {self.patience}; expected 0 or more")


def check_seed(seed: int) -> None:
    """Raise InputError if the setting `seed` is outside the range of the random generators."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; expected from 0 to 2**32 - 1")


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
        digests: name -> digest of the data.
        defaults: all default settings as YAML.

    Raises:
        InputError: the folder holds a run with other settings, or on other data.
    """

    def __init__(
        self,
        out: Path,
        settings: str,
        digests: Mapping[str, str] | None = None,
        defaults: str = "",
    ) -> None:
        self.out = out
        self.folder = out / "checkpoints"
        self._settings = settings
        self._digests = dict(digests or {})
        there = any((self.folder / name).exists() for name in (LAST, BEFORE))
        if self.is_finished() or there:
            remedy = "give another --out, or remove the folder"
            # an earlier version did not know all of the settings
            old = _flat(yaml.safe_load(defaults) or {}) | _flat(_read(out / "settings.yaml"))
            # data are compared by digests, not by paths; the cache changes no result
            ignored = {f"data.{name}" for name in self._digests} | {"data.cache_gb"}
            found = [
                f"{name} is {there or repr(there)} there, {now or repr(now)} now"
                for name, there, now in _differences(old, _flat(yaml.safe_load(settings)))
                if name not in ignored
            ]
            if found:
                listed = "; ".join(found)
                raise InputError(f"{out}: holds a run with other settings ({listed}); {remedy}")
            known = _read(out / "data.json")  # earlier versions wrote fewer digests
            now = {name: value for name, value in self._digests.items() if name in known}
            for name, *_ in _differences(known, now):
                raise InputError(f"{out}: holds a run on other data ({name} differs); {remedy}")

    def is_finished(self) -> bool:
        """Whether the folder holds the finished model."""
        return (self.out / "model.json").exists()

    @cached_property
    def checkpoint(self) -> Path | None:
        """The checkpoint that training resumes from; None for a new training.

        Raises:
            InputError: there are checkpoints, but all of them are damaged.
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
        """Train to the end, resuming an earlier process; the task then has the averaged weights.

        With several processes, only the first returns; the others end here.

        Args:
            task: the model to train.
            data: its batches.
            trainer_settings: Lightning's.
            averaging: the epochs to average.
            monitor: a value that the task logs and that is lower for a better epoch.

        Returns:
            minutes: of training in this and all earlier processes.

        Raises:
            InputError: Lightning refuses its settings, they end training before the first epoch
                is over, or the checkpoint to resume from is damaged.
        """
        strategy = str(trainer_settings.strategy)
        if strategy.endswith(("_spawn", "_fork", "_notebook")):
            # these processes can't return the list of checkpoints to this one
            raise InputError(f"trainer.strategy is {strategy}; expected auto, ddp or another")
        if _is_alone_in_slurm() and not trainer_settings.plugins:
            # Lightning would take the job's number of tasks for the number of processes
            trainer_settings = trainer_settings.clone()
            trainer_settings.plugins = [LightningEnvironment()]
        trainer_settings = _in_a_supported_precision(trainer_settings)
        _quiet()
        limit_kernels()
        return_large_blocks()
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
        except MisconfigurationException as error:  # such as a monitored value that is never logged
            raise InputError(f"Lightning refuses the settings under trainer: {error}") from None
        except OSError as error:
            error.filename = error.filename or str(self.out)  # TensorBoard's errors name no file
            raise
        if not trainer.is_global_zero:
            sys.exit()
        if not kept.best_k_models:
            raise InputError(f"{self.out}: no epoch was kept; see the settings under trainer")
        task.load_state_dict(average_weights(sorted(kept.best_k_models)))
        return clock.seconds / 60

    @contextmanager
    def _begin(self) -> Iterator[None]:
        """Lock the folder for this process, and write the settings and digests into it."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / ".lock").open("a") as lock:
            if "LOCAL_RANK" not in os.environ:  # set for the other processes of the same run
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
        # after the kept epochs, since it saves their list too
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
            use_distributed_sampler=False,  # our samplers distribute the batches themselves
        )


def _in_a_supported_precision(settings: Namespace) -> Namespace:
    """The settings with float32 in place of bf16-mixed on a processor without bfloat16.

    There torch would emulate it, a hundred times as slowly, or fail in the middle.
    """
    on_cpu = settings.accelerator == "cpu" or (
        settings.accelerator == "auto" and not torch.accelerator.is_available()
    )
    if settings.precision != "bf16-mixed" or not on_cpu or _has_bfloat16():
        return settings
    print(
        "trainer.precision is bf16-mixed, which this processor does not have: 32-true is used",
        file=sys.stderr,
    )
    settings = settings.clone()
    settings.precision = "32-true"
    return settings


def _has_bfloat16() -> bool:
    """Whether torch's networks can compute in bfloat16 on this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_alone_in_slurm() -> bool:
    """Whether this runs in a Slurm job, but was not started by srun as one of several tasks."""
    steps = os.environ.get("SLURM_STEP_NUM_TASKS", "1")  # set by srun; 1 in the shell of salloc
    return "SLURM_NTASKS" in os.environ and steps == "1" and "TORCHELASTIC_RUN_ID" not in os.environ


def _quiet() -> None:
    """Silence Lightning's notes and advertising, and warnings about what is intended."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "`isinstance.treespec", FutureWarning)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than")
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
    threading.excepthook = _tell_thread_error


def _tell_thread_error(found: threading.ExceptHookArgs) -> None:
    """Silence errors of files in TensorBoard's thread; the main thread raises them too."""
    if not issubclass(found.exc_type, OSError):
        threading.__excepthook__(found)


def _update(path: Path, text: str) -> None:
    """Write a file, unless it has this text already."""
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def _read(path: Path) -> dict[str, Any]:
    """The values of a YAML or JSON file; empty if there is no file."""
    try:
        values = yaml.safe_load(read_text(path)) if path.exists() else {}
    except yaml.YAMLError:
        raise InputError(f"{path}: is not YAML; expected what training wrote") from None
    return values if isinstance(values, dict) else {}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, old value, new value) of each difference."""
    for name in sorted(old.keys() | new.keys()):
        values = old.get(name, "missing"), new.get(name, "missing")
        if values[0] != values[1]:
            yield name, *values


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
