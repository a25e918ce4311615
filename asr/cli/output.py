"""Results -> lines on stdout that nothing in them can tear, and no terminal obeys."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from asr.errors import STDOUT, printable


def print_row(*cells: str) -> None:
    r"""One line of stdout, with tabs between cells.

    Control characters in them are escaped (\t, \n, \x1b), so that a name with a line end is no
    second row.

    Raises:
        OSError: stdout can't be written; its place is named.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing of the row is printed.
    """
    _print("\t".join(map(printable, cells)))


def print_lines(lines: Iterable[str]) -> None:
    """Lines of stdout, as `print_row` prints one; their tabs stay."""
    for line in lines:
        print_row(*line.split("\t"))


def print_json(values: Any) -> None:
    """One line of stdout with a JSON value, in ASCII where stdout can't print all of it.

    Raises:
        OSError: stdout can't be written; its place is named.
    """
    text = json_line(values)
    try:
        text.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")
    except UnicodeEncodeError:
        text = json.dumps(values, allow_nan=False)
    _print(text)


def json_line(values: Any) -> str:
    """A JSON value in one line; of what a terminal obeys it has the escapes."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    # the reader gets the same characters back
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def name_of(path: object) -> str:
    r"""A path as `print_row` can show it and no other path looks: with each \ doubled."""
    return str(path).replace("\\", "\\\\")


_CONTROL = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # JSON escapes those below itself


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        error.filename = STDOUT
        raise
