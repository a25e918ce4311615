"""Command line -> calls of the package -> lines on stdout.

The commands import heavy modules themselves: `asr --help` and `asr score` don't import torch.
"""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from asr.cli.align import align
from asr.cli.diagnose import diagnose
from asr.cli.info import info
from asr.cli.lm import lm
from asr.cli.manifest import manifest
from asr.cli.models import install_model, models
from asr.cli.score import score
from asr.cli.transcribe import transcribe
from asr.cli.usage import run
from asr.errors import reported

app = typer.Typer(
    name="asr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(transcribe)
app.command()(align)
app.command()(score)
app.command()(info)
app.command()(diagnose)
app.command()(models)
app.command("install-model")(install_model)
app.command()(manifest)
app.add_typer(lm)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, `asr`, and exit; its arguments are by default `sys.argv`'s."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names may not be UTF-8
    with reported("asr"):  # also for what is still in stdout's buffer
        run(app, "asr", sys.argv[1:] if arguments is None else arguments)


def _version(wanted: bool) -> None:
    if wanted:
        from asr import __version__

        typer.echo(f"asr {__version__}")
        raise typer.Exit


@app.callback()
def _asr(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Speech recognition: from audio files to a measured word error rate."""
