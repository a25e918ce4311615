"""Import torchaudio, with a clear error where its compiled part doesn't fit the installed torch."""

from functools import cache
from importlib import metadata
from types import ModuleType

from asr.errors import InputError

EXPECTED = {"torch": ">=2.11,<2.15", "torchaudio": "==2.11.0"}
"""Releases whose compiled parts fit each other; torchaudio's own metadata doesn't state this."""


@cache
def torchaudio_functional() -> ModuleType:
    """Import `torchaudio.functional` on first use.

    Raises:
        InputError: torchaudio is not installed, or can't be loaded with this torch. The message
            names the versions found, the versions expected and the command that installs them.
    """
    try:
        import torchaudio
    except (ImportError, OSError) as error:
        found = ", ".join(f"{name} {_version(name)}" for name in EXPECTED)
        expected = " ".join(f"'{name}{releases}'" for name, releases in EXPECTED.items())
        raise InputError(
            f"torchaudio can't be loaded ({error}): found {found}; expected releases that fit "
            f"each other, as by: pip install --force-reinstall {expected}"
        ) from None
    functional: ModuleType = torchaudio.functional
    return functional


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"
