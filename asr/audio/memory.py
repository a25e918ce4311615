"""How much memory a recording may take."""

import os
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that this process may still take, as far as the system says; 2 ** 62 where it does not.

    What the machine has left, what a container's limit (cgroup v2) leaves, and what `ulimit -v`
    leaves: the least of them.
    """
    return min(_available(), _left_in_cgroup(), _left_of_ulimit())


_ENDLESS = 1 << 62


def _available() -> int:
    for line in _content(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _ENDLESS


def _left_in_cgroup() -> int:
    limit = _content(_CGROUP / "memory.max").strip()
    if not limit.isdigit():
        return _ENDLESS
    used = int(_content(_CGROUP / "memory.current").strip() or 0)
    for line in _content(_CGROUP / "memory.stat").splitlines():
        if line.startswith("inactive_file "):
            used -= int(line.split()[1])  # read from files: given back when it is needed
    return max(0, int(limit) - used)


def _left_of_ulimit() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return _ENDLESS
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _content(_PROC / "self" / "statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return _ENDLESS
    return max(0, limit - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
