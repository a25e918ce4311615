"""What a user gave and can't be used -> one line, and the exit status; what such lines share."""

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, ends lines, or turns the order of what is shown."""

LONGEST_LINE = 10_000
"""Characters of an error's line; what is longer holds somebody's data, not a message."""


class InputError(ValueError):
    """A file, a setting or an option from the user can't be used.

    The message names the place, what was found there and what was expected, in one line.
    """


@contextmanager
def reported(program: str) -> Iterator[None]:
    """End the program with one line on stderr and status 1 where the user's input is at fault.

    Ctrl-C ends it without a word, with the shell's status for it; so does, with status 1, that
    nobody reads its output any more. Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # what is left in the buffer would be tried once more at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, OSError) as error:
        print(f"{program}: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def listed(names: Sequence[str]) -> str:
    """Names with commas between, of many the first ten."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def one_line(error: InputError | OSError) -> str:
    """What an error says, with the file first where the system names one; see `printable`."""
    line = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        line = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return printable(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ...")


def printable(text: str) -> str:
    """A text for a terminal or for one row of a file, whoever wrote it.

    Control characters, line ends and tabs among them, are shown as `\\x1b`; so are the signs that
    turn the direction of what follows, as `\\u202e`.
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match.group())[1:-1], text)


def check_size(name: str, size: int, least: int, most: int) -> None:
    """Refuse a setting before memory is taken for what it asks.

    Raises:
        InputError: `size`, of the setting called `name`, is below `least` or above `most`.
    """
    if size < least:
        raise InputError(f"{name} is {size}; expected {least} or more")
    if size > most:
        raise InputError(f"{name} is {size}; expected at most {most}")
