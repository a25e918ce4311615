"""AUDIO arguments -> audio files: files, folders and patterns."""

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from asr.errors import InputError, listed, say


class AudioFile(NamedTuple):
    """An audio file that was given, or found in a folder.

    Args:
        path: its path.
        folder: the folder argument in which it was found, or a pattern's part before the first
            wildcard; None for a file that was given itself.
    """

    path: Path
    folder: Path | None = None


def find_audio(
    arguments: Iterable[Path], program: str, is_expected: Callable[[Path], bool]
) -> list[AudioFile]:
    """The given files, the audio files in the given folders, and the files that fit the patterns.

    Folders are searched recursively. The files of a folder or a pattern are sorted by name. A line
    on stderr names the files of a folder whose suffixes are not those of audio.

    Args:
        arguments: files, `-` for standard input, folders, or patterns such as `talks/**/*.mp3`.
            A file whose name looks like a pattern is that file.
        program: name of the program, for the line on stderr.
        is_expected: whether the line leaves out a file that is not audio, such as a text.

    Raises:
        InputError: a folder has no audio file, or no file fits a pattern.
    """
    found = []
    for argument in arguments:
        if argument.is_dir():
            paths = _audio_in(argument, program, is_expected)
            found += [AudioFile(path, argument) for path in paths]
        elif glob.has_magic(str(argument)) and not os.path.lexists(argument):
            folder = _folder_of_pattern(argument)
            found += [AudioFile(path, folder) for path in _files_that_fit(argument)]
        else:
            found.append(AudioFile(argument))
    return found


def check_given_once(files: Sequence[AudioFile]) -> None:
    """Raise InputError if a recording is given twice, such as by itself and in its folder."""
    paths: set[str] = set()
    for path, _ in files:
        if (absolute := os.path.abspath(path)) in paths:
            raise InputError(f"{path}: is given twice; expected each recording once")
        paths.add(absolute)


def _audio_in(folder: Path, program: str, is_expected: Callable[[Path], bool]) -> list[Path]:
    from asr.audio.load import SUFFIXES

    inside = sorted(path for path in folder.rglob("*") if not path.is_dir())
    audio = [path for path in inside if path.suffix.lower() in SUFFIXES and _is_file_or_link(path)]
    if not audio:
        raise InputError(f"{folder}: has no audio file; expected names such as a{SUFFIXES[0]}")
    rest = set(inside) - set(audio)
    if others := [path.name for path in sorted(rest) if not is_expected(path)]:
        say(program, f"{folder}: leaves out what is not an audio file: {listed(others)}")
    return audio


def _files_that_fit(pattern: Path) -> list[Path]:
    paths = sorted(Path(name) for name in glob.iglob(str(pattern), recursive=True))
    if not (files := [path for path in paths if _is_file_or_link(path)]):
        raise InputError(f"{pattern}: fits no file; expected a pattern such as 'talks/**/*.mp3'")
    return files


def _folder_of_pattern(pattern: Path) -> Path:
    parts = pattern.parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _is_file_or_link(path: Path) -> bool:
    """Not a pipe: nobody may ever write into it; but a broken link, which is an error."""
    return path.is_file() or (path.is_symlink() and not path.exists())
