"""A file of transcripts -> its content; the name or the content shows its format."""

import re
import sys
import zlib
from itertools import takewhile
from pathlib import Path

from asr.errors import InputError
from asr.files import decoded, packing_of
from asr.scoring.entries import TranscriptFile
from asr.scoring.lines import numbered, read_trn, text_readings, uncommented
from asr.scoring.subtitles import is_subtitles, read_subtitles
from asr.scoring.tables import delimiter_of, read_json_file, read_json_lines, read_table
from asr.scoring.timed import (
    looks_like_ctm,
    looks_like_stm,
    read_ctm,
    read_stm,
    segment_readings,
    word_readings,
)

STANDARD_INPUT = Path("-")

MAX_BYTES = 2**30
"""Maximum size of a decompressed file."""

FORMS = {
    ".trn": "trn",
    ".stm": "stm",
    ".ctm": "ctm",
    ".srt": "subtitles",
    ".vtt": "subtitles",
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "table",
    ".tsv": "table",
}
"""The format of each file suffix."""

_REFUSED = {
    "#!MLF!#": "an HTK master label file",
    'File type = "ooTextFile"': "a TextGrid",
    "<?xml": "XML",
    "<!DOCTYPE": "HTML",
    "[Script Info]": "ASS subtitles",
    "SPEAKER ": "RTTM, which has no words",
}
_EACH_LINE = [
    (r"\S+ S -?\d+ T -?\d+ ", "Sphinx's hypseg, with frames and scores"),
    (r"\d\d?:\d\d(:\d\d)?([.,]\d+)?(\s|$)", "lines with times"),
]
_WITH_TIMES = [
    (r"\[\d+:\d\d(:\d\d)?([.,:]\d+)?\]", "lines with times, such as LRC"),
    (
        r"(?P<start>\d+[.]\d+)\s+(?P<end>\d+[.]\d+)\s+\S",
        "lines with times, such as Audacity labels",
    ),
    (r"(?P<start>\d+)\s+(?P<end>\d+)\s+\S", "lines with times, such as HTK labels"),
]
"""Beginnings of lines that even a single line of text hardly has."""
_NO_HEADER = re.compile(r"[^\s,;|]*(\d|_|\.\w{2,4})[^\s,;|]*(?P<delimiter>[,;|])(?=[^\s\d])")


def read_transcripts(
    path: Path, is_hypothesis: bool = False, as_lines: bool = False, may_be_empty: bool = False
) -> TranscriptFile:
    """Read a file of transcripts.

    Args:
        path: a UTF-8 file, which may be compressed with gzip; `-` is standard input.
        is_hypothesis: if a table has columns for both references and hypotheses, read the latter.
        as_lines: read a file with an unknown suffix as lines of text, whatever its content.
        may_be_empty: accept a file without utterances.

    Raises:
        InputError: the file can't be read, is empty, or is not valid in its format.
    """
    text, name = _content(path)
    lines = numbered(text, path)
    form = FORMS.get(Path(name).suffix.lower()) or (
        "lines" if as_lines else _format_of_content(text, lines)
    )
    if form in ("json", "subtitles") and not text.strip() and not may_be_empty:
        raise InputError(f"{path}: is empty; expected at least one line")
    # NeMo calls its JSON lines .json; an empty file has no lines
    if form == "json" and (_are_objects(lines) or not text.strip()):
        form = "jsonl"
    if form == "table" and not as_lines and not delimiter_of(lines[0][1] if lines else ""):
        # a .tsv of "id<TAB>text" lines may have no header
        form = "lines" if name.lower().endswith(".tsv") and _two_columns(lines) else form
    file = _parsed(path, form, text, lines, is_hypothesis)
    if not may_be_empty and not (file.segments or file.words or _has_entries(file)):
        raise InputError(f"{path}: is empty; expected at least one line")
    return file


def _parsed(
    path: Path, form: str, text: str, lines: list[tuple[str, str]], is_hypothesis: bool
) -> TranscriptFile:
    if form == "stm":
        segments = read_stm(lines)
        return TranscriptFile(path, form, segment_readings(segments), segments=segments)
    if form == "ctm":
        words = read_ctm(lines)
        return TranscriptFile(path, form, word_readings(words), words=words)
    if form == "trn":
        return TranscriptFile(path, form, [read_trn(lines)])
    if form == "subtitles":
        return TranscriptFile(path, form, [read_subtitles(lines, path)])
    if form == "jsonl":
        return TranscriptFile(path, form, [read_json_lines(lines, path, is_hypothesis)])
    if form == "json":
        return TranscriptFile(path, form, [read_json_file(text, path, is_hypothesis)])
    if form == "table":
        header = lines[0][1] if lines else ""
        delimiter = delimiter_of(header) or ("\t" if "\t" in header else ",")
        return TranscriptFile(path, form, [read_table(text, path, delimiter, is_hypothesis)])
    return TranscriptFile(path, form, text_readings(lines))


def _content(path: Path) -> tuple[str, str]:
    """The text of a file, and its name without the suffix of a compressed file."""
    try:
        content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    name = path.name
    if content.startswith(b"\x1f\x8b"):
        content = _unpacked(content, path)
        name = name.removesuffix(".gz")
    if packed := packing_of(content):
        raise InputError(f"{path}: is {packed}; expected text, or gzip")
    return decoded(content, path).removeprefix("\ufeff"), name


def _unpacked(content: bytes, path: Path) -> bytes:
    parts: list[bytes] = []
    size = 0
    while content:  # a gzip file may have several members
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            part = unpacker.decompress(content, MAX_BYTES + 1 - size)
        except zlib.error as error:
            raise InputError(f"{path}: can't be decompressed: {error}") from None
        size += len(part)
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: has more than {MAX_BYTES >> 20} MiB after decompression; expected less"
            )
        if not unpacker.eof:
            raise InputError(f"{path}: is truncated; expected a complete gzip file")
        parts.append(part)
        content = unpacker.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _format_of_content(text: str, lines: list[tuple[str, str]]) -> str:
    content = [row for _, row in lines if row.strip()]
    for place, row in uncommented(lines)[:1]:
        for beginning, found in _REFUSED.items():
            if row.startswith(beginning):
                raise InputError(f"{place}: looks like {found}; expected a format of `asr score`")
    if is_subtitles(lines):
        return "subtitles"
    if _are_objects(lines) or (len(content) == 1 and _is_object(content[0])):
        return "jsonl"
    if re.match(r'\s*(\[\s*(\{\s*"|\])|\{\s*")', text):
        return "json"
    if content and delimiter_of(content[0]):
        return "table"
    if looks_like_stm(lines):
        return "stm"
    if looks_like_ctm(lines):
        return "ctm"
    _refuse_columns(lines)
    return "lines"


def _are_objects(lines: list[tuple[str, str]]) -> bool:
    """Whether each of several lines is a JSON object."""
    rows = [row for _, row in lines if row.strip()]
    return len(rows) > 1 and all(map(_is_object, rows))


def _is_object(row: str) -> bool:
    return re.fullmatch(r'\s*\{\s*".*\}\s*', row, re.S) is not None


def _refuse_columns(lines: list[tuple[str, str]]) -> None:
    """Raise InputError if all lines have times, or columns without a header."""
    rows = [(place, row) for place, row in lines if row.strip()]
    if not rows:
        return
    place = rows[0][0]
    for beginning, found in _WITH_TIMES if len(rows) == 1 else _EACH_LINE + _WITH_TIMES:
        found_in = (re.match(beginning, row) for _, row in rows)
        matches = [match for match in takewhile(bool, found_in) if match]
        if len(matches) == len(rows) and _times_ascend(matches):
            raise InputError(
                f"{place}: looks like {found}; expected a format of `asr score`, or --ids or"
                " --no-ids if it is text"
            )
    if len(rows) == 1:
        return
    delimiters = {
        match and match["delimiter"] for match in (_NO_HEADER.match(row) for _, row in rows)
    }
    if None not in delimiters and len(delimiters) == 1:
        raise InputError(
            f"{place}: looks like columns separated by {delimiters.pop()!r}; expected a header with"
            " columns text, and id or audio"
        )


def _times_ascend(matches: list[re.Match[str]]) -> bool:
    """Whether the starts and ends of lines, if the pattern has them, are those of segments.

    Whole numbers are only taken for times if they reach 10,000: samples, or units of 100 ns.
    """
    times = [time for match in matches for time in match.groupdict().values()]
    numbers = [float(time) for time in times]
    is_large = not times or "." in times[-1] or numbers[-1] >= 10_000
    return numbers == sorted(numbers) and is_large


def _two_columns(lines: list[tuple[str, str]]) -> bool:
    return all(row.count("\t") == 1 for _, row in lines if row.strip())


def _has_entries(file: TranscriptFile) -> bool:
    return any(reading.entries for reading in file.readings)
