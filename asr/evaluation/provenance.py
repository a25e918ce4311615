"""The commit, machine and memory that results were measured with."""

import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def commit() -> str:
    """The commit of the source, followed by + if files were changed since; "" outside git."""
    here = Path(__file__)
    # the package may be installed inside another project's repository, whose commit is not ours
    if not _git("ls-files", "--error-unmatch", here.name, folder=here.parent):
        return ""
    return _git("describe", "--always", "--abbrev=12", "--dirty=+", folder=here.parent)


def _git(*arguments: str, folder: Path) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def machine(device: "torch.device | str") -> str:
    """A description of a device and its software, for results that include speed."""
    import torch

    if torch.device(device).type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"{_processor()}, {torch.get_num_threads()} threads"
    python = platform.python_version()
    return f"{processor}, {platform.system()}, Python {python}, torch {torch.__version__}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb() -> float:
    """Peak memory of this process so far, in MiB.

    On Linux it is `VmHWM`: `ru_maxrss` begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        return int(peak) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
