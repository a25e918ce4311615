"""A recording, as it arrives -> lines on stdout, and the text so far on stderr; imports torch."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from asr.alignment.transcript import Transcript
from asr.audio.content import STANDARD_INPUT
from asr.audio.live import BinaryReader, read_live
from asr.audio.load import read_blocks
from asr.cli.output import print_content, print_json, print_row
from asr.cli.progress import changing_line
from asr.cli.usage import refuse
from asr.recognizer import Recognizer
from asr.streaming.stream import StreamResult
from asr.transcribing.punctuation import FormatPunctuation
from asr.transcribing.writers import (
    VTT_HEADER,
    Format,
    as_ctm,
    as_srt,
    captions_of,
    json_values,
    vtt_cues,
)

PROGRAM = "asr transcribe"

_PIECE_S = 0.1  # seconds of a file that are taken at once, as if they had just arrived


def check_stream(formats: Sequence[Format], audio: Sequence[Path], out: Path | None) -> None:
    """Exit with status 2 if recordings or formats can't be streamed to stdout."""
    if len(audio) != 1:
        refuse(PROGRAM, f"--stream is for one recording, not {len(audio)}; expected one")
    if out:
        refuse(PROGRAM, f"--out is {out}; expected none with --stream, which prints to stdout")
    if len(formats) > 1 or formats[0] == "textgrid":
        refuse(
            PROGRAM,
            f"--format is {','.join(formats)}; expected txt, json, srt, vtt or ctm with --stream",
        )


def print_stream(
    recognizer: Recognizer,
    audio: Path,
    format: Format,
    channel: int | None = None,
    punctuation: FormatPunctuation | None = None,
) -> None:
    """Print each segment of a recording when it ends, and on a terminal the text so far.

    The first Ctrl-C ends standard input, so that the last segment is printed too.

    Args:
        recognizer: the recogniser.
        audio: the recording's path; `-` for standard input.
        format: any but textgrid. Lines of text have no path; JSON has the `start` of a segment, and
            its own duration.
        channel: number of the channel, from 0; None for the mean of all.
        punctuation: of each segment by itself.

    Raises:
        InputError: the recording or the model can't be used, or the format can't hold a word.
        OSError: stdout can't be written.
    """
    if format == "vtt":
        print_content(VTT_HEADER)
    n_captions = 0
    with changing_line() as show:
        for result in recognizer.stream(_pieces(audio, recognizer.sample_rate, channel)):
            if not result.is_final:
                show(result.text)
                continue
            show("")
            if result.text:
                transcript = _transcript(result)
                if punctuation:
                    transcript = punctuation.versions(transcript, [format])[format]
                _print_final(result, transcript, audio, format, channel, n_captions)
                n_captions += len(captions_of(transcript))


def _pieces(audio: Path, sample_rate: int, channel: int | None) -> Iterator[np.ndarray]:
    if audio == STANDARD_INPUT:
        stdin = cast(BinaryReader, sys.stdin.buffer)  # typed without `read1`
        with _interrupt_ends() as is_ended:
            for piece in read_live(stdin, str(audio), sample_rate, channel):
                yield piece
                if is_ended():
                    return
        return
    length = max(1, round(_PIECE_S * sample_rate))
    for block in read_blocks(audio, sample_rate, channel):
        for first in range(0, len(block), length):
            yield block[first : first + length]


@contextmanager
def _interrupt_ends() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C only be noted: it ends the recording program too. A second interrupts.

    Yields:
        is_ended: whether there was one.
    """
    interrupts: list[int] = []

    def note(number: int, frame: Any) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(interrupts)
    finally:
        signal.signal(signal.SIGINT, before)


def _transcript(result: StreamResult) -> Transcript:
    assert result.log_prob is not None
    # its end is that of the segment, so that its subtitles are gone when those of the next come
    return Transcript(result.text, result.log_prob, result.end, lambda: result.words)


def _print_final(
    result: StreamResult,
    transcript: Transcript,
    audio: Path,
    format: Format,
    channel: int | None,
    n_captions: int,
) -> None:
    match format:
        case "json":
            values = json_values(transcript, audio)
            times = {"start": result.start, "duration": result.end - result.start}
            print_json(values | {name: round(time, 3) for name, time in times.items()})
        case "srt":
            print_content("\n" * (n_captions > 0) + as_srt(transcript, n_captions + 1))
        case "vtt":
            print_content("\n" + vtt_cues(transcript))
        case "ctm":
            print_content(as_ctm(transcript, audio, channel))
        case _:
            print_row(transcript.text)
