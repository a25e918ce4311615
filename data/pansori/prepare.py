"""Pansori TEDxKR, Korean talks -> data/pansori/{train,dev,test}.jsonl."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_lengths,
    command_line,
    find_recordings,
    obtain,
    write_manifests,
)
from asr.corpus.spoken_text import spoken_texts
from asr.errors import InputError, reported
from asr.files import read_text

NAME = "Pansori TEDxKR"
PANSORI = Source(
    name=NAME,
    folders=("pansori-tedxkr", "pansori-tedxkr-corpus-1.0", "pansori-tedxkr-corpus"),
    url="https://storage.googleapis.com/pansori/corpus/pansori-tedxkr-corpus-1.0.tar.gz",
    size="170 MB",
    licence="CC BY-NC-ND 4.0, for research only",
)
FACTS = Path(__file__).parent / "facts.tsv"
# the corpus has the recordings, but not their texts
WITHOUT_TEXT = ("6rOg6rG07ZiB-aWPB0xeM8UA-0162", "7Jyk7Jes7KSA-LnGadr1MDs8-0323")
SPLITS = {3: "dev", 8: "test"}  # number of a talk among ten -> split; the others are train


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Write the three manifests of `read_splits`."""
    write_manifests(out, read_splits(data_root, out / "download", update_facts))


def read_splits(
    data_root: Path | None, downloads: Path, update_facts: bool = False
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, checked.

    A talk, and so its speaker, is in one split only; see `split_of_talks`. These are left out, each
    with a line on stderr: utterances without a text, those whose text has more than Hangul, and
    those of dev with a syllable that train does not have, since no model of syllables could be
    trained with them. Test keeps such utterances.

    Raises:
        InputError: a recording or its text is missing; a recording is damaged, or shorter or longer
            than the official one.
    """
    folder = obtain(PANSORI, data_root, downloads) / "data"
    files, texts = find_recordings(folder), read_transcripts(folder)
    for id in sorted(files.keys() & set(WITHOUT_TEXT) - texts.keys()):
        print(f"{NAME}: {id} is left out: the corpus has no text of it", file=sys.stderr)
        del files[id]
    recordings = check_lengths(NAME, files, texts, FACTS, update_facts)

    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    split_of = split_of_talks({talk(id) for id in recordings})
    for id, text in sorted(hangul_texts(texts).items()):
        utterance = recordings[id].utterance(id, text, speaker=id.split("-")[0])
        splits[split_of[talk(id)]].append(utterance)
    return splits | {"dev": spelled(splits["dev"], splits["train"])}


def spelled(dev: Sequence[Utterance], train: Sequence[Utterance]) -> list[Utterance]:
    """The utterances of dev whose syllables train has too; a line on stderr names each other."""
    known = {character for utterance in train for character in utterance.text}
    for utterance in dev:
        if new := sorted(set(utterance.text) - known):
            print(
                f"{NAME}: {utterance.id} is left out of dev: its text {utterance.text!r} has"
                f" {', '.join(new)}, which no text of train has",
                file=sys.stderr,
            )
    return [utterance for utterance in dev if known.issuperset(utterance.text)]


def talk(id: str) -> str:
    """The id of a talk's video: `6rmA6rK966y1-gwg56V-GEMQ-0004` -> `gwg56V-GEMQ`."""
    return id.split("-", 1)[1].rpartition("-")[0]


def split_of_talks(talks: Collection[str]) -> dict[str, str]:
    """Talk -> split: of each ten in the order of their ids, the third is dev, the eighth test."""
    return {talk: SPLITS.get(number % 10, "train") for number, talk in enumerate(sorted(talks), 1)}


def read_transcripts(folder: Path) -> dict[str, str]:
    """Utterance id -> text, from each talk's `SPEAKER/VIDEO/SPEAKER-VIDEO.trans.txt`.

    Raises:
        InputError: there is none; a line has another form, or an id occurs twice.
    """
    paths = sorted(folder.glob("*/*/*.trans.txt"))
    if not paths:
        raise InputError(f"{folder}: has no SPEAKER/VIDEO/*.trans.txt; expected those of {NAME}")
    texts: dict[str, str] = {}
    for path in paths:
        begin = path.name.removesuffix(".trans.txt")
        for number, line in enumerate(read_text(path).splitlines(), 1):
            id, _, text = line.partition(" ")
            if id.rpartition("-")[0] != begin or id in texts or not text:
                expected = f"{begin}-NUMBER TEXT, each number once"
                raise InputError(f"{path}:{number}: is {line!r}; expected {expected}")
            texts[id] = text
    return texts


def hangul_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """The texts of `spoken_texts` that have only syllables of Hangul and spaces.

    The others are left out, and a line on stderr says why: numbers have two readings in Korean, and
    Latin letters are spelled or read as words.
    """
    kept = {}
    for id, text in spoken_texts(texts, NAME, {}).items():
        if other := next((each for each in text if not ("가" <= each <= "힣" or each == " ")), ""):
            print(
                f"{NAME}: {id} is left out: its text {text!r} has {other!r}; expected Hangul only",
                file=sys.stderr,
            )
        else:
            kept[id] = text
    return kept


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare pansori"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
