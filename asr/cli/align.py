"""`asr align`: a recording and its text -> times of the words and phones."""

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.options import Device
from asr.cli.output import json_line, print_lines
from asr.errors import InputError, reported
from asr.files import read_text, write_text

if TYPE_CHECKING:
    from asr.alignment.times import TimedLabel
    from asr.recognizer import Transcript

PROGRAM = "asr align"


class AlignmentFormat(StrEnum):
    """Output format."""

    ctm = "ctm"
    textgrid = "textgrid"
    json = "json"


def align(
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO", help="An audio file; - for standard input.", show_default=False
        ),
    ],
    text: Annotated[
        Path,
        typer.Argument(
            metavar="TEXT",
            help="What is said in it, a UTF-8 file; - for standard input.",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path, typer.Option(metavar="DIR", help="A trained model's folder.", show_default=False)
    ],
    format: Annotated[
        AlignmentFormat,
        typer.Option(help="CTM lines, Praat's TextGrid, or one JSON object."),
    ] = AlignmentFormat.ctm,
    phones: Annotated[
        bool,
        typer.Option(
            "--phones", help="Also times of the model's units; for textgrid and json only."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a new file.", show_default="stdout"),
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

    Case and punctuation are converted to those of the model; words that it can't spell, such as
    numbers in digits, are named and nothing is aligned. Every word of the text gets times.
    A confidence near 0 shows a word that was not said: compare it with those of its neighbours.
    """
    if phones and format is AlignmentFormat.ctm:
        raise typer.BadParameter("needs --format textgrid or json", param_hint="--phones")
    if audio == text == Path("-"):
        raise typer.BadParameter("AUDIO is standard input too", param_hint="TEXT")
    with reported(PROGRAM):
        if out is not None and out.exists():
            raise InputError(f"{out}: already exists; expected a new file")
        transcript, timed = _aligned(audio, text, model, channel, device)
        content = _content(format, transcript, str(audio), timed if phones else None)
        if out is not None:
            write_text(out, content, exclusive=True)
        else:
            print_lines(content.splitlines())


def _aligned(
    audio: Path, text: Path, folder: Path, channel: int | None, device: Device
) -> tuple["Transcript", list["TimedLabel"]]:
    """The text as a transcript with the times of its words, and its phones."""
    from asr.alignment.aligner import align_text
    from asr.alignment.pieces import log_probs_in_pieces
    from asr.audio.waveform import load_audio
    from asr.model import load_model
    from asr.recognizer import Recognizer, Transcript, pick_device
    from asr.text.spelling import spellable_words

    recognizer = Recognizer(load_model(folder, pick_device(device)))
    written = read_text("/dev/stdin" if text == Path("-") else text)
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


def _content(
    format: AlignmentFormat,
    transcript: "Transcript",
    name: str,
    phones: Sequence["TimedLabel"] | None,
) -> str:
    """The content of a file in this format.

    Args:
        format: the format.
        transcript: the text with its words.
        name: of the audio file.
        phones: the phones with their times; None to leave them out.
    """
    match format:
        case AlignmentFormat.ctm:
            return _ctm(transcript, name)
        case AlignmentFormat.textgrid:
            return _textgrid(transcript, phones)
        case AlignmentFormat.json:
            return _json(transcript, name, phones)


def _ctm(transcript: "Transcript", name: str) -> str:
    """Lines of the recording's name, channel, start, duration, word and confidence."""
    recording = "_".join(Path(name).stem.split()) if name != "-" else "stdin"
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} {word.text}"
        f" {word.confidence:.4f}\n"
        for word in transcript.words
    )


def _json(transcript: "Transcript", name: str, phones: Sequence["TimedLabel"] | None) -> str:
    values: dict[str, Any] = {
        # bytes of a name that are not UTF-8 are escaped, because JSON can't hold them
        "audio": os.fsencode(name).decode("utf-8", "backslashreplace"),
        "text": transcript.text,
        "duration": transcript.duration,
        "log_prob": transcript.log_prob,
        "words": [
            {
                "word": word.text,
                "start": round(word.start, 4),
                "end": round(word.end, 4),
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ],
    }
    if phones is not None:
        values["phones"] = [
            {"phone": label, "start": round(start, 4), "end": round(end, 4)}
            for label, start, end in phones
        ]
    return json_line(values) + "\n"


def _textgrid(transcript: "Transcript", phones: Sequence["TimedLabel"] | None) -> str:
    """Praat's text format, with a tier of the words and perhaps one of the phones."""
    tiers = [("words", [(word.text, word.start, word.end) for word in transcript.words])]
    if phones is not None:
        tiers.append(("phones", [(label, start, end) for label, start, end in phones]))
    end = f"xmin = 0\nxmax = {transcript.duration:.4f}\n"
    lines = ['File type = "ooTextFile"\nObject class = "TextGrid"\n\n', end]
    lines.append(f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n")
    for number, (tier, labels) in enumerate(tiers, 1):
        intervals = _without_gaps(labels, transcript.duration)
        lines.append(f'item [{number}]:\nclass = "IntervalTier"\nname = "{tier}"\n{end}')
        lines.append(f"intervals: size = {len(intervals)}\n")
        for place, (label, begin, stop) in enumerate(intervals, 1):
            quoted = label.replace('"', '""')
            lines.append(f"intervals [{place}]:\nxmin = {begin}\nxmax = {stop}\n")
            lines.append(f'text = "{quoted}"\n')
    return "".join(lines)


def _without_gaps(
    labels: Iterable[tuple[str, float, float]], duration: float
) -> list[tuple[str, str, str]]:
    """The intervals of a tier, which covers the whole recording: gaps have an empty label."""
    intervals = []
    last = f"{0:.4f}"
    for label, *times in [*labels, ("", duration, duration)]:
        start, end = (f"{time:.4f}" for time in times)
        if start != last:
            intervals.append(("", last, start))
        if label:
            intervals.append((label, start, end))
        last = end
    return intervals
