import os
import subprocess
import sys

import pytest

from asr.audio import memory
from asr.audio.memory import free_memory


def test_free_memory_is_that_of_the_machine_or_less():
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_container_and_its_limit_count(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    without = free_memory()
    assert without > 2000
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    assert free_memory() == 1000
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    assert free_memory() == 1500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 2000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ulimit -v is of Linux")
def test_ulimit_counts():
    code = "from asr.audio.memory import free_memory; print(free_memory())"
    command = f"ulimit -v 1000000; {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert 0 < int(done.stdout) < 1000000 * 1024
