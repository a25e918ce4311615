"""Subtitles (SRT, WebVTT, SBV) -> the text of a recording."""

import html
import re
from pathlib import Path

from asr.errors import InputError
from asr.scoring.entries import Entry, Reading

Lines = list[tuple[str, str]]

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMES = re.compile(
    rf"\s*\[?\s*{_TIME}\s*-->\s*{_TIME}(?P<bracket>\]?)(?P<rest>.*)|\s*{_TIME},{_TIME}\s*"
)
_TAGS = re.compile(
    r"</?(?:i|b|u|s|c|v|font|lang|ruby|rt)(?:[ .][^>]*)?>|<" + _TIME + r">|\{\\[^}]*\}",
    re.I,
)
_SIGNS = re.compile(r"^\s*(?:[-–—]|>>>?)\s+|[♪♫]", re.M)  # a new speaker; music
_NOTE = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")


def is_subtitles(lines: Lines) -> bool:
    """Whether a file begins with WEBVTT or with two times, as subtitles do."""
    first = [row for _, row in lines if row.strip()][:2]
    if first and (_is_vtt(first[0]) or _TIMES.fullmatch(first[0])):
        return True
    return len(first) == 2 and first[0].strip().isdecimal() and bool(_TIMES.fullmatch(first[1]))


def read_subtitles(lines: Lines, path: Path) -> Reading:
    """Read all subtitles of a file as one utterance; there may be none in WebVTT or an empty file.

    Numbers, times, cue names, tags, notes and styles are removed. So are the signs for a new
    speaker (`-` and `>>` at the beginning of a line) and for music.

    Raises:
        InputError: the file has no times, or a text has no time.
    """
    is_vtt = _is_vtt(next((row for _, row in lines if row.strip()), ""))
    names = _names_of_cues(lines, is_vtt, path)
    texts: list[str] = []
    inside = "header" if is_vtt else ""  # or cue, or note
    for number, (place, row) in enumerate(lines):
        if found := _TIMES.fullmatch(row):
            inside = "cue"
            if found["bracket"]:  # "[0:01.000 --> 0:02.000] text", as whisper prints
                texts.append(found["rest"])
        elif not row.strip():
            inside = "" if is_vtt else inside  # texts in SRT may have blank lines
        elif number in names or inside in ("header", "note"):
            continue
        elif inside == "cue":
            texts.append(row)
        elif is_vtt and _NOTE.match(row):
            inside = "note"
        else:
            raise InputError(f"{place}: has a text without a time; expected a time before it")
    text = _SIGNS.sub(" ", html.unescape(_TAGS.sub("", "\n".join(texts))))
    return Reading([Entry(str(path), " ".join(text.split()))], has_ids=False)


def _is_vtt(row: str) -> bool:
    return re.match(r"WEBVTT(\s|$)", row) is not None


def _names_of_cues(lines: Lines, is_vtt: bool, path: Path) -> set[int]:
    """Indices of the lines with a cue's number or, in WebVTT, its name: right before a time."""
    times = [number for number, (_, row) in enumerate(lines) if _TIMES.fullmatch(row)]
    if not times and not is_vtt and any(row.strip() for _, row in lines):
        raise InputError(
            f"{path}: has no times; expected subtitles (00:00:01,000 --> 00:00:02,000)"
        )
    rows = ["", "", *(row.strip() for _, row in lines)]  # the n-th line is rows[n + 2]
    are_numbered = bool(times) and rows[times[0] + 1].isdecimal()
    return {
        number - 1
        for number in times
        if (is_vtt and not rows[number]) or (are_numbered and rows[number + 1].isdecimal())
    }
