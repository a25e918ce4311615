"""Official corpus files -> checked manifests: code that every `data/<corpus>/prepare.py` shares."""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from asr.corpus.download import download, unpack
from asr.corpus.manifest import Utterance, write_manifest
from asr.errors import InputError, counted
from asr.files import read_text, write_text

SUFFIXES = (".flac", ".wav", ".sph", ".opus", ".ogg", ".mp3")
"""Audio formats of corpora, in order of preference."""

FACTS_RATE = 16_000
"""Sample rate in Hz of the facts of corpora whose copies differ in format and rate."""

LENGTH_SLACK_S = 0.05
"""Largest difference in seconds of such copies from their facts, as lossy formats may cause."""


@dataclass(frozen=True)
class Source:
    """A corpus, or a part of it that is one archive, and its official source.

    Args:
        name: usual name.
        folders: possible folders under a data root and inside the archive; the first that exists
            is used.
        url: of the archive; empty if it can't be downloaded.
        size: of the archive, for people, such as "6.3 GB".
        licence: for people, in a few words.
        checksum: "md5:..." or "sha256:..." of the archive, if the source publishes one.
    """

    name: str
    folders: tuple[str, ...]
    url: str
    size: str
    licence: str
    checksum: str = ""


@dataclass(frozen=True)
class Recording:
    """An official audio file.

    Args:
        path: of the file.
        samples: number of samples of a channel.
        sample_rate: in Hz.
        digest: of the decoded samples, see `measure`; empty if only the length was read.
    """

    path: Path
    samples: int
    sample_rate: int
    digest: str

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.samples / self.sample_rate

    def utterance(self, id: str, text: str, speaker: str) -> Utterance:
        """The whole recording with its text."""
        return Utterance(id, str(self.path), self.duration, text, speaker)


Facts = Mapping[str, tuple[int, str]]
"""Utterance id -> (samples, digest) of the official files; the digest may be empty."""


def command_line(description: str, out: Path) -> argparse.ArgumentParser:
    """The options of every `prepare.py`; `out` is the default of `--out`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder with the corpora; a corpus that is neither there nor under $ASR_DATA is"
        " downloaded into OUT/download",
    )
    parser.add_argument(
        "--out", type=Path, default=out, help="folder of the manifests (%(default)s)"
    )
    parser.add_argument("--write-facts", action="store_true", help=argparse.SUPPRESS)
    return parser


def locate(folders: Sequence[str], data_root: Path | None) -> Path | None:
    """The first of `folders` under `data_root`, else under `$ASR_DATA`, else None.

    Raises:
        InputError: one of the two is not a folder.
    """
    candidates = [root / folder for root in data_roots(data_root) for folder in folders]
    return next((folder for folder in candidates if folder.is_dir()), None)


def data_roots(data_root: Path | None) -> list[Path]:
    """The folders in which corpora are looked for: `data_root`, then `$ASR_DATA`, if given.

    Raises:
        InputError: one of them is not a folder.
    """
    named = {"--data-root": data_root, "$ASR_DATA": os.environ.get("ASR_DATA")}
    roots = {name: Path(root) for name, root in named.items() if root}
    for name, root in roots.items():
        if not root.is_dir():
            raise InputError(f"{name} {root}: is not a folder")
    return list(roots.values())


def obtain(source: Source, data_root: Path | None, downloads: Path) -> Path:
    """The folder of a corpus: an existing one, or downloaded and unpacked under `downloads`.

    Raises:
        InputError: the corpus is missing and can't be downloaded, the download failed, or the
            archive does not contain the corpus.
    """
    if found := locate(source.folders, data_root):
        return found
    if not source.url:
        raise InputError(
            f"{source.name}: can't be downloaded; expected folder {source.folders[0]} under"
            " --data-root or $ASR_DATA"
        )
    archive = downloads / source.url.rsplit("/", 1)[-1]
    unpacked = downloads / archive.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(
        ".tar"
    )
    if not unpacked.is_dir():
        print(
            f"{source.name}: neither under --data-root nor under $ASR_DATA; downloading"
            f" {source.size} from {source.url} (licence: {source.licence})",
            file=sys.stderr,
        )
        unpack(download(source.url, archive, source.checksum), unpacked)
        archive.unlink()
    if found := locate(source.folders, unpacked):
        return found
    raise InputError(f"{unpacked}: has no folder {source.folders[0]}; expected {source.name}")


def find_recordings(
    folder: Path, name: Callable[[Path], str] = lambda path: path.stem
) -> dict[str, Path]:
    """Utterance id -> audio file, of all audio files below a folder.

    If a folder has a recording in several formats, the first of `SUFFIXES` is taken.

    Args:
        folder: to search.
        name: path -> id; by default the file's name without its suffix.

    Raises:
        InputError: recordings in different folders have the same id.
    """
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        paths = [Path(parent, file) for file in files if _suffix(file) in SUFFIXES]
        for path in sorted(paths, key=lambda path: (SUFFIXES.index(_suffix(path.name)), path.name)):
            earlier = found.setdefault(name(path), path)
            if earlier.parent != path.parent:
                raise InputError(f"{path}: has the same name as {earlier}; expected each name once")
    return dict(sorted(found.items()))


def check_recordings(
    corpus: str,
    files: Mapping[str, Path],
    transcripts: Collection[str],
    sample_rate: int,
    facts: Path,
    update: bool = False,
) -> dict[str, Recording]:
    """Read all recordings of a lossless corpus and compare them with the official lengths.

    Args:
        corpus: its name, for messages.
        files: id -> audio file.
        transcripts: ids that have a transcript.
        sample_rate: in Hz, required of every file.
        facts: file of the official lengths and digests.
        update: write `facts` instead of comparing with it.

    Returns:
        recordings: id -> recording, of all files.

    Raises:
        InputError: there are problems; each is a line on stderr.
    """
    recordings, problems = measure(files, sample_rate, exact=True)
    problems += verify(files, recordings, transcripts, {} if update else read_facts(facts))
    refuse(problems, corpus)
    if update:
        write_facts(facts, recordings)
    return recordings


def check_lengths(
    corpus: str,
    files: Mapping[str, Path],
    transcripts: Collection[str],
    facts: Path,
    update: bool = False,
    problems: Sequence[str] = (),
) -> dict[str, Recording]:
    """Read all recordings, in any format and at any rate; compare their lengths with the facts.

    Recordings that the facts don't have are not compared.

    Args:
        corpus: its name, for messages.
        files: id -> audio file.
        transcripts: ids that have a transcript.
        facts: file of the official lengths in samples at `FACTS_RATE`.
        update: write `facts` instead of comparing with it.
        problems: found before, to be reported with those of the recordings.

    Returns:
        recordings: id -> recording, of all files.

    Raises:
        InputError: there are problems; each is a line on stderr.
    """
    recordings, damaged = measure(files, FACTS_RATE if update else None, exact=False)
    known = {} if update else read_facts(facts)
    durations = {id: samples / FACTS_RATE for id, (samples, _) in known.items()}
    refuse(
        [
            *problems,
            *damaged,
            *verify(files, recordings, transcripts, {}),
            *check_durations(recordings, durations, LENGTH_SLACK_S),
        ],
        corpus,
    )
    if update:
        write_facts(facts, recordings)
    return recordings


def measure(
    files: Mapping[str, Path], sample_rate: int | None, exact: bool
) -> tuple[dict[str, Recording], list[str]]:
    """Read every recording and list those that can't be read or have the wrong format.

    Args:
        files: id -> audio file.
        sample_rate: in Hz, required of every file, which also must have one channel; None if any
            rate and number of channels will do.
        exact: decode all samples and compute their digest: the first 16 hexadecimal digits of the
            SHA-256 of the samples as little-endian 16-bit integers. Otherwise take the length from
            the header and decode only the last sample, to see that it exists.

    Returns:
        recordings: id -> recording, of the files without problems.
        problems: one line for each of the others.
    """
    recordings, problems = {}, []
    for id, path in files.items():
        try:
            recordings[id] = _read(path, sample_rate, exact)
        except (soundfile.LibsndfileError, OSError, InputError) as error:
            problems.append(f"{path}: {' '.join(str(error).split())}")
    return recordings, problems


def verify(
    files: Mapping[str, Path],
    recordings: Mapping[str, Recording],
    transcripts: Collection[str],
    facts: Facts,
) -> list[str]:
    """Compare recordings with the transcripts and with the official lengths and digests.

    Args:
        files: id -> audio file, of all files found.
        recordings: id -> recording, of those that could be read.
        transcripts: ids that have a transcript.
        facts: official lengths and digests; empty if unknown.

    Returns:
        problems: one line for each missing or surplus recording, missing transcript, wrong length
            or wrong digest.
    """
    problems = [f"{id}: has no audio" for id in sorted({*transcripts, *facts} - {*files})]
    for id, path in files.items():
        if facts and id not in facts:
            problems.append(f"{path}: is not part of the corpus")
        elif id not in transcripts:
            problems.append(f"{path}: has no transcript")
    for id in recordings.keys() & facts.keys():
        recording, (samples, digest) = recordings[id], facts[id]
        if recording.samples != samples:
            problems.append(
                f"{recording.path}: has {counted(recording.samples, 'sample')}; expected {samples}"
            )
        elif digest and recording.digest != digest:
            problems.append(f"{recording.path}: its samples differ from the official recording's")
    return sorted(problems)


def check_durations(
    recordings: Mapping[str, Recording], durations: Mapping[str, float], slack_s: float
) -> list[str]:
    """Compare the lengths of recordings in any format and at any rate with the official ones.

    Args:
        recordings: id -> recording.
        durations: id -> official duration in seconds; other recordings are not compared.
        slack_s: largest allowed difference in seconds, since lossy formats may add or lose some.

    Returns:
        problems: one line for each wrong length.
    """
    return [
        f"{item.path}: has {item.duration:.2f} s of audio; expected {durations[id]:.2f} s"
        for id, item in recordings.items()
        if id in durations and abs(item.duration - durations[id]) > slack_s
    ]


def refuse(problems: Sequence[str], corpus: str) -> None:
    """Print every problem on stderr and raise an error; do nothing if there is none.

    Raises:
        InputError: there are problems; the message has their number and the first three.
    """
    if not problems:
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    raise InputError(
        f"{corpus}: {len(problems)} problem{'s' if len(problems) > 1 else ''}, no manifest"
        f" written: {'; '.join(problems[:3])}{more}"
    )


def write_manifests(
    out: Path, splits: Mapping[str, Iterable[Utterance]], form: str = "words"
) -> None:
    """Write `out/<split>.jsonl` for each split, and print a summary of each on stderr.

    Args:
        out: folder of the manifests.
        splits: name -> utterances.
        form: the texts' units; if not words, the file is `<split>.<form>.jsonl`.

    Raises:
        InputError: a split is empty, or an id or a recording is in two splits.
    """
    seen: dict[str, str] = {}
    utterances = {split: list(members) for split, members in splits.items()}
    for split, members in utterances.items():
        if not members:
            raise InputError(f"{out}: the {split} split is empty; expected at least one utterance")
        for utterance in members:
            for name in (utterance.id, utterance.audio):
                if seen.setdefault(name, split) != split:
                    raise InputError(f"{out}: {name} is in {seen[name]} and in {split}")
    for split, members in utterances.items():
        path = out / (f"{split}.jsonl" if form == "words" else f"{split}.{form}.jsonl")
        write_manifest(path, members)
        hours = sum(utterance.duration for utterance in members) / 3600
        speakers = len({utterance.speaker for utterance in members})
        tokens = sum(len(utterance.text.split()) for utterance in members)
        print(
            f"{path}: {len(members)} utterances, {tokens} {form}, {speakers} speakers,"
            f" {hours:.2f} h",
            file=sys.stderr,
        )


def read_facts(path: Path) -> dict[str, tuple[int, str]]:
    """Read a file of `write_facts`: a header line, then lines of id, samples, digest with tabs."""
    lines = [line.split("\t") for line in read_text(path).splitlines()[1:]]
    return {id: (int(samples), digest) for id, samples, digest in lines}


def write_facts(path: Path, recordings: Mapping[str, Recording]) -> None:
    """Write the lengths and digests of the official recordings."""
    lines = [f"{id}\t{item.samples}\t{item.digest}\n" for id, item in sorted(recordings.items())]
    write_text(path, "id\tsamples\tdigest\n" + "".join(lines))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _read(path: Path, sample_rate: int | None, exact: bool) -> Recording:
    with soundfile.SoundFile(path) as file:
        if sample_rate and (file.samplerate != sample_rate or file.channels != 1):
            raise InputError(
                f"has {counted(file.channels, 'channel')} at {file.samplerate} Hz;"
                f" expected 1 at {sample_rate}"
            )
        if not file.frames:
            raise InputError("has no samples")
        if not exact:
            file.seek(file.frames - 1)
            if len(file.read(1)) != 1:
                raise InputError(f"ends before the {file.frames} samples of its header")
            return Recording(path, file.frames, file.samplerate, "")
        samples = file.read(dtype="int16")
        if len(samples) != file.frames:
            raise InputError(
                f"has {counted(len(samples), 'sample')}; its header says {file.frames}"
            )
        rate = file.samplerate
    digest = hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()[:16]
    return Recording(path, len(samples), rate, digest)
