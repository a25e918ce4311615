import re
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
        ([("a/x.wav", None), ("a/x.mp3", None)], ["x.wav", "x.mp3"]),
        ([("a/x.wav", "a"), ("a/x.mp3", "a"), ("a/y.wav", "a")], ["x.wav", "x.mp3", "y"]),
    ],
)
def test_equal_names_keep_their_folders_or_suffixes(tmp_path, audio, expected):
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


def test_names_that_suffixes_cannot_tell_apart_are_refused(tmp_path):
    audio = [AudioFile(Path(path)) for path in ("a/x.wav", "a/x.mp3", "a/x.mp3.ogg")]
    both = "x.mp3.srt: would be the output of both a/x.mp3 and a/x.mp3.ogg; expected different file"
    with pytest.raises(InputError, match=both):
        output_files(audio, tmp_path / "out", ["srt", "vtt"])
    assert not (tmp_path / "out").exists()


def test_a_transcript_of_another_recording_is_not_taken_for_that_of_this_one(tmp_path):
    out = tmp_path / "out"
    ((file,),) = output_files([AudioFile(Path("a/x.wav"), Path("a"))], out, ["srt"])
    assert (out / "recordings.tsv").read_text() == f"x\t{Path('a/x.wav').absolute()}\n"
    other = AudioFile(Path("b/x.wav"), Path("b"))
    output_files([other], out, ["srt"])  # the first was never transcribed
    write_transcript(file, TRANSCRIPT, AUDIO[0], None)
    owner = f"is the transcript of {Path('b/x.wav').absolute()} (see {out / 'recordings.tsv'})"
    place = f"{out / 'x.srt'}: {owner}, not of {Path('a/x.wav').absolute()}"
    for formats in (["srt"], ["txt", "json"]):
        with pytest.raises(InputError, match=f"^{re.escape(place)}; expected another --out"):
            output_files([AudioFile(Path("a/x.wav").absolute())], out, formats)
        assert output_files([other, AudioFile(Path("c/y.wav"))], out, formats)
    rows = [line.split("\t")[0] for line in (out / "recordings.tsv").read_text().splitlines()]
    assert rows == ["x", "y"]


def test_names_that_are_not_utf8_are_escaped_in_the_list_of_recordings(tmp_path):
    recordings = [AudioFile(Path("a/\udce9\u2028\t\\.wav"))]
    first = output_files(recordings, tmp_path, ["srt"])
    assert output_files(recordings, tmp_path, ["srt"]) == first
    (line,) = (tmp_path / "recordings.tsv").read_text("utf-8").splitlines()
    assert line.split("\t")[0] == r"\udce9\u2028\t\\"


def test_a_list_of_recordings_in_another_form_is_refused(tmp_path):
    (tmp_path / "recordings.tsv").write_text("mine\n")
    with pytest.raises(InputError, match=r"recordings.tsv: has another form than NAME<TAB>PATH"):
        output_files([AudioFile(AUDIO[0])], tmp_path, ["srt"])


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
        "recordings.tsv",
        "x.srt.host-1-2.partial",
        "x.raw",
        "x.tsv",
    ]
    assert [is_output(Path(name)) for name in names] == [True] * 6 + [False] * 2


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
