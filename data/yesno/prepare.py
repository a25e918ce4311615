"""YesNo (OpenSLR 1) -> data/yesno/{train,dev,test}.jsonl."""

import re
from pathlib import Path

from asr.corpus.official import (
    Source,
    check_recordings,
    command_line,
    find_recordings,
    obtain,
    write_manifests,
)
from asr.errors import reported

YESNO = Source(
    name="YesNo",
    folders=("yesno/waves_yesno", "waves_yesno"),
    url="https://www.openslr.org/resources/1/waves_yesno.tar.gz",
    size="4.5 MB",
    licence="CC BY-NC-SA; for tests and measurements, not for models that are sold",
)
SAMPLE_RATE = 8_000
FACTS = Path(__file__).parent / "facts.tsv"
WORDS = {"0": "no", "1": "yes"}  # said in Hebrew: lo, ken


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Check the 60 official files and write the three manifests.

    As in Kaldi's recipe, the first 31 files in alphabetical order are for training, the other 29
    for the test. Dev is every sixth of the 31, from the third on: 5 utterances. There is only one
    speaker.

    Raises:
        InputError: a file is missing, damaged or surplus.
    """
    files = find_recordings(obtain(YESNO, data_root, out / "download"))
    texts = {id: text(id) for id in files if re.fullmatch(r"[01](_[01]){7}", id)}
    recordings = check_recordings(YESNO.name, files, texts, SAMPLE_RATE, FACTS, update_facts)

    utterances = [recordings[id].utterance(id, text, "yesno") for id, text in sorted(texts.items())]
    train = utterances[:31]
    dev = train[2::6]
    train = [utterance for utterance in train if utterance not in dev]
    write_manifests(out, {"train": train, "dev": dev, "test": utterances[31:]})


def text(id: str) -> str:
    """`1_0_0_0_0_0_0_1` -> `yes no no no no no no yes`."""
    return " ".join(WORDS[digit] for digit in id.split("_"))


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare yesno"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
