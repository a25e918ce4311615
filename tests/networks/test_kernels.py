import os
import subprocess
import sys

import pytest

from asr.networks.kernels import limit_kernels

NAMES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"

# growth of the resident memory after 200 different input sizes of an LSTM
PROGRAM = """
import torch
from asr.networks.kernels import limit_kernels

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
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
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
