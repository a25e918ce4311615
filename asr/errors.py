"""What a user gave and can't be used -> one line, and the exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A file, a setting or an option from the user can't be used.

    The message names the place, what was found there and what was expected, in one line.
    """


@contextmanager
def reported(program: str) -> Iterator[None]:
    """End the program with one line on stderr and status 1 where the user's input is at fault.

    Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        yield
    except (InputError, OSError) as error:
        sys.exit(f"{program}: {' '.join(str(error).split())}")
