"""What a file of transcripts holds, in whatever form it was."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One utterance.

    Args:
        place: the file and the line's number.
        text: what it says; in sclite's notation where the reading says so.
        id: its name, "" where it has none.
        audio: resolved path of the recording, where a manifest has it.
    """

    place: str
    text: str
    id: str = ""
    audio: str = ""


@dataclass(frozen=True)
class Reading:
    """One way to read a file; lines of text have several.

    Args:
        entries: one for each utterance, in the file's order.
        has_ids: whether each has a name.
        certain: the form itself says what is id and what is text.
        notation: "trn" or "timed" (STM and CTM) where texts may have sclite's alternatives,
            optional words and tags; "" where they are words alone.
    """

    entries: list[Entry]
    has_ids: bool
    certain: bool = True
    notation: str = ""

    @property
    def ids(self) -> list[str]:
        """The names, in order."""
        return [entry.id for entry in self.entries]


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with what was said in it: a line of STM.

    Args:
        place: the file and the line's number.
        channel: the recording and its channel.
        begin: seconds.
        end: seconds.
        text: in sclite's notation.
    """

    place: str
    channel: tuple[str, str]
    begin: float
    end: float
    text: str


@dataclass(frozen=True)
class TimedWord:
    """A word, or alternatives, with its time: a line or some lines of CTM.

    Args:
        place: the file and the (first) line's number.
        channel: the recording and its channel.
        begin: seconds.
        middle: seconds; of alternatives the latest.
        text: in sclite's notation.
    """

    place: str
    channel: tuple[str, str]
    begin: float
    middle: float
    text: str


@dataclass(frozen=True)
class TranscriptFile:
    """A file of transcripts.

    Args:
        path: of the file.
        form: what it was read as: lines, trn, json, table, subtitles, stm or ctm.
        readings: the ways to read it, the surest first.
        segments: of STM.
        words: of CTM.
    """

    path: Path
    form: str
    readings: list[Reading]
    segments: list[Segment] = field(default_factory=list)
    words: list[TimedWord] = field(default_factory=list)
