from pathlib import Path

import pytest

from asr.alignment.times import Word
from asr.cli.transcript_output import (
    OutputFile,
    check_stdout,
    output_files,
    parse_formats,
    print_transcript,
    write_transcript,
)
from asr.errors import InputError
from asr.recognizer import Transcript

AUDIO = [Path("a/one.wav"), Path("a/two.flac")]
TRANSCRIPT = Transcript("go", -1.0, 2.0, lambda: (Word("go", 0.5, 1.0, 0.75),))


def test_formats_keep_their_order():
    assert parse_formats("srt,json,txt") == ["srt", "json", "txt"]


@pytest.mark.parametrize("names", ["doc", "srt,doc", "srt,srt", "", "srt,", "srt, json", "SRT"])
def test_other_formats_are_wrong_usage(names, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_formats(names)
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


def test_two_recordings_with_one_name_are_refused(tmp_path):
    audio = [*AUDIO, Path("b/two.wav")]
    both = r"would be the output of both a/two.flac and b/two.wav; expected different file names"
    with pytest.raises(InputError, match=f"^two: {both}"):
        check_stdout(["ctm"], audio)
    with pytest.raises(InputError, match=f"^{tmp_path}/two.srt: {both}"):
        output_files(audio, tmp_path, ["srt", "ctm"])


def test_files_that_exist_are_named(tmp_path, capsys):
    (tmp_path / "one.TextGrid").write_text("mine")
    files = output_files([*AUDIO, Path("-")], tmp_path, ["textgrid", "vtt"])
    assert files == [
        [
            OutputFile("textgrid", tmp_path / f"{name}.TextGrid"),
            OutputFile("vtt", tmp_path / f"{name}.vtt"),
        ]
        for name in ("one", "two", "stdin")
    ]
    line = f"asr transcribe: {tmp_path}/one.TextGrid: already exists and is kept\n"
    assert capsys.readouterr().err == line
    with pytest.raises(InputError, match=r"one\.TextGrid: already exists; expected a new file"):
        output_files(AUDIO[:1], tmp_path, ["textgrid"])
    with pytest.raises(InputError, match=r"one\.TextGrid: is a file; expected a folder"):
        output_files(AUDIO, tmp_path / "one.TextGrid", ["vtt"])


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
