"""Name -> folder of an installed model; a model's folder or archive -> an installed model."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from asr.errors import InputError, listed
from asr.files import DESCRIPTION, WEIGHTS

PACKAGED = Path(__file__).parent / "models"
"""The models that come with the package."""

DEFAULT_MODEL = "en-small"
"""Name of the model that commands use if no other is given."""

PARTS = (DESCRIPTION, WEIGHTS, "decoding.json", "decoding", "punctuation", "README.md")
"""The files and folders of a model that are installed; others, such as checkpoints, are not."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def model_places() -> list[Path]:
    """The folders with installed models: those of `$ASR_MODELS`, the user's, the package's."""
    given = [Path(path) for path in os.environ.get("ASR_MODELS", "").split(os.pathsep) if path]
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return [*given, Path(home) / "asr", PACKAGED]


def installed_models() -> dict[str, Path]:
    """The folder of each installed model by its name. Of the same names, the first place counts."""
    found: dict[str, Path] = {}
    for place in model_places():
        for description in sorted(place.glob(f"*/{DESCRIPTION}")):
            found.setdefault(description.parent.name, description.parent)
    return dict(sorted(found.items()))


def model_folder(name: str | Path) -> Path:
    """The folder of a model.

    Args:
        name: a path, or the name of an installed model. If there is a model at the path, that one
            is meant.

    Raises:
        InputError: it is empty, or a name, but of no installed model.
    """
    if not str(name):
        raise InputError("the path is ''; expected a trained model's folder")
    path, models = Path(name), installed_models()
    if (path / DESCRIPTION).is_file() or str(name) != path.name:
        return path
    if path.name in models:
        return models[path.name]
    if path.exists():
        return path  # `asr.folder` says what it lacks
    raise InputError(
        f"{name}: is no folder and no installed model ({_known(models)}); expected either"
    )


def default_model() -> Path:
    """The folder of the installed model en-small, which is used if no other is given.

    Raises:
        InputError: it is not installed.
    """
    models = installed_models()
    if DEFAULT_MODEL not in models:
        raise InputError(
            f"model is missing, and its default, {DEFAULT_MODEL}, is not installed; expected a"
            f" trained model's folder or the name of an installed model ({_known(models)})"
        )
    return models[DEFAULT_MODEL]


def install_model(source: Path, name: str) -> Path:
    """Copy a model's folder to the first place, completely or not at all.

    Args:
        source: the model's folder, which has been checked.
        name: of the installed model.

    Returns:
        folder: the installed model.

    Raises:
        InputError: the name is not one of letters, digits, dots, hyphens and underscores, or the
            place has a model of this name.
        OSError: a file can't be read or written.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name is {name!r}; expected letters, digits, dots, hyphens and underscores"
        )
    folder = model_places()[0] / name
    if folder.exists():
        raise InputError(f"{folder}: already exists; expected a new name, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as partial:
        made = Path(partial) / name
        made.mkdir()
        for part in PARTS:
            if (source / part).is_dir():
                shutil.copytree(source / part, made / part)
            elif (source / part).exists():
                shutil.copyfile(source / part, made / part)
        os.rename(made, folder)
    return folder


def _known(models: Mapping[str, Path]) -> str:
    return f"one of {listed(list(models))}" if models else "none is installed"
