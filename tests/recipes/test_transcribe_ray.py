import glob
import importlib.util
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
import soundfile
from conftest import ROOT, SAMPLE_RATE, load_script, run_script, spoken
from typer.testing import CliRunner

from asr.cli.app import app
from asr.errors import InputError

SCRIPT = "recipes/transcribe_ray.py"
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: the extra `cluster`"
)


@pytest.fixture
def talks(tmp_path):
    """A folder with six recordings in two folders, and one that is damaged."""
    folder = tmp_path / "talks"
    for number, text in enumerate(["a b", "b b a", "a", "b a", "a a b", "b"]):
        path = folder / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, spoken(text, seed=number), SAMPLE_RATE)
    (folder / "damaged.wav").write_text("not audio")
    return folder


@pytest.fixture
def pipe(tmp_path):
    """A named pipe: its reader waits until the test writes a recording."""
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    return path


class Feeder(threading.Thread):
    """Kills the first processes that read a pipe, and gives a recording to all others."""

    def __init__(self, pipe, n_kills, content=b""):
        super().__init__(daemon=True)
        self.pipe, self.n_kills, self.content = pipe, n_kills, content
        self.killed = []

    def run(self):
        for _ in range(self.n_kills):
            with self.pipe.open("wb"):  # waits for a reader, whose own open may return later
                while not (found := readers_of(self.pipe)):
                    time.sleep(0.01)
                (process,) = found
                os.kill(process, signal.SIGKILL)
                self.killed.append(process)
                self.wait_until_closed()
        while self.content:  # Ray may run the batch of a killed worker more than once
            self.pipe.write_bytes(self.content)
            self.wait_until_closed()

    def wait_until_closed(self):
        while readers_of(self.pipe):
            time.sleep(0.01)


def readers_of(pipe):
    """The ids of the other processes that have a pipe open."""
    found = set()
    for opened in glob.glob("/proc/[0-9]*/fd/*"):  # unlike Path.glob, it lets processes end
        process = int(opened.split("/")[2])
        with suppress(OSError):  # it has ended, or belongs to another user
            if process != os.getpid() and os.readlink(opened) == str(pipe):
                found.add(process)
    return found


def recording(text):
    """The bytes of a wav file."""
    content = io.BytesIO()
    soundfile.write(content, spoken(text, seed=9), SAMPLE_RATE, format="wav")
    return content.getvalue()


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def ray_at_full_speed(monkeypatch):
    """Ray's workers with the priority of the tests, and without a secret in the home folder."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@needs_ray
@pytest.mark.usefixtures("ray_at_full_speed", "compiled_alignment")
def test_files_are_those_of_asr_transcribe_though_a_worker_is_killed(
    tone_model, talks, pipe, tmp_path
):
    options = ["--model", tone_model, "--device", "cpu", "--format", "txt,json,srt"]
    options += ["--batch-s", "0", talks, pipe, "--out"]
    feeder = Feeder(pipe, n_kills=1, content=recording("a b b a"))
    feeder.start()
    # not in this process, which could not start Ray Data again in the next test
    command = [sys.executable, SCRIPT, "--workers", 2, *options, tmp_path / "cluster"]
    ran = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1
    assert len(feeder.killed) == 1

    done = CliRunner().invoke(app, ["transcribe", *map(str, options), str(tmp_path / "one")])
    assert done.exit_code == 1
    found = files_in(tmp_path / "cluster")
    assert found == files_in(tmp_path / "one")
    assert len(found) == 7 * 3 + 2  # and failed.tsv, recordings.tsv
    assert ran.stdout == ""
    lines = [line for line in ran.stderr.splitlines() if line.startswith("transcribe_ray: ")]
    assert lines == [
        line.replace("asr transcribe", "transcribe_ray") for line in done.stderr.splitlines()
    ]


@needs_ray
@pytest.mark.usefixtures("ray_at_full_speed")
def test_a_recording_that_kills_every_worker_fails_alone(
    tone_model, talks, pipe, tmp_path, monkeypatch, capsys
):
    import ray

    (talks / "damaged.wav").unlink()
    feeder = Feeder(pipe, n_kills=100)
    feeder.start()
    script = load_script(SCRIPT)
    monkeypatch.setattr(script, "MAX_TASK_RETRIES", 0)
    monkeypatch.setattr(script, "_BATCHES_PER_WORKER", 1)
    out = tmp_path / "out"
    arguments = ["--model", tone_model, "--workers", 1, "--out", out, talks, pipe]
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit, match="1"):
        script.main()
    assert len(feeder.killed) >= 2  # in its batch, and alone
    assert len(files_in(out)) == 6 + 2  # and failed.tsv, recordings.tsv
    reason = "its worker died 1 time; expected enough memory for it"
    assert (out / "failed.tsv").read_text() == f"{pipe}\t{reason}\n"
    assert not ray.is_initialized()


def test_nothing_is_started_if_all_is_done(talks, tmp_path, capsys):
    (tmp_path / "0.txt").write_text("a b\n")
    arguments = ["--model", "none", "--out", tmp_path, "--address", "nowhere:1"]
    run_script(SCRIPT, *arguments, talks / "a" / "0.wav")
    assert capsys.readouterr().err == "transcribe_ray: 1 of 1 recordings are done already\n"


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (["--workers", "0"], "--workers is 0; expected 1 or more"),
        (["--decoder", "greedy", "--lm", "x"], "--decoder is greedy, which uses the acoustic"),
        (["--format", "doc"], "--format is 'doc'; expected one or more of"),
    ],
)
def test_wrong_options_are_refused(wrong, line, talks, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run_script(SCRIPT, "--model", "none", "--out", tmp_path / "out", *wrong, talks)
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_workers_cannot_use_is_refused_before_they_start(talks, tmp_path):
    arguments = ["--model", tmp_path / "none", "--out", tmp_path / "out", "--address", "nowhere:1"]
    with pytest.raises(InputError, match="AUDIO is -; expected files"):
        run_script(SCRIPT, *arguments, "-")
    with pytest.raises(InputError, match="none: "):
        run_script(SCRIPT, *arguments, talks)
