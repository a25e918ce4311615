"""formats, recordings, transcripts -> stdout or files; imports torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asr.cli.output import name_of, print_content, print_json, print_row
from asr.cli.usage import refuse
from asr.errors import InputError, say
from asr.files import write_text
from asr.recognizer import Transcript
from asr.transcribing.writers import SUFFIX, Format, as_text, json_values, recording_name

PROGRAM = "asr transcribe"

_ONE_RECORDING: tuple[Format, ...] = ("srt", "vtt", "textgrid")


class OutputFile(NamedTuple):
    """A file for the transcript of one recording."""

    format: Format
    path: Path


def parse_formats(names: str) -> list[Format]:
    """The formats in a list such as `srt,json`.

    If a name is not a format, or comes twice, the program exits with status 2.
    """
    formats = [format for name in names.split(",") for format in SUFFIX if format == name]
    if len(set(formats)) < len(names.split(",")):
        known = ", ".join(SUFFIX)
        refuse(PROGRAM, f"--format is {names!r}; expected one or more of {known}, each once")
    return formats


def check_stdout(formats: Sequence[Format], audio: Sequence[Path]) -> None:
    """Check that stdout can hold the transcripts of these recordings.

    If there are several formats, or several recordings in a format whose files hold one, the
    program exits with status 2.

    Raises:
        InputError: two recordings have the same name in CTM.
    """
    if len(formats) > 1:
        refuse(PROGRAM, f"--format is {','.join(formats)}; expected one without --out DIR")
    if formats[0] in _ONE_RECORDING and len(audio) > 1:
        refuse(
            PROGRAM,
            f"--format is {formats[0]}, which holds one recording, not {len(audio)}; expected"
            " --out DIR",
        )
    if formats[0] == "ctm":
        _check_names([recording_name(path) for path in audio], audio)


def output_files(
    audio: Sequence[Path], out: Path, formats: Sequence[Format]
) -> list[list[OutputFile]]:
    """The files of each recording, one for each format. The folder is made.

    A line on stderr names each file that exists already.

    Args:
        audio: the recordings.
        out: the folder.
        formats: one or more.

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
        say(PROGRAM, f"{path}: already exists and is kept")
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
