"""The content of a file of transcripts, independent of its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TimedWord:
    """A word with its time, or alternatives: one or several lines of a CTM file.

    Args:
        place: the file and the number of the (first) line.
        channel: the recording and its channel.
        begin: seconds.
        middle: seconds; for alternatives, the latest middle of a word.
        end: seconds; for alternatives, the latest end of a word.
        text: in sclite's notation.
        lines: how many there are in the file, more than one for alternatives.
    """

    place: str
    channel: tuple[str, str]
    begin: float
    middle: float
    end: float
    text: str
    lines: int = 1


@dataclass(frozen=True)
class Entry:
    """One utterance.

    Args:
        place: the file and the line number.
        text: the transcript; in sclite's notation if the `Reading` says so.
        id: "" if it has none.
        audio: resolved path of the recording if the file has it, else "".
        words: the words of `text` with their times, only of a CTM file.
        fields: everything that the file says of the utterance, by name, such as its speaker;
            empty for formats without named fields.
    """

    place: str
    text: str
    id: str = ""
    audio: str = ""
    words: tuple[TimedWord, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """One interpretation of a file; lines of text have several.

    Args:
        entries: one for each utterance, in the file's order.
        has_ids: whether every entry has an id.
        certain: whether the format itself separates ids from texts.
        notation: "trn" or "timed" (STM and CTM) if texts may have sclite's alternatives, optional
            words and tags; "" if they are plain words.
    """

    entries: list[Entry]
    has_ids: bool
    certain: bool = True
    notation: str = ""

    @property
    def ids(self) -> list[str]:
        """The ids, in the entries' order."""
        return [entry.id for entry in self.entries]


@dataclass(frozen=True)
class Segment:
    """A segment of a recording with its transcript: a line of an STM file.

    Args:
        place: the file and the line number.
        channel: the recording and its channel.
        begin: seconds.
        end: seconds.
        text: in sclite's notation.
        speaker: name of the speaker.
    """

    place: str
    channel: tuple[str, str]
    begin: float
    end: float
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class TranscriptFile:
    """A file of transcripts.

    Args:
        path: of the file.
        form: its format: lines, trn, json, jsonl, table, subtitles, stm or ctm.
        readings: its possible interpretations, the most certain first.
        segments: of an STM file.
        words: of a CTM file.
    """

    path: Path
    form: str
    readings: list[Reading]
    segments: list[Segment] = field(default_factory=list)
    words: list[TimedWord] = field(default_factory=list)
