"""The embedded digits -> data/digits/{train,dev,test}.jsonl."""

from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    command_line,
    find_recordings,
    locate,
    measure,
    refuse,
    verify,
    write_manifests,
)
from asr.errors import InputError, reported
from asr.files import file_digest, read_text

SAMPLE_RATE = 16_000
HOME = Path(__file__).parent
COLUMNS = "id\tsplit\tspeaker\tsamples\tdigest\ttext"


@dataclass(frozen=True)
class Row:
    """A line of transcripts.tsv.

    Args:
        split: "train", "dev" or "test".
        speaker: the synthetic voice, and the folder of the audio file.
        samples: number of samples of the audio file.
        digest: first 16 hexadecimal digits of the SHA-256 of the audio file's bytes (not of its
            samples, since Opus decoders may round differently).
        text: digits as words.
    """

    split: str
    speaker: str
    samples: int
    digest: str
    text: str


def prepare(data_root: Path | None, out: Path) -> None:
    """Check every audio file and write the three manifests.

    The corpus is in the folder of this file, unless there is a folder `digits` under `data_root`
    or `$ASR_DATA`.

    Raises:
        InputError: a file is missing, unreadable, surplus or changed, or transcripts.tsv has an
            invalid line. All faulty files are named on stderr, and no manifest is written.
    """
    home = locate(("digits",), data_root) or HOME
    rows = read_transcripts(home / "transcripts.tsv")
    files = find_recordings(home / "audio")
    recordings, problems = measure(files, SAMPLE_RATE, exact=False)
    recordings = {
        id: replace(recording, digest=_digest(recording.path))
        for id, recording in recordings.items()
    }
    facts = {id: (row.samples, row.digest) for id, row in rows.items()}
    problems += verify(files, recordings, rows, facts)
    refuse(problems, "digits")

    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for id, row in rows.items():
        splits[row.split].append(recordings[id].utterance(id, row.text, row.speaker))
    write_manifests(out, splits)


def read_transcripts(path: Path) -> dict[str, Row]:
    """Utterance id -> the rest of its line in transcripts.tsv, in the file's order.

    Raises:
        InputError: a line does not have six fields, has an unknown split or no whole number of
            samples, or an id occurs twice.
    """
    header, *lines = read_text(path).splitlines() or [""]
    if header != COLUMNS:
        raise InputError(f"{path}:1: is {header!r}; expected {COLUMNS!r}")
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 2):
        match line.split("\t"):
            case [id, ("train" | "dev" | "test") as split, speaker, samples, digest, text] if (
                samples.isdecimal() and id not in rows
            ):
                rows[id] = Row(split, speaker, int(samples), digest, text)
            case _:
                expected = COLUMNS.replace("\t", ", ")
                raise InputError(f"{path}:{number}: is {line!r}; expected {expected}, each id once")
    return rows


def _digest(path: Path) -> str:
    return file_digest(path)[:16]


if __name__ == "__main__":
    arguments = command_line(__doc__, HOME).parse_args()
    with reported("prepare digits"):
        prepare(arguments.data_root, arguments.out)
