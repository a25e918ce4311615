import os
import subprocess
import sys

import pytest

from asr.audio import memory
from asr.audio.memory import free_memory

GIB = 1 << 30


def test_free_memory_is_at_most_that_of_the_machine():
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
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


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux limits memory with ulimit -v"
)
def test_ulimit_counts():
    code = "from asr.audio.memory import free_memory; print(free_memory())"
    command = f"ulimit -v 1000000; {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert 0 < int(done.stdout) < 1000000 * 1024


def machine(folder, free_gib, groups="", files=None):
    """Folders like /proc and /sys/fs/cgroup."""
    texts = {
        "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {free_gib << 20} kB\nBuffers: 5 kB\n",
        "proc/self/cgroup": groups,
        **{f"cgroup/{name}": text for name, text in (files or {}).items()},
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


def limited(folder, limit_gib, used_gib, files_gib=0):
    """The files of a group of version 2."""
    return {
        f"{folder}memory.max": "max\n" if limit_gib is None else f"{limit_gib * GIB}\n",
        f"{folder}memory.current": f"{used_gib * GIB}\n",
        f"{folder}memory.stat": f"anon 5\ninactive_file {files_gib * GIB}\n",
    }


@pytest.mark.parametrize(
    ("groups", "files", "expected_gib"),
    [
        ("", {}, 40),
        ("0::/\n", {}, 40),
        ("0::/\n", limited("", 10, 3), 7),
        ("0::/\n", limited("", 10, 3, 1), 8),
        ("0::/\n", limited("", 100, 3), 40),
        ("0::/\n", limited("", 10, 11), 0),
        ("0::/job/step\n", {**limited("job/", 10, 3), **limited("job/step/", None, 2)}, 7),
        ("0::/job/step\n", {**limited("job/", 10, 3), **limited("job/step/", 5, 2)}, 3),
        ("0::/docker/4f2a\n", limited("", 10, 3), 7),  # the host's path, not there
        ("0::/../../other\n", limited("", 10, 3), 7),
        (
            "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": f"{60 * GIB}\n",
                "memory/memory.stat": "total_inactive_file 0\n",
                "memory/job/memory.limit_in_bytes": f"{10 * GIB}\n",
                "memory/job/memory.usage_in_bytes": f"{4 * GIB}\n",
                "memory/job/memory.stat": f"total_inactive_file {GIB}\n",
            },
            7,
        ),
    ],
)
def test_memory_is_limited_by_the_machine_and_all_parent_groups(
    monkeypatch, tmp_path, groups, files, expected_gib
):
    proc, cgroup = machine(tmp_path, 40, groups, files)
    monkeypatch.setattr(memory, "_PROC", proc)
    monkeypatch.setattr(memory, "_CGROUP", cgroup)
    assert free_memory() == expected_gib * GIB
