"""`asr transcribe`: audio files -> transcripts, as lines on stdout or as files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from asr.cli.options import Device
from asr.cli.output import STDOUT, name_of, print_content, print_json, print_row
from asr.errors import InputError, has_one_line, one_line, reported, say
from asr.files import write_text

if TYPE_CHECKING:
    from asr.recognizer import Transcript
    from asr.transcribing.writers import Format

PROGRAM = "asr transcribe"


class Decoder(StrEnum):
    """Search algorithm."""

    greedy = "greedy"
    beam = "beam"
    flashlight = "flashlight"


def transcribe(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...", help="Audio files; - for standard input.", show_default=False
        ),
    ],
    model: Annotated[
        Path, typer.Option(metavar="DIR", help="A trained model's folder.", show_default=False)
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,...",
            help="txt (lines `PATH<TAB>TEXT`), json (one object per line), srt, vtt, ctm or"
            " textgrid; several with --out.",
        ),
    ] = "txt",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write one file per recording and format to this folder, instead of to stdout.",
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
        from asr.decoder import refuse_greedy

        try:
            given = {"--lm": lm, "--beam-width": beam_width, "--phrases": phrases}
            refuse_greedy(decoder or "", given)
        except InputError as error:
            raise typer.BadParameter(str(error)) from None
        formats = _formats(format)
        if not out:
            _check_stdout(formats, audio)
        from asr.recognizer import load
        from asr.text.phrases import read_phrases

        likely = read_phrases(phrases) if phrases else None
        files = _files(audio, out, formats) if out else []
        recognizer = load(model, device, decoder and decoder.value, lm, beam_width, likely)
        failed: list[Path] = []
        for number, path in enumerate(audio):
            missing = [file for file in files[number] if not file.path.exists()] if out else []
            if out and not missing:
                continue
            with _failures_as_lines(path, failed):
                with _warnings_as_lines(AudioWarning):
                    transcript = recognizer.transcribe(path, channel)
                if not out:
                    _print(formats[0], transcript, path, channel)
                for file in missing:
                    with _failures_as_lines(path, failed):
                        _write(file, transcript, path, channel)
    if failed:
        raise typer.Exit(1)


class _File(NamedTuple):
    """An output file."""

    format: "Format"
    path: Path


def _formats(names: str) -> list["Format"]:
    """The formats in a list such as `srt,json`."""
    from asr.transcribing.writers import SUFFIX

    formats = [format for name in names.split(",") for format in SUFFIX if format == name]
    if len(set(formats)) < len(names.split(",")):
        message = f"is {names!r}; expected one or more of {','.join(SUFFIX)}, each once"
        raise typer.BadParameter(message, param_hint="--format")
    return formats


def _check_stdout(formats: list["Format"], audio: list[Path]) -> None:
    """Refuse what one stream can't hold; files can, with --out.

    Raises:
        typer.BadParameter: there are several formats, or several recordings in a format whose
            files have one recording.
        InputError: two recordings have the same name in CTM.
    """
    from asr.transcribing.writers import recording_name

    message = ""
    if len(formats) > 1:
        message = f"standard output takes one format, not {len(formats)}; expected --out DIR"
    elif formats[0] in ("srt", "vtt", "textgrid") and len(audio) > 1:
        message = f"{formats[0]} holds one recording, not {len(audio)}; expected --out DIR"
    if message:
        raise typer.BadParameter(message, param_hint="--format")
    if formats == ["ctm"]:
        _check_names([recording_name(path) for path in audio], audio)


def _files(audio: list[Path], out: Path, formats: list["Format"]) -> list[list[_File]]:
    """The output files of each recording; a line on stderr names each that exists already.

    Raises:
        InputError: two recordings have the same output file, or all output files exist already.
    """
    from asr.transcribing.writers import SUFFIX, recording_name

    names = [recording_name(path) for path in audio]
    _check_names([str(out / f"{name}{SUFFIX[formats[0]]}") for name in names], audio)
    files = [
        [_File(format, out / f"{name}{SUFFIX[format]}") for format in formats] for name in names
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


def _check_names(names: list[str], audio: list[Path]) -> None:
    """Raise InputError if two recordings would have the same name in the output."""
    sources: dict[str, Path] = {}
    for name, path in zip(names, audio, strict=True):
        if name in sources:
            raise InputError(
                f"{name}: would be the output of both {sources[name]} and {path};"
                " expected different file names"
            )
        sources[name] = path


def _print(format: "Format", transcript: "Transcript", audio: Path, channel: int | None) -> None:
    from asr.transcribing.writers import as_text, json_values

    if format == "txt":
        print_row(name_of(audio), transcript.text)
    elif format == "json":
        print_json(json_values(transcript, audio))
    else:
        print_content(as_text(format, transcript, audio, channel))


def _write(file: _File, transcript: "Transcript", audio: Path, channel: int | None) -> None:
    from asr.transcribing.writers import as_text

    write_text(file.path, as_text(file.format, transcript, audio, channel), exclusive=True)


@contextmanager
def _failures_as_lines(audio: Path, failed: list[Path]) -> Iterator[None]:
    """Print an error that concerns one recording as a line on stderr, and add it to `failed`."""
    try:
        yield
    except Exception as error:
        if _ends_all(error):
            raise
        failed.append(audio)
        named = isinstance(error, OSError) or str(error).startswith(f"{audio}:")
        say(PROGRAM, f"{'' if named else f'{audio}: '}{one_line(error)}")


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
