"""Options that several commands have -> their values."""

from enum import StrEnum
from pathlib import Path


class Device(StrEnum):
    """The device on which a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ReportFormat(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"


def given_path(text: str | Path) -> Path:
    """The path in an option or argument; an empty one would mean the working directory.

    Raises:
        ValueError: the text is empty.
    """
    if not str(text):
        raise ValueError("is empty; expected a path")
    return Path(text)
