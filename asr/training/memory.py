"""Keeps the resident memory of a long training constant, although batches differ in size."""

import ctypes
import os

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


def return_freed_memory() -> None:
    """Return small freed blocks, which glibc keeps, to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
