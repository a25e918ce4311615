"""What keeps a long training's resident memory flat, though each batch has a size of its own."""

import ctypes
import os
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

MOST_KERNELS = "32"
"""More than a step of ours needs; oneDNN's own limit is 1024, of about 0.4 MB each."""


def limit_kernels() -> None:
    """Keep fewer of the kernels that oneDNN compiles for each size of a CPU's input.

    Batches hardly ever have the same size twice, so that old ones are of no use. An environment
    that says `ONEDNN_PRIMITIVE_CACHE_CAPACITY` itself is left as it is.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", MOST_KERNELS)


class ReturnMemory(Callback):
    """Gives the system back, before each epoch, what the C library has kept of freed memory.

    Holes between blocks of other sizes would else add up. Only where that library is glibc.
    """

    def __init__(self) -> None:
        self._trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._trim is not None:
            self._trim(0)
