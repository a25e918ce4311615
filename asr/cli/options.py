"""Options that several commands have, and their values."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.usage import refuse
from asr.errors import InputError
from asr.files import path_of

ModelOption = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME|DIR",
        parser=path_of,
        help="A trained model's folder, or the name of an installed model.",
        show_default="en-small, if it is installed",
    ),
]
"""`--model`, an acoustic model; `model_or_default` finds its folder."""


def model_or_default(program: str, model: Path | None) -> Path:
    """The model of `--model`, or the default model; exit with status 2 if there is neither."""
    from asr.installed import default_model

    try:
        return model or default_model()
    except InputError as error:
        refuse(program, f"--{error}")  # it starts with "model"


class Device(StrEnum):
    """The device on which a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class ReportFormat(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"
