"""Free Spoken Digit Dataset -> data/fsdd/{train,dev,test}.jsonl."""

import re
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_recordings,
    command_line,
    find_recordings,
    obtain,
    write_manifests,
)
from asr.errors import reported

FSDD = Source(
    name="Free Spoken Digit Dataset",
    folders=(
        "fsdd/recordings",
        "free-spoken-digit-dataset/recordings",
        "free-spoken-digit-dataset-1.0.10/recordings",
    ),
    url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    size="16 MB",
    licence="CC BY-SA 4.0",
)
SAMPLE_RATE = 8_000
FACTS = Path(__file__).parent / "facts.tsv"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<index>\d+)")


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Check the 3,000 official files and write the three manifests.

    Of the 50 recordings of a digit by a speaker, the official test split has those with index 0 to
    4. Dev is taken from train: index 5 to 9. All six speakers are in all splits.

    Raises:
        InputError: a file is missing, damaged or surplus.
    """
    files = find_recordings(obtain(FSDD, data_root, out / "download"))
    names = {id: match for id in files if (match := NAME.fullmatch(id))}
    recordings = check_recordings(FSDD.name, files, names, SAMPLE_RATE, FACTS, update_facts)

    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for id, match in names.items():
        index = int(match["index"])
        split = "test" if index < 5 else "dev" if index < 10 else "train"
        word = DIGITS[int(match["digit"])]
        splits[split].append(recordings[id].utterance(id, word, match["speaker"]))
    write_manifests(out, splits)


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare fsdd"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
