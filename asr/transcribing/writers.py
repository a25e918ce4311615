"""transcript -> the content of a txt, JSON, SRT, WebVTT, CTM or TextGrid file.

All times of words are in whole milliseconds.
"""

import html
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, assert_never

from asr.alignment.times import TimedLabel, Word
from asr.errors import InputError, printable
from asr.files import finite_or_none, json_line
from asr.recognizer import Transcript
from asr.transcribing.captions import Caption, captions, milliseconds

Format = Literal["txt", "json", "srt", "vtt", "ctm", "textgrid"]

SUFFIX: dict[Format, str] = {
    "txt": ".txt",
    "json": ".json",
    "srt": ".srt",
    "vtt": ".vtt",
    "ctm": ".ctm",
    "textgrid": ".TextGrid",
}
"""The usual suffix of each format's files."""


def as_text(
    format: Format,
    transcript: Transcript,
    audio: str | Path,
    channel: int | None = None,
    phones: Sequence[TimedLabel] | None = None,
) -> str:
    """The content of a file in any of the formats.

    Args:
        format: its name.
        transcript: of one recording.
        audio: the recording's path; only JSON and CTM have it.
        channel: the transcribed channel, from 0; None for the mean of all. Only CTM has it.
        phones: the times of the phones or other units of the words, which only JSON and TextGrid
            have; None to leave them out.

    Raises:
        InputError: the format can't hold one of the words.
        ValueError: the format needs words with times, and the transcript has a text without words,
            or words that overlap or are outside the recording.
    """
    match format:
        case "txt":
            return as_txt(transcript)
        case "json":
            return as_json(transcript, audio, phones)
        case "srt":
            return as_srt(transcript)
        case "vtt":
            return as_vtt(transcript)
        case "ctm":
            return as_ctm(transcript, audio, channel)
        case "textgrid":
            return as_textgrid(transcript, phones)
    assert_never(format)


def as_txt(transcript: Transcript) -> str:
    """The text in a line."""
    return printable(transcript.text) + "\n"


def as_json(
    transcript: Transcript, audio: str | Path, phones: Sequence[TimedLabel] | None = None
) -> str:
    """A JSON object in a line; see `json_values`."""
    return json_line(json_values(transcript, audio, phones)) + "\n"


def json_values(
    transcript: Transcript, audio: str | Path, phones: Sequence[TimedLabel] | None = None
) -> dict[str, Any]:
    r"""What the JSON object of a transcript holds: audio, text, log_prob, duration, words, phones.

    Times are in seconds. The log-probability is rounded to thousandths, since its further digits
    depend on the recordings that are recognised in the same batch; None if it is not finite. Bytes
    of a path that are not UTF-8 are escaped, as in \xe9.
    """
    values: dict[str, Any] = {
        "audio": _utf8(audio),
        "text": transcript.text,
        "log_prob": finite_or_none(round(transcript.log_prob, 3)),
        "duration": transcript.duration,
        "words": [
            {
                "word": word.text,
                "start": milliseconds(word.start) / 1000,
                "end": milliseconds(word.end) / 1000,
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ],
    }
    if phones is not None:
        values["phones"] = [
            {
                "phone": phone.label,
                "start": milliseconds(phone.start) / 1000,
                "end": milliseconds(phone.end) / 1000,
            }
            for phone in phones
        ]
    return values


def captions_of(transcript: Transcript) -> list[Caption]:
    """The captions of a transcript; none is shown after the end of the recording.

    Raises:
        ValueError: see `as_text`.
    """
    return captions(_timed_words(transcript), milliseconds(transcript.duration))


def as_srt(transcript: Transcript, first_number: int = 1) -> str:
    """SubRip subtitles, numbered from `first_number` on.

    Raises:
        InputError: a word looks like SubRip's formatting, such as `<i>`.
        ValueError: see `as_text`.
    """
    found = captions_of(transcript)
    _refuse(transcript.words, _SRT_FORMATTING, "SRT")
    blocks = []
    for number, caption in enumerate(found, first_number):
        times = f"{_clock(caption.start_ms, ',')} --> {_clock(caption.end_ms, ',')}"
        blocks.append("\n".join([str(number), times, *map(printable, caption.lines)]) + "\n")
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles.

    Raises:
        ValueError: see `as_text`.
    """
    cues = vtt_cues(transcript)
    return "\n".join([VTT_HEADER, cues] if cues else [VTT_HEADER])


VTT_HEADER = "WEBVTT\n"
"""First line of WebVTT; a blank line follows it if there are cues."""


def vtt_cues(transcript: Transcript) -> str:
    """The subtitles of WebVTT without the header.

    Raises:
        ValueError: see `as_text`.
    """
    cues = []
    for caption in captions_of(transcript):
        times = f"{_clock(caption.start_ms, '.')} --> {_clock(caption.end_ms, '.')}"
        lines = (html.escape(printable(line), quote=False) for line in caption.lines)
        cues.append("\n".join([times, *lines]) + "\n")
    return "\n".join(cues)


def as_ctm(transcript: Transcript, audio: str | Path, channel: int | None = None) -> str:
    r"""NIST's CTM: a line `recording channel start duration word confidence` for each word.

    The recording is the name of the file without its suffix. Blanks and control characters in it
    are escaped (\x20, \n), and each \ is doubled. Channels are counted from 1, as NIST does; the
    mean of all channels is 1.

    Raises:
        InputError: a word has a special meaning in CTM, such as `{`.
        ValueError: see `as_text`.
    """
    words = _timed_words(transcript)
    _refuse(words, _SCLITE_NOTATION, "CTM")
    recording = _ctm_name(audio)
    lines = []
    for word in words:
        start, end = milliseconds(word.start), milliseconds(word.end)
        times = f"{start / 1000:.3f} {(end - start) / 1000:.3f}"
        confidence = f"{word.confidence:.4f}"
        lines.append(f"{recording} {(channel or 0) + 1} {times} {word.text} {confidence}\n")
    return "".join(lines)


def as_textgrid(transcript: Transcript, phones: Sequence[TimedLabel] | None = None) -> str:
    """Praat's TextGrid in its long text format: tiers of words and phones; gaps are empty.

    Raises:
        ValueError: see `as_text`.
    """
    words = [TimedLabel(word.text, word.start, word.end) for word in _timed_words(transcript)]
    tiers = {"words": words} if phones is None else {"words": words, "phones": phones}
    end = milliseconds(transcript.duration)
    head = _TEXTGRID.format(end=end / 1000, count=len(tiers))
    return head + "".join(
        _tier(number, name, labels, end) for number, (name, labels) in enumerate(tiers.items(), 1)
    )


def recording_name(audio: str | Path) -> str:
    """The name of a recording in CTM, and of its files: the path's last part without suffix."""
    return "stdin" if str(audio) == "-" else Path(audio).stem


_TEXTGRID = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {end}
tiers? <exists>
size = {count}
item []:
"""

_TIER = """\
    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0
        xmax = {end}
        intervals: size = {count}
"""

_SRT_FORMATTING = re.compile(r"</?(?:[bius]|font)\b.*>|\{\\", re.I)
# what sclite and `asr.scoring.notation` don't take for a part of the word
_SCLITE_NOTATION = re.compile(r"[{};\\\s]|.\*$|^@$|^<alt(?:_begin|_end)?>$", re.I)


def _tier(number: int, name: str, labels: Sequence[TimedLabel], end: int) -> str:
    """A tier of a TextGrid, which covers the recording up to `end`, in milliseconds."""
    intervals: list[tuple[int, int, str]] = []
    now = 0
    for label, *times in [*labels, TimedLabel("", end / 1000, end / 1000)]:
        start, stop = map(milliseconds, times)
        if start > now:
            intervals.append((now, start, ""))
        if stop > start:
            intervals.append((start, stop, printable(label).replace('"', '""')))
        now = stop
    rows = [
        f"        intervals [{row}]:\n"
        f"            xmin = {start / 1000}\n            xmax = {stop / 1000}\n"
        f'            text = "{text}"\n'
        for row, (start, stop, text) in enumerate(intervals, 1)
    ]
    tier = _TIER.format(number=number, name=name, end=end / 1000, count=len(intervals))
    return tier + "".join(rows)


def _refuse(words: Sequence[Word], special: re.Pattern[str], format: str) -> None:
    found = next((word.text for word in words if special.search(word.text)), None)
    if found is not None:
        raise InputError(
            f"has the word {found!r}, which has a special meaning in {format}; expected another"
            " format"
        )


def _timed_words(transcript: Transcript) -> Sequence[Word]:
    """The words, checked for formats that show times."""
    if transcript.text.strip() and not transcript.words:
        raise ValueError(f"transcript has the text {transcript.text!r}, but no words with times")
    now, duration = 0, milliseconds(transcript.duration)
    for word in transcript.words:
        start, end = milliseconds(word.start), milliseconds(word.end)
        if not now <= start < end <= duration:
            raise ValueError(
                f"transcript has {word}; expected a start from {now / 1000} s on, then an end up to"
                f" {duration / 1000} s"
            )
        now = end
    return transcript.words


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _ctm_name(audio: str | Path) -> str:
    """The recording's name without blanks, and not beginning like a comment."""
    name = printable(_utf8(recording_name(audio)).replace("\\", "\\\\"))
    name = re.sub("^;", r"\\x3b", name).replace(" ", r"\x20")
    return re.sub(r"\s", lambda found: ascii(found.group())[1:-1], name)


def _utf8(path: str | Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
