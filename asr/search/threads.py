"""Change torch's number of threads for a part of a program."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch compute with n threads on the CPU, and restore the old number afterwards.

    Threads wait for each other after every operation. If operations are small and other programs
    use the processor too, most of the time is spent waiting.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
