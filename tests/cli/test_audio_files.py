import os
from pathlib import Path

import pytest

from asr.cli.audio_files import AudioFile, check_given_once, find_audio
from asr.errors import InputError


def is_text(path):
    return path.suffix == ".txt"


@pytest.fixture
def wav(tmp_path, monkeypatch):
    """A working directory with the folder `wav`."""
    for name in ("b.wav", "a.MP3", "deep/c.flac", "a.txt", "noext", "[x].wav"):
        (tmp_path / "wav" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wav" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return Path("wav")


def test_folders_are_searched_and_sorted(wav, capsys):
    found = find_audio([Path("-"), wav, wav / "noext"], "asr", is_text)
    names = ["[x].wav", "a.MP3", "b.wav", "deep/c.flac"]
    expected = [AudioFile(wav / name, wav) for name in names]
    assert found == [AudioFile(Path("-")), *expected, AudioFile(wav / "noext")]
    assert capsys.readouterr().err == "asr: wav: leaves out what is not an audio file: noext\n"


@pytest.mark.parametrize(
    ("pattern", "folder", "names"),
    [
        ("wav/**/*.[fw]*", "wav", ["[x].wav", "b.wav", "deep/c.flac"]),
        ("wav/*", "wav", ["[x].wav", "a.MP3", "a.txt", "b.wav", "noext"]),
        ("*/deep/?.flac", ".", ["wav/deep/c.flac"]),
        ("wav/[x].wav", None, ["wav/[x].wav"]),  # a file with this name
    ],
)
def test_patterns_find_files(wav, pattern, folder, names):
    inside = folder and Path(folder)
    expected = [AudioFile(Path(folder or "", name), inside) for name in names]
    assert find_audio([Path(pattern)], "asr", is_text) == expected


def test_a_pipe_is_left_out(wav, capsys):
    os.mkfifo(wav / "pipe.wav")
    assert wav / "pipe.wav" not in [path for path, _ in find_audio([wav], "asr", is_text)]
    assert "pipe.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "empty: has no audio file; expected names such as a.flac"),
        ("wav/*.ogg", "wav/*.ogg: fits no file; expected a pattern such as 'talks/**/*.mp3'"),
    ],
)
def test_an_argument_without_files_is_refused(wav, argument, message):
    Path("empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_audio([wav, Path(argument)], "asr", is_text)
    assert str(caught.value) == message


def test_a_recording_given_twice_is_refused(wav):
    files = [AudioFile(wav / "b.wav", wav), AudioFile(Path.cwd() / "wav" / "b.wav")]
    check_given_once(files[:1])
    with pytest.raises(InputError, match=r"b\.wav: is given twice; expected each recording once"):
        check_given_once(files)
