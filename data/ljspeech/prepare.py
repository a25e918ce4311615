"""LJSpeech 1.1 -> data/ljspeech/{train,dev,test}.jsonl."""

import re
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_lengths,
    command_line,
    find_recordings,
    obtain,
    refuse,
    write_manifests,
)
from asr.corpus.spoken_text import ENGLISH, spoken_texts
from asr.errors import InputError, reported
from asr.files import read_lines

LJSPEECH = Source(
    name="LJSpeech",
    folders=("LJSpeech-1.1",),
    url="https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
    size="2.6 GB",
    licence="public domain",
    # from torchaudio
    checksum="sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
)
# utterances -> seconds: the whole corpus, as its README says, and a part of its first chapters
SIZES = {13_100: 86_117, 451: 3_059}
SIZES_SLACK_S = 60
FACTS = Path(__file__).parent / "facts.tsv"  # of the part
LINE = re.compile(r"(LJ\d{3}-\d{4})\|[^|]*\|([^|]+)")
HELD_OUT, LAST_OF_DEV = "LJ003", "LJ003-0049"
# the normalised texts keep these abbreviations
ABBREVIATIONS = {
    "Capt": "captain",
    "Co": "company",
    "Col": "colonel",
    "Drs": "doctors",
    "Esq": "esquire",
    "Ft": "fort",
    "Gen": "general",
    "Hon": "honorable",
    "Jr": "junior",
    "Lt": "lieutenant",
    "Ltd": "limited",
    "Maj": "major",
    "Rev": "reverend",
    "Sgt": "sergeant",
    "St": "saint",
}
# "No." is a number before a lower-case word, since the numbers are words
ABBREVIATION = re.compile(rf"\b(?:({'|'.join(ABBREVIATIONS)})\.|No\.(?= [a-z]))")


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Write the three manifests of `read_splits`."""
    write_manifests(out, read_splits(data_root, out / "download", update_facts))


def read_splits(
    data_root: Path | None, downloads: Path, update_facts: bool = False
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, checked.

    Dev has the first 49 utterances of chapter LJ003, test the others of this chapter, train all
    other chapters.

    Raises:
        InputError: a recording is missing, damaged, surplus or of a wrong length, or the corpus has
            neither the official size nor that of the known part.
    """
    home = obtain(LJSPEECH, data_root, downloads)
    texts = read_metadata(home / "metadata.csv")
    files = find_recordings(home / "wavs")
    recordings = check_lengths(LJSPEECH.name, files, texts, FACTS, update_facts)
    seconds = sum(recording.duration for recording in recordings.values())
    refuse(check_size(home, len(recordings), seconds), LJSPEECH.name)

    texts = {id: written_out(text) for id, text in texts.items()}
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for id, text in spoken_texts(texts, LJSPEECH.name, ENGLISH).items():
        splits[split_of(id)].append(recordings[id].utterance(id, text, "lj"))
    return splits


def split_of(id: str) -> str:
    """The split of an utterance: `LJ003-0050` -> test."""
    if id.split("-")[0] != HELD_OUT:
        return "train"
    return "dev" if id <= LAST_OF_DEV else "test"


def check_size(home: Path, utterances: int, seconds: float) -> list[str]:
    """One line if the number of utterances or their total length is not known."""
    if utterances not in SIZES:
        known = " or ".join(f"{size:,}" for size in SIZES)
        return [f"{home}: has {utterances:,} utterances; expected {known}"]
    if abs(seconds - SIZES[utterances]) > SIZES_SLACK_S:
        return [f"{home}: has {seconds:,.0f} s of audio; expected {SIZES[utterances]:,} s"]
    return []


def written_out(text: str) -> str:
    """The text without the abbreviations that are not words when their dot is gone."""
    return ABBREVIATION.sub(lambda found: ABBREVIATIONS.get(found[1], "number"), text)


def read_metadata(path: Path) -> dict[str, str]:
    """Utterance id -> normalised text, from lines `LJ001-0001|text|normalised text`.

    Raises:
        InputError: a line has another form, or an id occurs twice.
    """
    texts: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line)
        if match is None or match[1] in texts:
            raise InputError(
                f"{path}:{number}: is {line!r}; expected LJ001-0001|TEXT|NORMALISED TEXT,"
                " each id once"
            )
        texts[match[1]] = match[2]
    return texts


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare ljspeech"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
