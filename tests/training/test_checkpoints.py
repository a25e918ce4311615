import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_same_model, run_script, signal_at

from asr.corpus.manifest import read_manifest
from asr.errors import InputError
from asr.training.checkpoints import (
    BEFORE,
    LAST,
    MARK,
    CheckpointFiles,
    check_whole,
    load_whole,
    newest_whole,
)
from asr.training.ctc import CTCTraining
from asr.training.utterances import digests_of_utterances

SCRIPT = "recipes/train_ctc.py"


def state(number: int, *epochs: int) -> dict:
    kept = {f"/elsewhere/epoch=000{n}.ckpt": torch.tensor(n) for n in epochs}
    callbacks = {"KeptEpochs": {"best_k_models": kept}, "Clock": {"seconds": 1.0}}
    return {"weights": torch.full((20, 5), float(number)), "callbacks": callbacks}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkpoints of a training of three epochs, which keeps the last two."""
    files = CheckpointFiles()
    for number in range(3):
        files.save_checkpoint(state(number), tmp_path / f"epoch=000{number}.ckpt")
        kept = range(max(0, number - 1), number + 1)
        files.save_checkpoint(state(number, *kept), tmp_path / LAST)
    return tmp_path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_any_changed_byte_is_found(tmp_path):
    path = tmp_path / LAST
    CheckpointFiles().save_checkpoint(state(1, 0, 1), path)
    whole = path.read_bytes()
    check_whole(path)
    undetected = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            check_whole(path)
        except InputError:
            continue
        undetected.append(place)  # in the mark that says that there is a digest
    assert len(undetected) <= len(MARK)
    assert min(undetected) >= len(whole) - len(MARK) - 64


@pytest.mark.parametrize("bit", range(8))
def test_changed_bytes_in_checkpoints_of_earlier_versions_are_found_or_harmless(tmp_path, bit):
    path = tmp_path / LAST
    torch.save(state(1, 0, 1), path)
    whole, expected = path.read_bytes(), torch.load(path, weights_only=True)
    for place in range(bit, len(whole), 8):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place // 8 + bit) % 8
        path.write_bytes(changed)
        try:
            loaded = load_whole(path)
        except InputError:
            continue
        assert torch.equal(loaded["weights"], expected["weights"])
        assert loaded["callbacks"] == expected["callbacks"]


def test_truncated_and_empty_checkpoints_are_refused(folder):
    path = folder / LAST
    whole = path.read_bytes()
    for kept in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=f"^{path}: is damaged: "):
            check_whole(path)


def test_the_previous_checkpoint_stays_with_the_epochs_that_it_keeps(folder):
    assert names(folder) == [BEFORE, *(f"epoch=000{n}.ckpt" for n in range(3)), LAST]
    assert load_whole(folder / LAST)["weights"][0, 0] == 2
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 1
    assert newest_whole(folder) == (folder / LAST, "")
    assert newest_whole(folder / "none") == (None, "")


def test_the_previous_checkpoint_is_used_if_the_last_is_damaged_or_missing(folder):
    data = (folder / LAST).read_bytes().index(np.full(5, 2.0, "float32").tobytes())
    flip(folder / LAST, data + 2)
    path, fault = newest_whole(folder)
    assert path == folder / BEFORE
    assert fault.startswith(f"{folder / LAST}: is damaged: ")
    (folder / LAST).unlink()
    assert newest_whole(folder) == (folder / BEFORE, f"{folder / LAST}: is missing")
    flip(folder / "epoch=0000.ckpt", data + 2)
    with pytest.raises(InputError, match=r"last.ckpt: is missing; .*epoch=0000.ckpt: is damaged"):
        newest_whole(folder)


def test_kept_epochs_are_checked_before_training(folder):
    (folder / "epoch=0002.ckpt").unlink()
    path, fault = newest_whole(folder)
    assert (path, fault) == (folder / BEFORE, f"{folder / 'epoch=0002.ckpt'}: is missing")


def test_a_damaged_checkpoint_does_not_replace_a_whole_one(folder):
    flip(folder / LAST, 200)
    files = CheckpointFiles(last_is_whole=False)
    assert files.load_checkpoint(folder / BEFORE)["weights"][0, 0] == 1
    files.save_checkpoint(state(7, 1, 2), folder / LAST)
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 1
    files.save_checkpoint(state(8, 1, 2), folder / LAST)
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 7


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_full_disk_leaves_both_checkpoints(folder, share):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = round(share * len(before[LAST]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            CheckpointFiles().save_checkpoint(state(3, 2, 3), folder / LAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(folder / LAST)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# a process that kills itself while it writes the file `name` for the `count`-th time
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import run_script
from asr.training import checkpoints

name, count, half = {name!r}, {count}, {half}

def due(path):
    global count
    count -= Path(path).name.startswith(name)
    return Path(path).name.startswith(name) and not count

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write_bytes(self, data):
    with open(self, "wb") as file:
        file.write(data[: len(data) // 2] if half and due(self) else data)
        if half and not count:
            file.flush()
            die()

def replace(old, new):
    real(old, new)
    if Path(new).name == name and not half:
        die()

Path.write_bytes = write_bytes
real, os.replace = os.replace, replace
run_script({script!r}, *sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("name", "count", "half"),
    [("last.ckpt", 2, True), ("epoch=0001.ckpt", 1, True), ("before.ckpt", 1, False)],
    ids=["half-written last.ckpt", "half-written epoch", "between the renames"],
)
def test_a_kill_while_saving_loses_nothing(tones, tmp_path, name, count, half):
    run_script(SCRIPT, *tones.options, "--out", tmp_path / "straight")
    out = tmp_path / "killed"
    values = {"name": name, "count": count, "half": half}
    code = KILLED.format(tests=str(ROOT / "tests"), script=SCRIPT, **values)
    command = [sys.executable, "-c", code, *tones.options, "--out", str(out)]
    temporary = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    environment = os.environ | {"TMPDIR": temporary}
    ended = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert any(".partial" in path.name for path in (out / "checkpoints").iterdir())
    settings = (out / "settings.yaml").stat().st_ino
    run_script(SCRIPT, *tones.options, "--out", out)
    assert_same_model(tmp_path / "straight", out)
    assert not list(out.rglob("*.partial"))
    assert (out / "settings.yaml").stat().st_ino == settings


def test_training_resumes_from_the_previous_checkpoint_if_the_last_is_damaged(
    tones, tmp_path, monkeypatch, capsys
):
    run_script(SCRIPT, *tones.options, "--out", tmp_path / "straight")
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 16)
        with pytest.raises(SystemExit):
            run_script(SCRIPT, *tones.options, "--out", out)
    last = out / "checkpoints" / LAST
    flip(last, last.stat().st_size // 2)
    capsys.readouterr()
    run_script(SCRIPT, *tones.options, "--out", out)
    printed = capsys.readouterr().err
    assert printed.startswith(f"{last}: is damaged: ")
    assert "; training goes on from before.ckpt\n" in printed
    assert_same_model(tmp_path / "straight", out)


def test_the_digest_depends_on_offsets(tones):
    utterances = read_manifest(tones.folder / "train.jsonl")
    parts = [replace(utterance, offset=0.0) for utterance in utterances]
    later = [replace(utterance, offset=0.1) for utterance in utterances]
    found = [digests_of_utterances(train=some)["train"] for some in (utterances, parts, later)]
    assert len(set(found)) == 3


def test_changed_audio_is_refused_when_resuming(tones, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        signal_at(patched, CTCTraining, 9)
        with pytest.raises(SystemExit):
            run_script(SCRIPT, *tones.options, "--out", tmp_path / "run")
    utterances = read_manifest(tones.folder / "train.jsonl")
    before = digests_of_utterances(train=utterances)
    flip(Path(utterances[3].audio), 500)
    after = digests_of_utterances(train=utterances)
    assert before["train"] == after["train"]
    assert before["train_audio"] != after["train_audio"]
    with pytest.raises(InputError, match=r"run: holds a run on other data \(train_audio differs\)"):
        run_script(SCRIPT, *tones.options, "--out", tmp_path / "run")
