"""formats, recordings, transcripts -> stdout or files; imports torch."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from asr.audio.content import STANDARD_INPUT
from asr.cli.audio_files import AudioFile, check_given_once
from asr.cli.output import name_of, print_content, print_json, print_row
from asr.cli.progress import progress_bar
from asr.cli.usage import refuse
from asr.errors import STDOUT, InputError, has_one_line, listed, one_line, printable, say
from asr.files import read_text, remove_leftovers, write_text
from asr.recognizer import Transcript
from asr.transcribing.punctuation import FormatPunctuation
from asr.transcribing.writers import SUFFIX, Format, as_text, json_values, recording_name

PROGRAM = "asr transcribe"

_ONE_RECORDING: tuple[Format, ...] = ("srt", "vtt", "textgrid")
_FAILED = "failed.tsv"
_RECORDINGS = "recordings.tsv"

Failures = dict[Path, str]
"""Recordings with the reasons of their failures."""


class OutputFile(NamedTuple):
    """A file for the transcript of one recording."""

    format: Format
    path: Path


def parse_formats(names: str, program: str) -> list[Format]:
    """The formats in a list such as `srt,json`.

    If a name is not a format, or comes twice, `program` exits with status 2.
    """
    formats = [format for name in names.split(",") for format in SUFFIX if format == name]
    if len(set(formats)) < len(names.split(",")):
        known = ", ".join(SUFFIX)
        refuse(program, f"--format is {names!r}; expected one or more of {known}, each once")
    return formats


def check_stdout(formats: Sequence[Format], audio: Sequence[Path]) -> None:
    """Check that stdout can hold the transcripts of these recordings.

    If there are several formats, or several recordings in a format whose files hold one, the
    program exits with status 2.

    Raises:
        InputError: two recordings have the same name in CTM.
    """
    if len(formats) > 1:
        refuse(PROGRAM, f"--format is {','.join(formats)}; expected one without --out DIR")
    if formats[0] in _ONE_RECORDING and len(audio) > 1:
        refuse(
            PROGRAM,
            f"--format is {formats[0]}, which holds one recording, not {len(audio)}; expected"
            " --out DIR",
        )
    if formats[0] == "ctm":
        _check_names([recording_name(path) for path in audio], audio)


def output_files(
    audio: Sequence[AudioFile], out: Path, formats: Sequence[Format]
) -> list[list[OutputFile]]:
    """The files of each recording, one for each format. The folder is made.

    The files of a folder argument mirror its tree. Recordings whose files would have the same name
    keep the folders below the innermost one that they share: `a/x.wav` and `b/x.wav` are written
    to `a/x.srt` and `b/x.srt`. Where this is not enough, they keep their suffixes: `x.wav.srt` and
    `x.mp3.srt`. Temporary files that a killed program has left are removed.

    `recordings.tsv` in the folder has a line `NAME<TAB>PATH` for each recording, so that a later
    run doesn't take the transcript of one for that of another.

    Args:
        audio: the recordings.
        out: the folder.
        formats: one or more.

    Raises:
        InputError: a recording is given twice, two recordings have the same file, one has the
            file of another of an earlier run, or `out` is a file.
    """
    check_given_once(audio)
    names = _output_names(audio)
    _check_names([f"{out / name}{SUFFIX[formats[0]]}" for name in names], [a.path for a in audio])
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder, or a new name")
    out.mkdir(parents=True, exist_ok=True)
    for folder in {(out / name).parent for name in names}:
        remove_leftovers(folder)
    _keep_recordings(out, dict(zip(names, (one.path for one in audio), strict=True)))
    return [
        [OutputFile(format, out / f"{name}{SUFFIX[format]}") for format in formats]
        for name in names
    ]


def is_output(path: Path) -> bool:
    """Whether a file beside audio has the name of a transcript, a manifest or one of our lists.

    So has one that a killed program has left.
    """
    suffixes = (*SUFFIX.values(), ".jsonl", ".partial")
    return path.suffix in suffixes or path.name in (_FAILED, _RECORDINGS)


def print_all(
    program: str,
    audio: Sequence[Path],
    format: Format,
    channel: int | None,
    punctuation: FormatPunctuation,
    results: Iterable[tuple[Path, Transcript | Exception]],
) -> Failures:
    """Print the transcripts of recordings; the arguments are those of `write_all`."""
    failures: Failures = {}

    def use(path: Path, transcript: Transcript) -> None:
        version = punctuation.versions(transcript, [format])[format]
        print_transcript(format, version, path, channel)

    use_results(program, results, len(audio), use, failures, prints=True)
    return failures


def write_all(
    program: str,
    recordings: Sequence[AudioFile],
    out: Path,
    formats: Sequence[Format],
    channel: int | None,
    choose_punctuation: Callable[[], FormatPunctuation],
    transcribe: Callable[[Sequence[Path]], Iterable[tuple[Path, Transcript | Exception]]],
) -> Failures:
    """Transcribe the recordings that lack some of their files, and write these.

    `failed.tsv` in the folder lists the recordings that failed.

    Args:
        program: name of the program.
        recordings: the recordings.
        out: the folder; see `output_files`.
        formats: one or more.
        channel: see `asr.transcribing.writers.as_text`.
        choose_punctuation: called if there is something to do.
        transcribe: transcribes recordings; see `use_results`.

    Raises:
        InputError: see `output_files`.
        OSError: the folder can't be written.
    """
    missing = unwritten(program, recordings, out, formats)
    failures: Failures = {}
    write_failures(out, failures)  # those of an earlier run are gone, even if this one is killed
    try:
        if missing:
            punctuation = choose_punctuation()

            def use(path: Path, transcript: Transcript) -> None:
                versions = punctuation.versions(transcript, formats)
                write_transcripts(program, missing[path], versions, path, channel, failures)

            results = transcribe(list(missing))
            use_results(program, results, len(missing), use, failures, prints=False)
    finally:
        order = [path for path in missing if path in failures]
        write_failures(out, {path: failures[path] for path in order})
    return failures


def unwritten(
    program: str, recordings: Sequence[AudioFile], out: Path, formats: Sequence[Format]
) -> dict[Path, list[OutputFile]]:
    """The recordings that lack some of their files, with these; see `output_files`.

    A line on stderr says how many recordings are done already.
    """
    files = output_files(recordings, out, formats)
    missing = {
        recording.path: [file for file in own if not file.path.exists()]
        for recording, own in zip(recordings, files, strict=True)
    }
    found = {path: own for path, own in missing.items() if own}
    if n_done := len(recordings) - len(found):
        say(program, f"{n_done} of {len(recordings)} recordings are done already")
    return found


def use_results(
    program: str,
    results: Iterable[tuple[Path, Transcript | Exception]],
    n_results: int,
    use: Callable[[Path, Transcript], None],
    failures: Failures,
    prints: bool,
) -> None:
    """Use each transcript as soon as it is there, beside a progress bar.

    Args:
        program: name of the program.
        results: recordings with their transcripts, or the exceptions that were raised for them.
        n_results: number of results.
        use: prints or writes the transcript of a recording.
        failures: may be added to; each new one is a line on stderr too.
        prints: whether `use` prints on stdout.
    """
    with progress_bar(n_results, "recordings", prints) as advance:
        for path, result in results:
            with failures_as_lines(program, path, failures):
                if isinstance(result, Exception):
                    raise result
                use(path, result)
            advance()


def tell_failures(program: str, failures: Failures, n_recordings: int) -> None:
    """A last line on stderr with the recordings that failed, if there were several recordings."""
    if failures and n_recordings > 1:
        names = listed([printable(str(path)) for path in failures])
        say(program, f"{len(failures)} of {n_recordings} recordings failed: {names}")


@contextmanager
def failures_as_lines(program: str, audio: Path, failures: Failures) -> Iterator[None]:
    """Print an error that concerns one recording as a line on stderr, and add it to `failures`.

    Args:
        program: name of the program.
        audio: the recording.
        failures: recordings with the reasons of their failures; the first reason is kept.

    Raises:
        Exception: the other recordings would fail too: a bug in this package, or stdout can't be
            written.
    """
    try:
        yield
    except Exception as error:
        if _ends_all(error):
            raise
        line = one_line(error)
        named = isinstance(error, OSError) or str(error).startswith(f"{audio}:")
        say(program, f"{'' if named else f'{audio}: '}{line}")
        failures.setdefault(audio, line.removeprefix(f"{printable(str(audio))}: "))


def write_transcripts(
    program: str,
    files: Sequence[OutputFile],
    versions: Mapping[Format, Transcript],
    audio: Path,
    channel: int | None,
    failures: Failures,
) -> None:
    """Write the versions of a transcript; one that fails is reported and does not stop the others.

    Args:
        program: name of the program.
        files: one or more.
        versions: the transcript for the format of each file.
        audio: the recording.
        channel: see `asr.transcribing.writers.as_text`.
        failures: recordings with the reasons of their failures; may be added to.
    """
    for file in files:
        with failures_as_lines(program, audio, failures):
            write_transcript(file, versions[file.format], audio, channel)


def write_failures(out: Path, failures: Mapping[Path, str]) -> None:
    r"""Write `failed.tsv`, with a line `PATH<TAB>REASON` for each recording that failed.

    Paths are written as on stdout: control characters are escaped, and each \ is doubled. If
    nothing failed, the file of an earlier run is removed.

    Raises:
        OSError: the file can't be written or removed.
    """
    file = out / _FAILED
    if failures:
        rows = (f"{printable(name_of(path))}\t{reason}\n" for path, reason in failures.items())
        write_text(file, "".join(rows))
    else:
        file.unlink(missing_ok=True)


def print_transcript(
    format: Format, transcript: Transcript, audio: Path, channel: int | None
) -> None:
    """Print a transcript; the arguments are those of `asr.transcribing.writers.as_text`.

    A line of text begins with the recording's path.

    Raises:
        InputError: the format can't hold one of the words.
        OSError: stdout can't be written; the error's filename is `asr.errors.STDOUT`.
        UnicodeEncodeError: stdout's encoding lacks a character; nothing is printed.
    """
    if format == "txt":
        print_row(name_of(audio), transcript.text)
    elif format == "json":
        print_json(json_values(transcript, audio))
    else:
        print_content(as_text(format, transcript, audio, channel))


def write_transcript(
    file: OutputFile, transcript: Transcript, audio: Path, channel: int | None
) -> None:
    """Write a transcript to a new file, either completely or not at all.

    Raises:
        InputError: the format can't hold one of the words.
        OSError: the file can't be written, or exists.
    """
    file.path.parent.mkdir(parents=True, exist_ok=True)
    write_text(file.path, as_text(file.format, transcript, audio, channel), exclusive=True)


def _output_names(audio: Sequence[AudioFile]) -> list[str]:
    """The path of each recording's files below the output folder, without suffix."""
    names = [_name_in(file.folder or file.path.parent, file.path) for file in audio]
    same: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        same.setdefault(name, []).append(number)
    for numbers in same.values():
        if len(numbers) > 1:
            folders = [os.path.abspath(audio[number].path.parent) for number in numbers]
            shared = Path(os.path.commonpath(folders))
            for number, folder in zip(numbers, folders, strict=True):
                names[number] = _name_in(shared, Path(folder, audio[number].path.name))
    count = Counter(names)
    return [
        name if count[name] == 1 else name + file.path.suffix
        for name, file in zip(names, audio, strict=True)
    ]


def _keep_recordings(out: Path, names: Mapping[str, Path]) -> None:
    """Add the recordings, by the names of their files, to the list in the folder.

    Raises:
        InputError: there is the transcript of another recording under one of the names.
    """
    file = out / _RECORDINGS
    rows = [line.split("\t") for line in read_text(file).splitlines()] if file.exists() else []
    if any(len(row) != 2 for row in rows):
        raise InputError(f"{file}: has another form than NAME<TAB>PATH; expected what was written")
    known = {name: path for name, path in rows}
    new: dict[str, str] = {}
    for name, path in names.items():
        given = path if path == STANDARD_INPUT else path.absolute()
        row, source = (_as_utf8(printable(name_of(one))) for one in (name, given))
        written = [out / f"{name}{suffix}" for suffix in SUFFIX.values()]
        if known.get(row, source) != source and (there := [one for one in written if one.exists()]):
            raise InputError(
                f"{there[0]}: is the transcript of {known[row]} (see {file}), not of {source};"
                " expected another --out"
            )
        new[row] = source
    if new.items() - known.items():
        lines = (f"{name}\t{path}\n" for name, path in (known | new).items())
        write_text(file, "".join(lines))


def _as_utf8(text: str) -> str:
    r"""The text with the bytes of a name that is not UTF-8 as escapes, such as \udce9."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _name_in(folder: Path, audio: Path) -> str:
    return str(audio.relative_to(folder).with_name(recording_name(audio)))


def _check_names(names: Sequence[str], audio: Sequence[Path]) -> None:
    """Raise InputError if two recordings would have the same name in the output."""
    sources: dict[str, Path] = {}
    for name, path in zip(names, audio, strict=True):
        if name in sources:
            raise InputError(
                f"{name}: would be the output of both {sources[name]} and {path};"
                " expected different file names"
            )
        sources[name] = path


def _ends_all(error: Exception) -> bool:
    """Whether the other files would fail too: a bug in this package, or stdout can't be written."""
    if isinstance(error, BrokenPipeError) or not has_one_line(error):
        return True
    return isinstance(error, OSError) and error.filename == STDOUT
