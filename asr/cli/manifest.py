"""`asr manifest`: audio files and their texts -> a manifest on stdout."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.audio_files import check_given_once, find_audio
from asr.cli.output import print_json
from asr.errors import InputError, listed, one_line, reported, say
from asr.files import composed, path_of, read_text

PROGRAM = "asr manifest"


def manifest(
    audio: Annotated[
        list[Path],
        typer.Argument(
            metavar="AUDIO...",
            parser=path_of,
            help="Audio files, folders, which are searched recursively, or quoted patterns such as"
            " 'talks/**/*.mp3'.",
            show_default=False,
        ),
    ],
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=path_of,
            help="Texts: lines `ID TEXT`, or `ID<TAB>TEXT` or `PATH<TAB>TEXT` if every line has a"
            " tab. By default the text of a.wav is read from a.txt beside it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a manifest of audio files, for training and evaluation.

    Example: `asr manifest wav > train.jsonl`. Each recording gives one line with its id, the path
    of its file, its duration in seconds and its text. The id is the file's name without its suffix;
    if two files have the same name, all ids start with the names of their folders. If a recording
    can't be used, stderr has its name and the reason, the other recordings are still done, and the
    exit status is 1.
    """
    with reported(PROGRAM):
        from asr.audio.load import read_info
        from asr.corpus.manifest import Utterance, manifest_values

        paths = _files(audio, text)
        ids = _ids(paths)
        texts = None if text is None else _texts(text, paths, ids)
        failed = 0
        for path, id in zip(paths, ids, strict=True):
            try:
                _check_name(path, id)
                duration = read_info(path).duration  # first: a missing file has no text either
                said = _text_beside(path) if texts is None else _text_in(texts, path, id, text)
                utterance = Utterance(id, os.path.abspath(path), duration, said)
            except (InputError, OSError) as error:
                failed += 1
                say(PROGRAM, one_line(error))
                continue
            print_json(manifest_values(utterance))
    if failed:
        raise typer.Exit(1)


def _files(audio: Iterable[Path], text: Path | None) -> list[Path]:
    """The given recordings; see `find_audio`. Texts and manifests may be beside them."""

    def is_text(path: Path) -> bool:
        return path == text or path.suffix.lower() in (".txt", ".jsonl")

    files = find_audio(audio, PROGRAM, is_text)
    check_given_once(files)
    return [path for path, _ in files]


def _ids(paths: Sequence[Path]) -> list[str]:
    """The ids of the files: without white space, each different."""
    ids = [_id(path.stem) for path in paths]
    if len(set(ids)) < len(ids):
        absolute = [os.path.abspath(path) for path in paths]
        top = os.path.commonpath([os.path.dirname(path) for path in absolute])
        inside = (Path(os.path.relpath(path, top)).with_suffix("") for path in absolute)
        ids = [_id("-".join(path.parts)) for path in inside]
    first: dict[str, Path] = {}
    for path, id in zip(paths, ids, strict=True):
        if id in first:
            raise InputError(
                f"{path}: has the same id as {first[id]}, {id!r}; expected different names"
            )
        first[id] = path
    return ids


def _id(name: str) -> str:
    return re.sub(r"\s+", "_", composed(name))


def _texts(file: Path, paths: Sequence[Path], ids: Sequence[str]) -> dict[Path, str]:
    """The text of each recording in a file of texts; a line on stderr counts unused lines.

    Raises:
        InputError: the file can't be read, two lines are for the same recording, or the name in a
            line fits two recordings.
    """
    from asr.text.normalisation import canonical

    lines = [line.strip("\r") for line in read_text(file, "texts").split("\n")]
    separator = "\t" if all("\t" in line for line in lines if line.strip()) else None
    recordings = _by_name(paths, ids)
    texts: dict[Path, str] = {}
    first: dict[Path, int] = {}
    others = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *said = line.split(separator, 1)
        place = f"{file}:{number}"
        given = name.strip(), os.path.abspath(file.parent / name)
        found = next((recordings[n] for n in map(composed, given) if n in recordings), None)
        if not found:
            others.append(name)
            continue
        if len(found) > 1:
            raise InputError(
                f"{place}: {name} fits both {found[0]} and {found[1]}; expected a path"
            )
        (path,) = found
        if path in first:
            raise InputError(
                f"{place}: has a text for {path}, as line {first[path]} has; expected one"
                " line per recording"
            )
        first[path] = number
        texts[path] = canonical("".join(said), place)
    if others:
        what = f"has texts of recordings that are not given ({len(others)}): {listed(others)}"
        say(PROGRAM, f"{file}: {what}")
    return texts


def _by_name(paths: Sequence[Path], ids: Sequence[str]) -> dict[str, list[Path]]:
    """The recordings that fit each name, composed: an id, a file's name or a path."""
    found: dict[str, list[Path]] = {}
    for path, id in zip(paths, ids, strict=True):
        names = id, path.stem, path.name, str(path), os.path.abspath(path)
        for name in set(map(composed, names)):
            found.setdefault(name, []).append(path)
    return found


def _text_in(texts: Mapping[Path, str], path: Path, id: str, file: Path | None) -> str:
    if path not in texts:
        raise InputError(f"{path}: has no text in {file}; expected a line that begins with {id}")
    return texts[path]


def _text_beside(path: Path) -> str:
    from asr.text.normalisation import canonical

    file = path.with_suffix(".txt")
    if not file.exists():
        raise InputError(f"{path}: has no text; expected {file.name} beside it, or --text FILE")
    return canonical(read_text(file), str(file))


def _check_name(path: Path, id: str) -> None:
    """Raise InputError if a name is not valid text, or has control characters."""
    from asr.text.normalisation import canonical

    place = f"{str(path)!a}: its name"
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} is not UTF-8; expected UTF-8") from None
    canonical(id, place)
