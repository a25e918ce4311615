"""Errors caused by a user's input -> one line on stderr and an exit status."""

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

Result = TypeVar("Result")

STDOUT = "standard output"
"""Used in messages in place of a file's name."""

MAX_LINE = 4000
"""Approximate maximum length of a line on stderr, in characters."""

MAX_NAME = 200
"""Maximum length of a name in a list, in characters."""


class InputError(ValueError):
    """A file, a setting or an option from the user can't be used.

    The message names the place, what was found there and what was expected, in one line.
    """


@contextmanager
def reported(program: str) -> Iterator[None]:
    """End the program with one line on stderr and status 1 if the user's input causes an error.

    The same holds for a limit of the machine: too little memory, a full disk, or a stdout whose
    encoding lacks a character. Two cases print nothing: Ctrl-C, which exits with the shell's
    status for it (130), and a closed output pipe, which exits with status 1. Any other exception
    is a bug in this package and keeps its traceback.

    Warnings are printed as one line each, without the place in the code.
    """
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **line: (
        f"{program}: warning: {printable(' '.join(str(message).split()))}\n"
    )
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
        say(program, one_line(error))
        try:
            _flush_output()
        except OSError:
            _drop_output()
        sys.exit(1)
    finally:
        warnings.formatwarning = usual


def say(program: str, line: str) -> None:
    """Print a line on stderr, with its control characters escaped.

    If stderr can't be written, the line is lost, and the program goes on with other input.
    """
    with suppress(OSError):
        print(f"{program}: {printable(line)}", file=sys.stderr, flush=True)


def has_one_line(error: Exception) -> bool:
    """Whether one line describes an error fully: the user's input or the machine caused it."""
    known = (InputError, OSError, UnicodeEncodeError)
    return isinstance(error, known) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that the memory of the CPU or GPU is used up."""
    # torch has no exception class for a lack of CPU memory
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    )


def one_line(error: Exception) -> str:
    """The message of an error as one line of printable characters.

    If the operating system names a file, the line starts with it. The middle of a very long line
    is left out.
    """
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{printable(os.fsdecode(error.filename))}: "
        text = f"{place}{error.strerror[0].lower()}{error.strerror[1:]}"
    elif isinstance(error, UnicodeEncodeError):
        found = printable(error.object[error.start : error.start + 1])
        text = f"{STDOUT} is {error.encoding}, which has no {found!r}; expected UTF-8, such"
        text += " as with PYTHONIOENCODING=utf-8"
    elif is_out_of_memory(error):
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = str(error)
    if not isinstance(error, InputError):  # ours have line ends in names of files only
        text = _LINE_END.sub(" ", text.strip())
    text = printable(text)
    if len(text) > MAX_LINE:
        text = f"{text[: MAX_LINE // 2]} ... {text[-MAX_LINE // 4 :]} (of {len(text):,} characters)"
    return text


def attempt(function: Callable[..., Result], *arguments: Any) -> Result | Exception:
    """The result of a call, or its exception, of any kind: the caller raises or reports it."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural if it is not 1: 1 frame, 2 frames."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Join names with commas: the first ten at most, and only both ends of a long name."""
    shown = [
        name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 4 :]}"
        for name in names[:10]
    ]
    return ", ".join(shown) + (", ..." if len(names) > 10 else "")


def shortened(value: object, width: int = 120) -> str:
    """The `repr` of a value for a message, cut to `width` characters."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def texts_of(name: str, texts: Iterable[str]) -> list[str]:
    """The texts of an argument as a list.

    Raises:
        ValueError: the argument `name` is one text or None, has no order or is a dictionary, whose
            keys would be taken for texts; or an item is not a text.
    """
    if isinstance(texts, str | bytes | Mapping | Set) or not isinstance(texts, Iterable):
        kind = f"one text, {shortened(texts, 40)}" if isinstance(texts, str) else _kind(texts)
        raise ValueError(f"{name} is {kind}; expected a list of texts")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"{name}[{number}] is {shortened(text)}; expected a text")
    return found


def check_dense(name: str, values: object) -> None:
    """Check that a tensor has its numbers in memory; other values pass.

    Raises:
        ValueError: the argument `name` is a meta, nested or sparse tensor, or of another layout.
    """
    layout = str(getattr(values, "layout", "torch.strided")).removeprefix("torch.")
    if getattr(values, "is_meta", False):
        found = "a meta tensor, which has no values"
    elif getattr(values, "is_nested", False):
        found = "a nested tensor"
    elif layout != "strided":
        found = "a sparse tensor" if "sparse" in layout else f"a tensor of layout {layout}"
    else:
        return
    raise ValueError(f"{name} is {found}; expected a dense tensor or an array")


@contextmanager
def expecting(name: str, value: object, what: str) -> Iterator[None]:
    """Reword the errors of a conversion.

    Raises:
        ValueError: the argument `name` could not be converted in this context.
    """
    try:
        yield
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {_kind(value)}; expected {what}") from None


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def printable(text: str) -> str:
    r"""Replace characters that end a line or control a terminal by escapes such as \n or \x1b."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def check_size(name: str, size: int, least: int, most: int) -> None:
    """Check the range of a size in the settings, before any memory is allocated for it.

    Raises:
        InputError: `size`, the value of the setting `name`, is below `least` or above `most`.
    """
    if size < least:
        raise InputError(f"{name} is {size}; expected {least} or more")
    if size > most:
        raise InputError(f"{name} is {size}; expected at most {most}")


_LINE_END = re.compile(r"\s*[\r\n]\s*")
# C0 and C1 controls, line and paragraph separators, and controls of the text's direction
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory", re.I)


def _flush_output() -> None:
    """Flush stdout, so that a failure is reported here and not while Python exits."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = STDOUT
        raise


def _drop_output() -> None:
    """Discard the output that stdout couldn't write; Python would try to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
