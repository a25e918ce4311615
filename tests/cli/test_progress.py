import io
import sys

import pytest

from asr.cli.progress import changing_line, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stdout, stderr, prints=True):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress_bar(3, "recordings", prints) as advance:
        for number in range(3):
            print(f"text {number}", file=sys.stdout)
            print(f"warning {number}", file=sys.stderr)
            advance()
    return stdout.getvalue(), stderr.getvalue()


def test_a_terminal_has_a_bar_below_the_lines(monkeypatch):
    out, err = shown(monkeypatch, io.StringIO(), Terminal())
    assert out == "text 0\ntext 1\ntext 2\n"
    for part in ("0/3", "3/3", "recordings, time left", "warning 0", "warning 2"):
        assert part in err


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [(io.StringIO, io.StringIO), (Terminal, Terminal), (Terminal, io.StringIO)],
)
def test_there_is_no_bar_in_pipes_or_between_texts(monkeypatch, stdout, stderr):
    out, err = shown(monkeypatch, stdout(), stderr())
    assert (out, err) == ("text 0\ntext 1\ntext 2\n", "warning 0\nwarning 1\nwarning 2\n")


def test_a_terminal_has_a_bar_if_results_go_to_files(monkeypatch):
    _, err = shown(monkeypatch, Terminal(), Terminal(), prints=False)
    assert "3/3" in err


def test_closed_streams_have_no_bar(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(2, "recordings", prints=True) as advance:
        advance()
    assert capfd.readouterr() == ("", "")


def test_a_changing_line_shows_the_end_of_each_text_and_is_removed(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "6")
    with changing_line() as show:
        show("one")
        show("one two\n")
    assert stderr.getvalue() == "\rone\x1b[K\rtwo\\n\x1b[K\r\x1b[K"


def test_there_is_no_changing_line_in_a_pipe(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with changing_line() as show:
        show("one")
    assert stderr.getvalue() == ""
