"""What the user typed -> the package's functions -> lines on stdout.

Everything heavy is imported inside the commands: `asr --help` and `asr score` go without torch.
"""

import io
import sys
from typing import Annotated

import typer

from asr.cli.info import info
from asr.cli.lm import lm
from asr.cli.manifest import manifest
from asr.cli.score import score
from asr.cli.transcribe import transcribe

app = typer.Typer(
    name="asr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(transcribe)
app.command()(score)
app.command()(info)
app.command()(manifest)
app.add_typer(lm)


def main() -> None:
    """Run the command line, `asr`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name may be no text at all
    app(prog_name="asr")


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
