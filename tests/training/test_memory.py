import os
import platform
import subprocess
import sys

import pytest

from asr.training.memory import ReturnMemory


def number_from(program):
    """The number that a program prints, run without the variable that limits memory."""
    limit = "MALLOC_MMAP_THRESHOLD_"
    environment = {name: value for name, value in os.environ.items() if name != limit}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return int(done.stdout)


# resident memory after blocks of many sizes were freed, each while a later, small one is in use
BLOCKS = """
import ctypes
from asr.training.memory import return_large_blocks

if {returned}:
    return_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def filled(size):
    ctypes.memset(block := libc.malloc(size), 1, size)
    return block

libc.free(filled(30 << 20))  # from now on, glibc keeps blocks of this size
for size in range(2 << 20, 20 << 20, 1 << 20):
    large, small = filled(size), filled(100)
    libc.free(large)
print(int(open("/proc/self/statm").read().split()[1]) * 4096)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="changes an option of glibc")
def test_large_blocks_are_returned_at_once():
    kept, returned = (number_from(BLOCKS.format(returned=returned)) for returned in (False, True))
    assert kept - returned > 10 << 20


def test_freed_memory_is_returned_if_the_c_library_can():
    callback = ReturnMemory()
    called = []
    callback._trim = called.append
    callback.on_train_epoch_start(None, None)
    assert called == [0]
    callback._trim = None
    callback.on_train_epoch_start(None, None)
