"""Lines of text -> their possible interpretations: an id first, an id last, or no ids."""

import re
from pathlib import Path

from asr.errors import InputError
from asr.scoring.entries import Entry, Reading

_TRN = re.compile(r"(.*)\(\s*([^()\s][^()]*?)\s*\)\s*", re.S)
_SCORES = re.compile(r"(?:\s+[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)+$")
_SPHINX_SIGN = re.compile(r"(?<!\S)(?:</?s>|<sil>|\+\+\S+\+\+)(?!\S)|(?<=\S)\(\d\)", re.I)


def numbered(text: str, path: Path) -> list[tuple[str, str]]:
    """(place, line) of every line. Lines end with LF, CR LF or, in files without LF, with CR."""
    # not splitlines(), for which a form feed and U+2028 end lines too
    end = "\r" if "\r" in text and "\n" not in text else "\n"
    rows = text.removesuffix(end).split(end) if text else []
    return [(f"{path}:{number}", row.removesuffix("\r")) for number, row in enumerate(rows, 1)]


def uncommented(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The lines without blank lines and sclite's comments (;;)."""
    return [(place, row) for place, row in lines if row.strip() and not row.startswith(";;")]


def read_trn(lines: list[tuple[str, str]]) -> Reading:
    """Read lines "text (id)" of sclite, or "text (id score)" of Sphinx.

    A file is from Sphinx if it has `<s>`, `</s>` or a score. Its `<s>`, `</s>`, `<sil>`, noises
    such as `++BREATH++` and pronunciation numbers as in `word(2)` are removed, as Sphinx's own
    `word_align.pl` does.

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
    """The possible interpretations of lines of text; the last one has no ids.

    Ids in parentheses at the end are certain if there are several lines with different ids. Ids
    before a tab are certain if they are file names, as in the output of `asr transcribe`, where `-`
    is standard input.
    """
    rows = [(place, row) for place, row in lines if row.strip()]
    readings = []
    content = uncommented(lines)
    if content and all(_TRN.fullmatch(row) for _, row in content):
        reading = read_trn(lines)
        several = len(set(reading.ids)) == len(content) > 1
        certain = several or re.search(r"[\d_-]", reading.ids[0]) is not None
        certain = certain and not any(
            " " in id for id in reading.ids
        )  # may be words in parentheses
        readings.append(Reading(reading.entries, True, certain, notation="trn"))
    fields = [(place, *row.partition("\t")) for place, row in rows]
    files = [re.search(r"\.\w+\s*$|^-$", id) is not None for _, id, _, _ in fields]
    tabs = [tab for _, _, tab, _ in fields]
    # an editor may remove the tab before an empty text
    if any(tabs) and (all(files) or all(tabs)):
        entries = [Entry(place, text, id.strip()) for place, id, _, text in fields]
        readings.append(Reading(entries, has_ids=True, certain=any(files)))
    first = [(place, *row.split(maxsplit=1)) for place, row in rows]
    entries = [Entry(place, "".join(text), id) for place, id, *text in first]
    readings.append(Reading(entries, has_ids=True, certain=False))
    texts = [Entry(place, row) for place, row in lines]
    return [*readings, Reading(texts, has_ids=False, certain=False)]
