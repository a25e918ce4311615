"""Plain loops -> machine code, compiled by numba when first used and kept on disk."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import event
from numba.core.caching import NullCache

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
    # another "version" is not even unpickled: it may have classes that are gone
    compiled._cache._cache_file._version = f"{numba.__version__} {_SOURCES}"

    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except Exception:  # a file is damaged, or the disk is full; other errors come again
            with suppress(OSError):
                compiled._cache.flush()
            compiled._cache = NullCache()
            return compiled(*arguments)

    return call


class _Notice(event.Listener):
    """Says on stderr, once, that the search is being compiled."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if not _Notice.said and event.data["dispatcher"].py_func.__module__.startswith("asr."):
            _Notice.said = True
            print("compiling the search for this machine, once ...", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None: ...


_FILES = sorted(Path(__file__).parent.parent.rglob("*.py"))
_SOURCES = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()
event.register("numba:compile", _Notice())
