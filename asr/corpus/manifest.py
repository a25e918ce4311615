"""JSON lines -> Utterances, and back."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from asr.errors import InputError, listed
from asr.files import json_object, read_text, write_text
from asr.text.normalisation import canonical


class TimedLabel(NamedTuple):
    """A word or phone in a recording with its times."""

    label: str
    start: float  # seconds
    end: float


DURATION_SLACK_S = 0.02
"""Largest difference in seconds between the duration of an audio file and its manifest."""


@dataclass(frozen=True)
class Utterance:
    """A recording with its text.

    Args:
        id: unique within its manifest.
        audio: path of the audio file; relative paths in a manifest start at its folder.
        duration: in seconds.
        text: transcript, normalised as the corpus's `prepare.py` does.
        speaker: name of the speaker; empty if unknown.
        words: words with times since the start of the utterance, if the corpus has them.
        phones: phones with times since the start of the utterance, if the corpus has them.
        offset: start of the utterance in its audio file, in seconds; None if the utterance is the
            whole file.
    """

    id: str
    audio: str
    duration: float
    text: str
    speaker: str = ""
    words: tuple[TimedLabel, ...] = ()
    phones: tuple[TimedLabel, ...] = ()
    offset: float | None = None


def read_manifest(path: str | Path) -> list[Utterance]:
    """The utterances of a manifest in order, with audio paths resolved against its folder.

    A byte order mark and blank lines are ignored. Texts and labels get their canonical form (see
    `asr.text.normalisation.canonical`).

    Raises:
        InputError: the file can't be read or is empty, a line is not an utterance, or an id occurs
            twice; the message has the number of the line.
    """
    path = Path(path)
    text = read_text(path, "a manifest")
    utterances: list[Utterance] = []
    first_line: dict[str, int] = {}
    # not splitlines, which also splits at characters that a text may have, such as U+2028
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        utterance = _parse(line, place, path.parent)
        if utterance.id in first_line:
            raise InputError(
                f"{place}: id {utterance.id!r} was on line {first_line[utterance.id]} already;"
                " expected each id once"
            )
        first_line[utterance.id] = number
        utterances.append(utterance)
    if not utterances:
        raise InputError(f"{path}: is empty; expected at least one utterance")
    return utterances


def in_both(utterances: Iterable[Utterance], others: Iterable[Utterance]) -> list[str]:
    """Ids of the utterances whose audio, from the same offset on, other utterances have too."""
    known = {(other.audio, other.offset or 0.0) for other in others}
    return [one.id for one in utterances if (one.audio, one.offset or 0.0) in known]


def check_duration(utterance: Utterance, found: float) -> None:
    """Raise InputError if the duration of an utterance's audio differs from its manifest.

    Args:
        utterance: of a manifest.
        found: duration of its audio, in seconds.
    """
    if abs(found - utterance.duration) > DURATION_SLACK_S:
        part = "" if utterance.offset is None else f" from {utterance.offset:.2f} s on"
        raise InputError(
            f"utterance {utterance.id}: {utterance.audio}: has {found:.2f} s of audio{part};"
            f" its manifest says {utterance.duration:.2f} s"
        )


def check_audio(path: str | Path, utterances: Sequence[Utterance]) -> None:
    """Raise InputError naming the utterances of a manifest whose audio file is missing.

    Args:
        path: of the manifest, for the error message.
        utterances: from `read_manifest`.
    """
    missing = [utterance for utterance in utterances if not os.path.isfile(utterance.audio)]
    if missing:
        named = listed([f"{utterance.id} ({utterance.audio})" for utterance in missing])
        raise InputError(
            f"{path}: {len(missing)} of {len(utterances)} utterances have no audio file: {named}"
        )


def manifest_values(utterance: Utterance) -> dict[str, Any]:
    """The fields of an utterance for a line of a manifest, without empty times and offset."""
    return {name: value for name, value in asdict(utterance).items() if value not in ((), None)}


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest completely or not at all; paths of audio inside its folder are relative."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()
    lines = []
    for utterance in utterances:
        audio = Path(utterance.audio).resolve()
        inside = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
        values = manifest_values(replace(utterance, audio=str(inside)))
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


_KNOWN = {field.name for field in fields(Utterance)}
_A_CENTURY = 3.2e9  # seconds; an upper bound that also excludes infinity and NaN
_REQUIRED = ("id", "audio", "duration", "text")


def _parse(line: str, place: str, folder: Path) -> Utterance:
    values = json_object(line, place)
    for name in _REQUIRED:
        if name not in values:
            raise InputError(f"{place}: has no {name!r}; expected {', '.join(_REQUIRED)}")
    if unknown := sorted(set(values) - _KNOWN):
        raise InputError(f"{place}: unknown {unknown[0]!r}; expected {', '.join(sorted(_KNOWN))}")
    for name in ("id", "audio", "text", "speaker"):
        if not isinstance(values.get(name, ""), str):
            raise InputError(f"{place}: {name} is {values[name]!r}; expected text")
    if not values["id"] or any(character.isspace() for character in values["id"]):
        raise InputError(f"{place}: id is {values['id']!r}; expected text without white space")
    canonical(values["id"], f"{place}: id")  # refuses control characters; does not change the id
    values["text"] = canonical(values["text"], place)
    if not values["audio"]:
        raise InputError(f"{place}: audio is empty; expected a path")
    values["duration"] = _seconds(values, "duration", place)
    if values.get("offset") is not None:
        values["offset"] = _seconds(values, "offset", place)
    for name in ("words", "phones"):
        labels = values.get(name, [])
        if not isinstance(labels, list):
            raise InputError(f"{place}: {name} is {labels!r}; expected [label, start, end], ...")
        values[name] = tuple(_timed_label(item, name, place) for item in labels)
    values["audio"] = str(folder / values["audio"])
    return Utterance(**values)


def _seconds(values: dict[str, Any], name: str, place: str) -> float:
    found = values[name]
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InputError(f"{place}: {name} is {found!r}; expected seconds")
    if not 0 <= found < _A_CENTURY or (name == "duration" and not found):
        expected = "more than 0 seconds" if name == "duration" else "seconds from 0 on"
        raise InputError(f"{place}: {name} is {found!r}; expected {expected}")
    return float(found)


def _timed_label(item: object, name: str, place: str) -> TimedLabel:
    match item:
        case [str(label), int() | float() as start, int() | float() as end] if (
            0 <= start <= end < _A_CENTURY and not isinstance(start, bool)
        ):
            return TimedLabel(canonical(label, place), float(start), float(end))
    raise InputError(f"{place}: {name} has {item!r}; expected [label, start, end] in seconds")
