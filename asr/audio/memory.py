"""The limits of the machine -> bytes of memory that this process can still use."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that this process can still use; 2 ** 62 if the system has no information.

    The minimum of the machine's available memory and of what is left of the limits of containers
    and jobs (cgroups, version 1 and 2) and of `ulimit -v`.
    """
    return min(_available(), _left_in_cgroups(), _left_of_ulimit())


_NO_LIMIT = 1 << 62


def _available() -> int:
    for line in _read_text(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _NO_LIMIT


def _left_in_cgroups() -> int:
    """Bytes that are left of the limits of the containers and jobs of this process."""
    left = [_NO_LIMIT]
    for line in _read_text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            names = "memory.max", "memory.current", "inactive_file"
            left += _left_in_groups(_CGROUP, path, *names)
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            left += _left_in_groups(_CGROUP / "memory", path, *names)
    return max(0, min(left))


def _left_in_groups(
    root: Path, path: str, limit_file: str, usage_file: str, cache_name: str
) -> Iterator[int]:
    """Bytes that are left of the limits of a group and of its parent groups."""
    group = root / path.strip("/")
    # in a container the path may be the host's and not exist; then the root has the limit
    for folder in (group, *group.parents):
        limit = _read_text(folder / limit_file).strip()
        if limit.isdigit():
            left = int(limit) - int(_read_text(folder / usage_file).strip() or 0)
            for line in _read_text(folder / "memory.stat").splitlines():
                if line.startswith(f"{cache_name} "):
                    left += int(line.split()[1])  # file cache, which is freed when needed
            yield left
        if folder == root:
            return


def _left_of_ulimit() -> int:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return _NO_LIMIT
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _read_text(_PROC / "self" / "statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return _NO_LIMIT
    return max(0, limit - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
