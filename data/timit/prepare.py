"""TIMIT -> data/timit/{train,dev,test}.jsonl (words), .phones.jsonl and .phones39.jsonl."""

import re
import sys
from dataclasses import replace
from pathlib import Path

from asr.corpus.manifest import TimedLabel, Utterance
from asr.corpus.official import (
    Recording,
    check_recordings,
    command_line,
    find_recordings,
    locate,
    measure,
    refuse,
    verify,
    write_manifests,
)
from asr.errors import InputError, reported

FULL = ("TIMIT", "timit", "LDC93S1")
SAMPLE = ("timit-sample", "nltk_data/corpora/timit", "corpora/timit")
HOW_TO_GET = (
    "TIMIT: no folder TIMIT or timit-sample under --data-root or $ASR_DATA. TIMIT can't be"
    " downloaded freely: the Linguistic Data Consortium has it as LDC93S1"
    " (https://catalog.ldc.upenn.edu/LDC93S1, for licensees). A sample of 16 speakers"
    " (CC BY-NC-SA, about 22 MB) is NLTK's package timit"
    " (https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/timit.zip);"
    " unpack it as timit-sample"
)
SAMPLE_RATE = 16_000
TIMES = re.compile(r"(\d+) (\d+) (\S+)")

HERE = Path(__file__).parent
# the core test set: doc/testset.doc of the corpus, table 1
CORE_TEST = frozenset((HERE / "core_test_speakers.txt").read_text().split())
# 50 speakers of TEST outside of the core test set: Kaldi, egs/timit/s5/conf/dev_spk.list
DEV = frozenset((HERE / "dev_speakers.txt").read_text().split())
FACTS = HERE / "facts-sample.tsv"
FULL_SIZES = {"train": 3_696, "dev": 400, "test": 192}
# 61 phones -> 39: Lee & Hon 1989, IEEE Trans. ASSP 37(11), table I; q, the glottal stop, -> nothing
FOLDED = dict(line.split("\t") for line in (HERE / "phones-61-39.tsv").read_text().splitlines())


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Check TIMIT, or else its sample, and write three manifests in three forms.

    The sentences SA1 and SA2, which all speakers read, are left out, as is usual. Of the full
    corpus train is TRAIN (462 speakers), test the core test set (24 speakers), dev the 50 speakers
    of Kaldi's list; the other 94 speakers of TEST are not used. Of the sample's 16 speakers in
    alphabetical order (8 women, then 8 men), test has every fourth from the third on, dev the first
    of the women and of the men, train the other 10.

    Raises:
        InputError: there is no TIMIT, or a file is missing, damaged, surplus or without times.
    """
    full = locate(FULL, data_root)
    home = full or locate(SAMPLE, data_root)
    if home is None:
        raise InputError(HOW_TO_GET)
    print(f"TIMIT: {'the full corpus' if full else 'the NLTK sample'} in {home}", file=sys.stderr)

    files = find_recordings(home, utterance_id)
    words = {id: found for id, path in files.items() if (found := companion(path, "WRD"))}
    phones = {id: found for id, path in files.items() if (found := companion(path, "PHN"))}
    complete = words.keys() & phones.keys()
    if full:
        recordings, problems = measure(files, SAMPLE_RATE, exact=False)
        refuse(problems + verify(files, recordings, complete, {}), "TIMIT")
    else:
        recordings = check_recordings(
            "TIMIT sample", files, complete, SAMPLE_RATE, FACTS, update_facts
        )
    utterances = [
        utterance(id, recordings[id], words[id], phones[id])
        for id in sorted(files)
        if not id.split("-")[1].startswith("sa")
    ]
    splits = split_full(utterances, home) if full else split_sample(utterances)
    write_manifests(out, splits)
    for form, fold in (("phones", False), ("phones39", True)):
        members = {
            split: [as_phones(utterance, fold) for utterance in utterances]
            for split, utterances in splits.items()
        }
        write_manifests(out, members, form)


def fold39(phones: list[TimedLabel]) -> list[TimedLabel]:
    """Phones of the 61 folded to 39; one by one, so that `tcl t` becomes `sil t`.

    Neighbours that become the same (`pcl pau`) stay two, as in Kaldi's scoring.
    """
    folded = [(FOLDED[label], start, end) for label, start, end in phones]
    return [segment for segment in folded if segment[0]]


def as_phones(utterance: Utterance, fold: bool) -> Utterance:
    """The utterance with its phones as text, 61 or 39 different ones."""
    phones = tuple(fold39(list(utterance.phones))) if fold else utterance.phones
    return replace(utterance, text=" ".join(label for label, _, _ in phones), phones=phones)


def split_full(utterances: list[Utterance], home: Path) -> dict[str, list[Utterance]]:
    """Train, dev and core test of the full corpus.

    Raises:
        InputError: one has not its known number of utterances.
    """
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for utterance in utterances:
        parts = {part.lower() for part in Path(utterance.audio).relative_to(home).parts}
        if "train" in parts:
            splits["train"].append(utterance)
        elif utterance.speaker in DEV:
            splits["dev"].append(utterance)
        elif utterance.speaker in CORE_TEST:
            splits["test"].append(utterance)
    refuse(
        [
            f"{home}: {split} has {len(splits[split])} utterances; expected {size}"
            for split, size in FULL_SIZES.items()
            if len(splits[split]) != size
        ],
        "TIMIT",
    )
    return splits


def split_sample(utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Train, dev and test of the sample, without a speaker in two of them."""
    speakers = sorted({utterance.speaker for utterance in utterances})
    dev, test = set(speakers[::8]), set(speakers[2::4])
    return {
        "train": [item for item in utterances if item.speaker not in dev | test],
        "dev": [item for item in utterances if item.speaker in dev],
        "test": [item for item in utterances if item.speaker in test],
    }


def utterance_id(path: Path) -> str:
    """`.../DR1/FCJF0/SX37.WAV` -> `fcjf0-sx37`; NLTK's folders are called `dr1-fcjf0`."""
    speaker = path.parent.name.rpartition("-")[2]
    return f"{speaker}-{path.name.split('.')[0]}".lower()


def companion(audio: Path, suffix: str) -> Path | None:
    """The file of times beside a recording, in capital or in small letters."""
    stem = audio.name.split(".")[0]
    candidates = [audio.with_name(f"{stem}.{form}") for form in (suffix.upper(), suffix.lower())]
    return next((path for path in candidates if path.is_file()), None)


def utterance(id: str, recording: Recording, words_file: Path, phones_file: Path) -> Utterance:
    """A recording with its words as text, word times and phone times."""
    words, phones = read_times(words_file), read_times(phones_file)
    for label, start, _ in phones:
        if label not in FOLDED:
            raise InputError(
                f"{phones_file}: has phone {label!r} at {start} s; expected TIMIT's 61"
            )
    return Utterance(
        id=id,
        audio=str(recording.path),
        duration=recording.samples / SAMPLE_RATE,
        text=" ".join(label for label, _, _ in words),
        speaker=id.split("-")[0],
        words=words,
        phones=phones,
    )


def read_times(path: Path) -> tuple[TimedLabel, ...]:
    """Segments in seconds, of lines `START END LABEL` in samples.

    Words may overlap where they share a sound, and the last phone may end a sample late.

    Raises:
        InputError: a line has another form, or there is none.
    """
    segments = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        match = TIMES.fullmatch(line.strip())
        if match is None or int(match[1]) > int(match[2]):
            raise InputError(f"{path}:{number}: is {line!r}; expected START END LABEL")
        start, end = int(match[1]) / SAMPLE_RATE, int(match[2]) / SAMPLE_RATE
        segments.append((match[3].lower(), start, end))
    if not segments:
        raise InputError(f"{path}: is empty; expected lines START END LABEL")
    return tuple(segments)


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare timit"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
