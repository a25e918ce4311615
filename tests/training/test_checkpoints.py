import os
import resource
import signal
import subprocess
import sys
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
    """Of a training of three epochs, the last two of which are kept."""
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


def test_a_flipped_byte_is_found_wherever_it_is(tmp_path):
    path = tmp_path / LAST
    CheckpointFiles().save_checkpoint(state(1, 0, 1), path)
    whole = path.read_bytes()
    check_whole(path)
    unmarked = []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            check_whole(path)
        except InputError:
            continue
        unmarked.append(place)  # of what says that there is a digest; the others are as they were
    assert len(unmarked) <= len(MARK)
    assert min(unmarked) >= len(whole) - len(MARK) - 64


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_byte_of_an_earlier_version_is_found_or_read_right(tmp_path, bit):
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


def test_cut_and_empty_checkpoints_are_named(folder):
    path = folder / LAST
    whole = path.read_bytes()
    for kept in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=f"^{path}: is damaged: "):
            check_whole(path)


def test_the_state_before_stays_with_the_epochs_that_it_names(folder):
    assert names(folder) == [BEFORE, *(f"epoch=000{n}.ckpt" for n in range(3)), LAST]
    assert load_whole(folder / LAST)["weights"][0, 0] == 2
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 1
    assert newest_whole(folder) == (folder / LAST, "")
    assert newest_whole(folder / "none") == (None, "")


def test_the_state_before_is_taken_where_the_last_is_damaged_or_missing(folder):
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


def test_a_damaged_state_is_not_put_in_the_place_of_a_whole_one(folder):
    flip(folder / LAST, 200)
    files = CheckpointFiles(last_is_whole=False)
    assert files.load_checkpoint(folder / BEFORE)["weights"][0, 0] == 1
    files.save_checkpoint(state(7, 1, 2), folder / LAST)
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 1
    files.save_checkpoint(state(8, 1, 2), folder / LAST)
    assert load_whole(folder / BEFORE)["weights"][0, 0] == 7


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_full_disk_leaves_both_states(folder, share):
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


# a process that ends itself while the named file is written for the nth time
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
    ids=["state half written", "epoch half written", "between the renames"],
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


def test_a_damaged_last_state_is_told_and_the_one_before_goes_on(
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
    told = capsys.readouterr().err
    assert told.startswith(f"{last}: is damaged: ")
    assert "; training goes on from before.ckpt\n" in told
    assert_same_model(tmp_path / "straight", out)


def test_other_audio_is_another_run(tones, tmp_path, monkeypatch):
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
