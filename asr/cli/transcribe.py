"""`asr transcribe`: audio files -> their texts, one line each."""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.errors import InputError, reported

if TYPE_CHECKING:
    from asr.recognizer import Transcript

PROGRAM = "asr transcribe"


class TranscriptFormat(StrEnum):
    """How `asr transcribe` prints."""

    txt = "txt"
    json = "json"


class Decoder(StrEnum):
    """How the log-probabilities are searched."""

    greedy = "greedy"
    beam = "beam"
    flashlight = "flashlight"


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def transcribe(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...", help="Audio files; - is standard input.", show_default=False
        ),
    ],
    model: Annotated[
        Path, typer.Option(metavar="DIR", help="A trained model's folder.", show_default=False)
    ],
    format: Annotated[
        TranscriptFormat, typer.Option(help="PATH, tab, TEXT; or one JSON object a line.")
    ] = TranscriptFormat.txt,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a file a recording here instead of lines to stdout.",
            show_default=False,
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(min=0, help="Take this channel, from 0; by default the mean of all."),
    ] = None,
    decoder: Annotated[
        Decoder | None,
        typer.Option(
            help="How to search.",
            show_default="as the model's decoding.json says, else greedy; beam with --lm",
        ),
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE", help="Go by this language model alone.", show_default=False
        ),
    ] = None,
    beam_width: Annotated[
        int | None,
        typer.Option(min=1, help="Prefixes that a beam search keeps.", show_default="50"),
    ] = None,
    phrases: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Likely phrases, one a line; behind a tab, nats a token (2).",
            show_default=False,
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """The text of audio files.

    A file that can't be used is named on stderr with the reason, the others are done, and the exit
    status is 1. What may not be meant, such as channels that cancel each other, is a warning there.
    """
    if decoder is Decoder.greedy and (lm or beam_width or phrases):
        raise typer.BadParameter(
            "--lm, --beam-width and --phrases need --decoder beam or flashlight"
        )
    with reported(PROGRAM):
        from asr.audio.load import AudioWarning
        from asr.recognizer import load
        from asr.search.phrases import read_phrases

        likely = read_phrases(phrases) if phrases else None
        files = _files(audio, out, format) if out else [None] * len(audio)
        recognizer = load(model, device, decoder and decoder.value, lm, beam_width, likely)
        failed = 0
        for path, file in zip(audio, files, strict=True):
            try:
                with _warnings_as_lines(AudioWarning):
                    transcript = recognizer.transcribe(path, channel)
                if file is not None:
                    # a recording's name may be no text at all
                    file.write_text(_content(path, transcript, format), "utf-8", "surrogateescape")
            except (InputError, OSError) as error:
                failed += 1
                print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
                continue
            if file is None:
                print(_line(path, transcript, format), flush=True)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _warnings_as_lines(category: type[Warning]) -> Iterator[None]:
    """Warnings of this kind are lines on stderr, each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        show = warnings.showwarning

        def line(message: Warning | str, kind: type[Warning], *rest: Any) -> None:
            if issubclass(kind, category):
                print(f"{PROGRAM}: warning: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                show(message, kind, *rest)

        warnings.showwarning = line  # type: ignore[assignment]
        yield


def _files(audio: list[Path], out: Path, format: TranscriptFormat) -> list[Path]:
    """Where each recording's text goes; nothing that is there is overwritten.

    Raises:
        InputError: two recordings would share a file, or there is one already.
    """
    stems = ["stdin" if path == Path("-") else path.stem for path in audio]
    files = [out / f"{stem}.{format.value}" for stem in stems]
    sources: dict[Path, Path] = {}
    for path, file in zip(audio, files, strict=True):
        if file in sources:
            raise InputError(f"{file}: would hold both {sources[file]} and {path}")
        if file.exists():
            raise InputError(f"{file}: is there already; expected a new file")
        sources[file] = path
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder, or a new name")
    out.mkdir(parents=True, exist_ok=True)
    return files


def _line(path: Path, transcript: "Transcript", format: TranscriptFormat) -> str:
    if format is TranscriptFormat.json:
        values = {"audio": str(path), **asdict(transcript)}
        if math.isinf(transcript.log_prob):  # which JSON has not
            values["log_prob"] = None
        return json.dumps(values, ensure_ascii=False, allow_nan=False)
    return f"{path}\t{transcript.text}"


def _content(path: Path, transcript: "Transcript", format: TranscriptFormat) -> str:
    if format is TranscriptFormat.json:
        return _line(path, transcript, format) + "\n"
    return transcript.text + "\n"
