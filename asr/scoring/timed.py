"""STM and CTM files -> the reference and the hypothesis of each segment."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from asr.errors import InputError, listed
from asr.scoring.entries import Entry, Reading, Segment, TimedWord
from asr.scoring.lines import uncommented

Lines = list[tuple[str, str]]
Channel = tuple[str, str]
Timed = TypeVar("Timed", Segment, TimedWord)

_TOLERANCE_S = 1.0
"""Words may begin this much before the previous word; beyond it, words are sorted by time."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_WITH_POINT = r"\d*\.\d*"
_STM = re.compile(rf"\s*(\S+)\s+(\S+)\s+(\S+)\s+({_NUMBER})\s+({_NUMBER})(?:\s+(.*))?", re.S)
_CTM = re.compile(rf"\s*(\S+)\s+(\S+)\s+({_NUMBER}|\*)\s+({_NUMBER}|\*)\s+(\S+)(?:\s+(.*))?", re.S)
_LABEL = re.compile(r"<(?:[^<>\s]*|[^<>,]*(?:,[^<>,]*)+)>(?=\s|$)\s*")  # <o,f0,male>
_IGNORED = re.compile(r"IGNORE_?TIME_?SEGMENT_?IN_?SCORING", re.I)


def looks_like_stm(lines: Lines) -> bool:
    """Whether every line has a begin and an end, in seconds with a decimal point."""
    rows = uncommented(lines)
    found = (_STM.fullmatch(row) for _, row in rows)
    return bool(rows) and all(
        row and re.match(_WITH_POINT, row[4]) and "." in row[5] and float(row[5]) >= float(row[4])
        for row in found
    )


def looks_like_ctm(lines: Lines) -> bool:
    """Whether every line has begin and duration, in seconds with a decimal point, and one word."""
    rows = uncommented(lines)
    found = (_CTM.fullmatch(row) for _, row in rows)
    return bool(rows) and all(
        row
        and ("." in row[3] + row[4] or row[3] == "*")
        and (
            row[6] is None or re.fullmatch(rf"({_NUMBER}|NA)(\s+\S+){{0,2}}\s*", row[6]) is not None
        )
        for row in found
    )


def read_stm(lines: Lines) -> list[Segment]:
    """Read segments, in the order of the file.

    Raises:
        InputError: a line is not a segment.
    """
    segments = []
    for place, row in uncommented(lines):
        found = _STM.fullmatch(row)
        if not found:
            raise InputError(f"{place}: not STM; expected: file channel speaker begin end text")
        begin, end = float(found[4]), float(found[5])
        if end < begin:
            raise InputError(
                f"{place}: ends at {end} s, before it begins at {begin} s; expected begin, then end"
            )
        text = _LABEL.sub("", found[6] or "", count=1) if (found[6] or "")[:1] == "<" else found[6]
        channel, text = (found[1], found[2]), (text or "").strip()
        segments.append(Segment(place, channel, begin, end, text, speaker=found[3]))
    return segments


def read_ctm(lines: Lines) -> list[TimedWord]:
    """Read words, in the order of the file; alternatives are one word.

    Raises:
        InputError: a line is not a word with a time, or alternatives have no end.
    """
    words: list[TimedWord] = []
    rows = iter(uncommented(lines))
    for place, row in rows:
        channel, begin, duration, word = _ctm_fields(place, row)
        if word.upper() == "<ALT_BEGIN>":
            words.append(_alternatives(place, channel, rows))
        else:
            if begin is None:
                raise InputError(f"{place}: has the begin time '*'; expected seconds")
            seconds = duration or 0.0
            words.append(
                TimedWord(place, channel, begin, begin + seconds / 2, begin + seconds, word)
            )
    return words


def segment_readings(segments: Sequence[Segment]) -> list[Reading]:
    """Interpretations of STM paired with other formats than CTM: by segment, channel, recording."""
    readings = [
        Reading(
            [_segment_entry(each) for each in segments if not _out(each)],
            has_ids=True,
            notation="timed",
        )
    ]
    if not any(_out(each) for each in segments):
        readings += _joined(_by_channel(segments).values())
    return readings


def word_readings(words: Sequence[TimedWord]) -> list[Reading]:
    """Interpretations of CTM paired with other formats than STM: by channel or recording."""
    return _joined(_by_channel(words, _TOLERANCE_S).values())


def words_in_segments(
    segments: Sequence[Segment], words: Sequence[TimedWord], missing_is_deleted: bool
) -> list[tuple[Entry, Entry]]:
    """Pair each reference segment with the words recognised in it.

    A word belongs to the first segment in time that ends after its middle. Words after all segments
    belong to the last segment of their channel, as in sclite. Ignored segments are left out with
    their words.

    Args:
        segments: of the reference.
        words: of the hypothesis.
        missing_is_deleted: count a channel without words as deletions, instead of an error.

    Returns:
        pairs: in the order of `segments`, whatever their times.

    Raises:
        InputError: a channel is in one file only.
    """
    segments_of, words_of = _by_channel(segments), _by_channel(words, _TOLERANCE_S)
    _check_channels(segments_of, words_of, missing_is_deleted)
    pairs = []
    for channel, its_segments in segments_of.items():
        rest = words_of.get(channel, [])
        for segment in its_segments:
            is_last = segment is its_segments[-1]
            middles = (n for n, word in enumerate(rest) if word.middle >= segment.end)
            end = len(rest) if is_last else next(middles, len(rest))
            heard, rest = rest[:end], rest[end:]
            if not _out(segment):
                text = " ".join(word.text for word in heard)
                place = heard[0].place if heard else segment.place
                recognised = Entry(place, text, segment_name(segment), words=tuple(heard))
                pairs.append((_segment_entry(segment), recognised))
    position = {segment.place: index for index, segment in enumerate(segments)}
    return sorted(pairs, key=lambda pair: position[pair[0].place])


def segment_name(segment: Segment) -> str:
    """The name of a segment: its recording, channel and times."""
    return f"{' '.join(segment.channel)} {segment.begin:.2f} {segment.end:.2f}"


def _segment_entry(segment: Segment) -> Entry:
    fields = {
        "speaker": segment.speaker,
        "offset": segment.begin,
        "duration": segment.end - segment.begin,
    }
    return Entry(segment.place, segment.text, segment_name(segment), fields=fields)


def _ctm_fields(place: str, row: str) -> tuple[Channel, float | None, float | None, str]:
    found = _CTM.fullmatch(row)
    if not found:
        raise InputError(f"{place}: not CTM; expected: file channel begin duration word")
    times = [None if time == "*" else float(time) for time in (found[3], found[4])]
    return (found[1], found[2]), times[0], times[1], found[5]


def _alternatives(place: str, channel: Channel, rows: Iterable[tuple[str, str]]) -> TimedWord:
    sequences: list[list[str]] = [[]]
    times: list[tuple[float, float]] = []
    for lines, (row_place, row) in enumerate(rows, 2):
        row_channel, begin, duration, word = _ctm_fields(row_place, row)
        if row_channel != channel:
            break
        if word.upper() == "<ALT_END>":
            if not times:
                raise InputError(f"{place}: alternatives have no words; expected one with a time")
            text = " / ".join(" ".join(sequence) or "@" for sequence in sequences)
            first = min(begin for begin, _ in times)
            middle, end = (
                max(begin + part * seconds for begin, seconds in times) for part in (0.5, 1)
            )
            return TimedWord(place, channel, first, middle, end, f"{{ {text} }}", lines)
        if word.upper() == "<ALT>":
            sequences.append([])
        elif begin is not None:
            sequences[-1].append(word)
            times.append((begin, duration or 0.0))
    raise InputError(f"{place}: has <ALT_BEGIN> without <ALT_END>; expected both")


def _out(segment: Segment) -> bool:
    return _IGNORED.search(segment.text) is not None


def _joined(channels: Collection[Sequence[Segment] | Sequence[TimedWord]]) -> list[Reading]:
    by_channel, by_file = [], []
    for rows in channels:
        place, (file, channel) = rows[0].place, rows[0].channel
        text = " ".join(row.text for row in rows)
        words = tuple(row for row in rows if isinstance(row, TimedWord))
        by_channel.append(Entry(place, text, f"{file} {channel}", words=words))
        by_file.append(Entry(place, text, file, words=words))
    readings = [Reading(by_channel, has_ids=True, notation="timed")]
    if len({entry.id.lower() for entry in by_file}) == len(by_file):  # one channel per recording
        readings.append(Reading(by_file, has_ids=True, notation="timed"))
    return readings


def _by_channel(rows: Iterable[Timed], tolerance_s: float = 0.0) -> dict[Channel, list[Timed]]:
    """Group by recording and channel, ignoring case, and sort by time if the order is wrong.

    Args:
        rows: segments or words.
        tolerance_s: rows that begin no more than this before the previous row are in order.
    """
    channels: dict[Channel, list[Timed]] = {}
    for row in rows:
        file, channel = row.channel
        channels.setdefault((file.lower(), channel.lower()), []).append(row)
    for name, its_rows in channels.items():
        earlier = [after.begin - row.begin for row, after in pairwise(its_rows)]
        if min(earlier, default=0.0) < -tolerance_s:
            channels[name] = sorted(its_rows, key=lambda row: row.begin)
    return channels


def _check_channels(
    segments: Mapping[Channel, list[Segment]],
    words: Mapping[Channel, list[TimedWord]],
    missing_is_deleted: bool,
) -> None:
    if extra := [each[0] for name, each in words.items() if name not in segments]:
        names = listed([" ".join(word.channel) for word in extra])
        raise InputError(
            f"{extra[0].place}: {names} (recording, channel) is not in the STM; expected the same"
            " channels"
        )
    silent = [
        each
        for name, each in segments.items()
        if name not in words and any(segment.text and not _out(segment) for segment in each)
    ]
    if silent and not missing_is_deleted:
        names = listed([" ".join(each[0].channel) for each in silent])
        raise InputError(
            f"{silent[0][0].place}: the CTM has no word of {names} (recording, channel); expected"
            " all, or --missing deletions"
        )
