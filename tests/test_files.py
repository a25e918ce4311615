import gzip
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from asr import files
from asr.errors import InputError
from asr.files import (
    json_line,
    json_object,
    parse_json,
    read_json,
    read_lines,
    read_text,
    remove_leftovers,
    replacing,
    write_json,
    write_text,
)


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\n")
    write_text(path, "new é\r\n")
    assert path.read_bytes() == "new é\r\n".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_file_and_removes_the_new(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write():
        with replacing(path) as partial:
            partial.write_text("ne")
            raise error

    with pytest.raises(type(error)) as caught:
        write()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)


def test_a_file_is_flushed_to_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def spy(*arguments, name=name, original=original):
            done.append(name)
            return original(*arguments)

        monkeypatch.setattr(files.os, name, spy)
    write_text(tmp_path / "a", "text")
    assert done == ["fsync", "replace"]


def test_exclusive_writing_refuses_an_existing_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "one", exclusive=True)
    with pytest.raises(FileExistsError, match="already exists") as caught:
        write_text(path, "two", exclusive=True)
    assert caught.value.filename == str(path)
    assert path.read_text() == "one"
    path.unlink()

    def write_too_late():
        with replacing(path, exclusive=True) as partial:
            partial.write_text("two")
            path.write_text("of another program")

    with pytest.raises(FileExistsError):
        write_too_late()
    assert path.read_text() == "of another program"


HERE = os.uname().nodename


@pytest.fixture
def ended():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_killed_processes_are_removed(tmp_path, ended):
    (tmp_path / f"a.{HERE}-{ended}-1.partial").write_text("half")
    (tmp_path / f"a.{HERE}-{os.getppid()}-1.partial").write_text("of a process that runs")
    (tmp_path / f"a.{HERE}x-{ended}-1.partial").write_text("of another machine")
    (tmp_path / "a.b.partial").write_text("another file's")
    write_text(tmp_path / "a", "text")
    running, elsewhere = f"a.{HERE}-{os.getppid()}-1.partial", f"a.{HERE}x-{ended}-1.partial"
    left = {running, elsewhere, "a.b.partial", "a"}
    assert {file.name for file in tmp_path.iterdir()} == left


def test_leftovers_in_a_folder_are_removed(tmp_path, ended):
    (tmp_path / f"a.{HERE}-{ended}-1.partial").write_text("half")
    (tmp_path / f"b.srt.{HERE}-{ended}-1.partial").write_text("half")
    running = tmp_path / f"a.{HERE}-{os.getppid()}-1.partial"
    running.write_text("of a process that runs")
    (tmp_path / "a").write_text("whole")
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", running]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_appears_whole(tmp_path, monkeypatch, links):
    if not links:  # as on FAT

        def no_links(*paths):
            raise PermissionError(1, "Operation not permitted", *paths)

        monkeypatch.setattr(files.os, "link", no_links)
    write_text(tmp_path / "a", "text", exclusive=True)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "a", "other", exclusive=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "text"}


KILLED = """
import os, signal, sys
from asr.files import write_text

path, number, exclusive = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
seen = 0

def hook(event, values):
    global seen
    if event.split(".")[0] in ("open", "os") and values and str(values[0]).startswith(path):
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

def no_links(*paths):
    raise PermissionError(1, "Operation not permitted", *paths)

if sys.argv[4] == "False":
    os.link = no_links
sys.addaudithook(hook)
write_text(path, "whole", exclusive)
"""


@pytest.mark.parametrize(("exclusive", "links"), [(True, True), (True, False), (False, True)])
def test_a_write_killed_at_any_step_leaves_no_part_of_a_file(tmp_path, exclusive, links):
    path = tmp_path / "a"
    for step in range(1, 20):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-c", KILLED, path, str(step), str(exclusive), str(links)]
        if subprocess.run(command).returncode == 0:
            break
        assert not path.exists() or path.read_text() == "whole"
    assert step > 3
    files.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_threads_may_write_the_same_file(tmp_path):
    texts = [str(n) * 1000 for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(25):
            list(pool.map(partial(write_text, tmp_path / "a"), texts))
            assert (tmp_path / "a").read_text() in texts
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_new_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\n")
    assert read_text(tmp_path / "a") == "one\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"one\ntw\xf6\n", r"a:2: has the byte 0xf6; expected UTF-8"),
        ("one".encode("utf-16"), r"a: is UTF-16; expected UTF-8"),
        (None, r"a: can't be read: No such file or directory; expected a list of words"),
    ],
)
def test_a_file_that_is_not_utf_8_is_reported(tmp_path, content, line):
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=line):
        read_text(tmp_path / "a", "a list of words")


def test_values_survive_a_round_trip_through_json(tmp_path):
    values = {"a": [1, 2.5, None, True, "é😀"], "b": {"c": -3}}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1', "x:1: not JSON: Expecting ',' delimiter at column 8"),
        ('{"a":\n1', "x:1: not JSON: Expecting ',' delimiter at column 2 of line 2"),
        ("[" * 100_000, "x:1: is nested more than 100 deep"),
        ('{"a":' * 101 + "1" + "}" * 101, "x:1: is nested more than 100 deep"),
        ("9" * 5000, "x:1: has a whole number of 5000 digits; expected at most 30"),
        ("NaN", "x:1: has NaN; expected a finite number"),
        ("[1e400]", "x:1: has 1e400; expected a finite number"),
        ("-Infinity", "x:1: has -Infinity; expected a finite number"),
        ('{"a": 1, "a": 2}', "x:1: has 'a' twice in one object"),
        (r'["\ud83d"]', r"x:1: has \\ud83d, half of a surrogate pair"),
        ('["\ud83d"]', r"x:1: has \\ud83d, half of a surrogate pair"),
        (r'{"\udc00": 1}', r"x:1: has \\udc00, half of a surrogate pair"),
    ],
)
def test_invalid_json_is_reported_in_one_line(text, line):
    with pytest.raises(InputError, match=line) as caught:
        parse_json(text, "x:1")
    assert len(str(caught.value)) < 200


def test_valid_json_is_accepted():
    brackets = json.dumps("[" * 500)
    assert parse_json(brackets, "x") == "[" * 500
    assert parse_json(r'"\ud83d\ude00"', "x") == "😀"
    assert parse_json(r'"\\ud83d"', "x") == r"\ud83d"
    assert parse_json("[[1], " * 50 + "2" + "]" * 50, "x")


def test_a_line_must_be_an_object():
    assert json_object('{"a": 1}', "x:1") == {"a": 1}
    with pytest.raises(InputError, match="x:1: is list; expected a JSON object"):
        json_object("[1]", "x:1")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("é\n".encode("utf-32"), "is UTF-32"),
        ("é\n".encode("utf-16"), "is UTF-16"),
        (gzip.compress(b"words"), "is compressed with gzip"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, found):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"a.txt: {found}"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("read", [read_text, read_lines])
def test_a_huge_file_of_zeros_is_refused_at_once(tmp_path, read):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo")
    os.truncate(path, 1 << 40)
    with pytest.raises(
        InputError, match=r"a\.txt:2: has a zero byte, as UTF-16 .*; expected UTF-8"
    ):
        read(path)


def test_lines_end_with_lf_cr_or_both(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\r\nb\rc\u2028\n".encode())
    assert read_lines(tmp_path / "a.txt") == ["a", "b", "c\u2028", ""]


def test_a_line_longer_than_any_text_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a" * files.MAX_LINE_BYTES)
    with pytest.raises(InputError, match=r"a\.txt: has a line of more than 1,048,576 bytes; exp"):
        read_lines(path, "words")
    assert len(read_text(path)) == files.MAX_LINE_BYTES


@pytest.mark.parametrize("text", ["\x7f\x9b31m", "a\u2028b\u202e", "é語👍"])
def test_escaped_json_line_parses_to_the_same_value(text):
    line = json_line({"text": text})
    assert json.loads(line) == {"text": text}
    assert all(character.isprintable() for character in line)
