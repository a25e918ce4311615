"""Scored systems -> an HTML page: rates, frequent errors, and the alignment of every utterance."""

import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from asr.scoring.recordings import Recording, word_starts
from asr.scoring.systems import System, Values, field_values, group_values


def score_page(
    title: str,
    systems: Sequence[System],
    values: Values,
    recordings: Sequence[Recording | None],
    notes: Sequence[str] = (),
    page: Path | None = None,
) -> str:
    """A self-contained page, which needs no network and no other file but the recordings.

    Args:
        title: heading of the page.
        systems: of the same utterances.
        values: of `score_values`.
        recordings: of each utterance.
        notes: lines to show below the rates.
        page: where the page will be; recordings in its folder get relative addresses.

    Returns:
        page: HTML. Its data are JSON in the element `data`; see `page_data`.
    """
    data = page_data(systems, values, recordings, notes, page)
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _read("score_page.css"),
        "SCRIPT": _read("score_page.js") + _read("score_page_utterances.js"),
        # escaped, because "<" could end the script element
        "DATA": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(
        "@(TITLE|STYLE|SCRIPT|DATA)@", lambda found: parts[found[1]], _read("score_page.html")
    )


def page_data(
    systems: Sequence[System],
    values: Values,
    recordings: Sequence[Recording | None],
    notes: Sequence[str] = (),
    page: Path | None = None,
) -> Values:
    """The data of a page, as plain values; see `score_page` for the arguments.

    Returns:
        data: `systems` as in `score_values`, each also with `lengths`, its rates by the number of
            reference words; the field `by` of the groups; `notes`; and `utterances`. Each of these
            has `id`, `group`, `length`, `audio`, and for each system its alignment and, with audio,
            the times at which its recognised words start. In an alignment, a text is a word that
            was recognised, and a pair is an error: the reference's word and the recognised one, ""
            where there is none.
    """
    pairs = systems[0].pairs
    ids = pairs.ids or [str(number) for number in range(1, len(pairs.references) + 1)]
    by = values.get("by")
    groups = field_values(pairs, by, "") if by else [""] * len(ids)
    lengths = [length_range(len(text.split())) for text in pairs.references]
    of_systems = values.get("systems", [values | {"name": systems[0].name}])
    return {
        "by": by,
        "notes": list(notes),
        "systems": [
            each | {"lengths": group_values(system.counts, lengths)}
            for system, each in zip(systems, of_systems, strict=True)
        ],
        "utterances": [
            {
                "id": ids[number],
                "group": groups[number],
                "length": lengths[number],
                "audio": _audio_values(recordings[number], page),
                "alignments": [
                    [said if said == heard else [said, heard] for said, heard in alignment]
                    for alignment in (system.alignments[number] for system in systems)
                ],
                "starts": [
                    word_starts(*system.pairs.entries[number], system.pairs.hypotheses[number])
                    if recordings[number]
                    else None
                    for system in systems
                ],
            }
            for number in range(len(ids))
        ],
    }


def length_range(n_words: int) -> str:
    """The range of lengths that a number of words is in: 0, 1, 2-3, 4-7, 8-15, ..."""
    first: int = 1 << n_words.bit_length() >> 1
    return f"{first}-{2 * first - 1}" if first > 1 else str(first)


def _read(name: str) -> str:
    """A file beside this one: the page's frame, style or program."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _audio_values(recording: Recording | None, page: Path | None) -> Values | None:
    if recording is None:
        return None
    address = recording.path.resolve().as_uri()
    if page is not None and recording.path.resolve().is_relative_to(page.parent.resolve()):
        relative = os.path.relpath(recording.path.resolve(), page.parent.resolve())
        address = quote(os.fsencode(relative))
    return {"address": address, "start": recording.start, "end": recording.end}
