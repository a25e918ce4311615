"""How many threads torch computes with, where the number of the process is not the best."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch compute with n threads on the CPU, and then with as many as before.

    Threads wait for each other after every operation. Where operations are small and other programs
    take their share of the processor, that is most of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
