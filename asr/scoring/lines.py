"""Lines of text -> the ways in which they can be read: with ids in front, at the end, or none."""

import re
from pathlib import Path

from asr.errors import InputError
from asr.scoring.entries import Entry, Reading

_TRN = re.compile(r"(.*)\(([^()\s]+)(?:\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?))?\s*\)\s*", re.S)
_SENTENCE_MARKS = re.compile(r"^\s*<s>(?=\s|$)|(?<!\S)</s>\s*$")


def numbered(text: str, path: Path) -> list[tuple[str, str]]:
    """(place, line) of every line; a line ends with a line feed alone, or with CR LF."""
    # not splitlines(), for which a form feed and U+2028 end lines too
    rows = text.removesuffix("\n").split("\n") if text else []
    return [(f"{path}:{number}", row.removesuffix("\r")) for number, row in enumerate(rows, 1)]


def uncommented(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without blank lines, and without comments as sclite has them."""
    return [(place, row) for place, row in lines if row.strip() and not row.startswith(";;")]


def read_trn(lines: list[tuple[str, str]]) -> Reading:
    """Lines of "text (id)": sclite's, and Sphinx's with "(id score)" and sentence marks.

    Raises:
        InputError: a line has no id at its end.
    """
    entries = []
    for place, row in uncommented(lines):
        found = _TRN.fullmatch(row)
        if not found:
            raise InputError(f"{place}: has no id at its end; expected: text (id)")
        text = _SENTENCE_MARKS.sub("", found[1]).strip()
        text = _SENTENCE_MARKS.sub("", text).strip()
        entries.append(Entry(place, text, found[2]))
    return Reading(entries, has_ids=True, notation="trn")


def text_readings(lines: list[tuple[str, str]]) -> list[Reading]:
    """The ways to read lines of text, with the last as texts alone.

    Ids at the end are certain where there are several lines, which no words in brackets would all
    end with; ids before a tab where they are names of files, as `asr transcribe` prints them.
    """
    rows = [(place, row) for place, row in lines if row.strip()]
    readings = []
    content = uncommented(lines)
    if content and all(_TRN.fullmatch(row) for _, row in content):
        reading = read_trn(lines)
        several = len(set(reading.ids)) == len(content) > 1
        certain = several or re.search(r"[\d_-]", reading.ids[0]) is not None
        readings.append(Reading(reading.entries, True, certain, notation="trn"))
    if rows and all("\t" in row for _, row in rows):
        fields = [(place, *row.split("\t", 1)) for place, row in rows]
        files = all(re.search(r"\.\w+\s*$", id) for _, id, _ in fields)
        entries = [Entry(place, text, id.strip()) for place, id, text in fields]
        readings.append(Reading(entries, has_ids=True, certain=files))
    first = [(place, *row.split(maxsplit=1)) for place, row in rows]
    entries = [Entry(place, "".join(text), id) for place, id, *text in first]
    readings.append(Reading(entries, has_ids=True, certain=False))
    texts = [Entry(place, row) for place, row in lines]
    return [*readings, Reading(texts, has_ids=False, certain=False)]
