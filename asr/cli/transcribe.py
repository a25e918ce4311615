"""`asr transcribe`: audio files -> transcripts, as lines on stdout or as files."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from asr.cli.options import Device, ModelOption, model_or_default
from asr.cli.usage import refuse
from asr.errors import InputError, reported, say
from asr.files import path_of

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
            metavar="AUDIO...",
            parser=path_of,
            help="Audio files, folders, which are searched recursively, or quoted patterns such as"
            " 'talks/**/*.mp3'; - for standard input.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
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
            parser=path_of,
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
    punctuate: Annotated[
        bool | None,
        typer.Option(
            "--punctuate/--no-punctuate",
            help="Put punctuation and capitals into the text, with the model's folder punctuation.",
            show_default="for srt and vtt, if the model has the folder",
        ),
    ] = None,
    batch_s: Annotated[
        int,
        typer.Option(
            min=0,
            help="Recognise files of up to 30 s in batches of similar length: seconds of audio per"
            " batch, or 0 for one file at a time.",
        ),
    ] = 60,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Transcribe one recording while it arrives: each stretch of speech is printed"
            " when it ends, and on a terminal the text so far. - takes WAV, or raw 16-bit samples"
            " at the model's rate.",
        ),
    ] = False,
) -> None:
    """Transcribe audio files.

    If a file can't be used, or stdout can't print its text, stderr has the file's name and the
    reason, the other files are still done, and the exit status is 1; with --out, failed.tsv lists
    these files too. Warnings, such as channels that cancel each other, go to stderr too. In lines
    of text, control characters in a name are escaped (\\n, \\t, \\x1b) and each \\ is doubled;
    JSON has the unchanged name, and CTM the name without folder and suffix, with blanks as \\x20.
    Without --out, srt, vtt and textgrid are for one recording.

    With --out the files of a folder mirror its tree, and recordings of the same name keep their
    folders. No transcript is overwritten: to continue after a failure, run the same command again.
    Recordings that have all their files are done and left out.
    """
    with reported(PROGRAM):
        from asr.audio.load import AudioWarning
        from asr.cli.audio_files import find_audio
        from asr.cli.stream_output import check_stream, print_stream
        from asr.cli.transcript_output import (
            check_stdout,
            is_output,
            parse_formats,
            print_all,
            tell_failures,
            write_all,
        )
        from asr.decoder import refuse_greedy, search_of

        if decoder:
            try:
                given = {"--lm": lm, "--beam-width": beam_width, "--phrases": phrases}
                refuse_greedy(decoder, given)
                search_of(decoder.value)
            except InputError as error:  # it starts with the setting's name
                refuse(PROGRAM, f"--{error}")
        model = model_or_default(PROGRAM, model)
        formats = parse_formats(format, PROGRAM)
        recordings = find_audio(audio, PROGRAM, is_output)
        paths = [path for path, _ in recordings]
        if stream:
            check_stream(formats, paths, out)
        elif not out:
            check_stdout(formats, paths)
        from asr.alignment.transcript import Transcript
        from asr.installed import model_folder
        from asr.recognizer import load
        from asr.text.phrases import read_phrases
        from asr.transcribing.files import transcribe_files
        from asr.transcribing.punctuation import FormatPunctuation, choose_punctuation

        likely = read_phrases(phrases) if phrases else None

        def punctuation() -> FormatPunctuation:
            return choose_punctuation(model_folder(model), formats, punctuate)

        if stream:
            recognizer = load(model, device, decoder and decoder.value, lm, beam_width, likely)
            with _warnings_as_lines(AudioWarning):
                print_stream(recognizer, paths[0], formats[0], channel, punctuation())
            return

        def results(paths: Sequence[Path]) -> Iterator[tuple[Path, Transcript | Exception]]:
            recognizer = load(model, device, decoder and decoder.value, lm, beam_width, likely)
            return zip(paths, transcribe_files(recognizer, paths, channel, batch_s), strict=True)

        with _warnings_as_lines(AudioWarning):
            if out:
                failures = write_all(
                    PROGRAM, recordings, out, formats, channel, punctuation, results
                )
            else:
                failures = print_all(
                    PROGRAM, paths, formats[0], channel, punctuation(), results(paths)
                )
        tell_failures(PROGRAM, failures, len(recordings))
    if failures:
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
