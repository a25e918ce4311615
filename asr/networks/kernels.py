"""A limit for the memory of the kernels that oneDNN compiles for each size of a batch."""

import os

MOST_KERNELS = "32"
"""Number of kernels kept, more than one step needs; the default is 1024, of about 0.4 MB each."""


def limit_kernels() -> None:
    """Keep fewer of the kernels that oneDNN compiles on a CPU for each size of the input.

    Batches rarely have the same size twice, so old kernels are of no use. oneDNN has one cache, and
    torch another one before it. Variables that the environment already has are not changed.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, MOST_KERNELS)
