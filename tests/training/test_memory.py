import os
import platform
import subprocess
import sys

import pytest

from asr.training.memory import ReturnMemory, limit_kernels

NAMES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"

# growth of the resident memory after 200 different input sizes of an LSTM
PROGRAM = """
import torch
from asr.training.memory import limit_kernels

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

lstm = torch.nn.LSTM(8, 32)
if {limited}:
    limit_kernels()
readings = []
for T in range(2, 302):
    with torch.autocast("cpu", torch.bfloat16):
        lstm(torch.ones(T, 2, 8))[0].sum().backward()
    if T in (1 + 100, 1 + 300):  # full of kernels if their number is limited
        readings.append(resident())
print(readings[1] - readings[0])
"""


def number_from(program):
    """The number that a program prints, run without the variables that limit memory."""
    limits = *NAMES, "MALLOC_MMAP_THRESHOLD_"
    environment = {name: value for name, value in os.environ.items() if name not in limits}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return int(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_the_environments_number_of_kernels_is_not_changed(monkeypatch, name):
    monkeypatch.setenv(name, "77")
    limit_kernels()
    assert os.environ[name] == "77"
    monkeypatch.delenv(name)
    limit_kernels()
    assert os.environ[name] == "32"


@pytest.mark.bfloat16
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
def test_limited_kernels_take_less_memory():
    grown = [number_from(PROGRAM.format(limited=limited)) for limited in (False, True)]
    assert grown[1] < 0.2 * grown[0]


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
