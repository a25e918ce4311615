"""`asr transcribe`: audio files -> texts, one line per file."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.options import Device
from asr.cli.output import STDOUT, json_line, name_of, print_json, print_row
from asr.cli.usage import refuse
from asr.errors import InputError, has_one_line, one_line, printable, reported, say
from asr.files import finite_or_none, path_of, write_text

if TYPE_CHECKING:
    from asr.recognizer import Transcript

PROGRAM = "asr transcribe"


class TranscriptFormat(StrEnum):
    """Output format."""

    txt = "txt"
    json = "json"


class Decoder(StrEnum):
    """Search algorithm."""

    greedy = "greedy"
    beam = "beam"
    flashlight = "flashlight"


def transcribe(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...",
            parser=path_of,
            help="Audio files; - for standard input.",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            parser=path_of,
            help="A trained model's folder.",
            show_default=False,
        ),
    ],
    format: Annotated[
        TranscriptFormat, typer.Option(help="Lines `PATH<TAB>TEXT`, or one JSON object per line.")
    ] = TranscriptFormat.txt,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=path_of,
            help="Write one file per recording to this folder, instead of lines to stdout.",
            show_default=False,
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            min=0, help="Use only this channel, counted from 0.", show_default="mean of all"
        ),
    ] = None,
    decoder: Annotated[
        Decoder | None,
        typer.Option(
            help="Search algorithm.",
            show_default="as in the model's decoding.json; else greedy, or beam for phones and HMMs"
            " and with --lm, --phrases or --beam-width",
        ),
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            parser=path_of,
            help="Search with this language model, instead of the model's own.",
            show_default=False,
        ),
    ] = None,
    beam_width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of prefixes that the beam search keeps.",
            show_default="as in the model's decoding.json; else 50, for HMMs 200",
        ),
    ] = None,
    phrases: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Make phrases more likely, such as names: one per line, optionally followed by a"
            " tab and a bonus in nats per token (default 2).",
            show_default=False,
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """Transcribe audio files.

    If a file can't be used, or stdout can't print its text, stderr has the file's name and the
    reason, the other files are still done, and the exit status is 1. Warnings, such as channels
    that cancel each other, go to stderr too. In lines of text, control characters in a name are
    escaped (\\n, \\t, \\x1b) and each \\ is doubled; JSON has the unchanged name.

    With --out no file is overwritten: to continue after a failure, run the same command again.
    """
    with reported(PROGRAM):
        from asr.audio.load import AudioWarning
        from asr.decoder import refuse_greedy, search_of

        if decoder:
            try:
                given = {"--lm": lm, "--beam-width": beam_width, "--phrases": phrases}
                refuse_greedy(decoder, given)
                search_of(decoder.value)
            except InputError as error:  # it starts with the setting's name
                refuse(PROGRAM, f"--{error}")
        from asr.recognizer import load
        from asr.text.phrases import read_phrases

        likely = read_phrases(phrases) if phrases else None
        files = _files(audio, out, format) if out else [None] * len(audio)
        recognizer = load(model, device, decoder and decoder.value, lm, beam_width, likely)
        failed = 0
        for path, file in zip(audio, files, strict=True):
            if file is not None and file.exists():
                continue
            try:
                with _warnings_as_lines(AudioWarning):
                    transcript = recognizer.transcribe(path, channel)
                if file is not None:
                    write_text(file, _content(path, transcript, format), exclusive=True)
                elif format is TranscriptFormat.json:
                    print_json(_values(path, transcript))
                else:
                    print_row(name_of(path), transcript.text)
            except Exception as error:
                if _ends_all(error):
                    raise
                failed += 1
                named = isinstance(error, OSError) or str(error).startswith(f"{path}:")
                say(PROGRAM, f"{'' if named else f'{path}: '}{one_line(error)}")
    if failed:
        raise typer.Exit(1)


@contextmanager
def _warnings_as_lines(category: type[Warning]) -> Iterator[None]:
    """Print every warning of this category as a line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        show = warnings.showwarning

        def line(message: Warning | str, kind: type[Warning], *rest: Any) -> None:
            if issubclass(kind, category):
                say(PROGRAM, f"warning: {' '.join(str(message).split())}")
            else:
                show(message, kind, *rest)

        warnings.showwarning = line  # type: ignore[assignment]
        yield


def _ends_all(error: Exception) -> bool:
    """Whether the other files would fail too: a bug in this package, or stdout can't be written."""
    if isinstance(error, BrokenPipeError) or not has_one_line(error):
        return True
    return isinstance(error, OSError) and error.filename == STDOUT


def _files(audio: list[Path], out: Path, format: TranscriptFormat) -> list[Path]:
    """The output file of each recording; a line on stderr names each file that exists already.

    Raises:
        InputError: two recordings have the same output file, or all output files exist already.
    """
    stems = ["stdin" if path == Path("-") else path.stem for path in audio]
    files = [out / f"{stem}.{format.value}" for stem in stems]
    sources: dict[Path, Path] = {}
    for path, file in zip(audio, files, strict=True):
        if file in sources:
            raise InputError(
                f"{file}: would be the output of both {sources[file]} and {path};"
                " expected different file names"
            )
        sources[file] = path
    there = [file for file in files if file.exists()]
    if len(there) == len(files):
        raise InputError(f"{files[0]}: already exists; expected a new file")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder, or a new name")
    for file in there:
        say(PROGRAM, f"{file}: already exists and is kept")
    out.mkdir(parents=True, exist_ok=True)
    return files


def _values(path: Path, transcript: "Transcript") -> dict[str, Any]:
    log_prob = finite_or_none(transcript.log_prob)
    # bytes of a name that are not UTF-8 are escaped, because JSON can't hold them
    audio = os.fsencode(path).decode("utf-8", "backslashreplace")
    return {"audio": audio, **asdict(transcript), "log_prob": log_prob}


def _content(path: Path, transcript: "Transcript", format: TranscriptFormat) -> str:
    if format is TranscriptFormat.json:
        return json_line(_values(path, transcript)) + "\n"
    return printable(transcript.text) + "\n"
