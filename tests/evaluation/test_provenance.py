import subprocess
from pathlib import Path

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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_peak_memory_is_the_kernels_high_water_mark():
    before = peak_memory_mb()
    (line,) = (n for n in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in n)
    # in kB; the kernel's counter lags by some pages
    assert int(line.split()[1]) / 1024 == pytest.approx(before, rel=0.01)
