import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asr.evaluation import provenance
from asr.evaluation.provenance import commit, machine, peak_memory_mb


def test_the_commit_is_this_repositorys_or_empty(monkeypatch, tmp_path):
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        found = commit().removesuffix("+")
        assert len(found) >= 12
        assert head.stdout.startswith(found)
    # installed inside another repository, whose commit must not be reported
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "provenance.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert commit() == ""


def test_the_machine_names_its_processor_and_versions():
    assert " threads, " in machine("cpu")
    assert ", torch 2." in machine("cpu")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_peak_memory_is_at_least_the_memory_in_use():
    numbers = np.ones(2**25)  # 256 MiB
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    # the kernel's counters lag by some pages
    assert peak_memory_mb() * 1.01 >= resident / 2**20 > numbers.nbytes / 2**20


def test_the_memory_of_the_process_that_starts_another_is_not_counted():
    numbers = np.ones(2**27)  # 1 GiB
    code = "from asr.evaluation.provenance import peak_memory_mb as peak; print(peak())"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert 5 < float(done.stdout) < numbers.nbytes / 2**20
