import ctypes
import os
import platform
import subprocess
import sys

import pytest

from asr.training.memory import return_freed_memory, return_large_blocks


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


# resident memory before and after the return of small blocks between those in use
SMALL = """
import ctypes
from asr.training.memory import return_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [ctypes.memset(libc.malloc(size), 1, size) for size in [30000, 100] * 2000]
for block in blocks[::2]:
    libc.free(block)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="calls a function of glibc")
def test_freed_memory_between_blocks_in_use_is_returned():
    assert number_from(SMALL) > 30 << 20


def test_other_c_libraries_are_left_alone(monkeypatch):
    libraries = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libraries.append(name) or object())
    return_large_blocks()
    return_freed_memory()
    assert libraries == [None, None]  # neither has glibc's functions, and none was called
