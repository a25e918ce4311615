import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from asr.cli.output import name_of
from asr.cli.transcribe import _warnings_as_lines

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def audio(tone_model, tmp_path) -> Path:
    return Path(shutil.copy(tone_model.parent / "tones" / "train00.wav", tmp_path / "a.wav"))


@pytest.fixture
def transcribe(tone_model):
    def run(*arguments, **options):
        command = [sys.executable, "-m", "asr.cli", "transcribe", "--model", tone_model]
        options = {"env": ENVIRONMENT, "stdout": subprocess.PIPE, **options}
        command += ["--device", "cpu", *arguments]
        done = subprocess.run(command, stderr=subprocess.PIPE, **options)
        return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()

    return run


def test_text_outside_stdouts_encoding_fails_alone(transcribe, audio, tmp_path):
    other = shutil.copy(audio, tmp_path / "é.wav")
    ascii_only = {"env": ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}}
    status, out, err = transcribe(other, audio, **ascii_only)
    assert status == 1
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(audio)]
    assert err.count("\n") == 2  # the failure, and the number of failures
    assert "standard output is ascii, which has no " in err
    status, out, err = transcribe("--format", "json", other, audio, **ascii_only)
    assert (status, err) == (0, "")
    assert [json.loads(line)["audio"] for line in out.splitlines()] == [str(other), str(audio)]


def test_name_that_is_not_utf_8_gives_valid_json(transcribe, audio, tmp_path):
    other = shutil.copy(audio, os.fsencode(tmp_path) + b"/\xe9.wav")
    status, out, err = transcribe("--format", "json", other)
    assert (status, err) == (0, "")
    assert json.loads(out)["audio"] == rf"{tmp_path}/\xe9.wav"


def test_closed_stdout_and_full_stderr(transcribe, audio, tmp_path):
    status, _, err = transcribe(audio, stdout=None, preexec_fn=lambda: os.close(1))
    assert (status, err) == (1, "asr transcribe: standard output: bad file descriptor\n")
    command = [sys.executable, "-m", "asr.cli", "manifest", tmp_path / "nowhere.wav", audio]
    audio.with_suffix(".txt").write_text("one")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=False)
    assert (done.returncode, done.stdout.count(b"\n")) == (1, 1)


def test_lines_after_one_that_stdout_can_not_print(tmp_path):
    (tmp_path / "r.txt").write_text("a1 é go\na2 stop\n", "utf-8")
    (tmp_path / "h.txt").write_text("a1 go\na2 stop now\n", "utf-8")
    command = [sys.executable, "-m", "asr.cli", "score", "--ids", "--alignments"]
    command += [tmp_path / "r.txt", tmp_path / "h.txt"]
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment, text=True)
    assert done.returncode == 1
    assert "WER  66.67 %" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "standard output is ascii, which has no '\\xe9'" in done.stderr


def test_line_end_in_a_file_name_is_escaped(transcribe, audio, tmp_path):
    forged = shutil.copy(audio, tmp_path / "x\ty\nz.wav\tforged\x1b[2J")
    status, out, err = transcribe(forged, audio)
    assert (status, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [len(row) for row in rows] == [2, 2]
    assert rows[0][0] == str(tmp_path) + r"/x\ty\nz.wav\tforged\x1b[2J"
    assert rows[0][1] == rows[1][1]
    status, out, err = transcribe("--format", "json", forged)
    assert json.loads(out)["audio"] == str(forged)
    assert "\x1b" not in out
    status, out, err = transcribe(tmp_path / "not\nthere\x1b.wav")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "\x1b" not in err


def test_control_characters_in_a_warning_are_escaped(capsys):
    with _warnings_as_lines(UserWarning):
        warnings.warn("a\x1b[2J.wav: its channels cancel", UserWarning, stacklevel=1)
    line = r"asr transcribe: warning: a\x1b[2J.wav: its channels cancel"
    assert capsys.readouterr().err == f"{line}\n"


def test_different_paths_print_differently():
    names = ["a\nb", r"a\nb", r"a\\nb", "a\\\nb"]
    assert len({name_of(name) for name in names}) == len(names)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_stdout_on_a_full_disk_gives_one_line(transcribe, audio):
    with open("/dev/full", "w") as full:
        status, _, err = transcribe(audio, audio, stdout=full)
    assert (status, err) == (1, "asr transcribe: standard output: no space left on device\n")


def test_same_command_continues_after_a_failure(transcribe, audio, tmp_path):
    other, out = tmp_path / "b.wav", tmp_path / "out"
    command = ["--out", out, audio, other]
    status, _, err = transcribe(*command)
    assert (status, err.count("\n")) == (1, 2)
    written = (out / "a.txt").stat()
    shutil.copy(audio, other)
    status, _, err = transcribe(*command)
    assert (status, err) == (0, "asr transcribe: 1 of 2 recordings are done already\n")
    assert (out / "a.txt").stat() == written
    assert (out / "b.txt").read_text() == (out / "a.txt").read_text()
    status, _, err = transcribe(*command)
    assert (status, err) == (0, "asr transcribe: 2 of 2 recordings are done already\n")


def test_full_disk_leaves_no_partial_file(transcribe, audio, tmp_path):
    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    out = tmp_path / "out"
    status, _, err = transcribe("--out", out, audio, preexec_fn=no_room)
    assert (status, err) == (1, f"asr transcribe: {out / 'recordings.tsv'}: file too large\n")
    assert list(out.iterdir()) == []
    assert transcribe("--out", out, audio)[0] == 0
