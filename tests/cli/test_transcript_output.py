from pathlib import Path

import pytest

from asr.alignment.times import Word
from asr.cli.audio_files import AudioFile
from asr.cli.transcript_output import (
    OutputFile,
    check_stdout,
    is_output,
    output_files,
    parse_formats,
    print_transcript,
    unwritten,
    write_failures,
    write_transcript,
)
from asr.errors import InputError
from asr.recognizer import Transcript

AUDIO = [Path("a/one.wav"), Path("a/two.flac")]
TRANSCRIPT = Transcript("go", -1.0, 2.0, lambda: (Word("go", 0.5, 1.0, 0.75),))


def test_formats_keep_their_order():
    assert parse_formats("srt,json,txt", "asr transcribe") == ["srt", "json", "txt"]


@pytest.mark.parametrize("names", ["doc", "srt,doc", "srt,srt", "", "srt,", "srt, json", "SRT"])
def test_other_formats_are_wrong_usage(names, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_formats(names, "asr transcribe")
    expected = "expected one or more of txt, json, srt, vtt, ctm, textgrid, each once"
    assert capsys.readouterr().err == f"asr transcribe: --format is {names!r}; {expected}\n"


@pytest.mark.parametrize("format", ["txt", "json", "ctm"])
def test_stdout_holds_several_recordings(format):
    check_stdout([format], AUDIO)


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (["srt"], "srt, which holds one recording, not 2; expected --out DIR"),
        (["vtt"], "vtt, which holds one recording, not 2; expected --out DIR"),
        (["textgrid"], "textgrid, which holds one recording, not 2; expected --out DIR"),
        (["txt", "json"], "txt,json; expected one without --out DIR"),
    ],
)
def test_what_stdout_cannot_hold_needs_out(formats, message, capsys):
    if len(formats) == 1:
        check_stdout(formats, AUDIO[:1])
    with pytest.raises(SystemExit, match="2"):
        check_stdout(formats, AUDIO)
    assert capsys.readouterr().err == f"asr transcribe: --format is {message}\n"


def test_two_recordings_with_one_name_in_ctm_are_refused():
    both = r"would be the output of both a/two.flac and b/two.wav; expected different file names"
    with pytest.raises(InputError, match=f"^two: {both}"):
        check_stdout(["ctm"], [*AUDIO, Path("b/two.wav")])


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ([("a/x.wav", None), ("b/y.wav", None), ("-", None)], ["x", "y", "stdin"]),
        ([("a/x.wav", "a"), ("a/c/x.wav", "a"), ("d/y.wav", None)], ["x", "c/x", "y"]),
        ([("a/x.wav", "a"), ("b/x.wav", "b"), ("b/y.wav", "b")], ["a/x", "b/x", "y"]),
        ([("e/a/c/x.wav", "e/a"), ("e/b/c/x.wav", "e/b")], ["a/c/x", "b/c/x"]),
        ([("a/x.wav", None), ("x.wav", None)], ["a/x", "x"]),
    ],
)
def test_equal_names_keep_their_folders(tmp_path, audio, expected):
    recordings = [AudioFile(Path(path), folder and Path(folder)) for path, folder in audio]
    files = output_files(recordings, tmp_path, ["srt"])
    assert files == [[OutputFile("srt", tmp_path / f"{name}.srt")] for name in expected]
    write_transcript(files[0][0], TRANSCRIPT, AUDIO[0], None)
    assert output_files(recordings, tmp_path, ["srt"]) == files  # those that exist change nothing


def test_unwritten_files_are_those_that_do_not_exist(tmp_path, capsys):
    recordings = [AudioFile(path) for path in AUDIO[:2]]
    first, second = output_files(recordings, tmp_path, ["srt", "vtt"])
    write_transcript(first[0], TRANSCRIPT, AUDIO[0], None)
    missing = unwritten("program", recordings, tmp_path, ["srt", "vtt"])
    assert missing == {AUDIO[0]: first[1:], AUDIO[1]: second}
    assert capsys.readouterr().err == ""
    write_transcript(first[1], TRANSCRIPT, AUDIO[0], None)
    assert unwritten("program", recordings, tmp_path, ["srt", "vtt"]) == {AUDIO[1]: second}
    assert capsys.readouterr().err == "program: 1 of 2 recordings are done already\n"


def test_names_that_folders_cannot_tell_apart_are_refused(tmp_path):
    audio = [AudioFile(Path("a/x.wav")), AudioFile(Path("a/x.mp3"))]
    both = "x.srt: would be the output of both a/x.wav and a/x.mp3; expected different file names"
    with pytest.raises(InputError, match=both):
        output_files(audio, tmp_path / "out", ["srt", "vtt"])
    assert not (tmp_path / "out").exists()


def test_a_file_as_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match=r"out: is a file; expected a folder"):
        output_files([AudioFile(AUDIO[0])], tmp_path / "out", ["vtt"])


def test_files_of_earlier_runs_are_outputs():
    names = [
        "x.srt",
        "x.TextGrid",
        "x.txt",
        "failed.tsv",
        "x.srt.host-1-2.partial",
        "x.raw",
        "x.tsv",
    ]
    assert [is_output(Path(name)) for name in names] == [True] * 5 + [False] * 2


def test_failures_are_replaced_and_removed(tmp_path):
    write_failures(tmp_path, {Path("a\tb\\.wav"): "is damaged"})
    assert (tmp_path / "failed.tsv").read_text() == "a\\tb\\\\.wav\tis damaged\n"
    write_failures(tmp_path, {Path("c.wav"): "is cut"})
    assert (tmp_path / "failed.tsv").read_text() == "c.wav\tis cut\n"
    for _ in range(2):
        write_failures(tmp_path, {})
        assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_overwritten(tmp_path):
    file = OutputFile("ctm", tmp_path / "one.ctm")
    write_transcript(file, TRANSCRIPT, AUDIO[0], channel=1)
    assert file.path.read_text() == "one 2 0.500 0.500 go 0.7500\n"
    with pytest.raises(FileExistsError):
        write_transcript(file, Transcript("", 0.0, 2.0), AUDIO[0], channel=1)
    assert file.path.read_text() == "one 2 0.500 0.500 go 0.7500\n"


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("txt", "a/one.wav\tgo\n"),
        ("srt", "1\n00:00:00,500 --> 00:00:01,500\ngo\n"),
        ("vtt", "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\ngo\n"),
        ("ctm", "one 1 0.500 0.500 go 0.7500\n"),
    ],
)
def test_stdout_has_the_files_content(capsys, format, expected):
    print_transcript(format, TRANSCRIPT, AUDIO[0], None)
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("format", "expected"), [("srt", ""), ("vtt", "WEBVTT\n"), ("ctm", "")])
def test_silence_is_printed_as_a_valid_file(capsys, format, expected):
    print_transcript(format, Transcript("", 0.0, 2.0), AUDIO[0], None)
    assert capsys.readouterr().out == expected
