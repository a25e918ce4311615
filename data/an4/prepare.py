"""CMU AN4 -> data/an4/{train,dev,test}.jsonl and lexicon.dic."""

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_recordings,
    command_line,
    find_recordings,
    obtain,
    refuse,
    write_manifests,
)
from asr.errors import InputError, reported
from asr.files import read_text
from asr.text.lexicon import Lexicon, read_lexicon, write_lexicon

AN4 = Source(
    name="CMU AN4",
    folders=("an4",),
    url="http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz",
    size="64 MB",
    licence="free for any purpose, keep the notice in an4/LICENSE",
)
SAMPLE_RATE = 16_000
FACTS = Path(__file__).parent / "facts.tsv"
TRANSCRIPT = re.compile(r"(?:<s> )?([A-Z' ]+?)(?: </s>)? \(([\w-]+)\)")


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Write the three manifests of `read_splits` and the corpus's own lexicon.

    Raises:
        InputError: as for `read_splits`, or a word has no pronunciation.
    """
    splits = read_splits(data_root, out / "download", update_facts)
    etc = obtain(AN4, data_root, out / "download") / "etc"
    lexicon = checked_lexicon(etc, chain.from_iterable(splits.values()))
    write_lexicon(out / "lexicon.dic", lexicon)
    write_manifests(out, splits)


def read_splits(
    data_root: Path | None, downloads: Path, update_facts: bool = False
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, checked.

    Train and test are the official split, 948 and 130 utterances. Dev is taken from train: every
    ninth of its 74 speakers in alphabetical order, from the fifth on. These are 8 speakers (2 of
    21 women, 6 of 53 men). So no speaker of dev or test is in train.

    Raises:
        InputError: a file is missing, damaged, surplus or without transcript.
    """
    home = obtain(AN4, data_root, downloads)
    train = read_transcripts(home / "etc" / "an4_train.transcription")
    test = read_transcripts(home / "etc" / "an4_test.transcription")
    files = find_recordings(home / "wav") or add_headers(home / "wav", downloads / "wav")
    recordings = check_recordings(
        AN4.name, files, {**train, **test}, SAMPLE_RATE, FACTS, update_facts
    )

    dev_speakers = set(sorted({speaker(id) for id in train})[4::9])
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for id, text in {**train, **test}.items():
        split = "test" if id in test else "dev" if speaker(id) in dev_speakers else "train"
        splits[split].append(recordings[id].utterance(id, text, speaker(id)))
    return splits


def checked_lexicon(etc: Path, utterances: Iterable[Utterance]) -> Lexicon:
    """The corpus's dictionary; it must have every word, in phones of the corpus's list.

    Raises:
        InputError: a line can't be used, a word or a phone is missing.
    """
    lexicon = read_lexicon(etc / "an4.dic").in_case("lower")
    phones = read_text(etc / "an4.phone").split()
    words = {word for utterance in utterances for word in utterance.text.split()}
    problems = [f"{etc / 'an4.dic'}: has no word {word!r}" for word in lexicon.missing(words)]
    unknown = sorted(set(lexicon.phones) - set(phones))
    problems += [f"{etc / 'an4.phone'}: has no phone {phone!r}" for phone in unknown]
    refuse(problems, AN4.name)
    return lexicon


def speaker(id: str) -> str:
    """`an251-fash-b` -> `fash`; names of women begin with f, of men with m."""
    return id.split("-")[1]


def read_transcripts(path: Path) -> dict[str, str]:
    """Utterance id -> words in lower case, from lines such as `<s> GO </s> (an253-fash-b)`.

    Raises:
        InputError: a line has another form, such as marks of noise or pronunciation, which the
            official files don't have.
    """
    transcripts = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        match = TRANSCRIPT.fullmatch(line.strip())
        if match is None or match[2] in transcripts:
            raise InputError(f"{path}:{number}: is {line!r}; expected WORDS (id), each id once")
        transcripts[match[2]] = match[1].lower()
    return transcripts


def add_headers(folder: Path, converted: Path) -> dict[str, Path]:
    """Convert recordings of AN4's raw distributions to FLAC: utterance id -> file.

    Their samples are big-endian or little-endian, depending on the distribution. In the wrong byte
    order speech becomes noise, which changes more from sample to sample.
    """
    converted.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*.raw"):
        orders = [np.fromfile(path, dtype) for dtype in ("<i2", ">i2")]
        samples = min(orders, key=lambda order: np.abs(np.diff(order.astype(np.int32))).sum())
        soundfile.write(converted / f"{path.stem}.flac", samples.astype(np.int16), SAMPLE_RATE)
    return find_recordings(converted)


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare an4"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
