"""Interpretations of two files -> pairs of a reference and a hypothesis."""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from asr.errors import InputError, listed
from asr.files import composed
from asr.scoring.entries import Entry, Reading, TranscriptFile
from asr.scoring.ids import first_words_are_ids, id_or_word, look_like_ids
from asr.scoring.pauses import cut_at_common_pauses
from asr.scoring.timed import words_in_segments

EntryPairs = list[tuple[Entry, Entry]]

_NAME_AND_TAB = re.compile(r"[^\t]*\.\w+\t")
_ID_AT_END = re.compile(r"\(\s*([^()]+?)\s*\)\s*$")


def pair_entries(
    said: TranscriptFile,
    heard: TranscriptFile,
    with_ids: bool | None,
    missing_is_deleted: bool,
    notes: list[str],
) -> tuple[EntryPairs, tuple[str, str], bool]:
    """Pair the entries of two files.

    Args:
        said: the file of references.
        heard: the file of hypotheses.
        with_ids: whether text files are "id text" lines; None: decide by their content.
        missing_is_deleted: give references without a hypothesis an empty one, instead of an error.
        notes: messages for the user are appended to it.

    Returns:
        pairs: in the order of the references; of CTM with CTM, one for each piece.
        notation: of the references and of the hypotheses; see `Reading`.
        by_id: whether they were paired by id.

    Raises:
        InputError: the files don't match, or it is unclear whether they have ids.
    """
    if said.form == "stm" and heard.form == "ctm":
        pairs = words_in_segments(said.segments, heard.words, missing_is_deleted)
        return pairs, ("timed", "timed"), True
    if missing_is_deleted and not any(reading.entries for reading in heard.readings):
        return _all_deleted(said, with_ids), ("", ""), True
    mine, other = _chosen(said, heard, with_ids, notes)
    by_id = mine.has_ids and other.has_ids
    if by_id:
        pairs = _paired_by_id(mine, said.path, other, heard.path, missing_is_deleted)
    else:
        pairs = _paired_by_line(mine, said, other, heard)
    if said.form == heard.form == "ctm":
        pairs = [piece for pair in pairs for piece in cut_at_common_pauses(*pair)]
    return pairs, (mine.notation, other.notation), by_id


def _chosen(
    said: TranscriptFile, heard: TranscriptFile, with_ids: bool | None, notes: list[str]
) -> tuple[Reading, Reading]:
    """Choose the interpretations of both files; if both have ids, they are paired by id."""
    if with_ids is not None:
        mine, other = _as_told(said, with_ids), _as_told(heard, with_ids)
        for file, reading, against in ((said, mine, heard), (heard, other, said)):
            if with_ids and not reading.has_ids:
                raise InputError(f"{file.path}: has no ids; expected the ids of {against.path}")
        return mine, other
    _refuse_missing_tabs(said)
    _refuse_missing_tabs(heard)
    for mine in filter(_has_certain_ids, said.readings):
        for other in filter(_has_certain_ids, heard.readings):
            if _same_ids(mine, other):
                return mine, other
    return (
        _by_certain_ids(said, heard)
        or _by_likely_ids(said, heard, notes)
        or (_as_texts(said, heard), _as_texts(heard, said))
    )


def _as_told(file: TranscriptFile, with_ids: bool) -> Reading:
    if file.form != "lines":
        return file.readings[0]
    wanted = [reading for reading in file.readings if reading.has_ids == with_ids]
    # file names before a tab are ids even if the lines have no id at their end
    tabbed = [reading for reading in wanted if reading.certain and not reading.notation]
    return (tabbed or wanted)[0 if tabbed else -1]


def _has_ids(reading: Reading) -> bool:
    return reading.has_ids


def _has_certain_ids(reading: Reading) -> bool:
    return reading.has_ids and reading.certain


def _by_certain_ids(said: TranscriptFile, heard: TranscriptFile) -> tuple[Reading, Reading] | None:
    """Interpretations with ids that are certain in at least one file, with most ids in common."""
    sure = list(filter(_has_certain_ids, said.readings))
    other_sure = list(filter(_has_certain_ids, heard.readings))
    if sure and other_sure:
        return max(product(sure, other_sure), key=lambda pair: _n_common_ids(*pair))
    guesses = [
        *product(sure, filter(_has_ids, heard.readings)),
        *product(filter(_has_ids, said.readings), other_sure),
    ]
    if not guesses:
        return None
    for reading in sure or other_sure:
        _refuse_lines_without_id(heard if sure else said, reading)
    pair = max(guesses, key=lambda pair: _n_common_ids(*pair))
    if 2 * _n_common_ids(*pair) >= max(1, min(len(reading.ids) for reading in pair)):
        return pair
    of_lines = (pair for pair in guesses if look_like_ids(pair[1] if sure else pair[0]))
    return next(of_lines, None)


def _refuse_missing_tabs(file: TranscriptFile) -> None:
    """Raise InputError if only some lines have a tab after the name of a recording."""
    if file.form != "lines":
        return
    lines = [entry for entry in file.readings[-1].entries if entry.text.strip()]
    if not any(_NAME_AND_TAB.match(entry.text) for entry in lines):
        return
    for entry in lines:
        if "\t" not in entry.text and " " in entry.text.strip():
            raise InputError(
                f"{entry.place}: has no tab; expected a tab after the name of the recording"
            )


def _refuse_lines_without_id(file: TranscriptFile, other: Reading) -> None:
    """Raise InputError if only some lines of a file end with an id, "(id)", of the other file."""
    if other.notation != "trn" or file.form != "lines":
        return
    ids = set(other.ids)
    lines = [entry for entry in file.readings[-1].entries if entry.text.strip()]
    found = [_ID_AT_END.search(entry.text) for entry in lines]
    lacking = [
        entry for entry, id in zip(lines, found, strict=True) if id is None or id[1] not in ids
    ]
    if 0 < len(lacking) < len(lines):
        raise InputError(f"{lacking[0].place}: has no id at its end; expected: text (id)")


def _by_likely_ids(
    said: TranscriptFile, heard: TranscriptFile, notes: list[str]
) -> tuple[Reading, Reading] | None:
    """Interpretations of two files of lines of text with the same ids."""
    if said.form != "lines" or heard.form != "lines":
        return None
    if any(_has_certain_ids(reading) for reading in (*said.readings, *heard.readings)):
        return None
    for mine in said.readings[:-2]:  # ids at the end, or before a tab
        for other in heard.readings[:-2]:
            texts = any(entry.text for entry in mine.entries + other.entries)
            if texts and _same_ids(mine, other):
                return mine, other
    before_tab = [
        reading for file in (said, heard) for reading in file.readings[:-2] if not reading.notation
    ]
    if len(before_tab) == 2:
        return before_tab[0], before_tab[1]
    if before_tab:
        raise id_or_word(before_tab[0])
    mine, other = said.readings[-2], heard.readings[-2]
    are_ids = first_words_are_ids(mine, other)
    if are_ids is None:
        notes.append(
            f"the lines' first words ({listed(mine.ids[:2])}, ...) are the same in both files and"
            " count as words; with --ids they are ids"
        )
    return (mine, other) if are_ids else None


def _all_deleted(said: TranscriptFile, with_ids: bool | None) -> EntryPairs:
    """The references of a file, each with an empty hypothesis."""
    if with_ids is not None:
        reading = _as_told(said, with_ids)
    elif (certain := next(filter(_has_certain_ids, said.readings), None)) is not None:
        reading = certain
    elif said.form == "lines" and look_like_ids(said.readings[-2]):
        reading = said.readings[-2]
    else:
        raise id_or_word(said.readings[0])
    nothing = Entry(str(said.path), "")
    return [(entry, nothing) for entry in reading.entries]


def _as_texts(file: TranscriptFile, other: TranscriptFile) -> Reading:
    """The interpretation of a file that is paired line by line."""
    reading = next((each for each in file.readings if each.certain), file.readings[-1])
    if other.form == "subtitles" or _is_one_text(other):
        one = next((each for each in file.readings if len(each.entries) == 1), None)
        if one and one.certain:
            return one
        if not reading.certain:
            if look_like_ids(file.readings[-2]):
                raise id_or_word(file.readings[-2])
            text = " ".join(entry.text for entry in reading.entries)
            return Reading([Entry(str(file.path), text)], has_ids=False)
    return reading


def _is_one_text(file: TranscriptFile) -> bool:
    """Whether a file holds the text of exactly one recording."""
    return file.form == "table" and not file.readings[0].has_ids


def _same_ids(said: Reading, heard: Reading) -> bool:
    n = len(said.entries)
    return n == len(heard.entries) == len(set(said.ids)) == _n_common_ids(said, heard)


def _n_common_ids(said: Reading, heard: Reading) -> int:
    aliases = _aliases(said, heard)
    return len({_known_id(id, aliases) for id in heard.ids} & set(said.ids))


def _paired_by_line(
    mine: Reading, said: TranscriptFile, other: Reading, heard: TranscriptFile
) -> EntryPairs:
    if len(mine.entries) != len(other.entries):
        hint = "; or --ids if every line begins with its id" if said.form == heard.form else ""
        raise InputError(
            f"{heard.path}: number of lines is {len(other.entries)}; expected"
            f" {len(mine.entries)}, as in {said.path}{hint}"
        )
    return list(zip(mine.entries, other.entries, strict=True))


def _paired_by_id(
    said: Reading, said_path: Path, heard: Reading, heard_path: Path, missing_is_deleted: bool
) -> EntryPairs:
    references = _by_id(said, {})
    hypotheses = _by_id(heard, _aliases(said, heard))
    expected = "the same ids"
    if bool(said.notation) != bool(heard.notation):
        expected += ", or --ids if every line begins with its id"
    if not missing_is_deleted:
        deleted = f"{expected}, or --missing deletions"
        _check_all_in(references, said_path, hypotheses, heard_path, deleted)
    _check_all_in(hypotheses, heard_path, references, said_path, expected)
    nothing = Entry(str(heard_path), "")
    return [(entry, hypotheses.get(id, nothing)) for id, entry in references.items()]


def _aliases(said: Reading, heard: Reading) -> dict[str, str]:
    """Every name that a hypothesis may have, composed (NFC) -> the id of its reference."""
    aliases = {}
    if said.notation or heard.notation:  # sclite ignores the case of ids
        lower = {entry.id.lower(): entry.id for entry in said.entries}
        aliases = lower if len(lower) == len(said.entries) else {}
    recordings = {Path(entry.audio).stem: entry.id for entry in said.entries if entry.audio}
    stems = {Path(entry.id).stem: entry.id for entry in said.entries if _names_a_file(entry.id)}
    for names in (recordings, stems):
        aliases |= names if len(names) == len(said.entries) else {}
    aliases |= {entry.audio: entry.id for entry in said.entries if entry.audio}
    aliases |= {entry.id: entry.id for entry in said.entries}
    # macOS decomposes the names of files; an id that is there as it stands goes first
    return {composed(name): id for name, id in aliases.items()} | aliases


def _names_a_file(id: str) -> bool:
    return "/" in id or re.search(r"\.[A-Za-z]\w{1,4}$", id) is not None


def _by_id(reading: Reading, aliases: Mapping[str, str]) -> dict[str, Entry]:
    """Entries by id; an id that is an alias, such as a path, becomes the reference's id."""
    entries: dict[str, Entry] = {}
    for entry in reading.entries:
        id = _known_id(entry.id, aliases)
        if id in entries:
            raise InputError(
                f"{entry.place}: id {id!r} is also at {entries[id].place}; expected each id once"
            )
        entries[id] = entry
    return entries


def _known_id(id: str, aliases: Mapping[str, str]) -> str:
    if id in aliases or not aliases:  # the usual case; resolving a path is slow
        return aliases.get(id, id)
    names = [id, id.lower()]
    if _names_a_file(id):
        names += [str(Path(id).resolve()), Path(id).stem]
    known = (aliases[form] for name in names for form in (name, composed(name)) if form in aliases)
    return next(known, id)


def _check_all_in(
    entries: Mapping[str, Entry], path: Path, others: Mapping[str, Entry], other: Path, wanted: str
) -> None:
    missing = [id for id in entries if id not in others]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{path}: id {missing[0]!r} is not in {other}{more}; expected {wanted}")
