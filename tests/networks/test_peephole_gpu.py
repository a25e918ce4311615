import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

KERNELS = """
import torch
from asr.networks import peephole_gpu, peephole_steps

generator = torch.Generator().manual_seed(0)
N, H = 19, 45  # no multiples of the blocks
from_input, weight, of_gates = (torch.randn(size, 4 * H, generator=generator) for size in (N, H, N))
weight = (weight / H**0.5).T.contiguous()
output, cell, of_output = (torch.randn(N, H, generator=generator) for _ in range(3))
peepholes = torch.randn(3, H, generator=generator)
found = []
for steps in (peephole_steps, peephole_gpu):
    gates, new_output, new_cell = torch.empty(N, 4, H), torch.empty(N, H), torch.empty(N, H)
    steps.forward_step(from_input, output, cell, weight, peepholes, gates, new_output, new_cell)
    slopes = peephole_steps.slopes_of(gates, new_cell, cell)
    before, of_cell = torch.empty(N, 4, H), of_output / 2
    of_gates = of_gates.view(N, 4, H)
    steps.backward_step(of_gates, of_output, of_cell, weight, peepholes, slopes, before)
    found.append([gates, new_output, new_cell, of_cell, before])
for ours, expected in zip(*found):
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
print("equal")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton, which torch has on Linux")
def test_the_gpus_kernels_compute_what_the_functions_for_a_cpu_do():
    done = subprocess.run(
        [sys.executable, "-c", KERNELS],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr
