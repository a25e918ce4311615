"""Subtitles (SRT, WebVTT) -> the text of a recording."""

import html
import re
from pathlib import Path

from asr.errors import InputError
from asr.scoring.entries import Entry, Reading

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_ARROW = re.compile(rf"\s*\[?\s*{_TIME}\s*-->\s*{_TIME}(\]?)(.*)")
_SIGNS = re.compile(
    r"</?(?:i|b|u|s|c|v|font|lang|ruby|rt)(?:[ .][^>]*)?>|<" + _TIME + r">|\{\\[^}]*\}",
    re.I,
)


def is_subtitles(lines: list[tuple[str, str]]) -> bool:
    """Whether a file begins as subtitles do: with WEBVTT, or with a time and an arrow."""
    first = [row for _, row in lines if row.strip()][:2]
    if first and re.match(r"WEBVTT(\s|$)", first[0]):
        return True
    if first and _ARROW.match(first[0]):
        return True
    return len(first) == 2 and first[0].strip().isdecimal() and bool(_ARROW.match(first[1]))


def read_subtitles(lines: list[tuple[str, str]], path: Path) -> Reading:
    """One utterance: the texts of all subtitles, without numbers, times and signs of form.

    Raises:
        InputError: nothing in the file has a time.
    """
    texts: list[str] = []
    in_cue = found_any = False
    for _, row in lines:
        found = _ARROW.match(row)
        if found:
            in_cue = found_any = True
            if found[1]:  # "[0:01.000 --> 0:02.000] text", as whisper prints
                texts.append(found[2])
        elif not row.strip():
            in_cue = False  # what follows is a number, a name or a note up to the next time
        elif in_cue:
            texts.append(row)
    if not found_any:
        raise InputError(
            f"{path}: has no times; expected subtitles (00:00:01,000 --> 00:00:02,000)"
        )
    text = html.unescape(_SIGNS.sub("", " ".join(texts)))
    return Reading([Entry(str(path), " ".join(text.split()))], has_ids=False)
