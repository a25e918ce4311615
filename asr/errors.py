"""What a user gave and can't be used -> one line, and the exit status; what such lines share."""

import os
import re
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

    So it does where the machine is: its memory, its disk, or a stdout that can't print a character.
    Ctrl-C ends it without a word, with the shell's status for it; so does, with status 1, that
    nobody reads its output any more. Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        try:
            yield
        except SystemExit:
            _flush_output()
            raise
        _flush_output()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except Exception as error:
        if not has_one_line(error):
            raise
        print(f"{program}: {one_line(error)}", file=sys.stderr)
        try:
            _flush_output()
        except OSError:
            _drop_output()
        sys.exit(1)


def has_one_line(error: Exception) -> bool:
    """Whether `one_line` says all of it: what the user gave or the machine lacks is at fault."""
    known = (InputError, OSError, MemoryError, UnicodeEncodeError)
    # torch has no error of its own for this
    return isinstance(error, known) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


def one_line(error: Exception) -> str:
    """What an error says, with the file first where the system names one, in printable characters.

    Of a very long line the beginning and the end are left.
    """
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{printable(os.fsdecode(error.filename))}: "
        text = f"{place}{error.strerror[0].lower()}{error.strerror[1:]}"
    elif isinstance(error, UnicodeEncodeError):
        found = printable(error.object[error.start : error.start + 1])
        text = f"{STDOUT} is {error.encoding}, which has no {found!r}; expected UTF-8, such"
        text += " as with PYTHONIOENCODING=utf-8"
    elif not isinstance(error, InputError) and has_one_line(error):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error)
    text = printable(_LINE_END.sub(" ", text.strip()))
    if len(text) > MAX_LINE:
        text = f"{text[: MAX_LINE // 2]} ... {text[-MAX_LINE // 4 :]} (of {len(text):,} characters)"
    return text


def listed(names: Sequence[str]) -> str:
    """Names with commas between, of many the first ten, and of long ones both ends."""
    shown = [
        name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 4 :]}"
        for name in names[:10]
    ]
    return ", ".join(shown) + (", ..." if len(names) > 10 else "")


def printable(text: str) -> str:
    r"""Text with escapes, such as \n or \x1b, for what ends a line or controls a terminal."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


STDOUT = "standard output"
"""In the place of a file's name."""

MAX_LINE = 4000
"""Characters of a line on stderr, at most about."""

MAX_NAME = 200
"""Characters of a name in a list."""

_LINE_END = re.compile(r"\s*[\r\n]\s*")
# C0 and C1, line and paragraph separators, and what turns the direction of text
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory", re.I)


def _flush_output() -> None:
    """Write what stdout still holds, so that it fails here and not behind the program's end."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = STDOUT
        raise


def _drop_output() -> None:
    """Leave what stdout could not write, which would be tried once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
