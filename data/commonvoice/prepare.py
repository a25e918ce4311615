"""Common Voice, one language -> data/commonvoice/{train,dev,test}.jsonl."""

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    check_durations,
    command_line,
    data_roots,
    find_recordings,
    measure,
    refuse,
    verify,
    write_manifests,
)
from asr.corpus.spoken_text import ENGLISH, spoken_texts
from asr.errors import InputError, reported
from asr.files import read_text

SPLITS = ("train", "dev", "test")
FIRST = "cv_corpus_v1"
HOW_TO_GET = (
    "Common Voice: no folder {expected} under --data-root or $ASR_DATA. Common Voice can't be"
    " downloaded without an account: choose the language on https://commonvoice.mozilla.org"
    " (licence: CC0) and unpack the archive"
)
# the official dev list, and our own split of a part of it, see README.md
FIRST_SIZES = {
    "cv-valid-dev": 4_076,
    "cv-valid-dev-train": 2_711,
    "cv-valid-dev-dev": 338,
    "cv-valid-dev-test": 309,
}
# the first release's lists round to 0.1 s; decoders of MP3 differ by some frames of 0.026 s
SLACK_S = 0.2


@dataclass(frozen=True)
class Clip:
    """A line of a list of clips.

    Args:
        text: the sentence that was shown to the speaker.
        speaker: Common Voice's pseudonym; empty if the list has none.
        duration: in seconds; None if the list has none.
    """

    text: str
    speaker: str
    duration: float | None


Lists = Mapping[str, Mapping[str, Clip]]
"""Split -> id -> clip."""


def prepare(data_root: Path | None, out: Path, language: str = "en") -> None:
    """Write the three manifests of `read_splits`.

    The number of sentences of dev and test that are in train too is a line on stderr.
    """
    splits = read_splits(data_root, language)
    write_manifests(out, splits)
    known = {utterance.text for utterance in splits["train"]}
    for split in ("dev", "test"):
        shared = sum(utterance.text in known for utterance in splits[split])
        print(f"{split}: {shared} of {len(splits[split])} texts are in train too", file=sys.stderr)


def read_splits(data_root: Path | None, language: str = "en") -> dict[str, list[Utterance]]:
    """The utterances of the lists train, dev and test, checked.

    Texts that are not letters only, such as those with numbers, are left out; each is a line on
    stderr.

    Args:
        data_root: folder that has `cv-corpus-<version>/<language>/`, or the first release,
            `cv_corpus_v1/`, which is English. The newest release is taken.
        language: code of the language, as Common Voice's folders have it.

    Raises:
        InputError: the corpus is missing; a clip is missing, damaged, shorter or longer than
            listed, surplus, or listed twice; a list has another form or size.
    """
    home = find_release(data_root, language)
    print(f"Common Voice: {home}", file=sys.stderr)
    first = home.name == FIRST
    lists, files, problems = read_first(home) if first else read_release(home)

    clips = {id: clip for members in lists.values() for id, clip in members.items()}
    used = {id: path for id, path in files.items() if id in clips}
    recordings, damaged = measure(used, None, exact=False)
    durations = {id: clip.duration for id, clip in clips.items() if clip.duration is not None}
    problems += damaged + verify(files, recordings, clips, {})
    refuse(problems + check_durations(recordings, durations, SLACK_S), "Common Voice")

    abbreviations = ENGLISH if language == "en" else {}
    texts = {id: clip.text for id, clip in clips.items()}
    texts = spoken_texts(texts, "Common Voice", abbreviations)
    return {
        split: [
            recordings[id].utterance(id, texts[id], clip.speaker)
            for id, clip in members.items()
            if id in texts
        ]
        for split, members in lists.items()
    }


def find_release(data_root: Path | None, language: str) -> Path:
    """The folder of the newest release of a language, else of the first release.

    Raises:
        InputError: there is none.
    """
    roots = data_roots(data_root)
    for root in roots:
        releases = [
            path.parent for path in root.glob(f"cv-corpus-*/{language}/clips") if path.is_dir()
        ]
        if releases:
            return max(releases, key=lambda path: _version(path.parent.name))
        if language == "en" and (root / FIRST).is_dir():
            return root / FIRST
    expected = f"cv-corpus-VERSION/{language}" + (f" or {FIRST}" if language == "en" else "")
    raise InputError(HOW_TO_GET.format(expected=expected))


def read_release(home: Path) -> tuple[Lists, dict[str, Path], list[str]]:
    """The lists of a release since 2019, `train.tsv` and so on, and all files of their clips.

    Files that belong to other lists, such as `other.tsv`, are not returned. Durations are those of
    `clip_durations.tsv`, which older releases don't have.

    Returns:
        lists: split -> id -> clip.
        files: id -> audio file.
        problems: one line for each clip in two splits.
    """
    durations = {}
    if (path := home / "clip_durations.tsv").exists():
        for place, row in _rows(path, ("clip", "duration[ms]")):
            milliseconds = _number(row["duration[ms]"], place)
            durations[Path(row["clip"]).stem] = milliseconds and milliseconds / 1000
    lists: dict[str, dict[str, Clip]] = {split: {} for split in SPLITS}
    for split, members in lists.items():
        path = home / f"{split}.tsv"
        for place, row in _rows(path, ("client_id", "path", "sentence")):
            id = Path(row["path"]).stem
            _add(members, id, Clip(row["sentence"], row["client_id"], durations.get(id)), place)
    ours = set().union(*lists.values())
    others = {
        Path(row["path"]).stem
        for name in ("validated", "invalidated", "other")
        if (path := home / f"{name}.tsv").exists()
        for _, row in _rows(path, ("path",))
    }
    files = find_recordings(home / "clips")
    files = {id: path for id, path in files.items() if id in ours or id not in others}
    return lists, files, _in_two(lists)


def read_first(home: Path) -> tuple[Lists, dict[str, Path], list[str]]:
    """The lists of the first release, `cv-valid-train.csv` and so on, and all files of their clips.

    If these three are not there, it is `cv-valid-dev-train.csv` and so on, our own split.

    Returns:
        lists: split -> id -> clip; the id has the clip's folder, since names occur in several.
        files: id -> audio file, of all in these folders.
        problems: one line for each clip in two splits, and each list of another size.
    """
    complete = all((home / f"cv-valid-{split}.csv").exists() for split in SPLITS)
    lists: dict[str, dict[str, Clip]] = {split: {} for split in SPLITS}
    folders, problems = set(), []
    for split, members in lists.items():
        path = home / (f"cv-valid-{split}.csv" if complete else f"cv-valid-dev-{split}.csv")
        for place, row in _rows(path, ("filename", "text", "duration")):
            audio = Path(row["filename"])
            folders.add(audio.parent.name)
            clip = Clip(row["text"], "", _number(row["duration"], place))
            _add(members, _first_id(audio), clip, place)
        expected = FIRST_SIZES.get(path.stem, len(members))
        if len(members) != expected:
            problems.append(f"{path}: has {len(members)} clips; expected {expected}")
    files: dict[str, Path] = {}
    for folder in sorted(folders):
        files |= find_recordings(home / folder, _first_id)
    return lists, files, problems + _in_two(lists)


def _first_id(audio: Path) -> str:
    return f"{audio.parent.name}-{audio.stem}"


def _add(members: dict[str, Clip], id: str, clip: Clip, place: str) -> None:
    if id in members:
        raise InputError(f"{place}: {id} was on an earlier line; expected each clip once")
    members[id] = clip


def _in_two(lists: Lists) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{id}: is in {first[id]} and in {split}"
        for split, members in lists.items()
        for id in members
        if first.setdefault(id, split) != split
    ]


def _version(folder: str) -> list[int]:
    """`cv-corpus-17.0-2024-03-15` -> [17, 0, 2024, 3, 15]."""
    return [int(number) for number in re.findall(r"\d+", folder)]


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, column -> value) of each line of a table with these and other columns."""
    text = io.StringIO(read_text(path), newline="")
    if path.suffix == ".tsv":  # without quoting: a quotation mark is part of the sentence
        reader = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.DictReader(text)
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise InputError(f"{path}:1: has no column {missing[0]!r}; expected {', '.join(columns)}")
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if None in row or any(row[name] is None for name in columns):
            raise InputError(f"{place}: has another number of columns than line 1")
        yield place, row


def _number(text: str, place: str) -> float | None:
    """A duration; None if it is not given."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise InputError(f"{place}: duration is {text!r}; expected a number") from None


if __name__ == "__main__":
    parser = command_line(__doc__, Path(__file__).parent)
    parser.add_argument("--language", default="en", help="code of the language (%(default)s)")
    arguments = parser.parse_args()
    with reported("prepare commonvoice"):
        prepare(arguments.data_root, arguments.out, arguments.language)
