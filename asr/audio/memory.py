"""How much memory a recording may take."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that this process may still take, as far as the system says; 2 ** 62 where it does not.

    What the machine has left, what the limits of containers and jobs (cgroups of version 1 and 2)
    leave, and what `ulimit -v` leaves: the least of them.
    """
    return min(_available(), _left_in_cgroups(), _left_of_ulimit())


_ENDLESS = 1 << 62


def _available() -> int:
    for line in _content(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _ENDLESS


def _left_in_cgroups() -> int:
    """What the limits of containers and jobs around this process leave."""
    left = [_ENDLESS]
    for line in _content(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            names = "memory.max", "memory.current", "inactive_file"
            left += _left_in_groups(_CGROUP, path, *names)
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            left += _left_in_groups(_CGROUP / "memory", path, *names)
    return max(0, min(left))


def _left_in_groups(
    root: Path, path: str, limit_file: str, usage_file: str, from_files: str
) -> Iterator[int]:
    """What the limit of a group leaves, and those of the groups that it is in."""
    group = root / path.strip("/")
    # inside a container the path may be the host's, and not be there: the root has the limit then
    for folder in (group, *group.parents):
        limit = _content(folder / limit_file).strip()
        if limit.isdigit():
            left = int(limit) - int(_content(folder / usage_file).strip() or 0)
            for line in _content(folder / "memory.stat").splitlines():
                if line.startswith(f"{from_files} "):
                    left += int(line.split()[1])  # given back when it is needed
            yield left
        if folder == root:
            return


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
