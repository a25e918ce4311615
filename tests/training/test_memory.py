import os
import subprocess
import sys

import pytest

from asr.training.memory import ReturnMemory, limit_kernels

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"

# growth of the resident memory after 200 different input sizes of an LSTM
PROGRAM = """
import torch
from asr.training.memory import limit_kernels

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

lstm = torch.nn.LSTM(8, 32)
if {limited}:
    limit_kernels()
before = resident()
for T in range(2, 202):
    with torch.autocast("cpu", torch.bfloat16):
        lstm(torch.ones(T, 2, 8))[0].sum().backward()
print(resident() - before)
"""


def test_the_environments_number_of_kernels_is_not_changed(monkeypatch):
    monkeypatch.setenv(NAME, "77")
    limit_kernels()
    assert os.environ[NAME] == "77"
    monkeypatch.delenv(NAME)
    limit_kernels()
    assert os.environ[NAME] == "32"


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
def test_limited_kernels_take_less_memory():
    environment = {name: value for name, value in os.environ.items() if name != NAME}
    grown = [
        int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM.format(limited=limited)],
                env=environment,
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for limited in (False, True)
    ]
    assert grown[1] < 0.6 * grown[0]


def test_freed_memory_is_returned_if_the_c_library_can():
    callback = ReturnMemory()
    called = []
    callback._trim = called.append
    callback.on_train_epoch_start(None, None)
    assert called == [0]
    callback._trim = None
    callback.on_train_epoch_start(None, None)
