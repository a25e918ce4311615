"""Keeps the resident memory of a long training constant, although batches differ in size."""

import ctypes
import os
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

LARGE_BLOCK = 1 << 20
"""In bytes; obtaining a block of memory from the system takes time, so smaller ones are kept."""


def return_large_blocks() -> None:
    """Make glibc return each large block of memory to the system as soon as it is freed.

    By default it keeps blocks of up to 32 MB once some were freed. Then gaps between tensors of
    different sizes accumulate, up to half of the resident memory. A threshold that the environment
    sets (`MALLOC_MMAP_THRESHOLD_`) is not changed. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


_M_MMAP_THRESHOLD = -3  # in glibc's malloc.h


class ReturnMemory(Callback):
    """Returns small freed blocks, which the C library keeps, to the system before each epoch.

    Works with glibc only.
    """

    def __init__(self) -> None:
        self._trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._trim is not None:
            self._trim(0)
