"""Keeps the resident memory of a long training constant, although batches differ in size."""

import ctypes
import os
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

MOST_KERNELS = "32"
"""Number of kernels kept, more than one step needs; oneDNN keeps 1024, of about 0.4 MB each."""


def limit_kernels() -> None:
    """Make oneDNN keep fewer of the kernels that it compiles on a CPU for each size of the input.

    Batches rarely have the same size twice, so old kernels are of no use. If the environment
    already has `ONEDNN_PRIMITIVE_CACHE_CAPACITY`, it is not changed.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", MOST_KERNELS)


class ReturnMemory(Callback):
    """Returns freed memory, which the C library keeps, to the system before each epoch.

    Otherwise unused gaps between blocks of different sizes accumulate. Works with glibc only.
    """

    def __init__(self) -> None:
        self._trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._trim is not None:
            self._trim(0)
