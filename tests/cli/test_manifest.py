import json
import os
import re

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asr.cli.app import app
from asr.corpus.manifest import Utterance, read_manifest
from asr.corpus.recordings import check_durations

SAMPLE_RATE = 8000


def make(path, seconds=0.5, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(path, noise, SAMPLE_RATE)
    if text is not None:
        path.with_suffix(".txt").write_text(text, "utf-8")
    return path


def manifest(*arguments):
    return CliRunner().invoke(app, ["manifest", *map(str, arguments)])


def utterances(done, tmp_path):
    path = tmp_path / "out" / "a.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(done.stdout, "utf-8")
    return read_manifest(path)


def test_texts_are_read_from_files_beside_the_audio(tmp_path):
    one = make(tmp_path / "one.wav", 0.5, "\ufeffThre\u0301e\n don’t  go\n")
    two = make(tmp_path / "deep" / "my two.flac", 0.25, "")
    done = manifest(one, tmp_path / "deep")
    assert done.exit_code == 0
    assert done.stderr == ""
    found = utterances(done, tmp_path)
    assert found == [
        Utterance("one", str(one), 0.5, "Thrée don't go"),
        Utterance("my_two", str(two), 0.25, ""),
    ]
    check_durations("a.jsonl", found)


@pytest.mark.parametrize(
    "lines",
    [
        "b Text  of b\n\na of a\n",
        "b.wav\tText  of b\r\na\tof a\r\n",
        "{folder}/wav/b.wav\tText  of b\nwav/a.wav\tof a",
    ],
)
def test_texts_in_one_file_by_id_or_path(tmp_path, lines):
    for name in ("a", "b"):
        make(tmp_path / "wav" / f"{name}.wav")
    texts = tmp_path / "texts"
    texts.write_text(lines.format(folder=tmp_path), "utf-8")
    done = manifest(tmp_path / "wav", "--text", texts)
    assert done.exit_code == 0, done.stderr
    found = utterances(done, tmp_path)
    assert [(u.id, u.text) for u in found] == [("a", "of a"), ("b", "Text of b")]


def test_decomposed_names_fit_composed_ones(tmp_path):
    make(tmp_path / "wav" / "u\u0301.wav")
    (tmp_path / "texts").write_text("\u00fa one\n", "utf-8")
    done = manifest(tmp_path / "wav", "--text", tmp_path / "texts")
    (found,) = utterances(done, tmp_path)
    assert (found.id, found.text) == ("\u00fa", "one")


def test_a_pipe_in_a_folder_is_left_out(tmp_path):
    make(tmp_path / "wav" / "a.wav", text="one")
    os.mkfifo(tmp_path / "wav" / "b.wav")
    done = manifest(tmp_path / "wav")
    assert [u.id for u in utterances(done, tmp_path)] == ["a"]
    assert "leaves out what is not an audio file: b.wav" in done.stderr


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    make(tmp_path / "a.wav", text="one")
    monkeypatch.chdir(tmp_path)
    done = manifest("a.wav")
    assert json.loads(done.stdout)["audio"] == str(tmp_path / "a.wav")


def test_ascii_stdout_gets_json_escapes(tmp_path):
    make(tmp_path / "a.wav", text="größe")
    done = CliRunner(charset="ascii").invoke(app, ["manifest", str(tmp_path)])
    assert done.exit_code == 0
    assert "gr\\u00f6\\u00dfe" in done.stdout
    assert [u.text for u in utterances(done, tmp_path)] == ["größe"]


def test_ids_of_equal_file_names_start_with_the_folder(tmp_path):
    for folder in ("bob", "eve"):
        make(tmp_path / folder / "1.wav", text=folder)
    done = manifest(tmp_path)
    assert [u.id for u in utterances(done, tmp_path)] == ["bob-1", "eve-1"]
    (tmp_path / "texts").write_text("1 one\n")
    done = manifest(tmp_path, "--text", tmp_path / "texts")
    assert done.exit_code == 1
    expected = f"{tmp_path}/texts:1: 1 fits both {tmp_path}/bob/1.wav and {tmp_path}/eve/1.wav"
    assert done.stderr == f"asr manifest: {expected}; expected a path\n"
    make(tmp_path / "bob" / "1.flac")
    done = manifest(tmp_path)
    assert f"has the same id as {tmp_path}/bob/1.flac, 'bob-1'; expected" in done.stderr


def test_unusable_recordings_are_named_and_others_done(tmp_path):
    make(tmp_path / "a.wav", text="one")
    make(tmp_path / "b.wav")
    (tmp_path / "c.wav").write_bytes(b"no\0audio")
    (tmp_path / "c.txt").write_text("three")
    make(tmp_path / "d.wav", text="don\x92t")
    done = manifest(*(tmp_path / f"{name}.wav" for name in "abcde"))
    assert done.exit_code == 1
    assert [u.id for u in utterances(done, tmp_path)] == ["a"]
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    prefix = f"asr manifest: {tmp_path}/"
    assert lines[0] == f"{prefix}b.wav: has no text; expected b.txt beside it, or --text FILE"
    assert lines[1].startswith(f"{prefix}c.wav: can't be read as audio")
    assert lines[2] == f"{prefix}d.txt: has U+0092, a control character; expected a text"
    assert lines[3].startswith(f"{prefix}e.wav: no such file or directory")


def test_missing_extra_and_repeated_texts_are_named(tmp_path):
    make(tmp_path / "a.wav")
    make(tmp_path / "b.wav")
    texts = tmp_path / "texts"
    texts.write_text("a one\nc three\n")
    done = manifest(tmp_path, "--text", texts)
    assert done.exit_code == 1
    assert [u.text for u in utterances(done, tmp_path)] == ["one"]
    assert f"{texts}: has texts of recordings that are not given (1): c\n" in done.stderr
    assert f"b.wav: has no text in {texts}; expected a line that begins with b\n" in done.stderr
    texts.write_text("a one\n\na two\n")
    done = manifest(tmp_path, "--text", texts)
    line = f"{texts}:3: has a text for {tmp_path}/a.wav, as line 1 has; expected one line per"
    assert line in done.stderr
    assert done.exit_code == 1


def test_folders_without_audio_and_repeated_files_are_refused(tmp_path):
    done = manifest(tmp_path)
    assert done.stderr == (
        f"asr manifest: {tmp_path}: has no audio file; expected names such as a.flac\n"
    )
    path = make(tmp_path / "a.wav", text="one")
    assert "is given twice" in manifest(path, tmp_path).stderr


def test_a_missing_or_damaged_file_is_named_before_its_missing_text(tmp_path):
    (tmp_path / "empty.wav").touch()
    done = manifest(tmp_path / "nowhere", tmp_path / "empty.wav")
    assert done.exit_code == 1
    missing, empty = done.stderr.splitlines()
    assert missing.startswith(f"asr manifest: {tmp_path / 'nowhere'}: no such file or directory")
    assert empty.startswith(f"asr manifest: {tmp_path / 'empty.wav'}: ")
    assert "text" not in empty


def test_other_files_of_a_folder_are_named(tmp_path):
    make(tmp_path / "a.wav", text="one")
    (tmp_path / "b.raw").write_bytes(bytes(100))
    (tmp_path / "noext").write_bytes(bytes(100))
    done = manifest(tmp_path)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == (
        f"asr manifest: {tmp_path}: leaves out what is not an audio file: b.raw, noext\n"
    )


def test_a_broken_link_in_a_folder_is_an_error(tmp_path):
    make(tmp_path / "a.wav", text="one")
    (tmp_path / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    done = manifest(tmp_path)
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    assert done.stderr == (
        f"asr manifest: {tmp_path}/b.wav: no such file or directory; expected an audio file\n"
    )


def test_a_line_end_in_a_name_is_escaped(tmp_path):
    make(tmp_path / "a\nb.wav")
    done = manifest(tmp_path)
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert rf"{tmp_path}/a\nb.wav: has no text; expected a\nb.txt" in done.stderr


def test_file_names_with_control_characters_are_refused(tmp_path):
    path = make(tmp_path / "a.wav", text="one")
    for name, fault in ((b"b\xff", "is not UTF-8"), (b"b\x1b[1m", "has U+001B")):
        try:
            os.rename(path, os.path.join(os.fsencode(tmp_path), name + b".wav"))
        except OSError:
            pytest.skip("this file system accepts only UTF-8 names")
        os.rename(tmp_path / "a.txt", os.path.join(os.fsencode(tmp_path), name + b".txt"))
        path = tmp_path / os.fsdecode(name + b".wav")
        done = manifest(tmp_path)
        assert done.exit_code == 1
        assert done.stdout == ""
        assert re.search(rf"its name:? {re.escape(fault)}", done.stderr)
        os.rename(path.with_suffix(".txt"), tmp_path / "a.txt")
