"""Lines of text -> the ways in which they can be read: with ids in front, at the end, or none."""

import re
from pathlib import Path

from asr.errors import InputError
from asr.scoring.entries import Entry, Reading

_TRN = re.compile(r"(.*)\(\s*([^()\s][^()]*?)\s*\)\s*", re.S)
_SCORES = re.compile(r"(?:\s+[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)+$")
_SPHINX_SIGN = re.compile(r"(?<!\S)(?:</?s>|<sil>|\+\+\S+\+\+)(?!\S)|(?<=\S)\(\d\)", re.I)


def numbered(text: str, path: Path) -> list[tuple[str, str]]:
    """(place, line) of every line, which ends with LF, CR LF or, in files without LF, with CR."""
    # not splitlines(), for which a form feed and U+2028 end lines too
    end = "\r" if "\r" in text and "\n" not in text else "\n"
    rows = text.removesuffix(end).split(end) if text else []
    return [(f"{path}:{number}", row.removesuffix("\r")) for number, row in enumerate(rows, 1)]


def uncommented(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without blank lines, and without comments as sclite has them."""
    return [(place, row) for place, row in lines if row.strip() and not row.startswith(";;")]


def read_trn(lines: list[tuple[str, str]]) -> Reading:
    """Lines of "text (id)": sclite's, and Sphinx's with "(id score)" and signs for silence.

    A file is Sphinx's if it has `<s>`, `</s>` or a score. Then `<s>`, `</s>`, `<sil>` and noises
    such as `++BREATH++` are left out, and so is the number of a pronunciation in `word(2)`, as
    Sphinx's own `word_align.pl` does.

    Raises:
        InputError: a line has no id at its end.
    """
    rows = uncommented(lines)
    found = [_TRN.fullmatch(row) for _, row in rows]
    for (place, _), match in zip(rows, found, strict=True):
        if not match:
            raise InputError(f"{place}: has no id at its end; expected: text (id)")
    fields = [(place, m[1], m[2]) for (place, _), m in zip(rows, found, strict=True) if m]
    bare = {_SCORES.sub("", id) for _, _, id in fields}
    is_sphinx = len(bare) == len(fields) and any(
        _SCORES.search(id) or re.search(r"</?s>", text) for _, text, id in fields
    )
    entries = []
    for place, text, id in fields:
        if is_sphinx:
            text, id = " ".join(_SPHINX_SIGN.sub("", text).split()), _SCORES.sub("", id)
        entries.append(Entry(place, text.strip(), " ".join(id.split())))
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
        certain = certain and not any(" " in id for id in reading.ids)  # may be words in brackets
        readings.append(Reading(reading.entries, True, certain, notation="trn"))
    fields = [(place, *row.partition("\t")) for place, row in rows]
    files = bool(rows) and all(re.search(r"\.\w+\s*$", id) for _, id, _, _ in fields)
    tabs = [tab for _, _, tab, _ in fields]
    if any(tabs) and (files or all(tabs)):  # an editor may take the tab before an empty text
        entries = [Entry(place, text, id.strip()) for place, id, _, text in fields]
        readings.append(Reading(entries, has_ids=True, certain=files))
    first = [(place, *row.split(maxsplit=1)) for place, row in rows]
    entries = [Entry(place, "".join(text), id) for place, id, *text in first]
    readings.append(Reading(entries, has_ids=True, certain=False))
    texts = [Entry(place, row) for place, row in lines]
    return [*readings, Reading(texts, has_ids=False, certain=False)]
