"""`asr align`: a recording and its text -> times of the words and phones."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.options import Device, ModelOption, model_or_default
from asr.cli.output import print_content
from asr.cli.usage import refuse
from asr.errors import InputError, reported
from asr.files import path_of, read_text, write_text

if TYPE_CHECKING:
    from asr.alignment.times import TimedLabel
    from asr.recognizer import Transcript

PROGRAM = "asr align"


class AlignmentFormat(StrEnum):
    """Output format."""

    ctm = "ctm"
    textgrid = "textgrid"
    json = "json"
    srt = "srt"
    vtt = "vtt"


def align(
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            parser=path_of,
            help="An audio file; - for standard input.",
            show_default=False,
        ),
    ],
    text: Annotated[
        Path,
        typer.Argument(
            metavar="TEXT",
            parser=path_of,
            help="What is said in it, a UTF-8 file; - for standard input.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
    format: Annotated[
        AlignmentFormat,
        typer.Option(help="CTM lines, Praat's TextGrid, a JSON object, or subtitles."),
    ] = AlignmentFormat.ctm,
    phones: Annotated[
        bool,
        typer.Option(
            "--phones", help="Also times of the model's units; for textgrid and json only."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=path_of, help="Write a new file.", show_default="stdout"
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            min=0, help="Use only this channel, counted from 0.", show_default="mean of all"
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
) -> None:
    """Find the times of the words of a recording of any length, whose text is known.

    Case and punctuation are converted to those of the model. If its lexicon lacks words, such as
    names, they are pronounced by their letters; words that it can't spell, such as numbers in
    digits, are named and nothing is aligned. Every word of the text gets times.
    A confidence near 0 shows a word that was not said: compare it with those of its neighbours.
    """
    if phones and format not in (AlignmentFormat.textgrid, AlignmentFormat.json):
        refuse(PROGRAM, f"--format is {format.value}; expected textgrid or json with --phones")
    if audio == text == Path("-"):
        refuse(PROGRAM, "TEXT is standard input, as AUDIO is; expected a file")
    with reported(PROGRAM):
        from asr.transcribing.writers import as_text

        model = model_or_default(PROGRAM, model)
        if out is not None and out.exists():
            raise InputError(f"{out}: already exists; expected a new file")
        transcript, timed = _aligned(audio, text, model, channel, device)
        content = as_text(format.value, transcript, audio, channel, timed if phones else None)
        if out is not None:
            write_text(out, content, exclusive=True)
        else:
            print_content(content)


def _aligned(
    audio: Path, text: Path, folder: Path, channel: int | None, device: Device
) -> tuple["Transcript", list["TimedLabel"]]:
    """The text as a transcript with the times of its words, and its phones."""
    from asr.alignment.aligner import align_text
    from asr.alignment.pieces import log_probs_in_pieces
    from asr.audio.waveform import load_audio
    from asr.corpus.letter_to_sound import with_guesses
    from asr.installed import model_folder
    from asr.model import load_model
    from asr.recognizer import Recognizer, Transcript, pick_device
    from asr.text.spelling import spellable_words, unspelled_words

    model = load_model(model_folder(folder), pick_device(device))
    written = read_text("/dev/stdin" if text == Path("-") else text)
    unknown = unspelled_words(written, model.tokenizer, str(text))
    model = replace(model, tokenizer=with_guesses(model.tokenizer, unknown, f"{PROGRAM}: {text}"))
    recognizer = Recognizer(model)
    said = " ".join(spellable_words(written, recognizer.tokenizer, str(text)))
    waveform = load_audio(audio, recognizer.sample_rate, channel)
    recognizer.check_length(waveform, str(audio))
    duration = len(waveform) / recognizer.sample_rate
    log_probs = log_probs_in_pieces(recognizer.model, waveform, str(audio))
    try:
        found = align_text(recognizer.model, log_probs, said, duration)
    except InputError as error:
        raise InputError(f"{audio}: {error}") from None
    return Transcript(said, found.log_prob, duration, lambda: found.words), found.phones
