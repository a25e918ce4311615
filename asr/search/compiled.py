"""Plain loops -> machine code, compiled by numba when first used and kept on disk.

The loops of `asr.alignment.trellis` are compiled here, too.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import event
from numba.core.serialize import dumps

from asr.files import replacing

Records = Any
"""A structured array, or one element of it; in compiled code its fields are attributes."""

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_NO_WRAPPERS: dict[str, Any] = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "forceinline": True,
}

inner: Any = njit(**_OPTIONS, **_NO_WRAPPERS)
"""Compiles a function that only compiled functions call."""


def outer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that Python calls, at its first call; it runs without Python's lock.

    The machine code is kept in `__pycache__` or, where that can't be written, in the user's cache
    folder. It is compiled again when any file of the package has changed, because it contains
    functions and constants of several files.
    """
    try:
        compiled: Any = njit(**_OPTIONS, cache=True)(function)
    except RuntimeError:  # neither folder can be written
        return njit(**_OPTIONS)(function)
    cache = compiled._cache
    cache._cache_file = _MachineCode(Path(cache.cache_path), function)
    cache._guard_against_spurious_io_errors = _saying_what_failed
    return compiled


class _MachineCode:
    """The machine code of a function, one file for each type of its arguments.

    A file has the version of its sources, the checksum of the code, and the code. numba's own
    files have no checksum: one changed bit in them may change a result.
    """

    def __init__(self, folder: Path, function: Callable[..., Any]) -> None:
        name = f"{function.__module__}.{function.__name__}.{sys.implementation.cache_tag}"
        self._begin = str(folder / name)

    def load(self, key: Any) -> Any:
        """The code for a key, or None if there is none that is intact and of this version."""
        path = self._file(key)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        version, checksum, code = (content.split(b"\n", 2) + [b""] * 2)[:3]
        if version == _VERSION and checksum == _checksum(code):
            return pickle.loads(code)
        if version == _VERSION or not code:
            _say(f"{path}: is damaged; the search is compiled again")
        return None

    def save(self, key: Any, content: Any) -> None:
        """Write the code for a key, completely or not at all."""
        code = dumps(content)
        with replacing(self._file(key)) as partial:
            partial.write_bytes(b"\n".join((_VERSION, _checksum(code), code)))

    def _file(self, key: Any) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return Path(f"{self._begin}-{digest[:16]}.code")


@contextmanager
def _saying_what_failed() -> Iterator[None]:
    """Say which file can't be read or written; the search works without it."""
    try:
        yield
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}; the search is compiled again in the next run")


def _checksum(code: bytes) -> bytes:
    return hashlib.sha256(code).hexdigest().encode()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Notice(event.Listener):
    """Says on stderr, once, that the search is being compiled."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not _Notice.said and event.data["dispatcher"].py_func.__module__.startswith("asr."):
            _Notice.said = True
            _say("asr: compiling for this machine, once: some 10 seconds ...")

    def on_end(self, event: event.Event) -> None: ...


_FILES = sorted(Path(__file__).parent.parent.rglob("*.py"))
_VERSION = _checksum(numba.__version__.encode() + b"".join(map(Path.read_bytes, _FILES)))
event.register("numba:compile", _Notice())
