"""Utterances -> their recordings, and the times of recognised words in them, for playing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asr.errors import InputError, counted
from asr.scoring.entries import Entry
from asr.scoring.tables import AUDIO_NAMES
from asr.scoring.transcripts import Pairs

PLAYABLE = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".webm")
"""Suffixes of the audio files that browsers play."""


class Recording(NamedTuple):
    """An utterance's audio.

    Args:
        path: of the audio file.
        start: of the utterance in the file, in seconds; None if it is the whole file.
        end: likewise.
    """

    path: Path
    start: float | None
    end: float | None


def find_recordings(entries: Sequence[Entry], folder: Path | None) -> list[Recording | None]:
    """The recording of each utterance; None if it has none that a browser plays.

    Args:
        entries: the references.
        folder: search here for the path that the reference names, or for a file named after the
            path, the id, or the recording of an STM's segment, if only one has this name; None:
            take the reference's path.

    Raises:
        InputError: the folder can't be read, or has no recording of any utterance.
    """
    if folder is None:
        paths = [Path(entry.audio) if entry.audio else None for entry in entries]
        paths = [path if path and _is_playable(path) and path.is_file() else None for path in paths]
    else:
        paths = _paths_in(entries, folder)
    return [
        Recording(path, *_part(entry)) if path else None
        for entry, path in zip(entries, paths, strict=True)
    ]


def word_starts(said: Entry, heard: Entry, hypothesis: str) -> list[float] | None:
    """The time of each word of a hypothesis in the recording, in seconds.

    Args:
        said: the reference. Times in JSON are counted from its `offset`, and those of CTM from the
            start of the recording.
        heard: the hypothesis, from CTM, or from JSON with `words` of `{"word", "start", ...}` or
            `[word, start, end]`.
        hypothesis: the compared text.

    Returns:
        starts: None if the hypothesis has no times, or those of other words than `hypothesis`.
    """
    if heard.words:
        starts = [word.begin for word in heard.words]
    else:
        given = heard.fields.get("words")
        offset = _part(said)[0] or 0.0
        starts = [
            round(start + offset, 3)
            for word in (given if isinstance(given, list) else [])
            if (start := _start_of(word)) is not None
        ]
    return starts if starts and len(starts) == len(hypothesis.split()) else None


def playing_notes(systems: Sequence[Pairs], recordings: Sequence[Recording | None]) -> list[str]:
    """Lines about recordings that can't be played, and about times of words that can't be used.

    Args:
        systems: the pairs of each system.
        recordings: of each utterance.
    """
    notes = []
    silent = [
        said
        for (said, _), recording in zip(systems[0].entries, recordings, strict=True)
        if recording is None and said.audio
    ]
    if silent:
        notes.append(
            f"{counted(len(silent), 'utterance')} can't be played, such as {silent[0].audio}: there"
            " is no such file, there are several of its name, or browsers don't play its format"
        )
    unused = sum(
        word_starts(said, heard, text) is None
        for pairs in systems
        for (said, heard), text in zip(pairs.entries, pairs.hypotheses, strict=True)
        if text and (heard.words or heard.fields.get("words"))
    )
    if unused:
        notes.append(
            f"the times of words are not used in {unused} hypotheses, whose times are of other"
            " words than those compared"
        )
    return notes


def _is_playable(path: Path) -> bool:
    return path.suffix.lower() in PLAYABLE


def _paths_in(entries: Sequence[Entry], folder: Path) -> list[Path | None]:
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; expected a folder of recordings")
    files = sorted(path for path in folder.rglob("*") if _is_playable(path))
    n_folders = Counter(path.stem for path in {file.with_suffix("") for file in files})
    # of several recordings with the same name, such as one of each speaker, none is guessed
    known = {path.stem: path for path in files if n_folders[path.stem] == 1}
    known |= {str(path): path for path in files}
    paths = []
    for entry in entries:
        audio = next(
            (str(entry.fields[name]) for name in AUDIO_NAMES if entry.fields.get(name)), ""
        )
        names = [str(folder / audio), Path(audio).stem, entry.id, Path(entry.id).stem]
        names += entry.id.split()[:1]  # an STM's segment is named after its recording and times
        paths.append(next((known[name] for name in names if name in known), None))
    if not any(paths):
        id = entries[0].id or "ID"
        raise InputError(
            f"{folder}: has no recording of any utterance; expected files such as {id}.wav"
        )
    return paths


def _part(entry: Entry) -> tuple[float | None, float | None]:
    """Start and end of an utterance in its recording; None if it is the whole recording."""
    offset, duration = (_number(entry.fields.get(name)) for name in ("offset", "duration"))
    return offset, None if offset is None or duration is None else offset + duration


def _start_of(word: object) -> float | None:
    match word:
        case {"word": str(), "start": start} | [str(), start, _]:
            return _number(start)
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
