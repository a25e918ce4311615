"""What a user gave and can't be used -> one line, and the exit status; what such lines share."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


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
    """What an error says, with the file first where the system names one."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return " ".join(str(error).split())
