"""What moves on stderr, for people only: a progress bar, and the text of a stream so far."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from asr.errors import printable


@contextmanager
def progress_bar(total: int, what: str, prints: bool) -> Iterator[Callable[[], None]]:
    """A bar with the number of things that are done and the time left.

    There is no bar for a single thing, if stderr is not a terminal, or if stdout is one and the
    lines printed there show the progress. Lines on stderr stand above the bar. It is removed at
    the end.

    Args:
        total: number of things.
        what: their name, in the plural.
        prints: whether there is a line on stdout when a thing is done.

    Yields:
        advance: to call when one thing is done.
    """
    if total < 2 or not _is_terminal(sys.stderr) or (prints and _is_terminal(sys.stdout)):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        f"{what}, time left",
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # rich would print it on stderr
    )
    with progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


@contextmanager
def changing_line() -> Iterator[Callable[[str], None]]:
    """A line on stderr that is drawn again with each text; it is removed at the end.

    There is no line if stderr is not a terminal.

    Yields:
        show: draws the line with a text; only the end of a long one. "" removes it.
    """
    if not _is_terminal(sys.stderr):
        yield lambda text: None
        return

    def show(text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{printable(text)[-width:]}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
