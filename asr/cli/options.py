"""Values of options that several commands have."""

from enum import StrEnum


class Device(StrEnum):
    """The device on which a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ReportFormat(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"
