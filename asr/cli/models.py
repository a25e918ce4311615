"""`asr models`, `asr install-model`: the models that are named instead of given as folders."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.output import name_of, print_row
from asr.errors import InputError, reported, say
from asr.files import path_of


def models() -> None:
    """List the installed models, one per line: name, megabytes, folder; the default is marked.

    They are in the folders of $ASR_MODELS, in $XDG_DATA_HOME/asr (~/.local/share/asr) and in the
    package. A name can be given wherever a model's folder can: `asr info NAME`.
    """
    with reported("asr models"):
        from asr.installed import DEFAULT_MODEL, installed_models, model_places

        found = installed_models()
        for name, folder in found.items():
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            default = ["default"] if name == DEFAULT_MODEL else []
            print_row(name_of(name), f"{size / 1e6:.1f} MB", name_of(folder), *default)
        if not found:
            places = ", ".join(map(str, model_places()))
            say("asr models", f"no model is installed in {places}")


def install_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|URL",
            help="A trained model's folder; or the address of one in a tar archive.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the installed model.", show_default="the folder's"),
    ] = None,
) -> None:
    """Check a model and copy it, without its checkpoints, to where it can be named.

    It goes to the first folder of $ASR_MODELS, or to $XDG_DATA_HOME/asr (~/.local/share/asr).
    """
    with reported("asr install-model"), tempfile.TemporaryDirectory() as downloads:
        from asr import installed
        from asr.recognizer import load
        from asr.transcribing.punctuation import choose_punctuation

        source = path_of(model)
        if model.startswith(("http://", "https://")):
            source = _downloaded(model, Path(downloads))
        load(source, "cpu")
        choose_punctuation(source, ["srt"])  # loads it, if there is one
        print_row(name_of(installed.install_model(source, name or source.resolve().name)))


def _downloaded(url: str, folder: Path) -> Path:
    """The folder of a model in an archive.

    Raises:
        InputError: the archive can't be downloaded or used, or it has not exactly one model.
    """
    from asr.corpus.download import download, unpack
    from asr.folder import DESCRIPTION

    stem = url.rstrip("/").rpartition("/")[2].partition(".")[0]
    unpacked = folder / (stem or "model")
    unpack(download(url, folder / "archive"), unpacked)
    # a model's language models have descriptions too, deeper in the folder
    found = sorted(unpacked.rglob(DESCRIPTION), key=lambda path: len(path.parts))
    if not found or (len(found) > 1 and len(found[0].parts) == len(found[1].parts)):
        state = "more than one model" if found else f"no {DESCRIPTION}"
        raise InputError(f"{url}: has {state}; expected one model's folder")
    return found[0].parent
