"""Results -> lines on stdout, with all control characters escaped."""

import errno
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from asr.errors import STDOUT, printable
from asr.files import json_line


def print_row(*cells: str) -> None:
    r"""Print one line, with tabs between the cells.

    Control characters in the cells are escaped (\t, \n, \x1b), so a line end in a file's name
    doesn't start a second row.

    Raises:
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing of the row is printed.
    """
    _print("\t".join(map(printable, cells)))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as `print_row` does, except that their tabs are kept.

    Raises:
        UnicodeEncodeError: stdout's encoding lacks a character of a line; the others are printed.
    """
    failure = None
    for line in lines:
        try:
            print_row(*line.split("\t"))
        except UnicodeEncodeError as error:
            failure = failure or error
    if failure:
        raise failure


def print_page(page: str) -> None:
    """Print a page as it stands.

    Raises:
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing is printed.
    """
    _print(page.removesuffix("\n"))


def print_json(values: Any) -> None:
    """Print a JSON value as one line, in ASCII if stdout's encoding lacks one of its characters.

    Raises:
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
    """
    text = json_line(values)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, allow_nan=False)
    _print(text)


def print_content(content: str) -> None:
    """Print the content of a text file, which may be empty, unchanged.

    Raises:
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing is printed.
    """
    if content:
        _print(content.removesuffix("\n"))


def name_of(path: object) -> str:
    r"""A path for `print_row`, with each \ doubled, so that no two paths look the same."""
    return str(path).replace("\\", "\\\\")


def _print(line: str) -> None:
    if sys.stdout is None:  # closed when the program started; print() would do nothing
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), STDOUT)
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        error.filename = STDOUT
        raise
