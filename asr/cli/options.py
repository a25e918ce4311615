"""Options that several commands have, and their values."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.files import path_of

ModelOption = Annotated[
    Path,
    typer.Option(
        metavar="NAME|DIR",
        parser=path_of,
        help="A trained model's folder, or the name of an installed model.",
        show_default=False,
    ),
]
"""`--model`, an acoustic model."""


class Device(StrEnum):
    """The device on which a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ReportFormat(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"
