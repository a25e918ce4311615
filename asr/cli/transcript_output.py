"""formats, recordings, transcripts -> stdout or files; imports torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from asr.cli.output import name_of, print_content, print_json, print_row
from asr.errors import InputError, say
from asr.files import write_text
from asr.recognizer import Transcript
from asr.transcribing.writers import SUFFIX, Format, as_text, json_values, recording_name

_ONE_RECORDING: tuple[Format, ...] = ("srt", "vtt", "textgrid")


class OutputFile(NamedTuple):
    """A file for the transcript of one recording."""

    format: Format
    path: Path


def parse_formats(names: str) -> list[Format]:
    """The formats in a list such as `srt,json`.

    Raises:
        typer.BadParameter: a name is not a format, or comes twice.
    """
    formats = [format for name in names.split(",") for format in SUFFIX if format == name]
    if len(set(formats)) < len(names.split(",")):
        message = f"is {names!r}; expected one or more of {','.join(SUFFIX)}, each once"
        raise typer.BadParameter(message, param_hint="--format")
    return formats


def check_stdout(formats: Sequence[Format], audio: Sequence[Path]) -> None:
    """Check that stdout can hold the transcripts of these recordings.

    Raises:
        typer.BadParameter: there are several formats, or several recordings in a format whose
            files hold one.
        InputError: two recordings have the same name in CTM.
    """
    message = ""
    if len(formats) > 1:
        message = f"standard output takes one format, not {len(formats)}; expected --out DIR"
    elif formats[0] in _ONE_RECORDING and len(audio) > 1:
        message = f"{formats[0]} holds one recording, not {len(audio)}; expected --out DIR"
    if message:
        raise typer.BadParameter(message, param_hint="--format")
    if formats[0] == "ctm":
        _check_names([recording_name(path) for path in audio], audio)


def output_files(
    audio: Sequence[Path], out: Path, formats: Sequence[Format], program: str
) -> list[list[OutputFile]]:
    """The files of each recording, one for each format. The folder is made.

    Args:
        audio: the recordings.
        out: the folder.
        formats: one or more.
        program: begins the lines on stderr that name the files that exist already.

    Raises:
        InputError: two recordings have the same file, all files exist already, or `out` is a file.
    """
    names = [recording_name(path) for path in audio]
    _check_names([str(out / f"{name}{SUFFIX[formats[0]]}") for name in names], audio)
    files = [
        [OutputFile(format, out / f"{name}{SUFFIX[format]}") for format in formats]
        for name in names
    ]
    paths = [file.path for those in files for file in those]
    there = [path for path in paths if path.exists()]
    if len(there) == len(paths):
        raise InputError(f"{paths[0]}: already exists; expected a new file")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder, or a new name")
    for path in there:
        say(program, f"{path}: already exists and is kept")
    out.mkdir(parents=True, exist_ok=True)
    return files


def print_transcript(
    format: Format, transcript: Transcript, audio: Path, channel: int | None
) -> None:
    """Print a transcript; the arguments are those of `asr.transcribing.writers.as_text`.

    A line of text begins with the recording's path.

    Raises:
        InputError: the format can't hold one of the words.
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing is printed.
    """
    if format == "txt":
        print_row(name_of(audio), transcript.text)
    elif format == "json":
        print_json(json_values(transcript, audio))
    else:
        print_content(as_text(format, transcript, audio, channel))


def write_transcript(
    file: OutputFile, transcript: Transcript, audio: Path, channel: int | None
) -> None:
    """Write a transcript to a new file, either completely or not at all.

    Raises:
        InputError: the format can't hold one of the words.
        OSError: the file can't be written, or exists.
    """
    write_text(file.path, as_text(file.format, transcript, audio, channel), exclusive=True)


def _check_names(names: Sequence[str], audio: Sequence[Path]) -> None:
    """Raise InputError if two recordings would have the same name in the output."""
    sources: dict[str, Path] = {}
    for name, path in zip(names, audio, strict=True):
        if name in sources:
            raise InputError(
                f"{name}: would be the output of both {sources[name]} and {path};"
                " expected different file names"
            )
        sources[name] = path
