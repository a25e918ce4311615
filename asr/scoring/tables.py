"""JSON, JSON lines, CSV and TSV -> utterances with ids."""

import csv
import io
from pathlib import Path
from typing import Any, Literal

from asr.errors import InputError, counted, listed
from asr.files import json_object, parse_json
from asr.scoring.entries import Entry, Reading

TEXT_NAMES = ("text", "sentence", "transcript", "transcription")
"""Names of a column of texts, in this package, Common Voice, DeepSpeech and others."""

REFERENCE_NAMES = ("reference", "ref")
HYPOTHESIS_NAMES = ("hypothesis", "hyp", "pred_text", "prediction")
"""Names of the columns if a row has both reference and hypothesis, as in NeMo."""

ID_NAMES = ("id", "utt_id", "utterance_id", "utterance")
AUDIO_NAMES = ("audio", "audio_filepath", "audio_path", "wav_filename", "path", "file", "filename")

Row = dict[str, Any]


def read_json_lines(lines: list[tuple[str, str]], path: Path, is_hypothesis: bool) -> Reading:
    """Read one object per line: manifests, and the output of `asr transcribe --format json`.

    Raises:
        InputError: a line is not an object, or has no text; see `asr.files.parse_json`.
    """
    rows = [(place, json_object(row, place)) for place, row in lines if row.strip()]
    return _reading(rows, path, is_hypothesis)


def read_json_file(text: str, path: Path, is_hypothesis: bool) -> Reading:
    """Read a list of objects, the object of one utterance, or an object that maps ids to texts.

    Raises:
        InputError: the file has something else; see `asr.files.parse_json`.
    """
    values = parse_json(text, str(path))
    if isinstance(values, dict):
        if "text" not in values and all(isinstance(value, str) for value in values.values()):
            return Reading(
                [Entry(f"{path}: {id!r}", text, id) for id, text in values.items()], True
            )
        values = [values]
    if not isinstance(values, list):
        raise InputError(f"{path}: is {type(values).__name__}; expected a list of objects")
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise InputError(
                f"{path}: item {index + 1} is {type(value).__name__}; expected an object with text"
            )
    rows = [(f"{path}: item {index}", value) for index, value in enumerate(values, 1)]
    return _reading(rows, path, is_hypothesis)


def delimiter_of(header: str) -> str | None:
    """The delimiter of a header with column names; None if the line is not such a header."""
    for delimiter in ("\t", ",", ";", "|"):
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        texts = set(names) & {*TEXT_NAMES, *REFERENCE_NAMES, *HYPOTHESIS_NAMES}
        if texts and set(names) & {*ID_NAMES, *AUDIO_NAMES, "start", "begin"}:
            return delimiter
    return None


def read_table(text: str, path: Path, delimiter: str, is_hypothesis: bool) -> Reading:
    """Read a table with a header.

    If the table has a column `start` but no ids, its rows are segments of one recording, which are
    joined to one utterance.

    Raises:
        InputError: the header has no column of texts or of ids, or a row has more or fewer cells.
    """
    # in tables with tabs or bars, as in Common Voice and LJ Speech, quotes belong to the texts
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter in "\t|" else csv.QUOTE_MINIMAL
    content = io.StringIO(text, newline="")
    reader = csv.reader(content, delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[tuple[str, Row]] = []
    names: list[str] = []
    try:
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if not any(cells):
                continue
            if not names:
                names = [name.strip().lower() for name in cells]
                if twice := [name for name in names if name and names.count(name) > 1]:
                    raise InputError(
                        f"{place}: has the column {twice[0]!r} twice; expected each column once"
                    )
                continue
            if len(cells) != len(names):
                raise InputError(
                    f"{place}: has {counted(len(cells), 'column')}; expected {len(names)}"
                )
            rows.append((place, dict(zip(names, cells, strict=True))))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not a table: {error}") from None
    if not any(name in names for name in _text_names(is_hypothesis)):
        raise InputError(
            f"{path}: has the columns {listed(names)}; expected a header with text, and id or audio"
        )
    if not set(names) & {*ID_NAMES, *AUDIO_NAMES}:
        if not set(names) & {"start", "begin"}:
            raise InputError(f"{path}: has the columns {listed(names)}; expected id or audio")
        pieces = _reading(rows, path, is_hypothesis).entries
        whole = Entry(str(path), " ".join(piece.text for piece in pieces))
        return Reading([whole], has_ids=False)
    return _reading(rows, path, is_hypothesis)


def _text_names(is_hypothesis: bool) -> tuple[str, ...]:
    return (HYPOTHESIS_NAMES if is_hypothesis else REFERENCE_NAMES) + TEXT_NAMES


def _reading(rows: list[tuple[str, Row]], path: Path, is_hypothesis: bool) -> Reading:
    entries = [_entry(row, place, path.parent, is_hypothesis) for place, row in rows]
    unnamed = [entry for entry in entries if not entry.id]
    if unnamed and len(unnamed) < len(entries):
        raise InputError(
            f"{unnamed[0].place}: has neither id nor audio; expected one, as in other rows"
        )
    return Reading(entries, has_ids=not unnamed)


def _entry(row: Row, place: str, folder: Path, is_hypothesis: bool) -> Entry:
    text = next((name for name in _text_names(is_hypothesis) if name in row), None)
    if text is None:
        raise InputError(f"{place}: has no 'text'; expected text, and id or audio")
    id = next((name for name in ID_NAMES if row.get(name, "") != ""), "")
    audio = next((name for name in AUDIO_NAMES if row.get(name, "") != ""), "")
    for name in (text, id, audio):
        if name and not isinstance(row[name], str):
            raise InputError(f"{place}: {name} is {row[name]!r}; expected text")
    recording = row[audio] if audio else ""
    return Entry(
        place,
        row[text],
        row[id] if id else recording,
        str((folder / recording).resolve()) if recording else "",
        fields=row,
    )
