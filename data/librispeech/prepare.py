"""LibriSpeech (OpenSLR 12) -> data/librispeech/{train,dev,test}.jsonl and lexicon.dic."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpus.letter_to_sound import write_english_lexicon
from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Recording,
    Source,
    command_line,
    find_recordings,
    locate,
    measure,
    obtain,
    read_facts,
    refuse,
    verify,
    write_facts,
    write_manifests,
)
from asr.errors import InputError, reported
from asr.files import read_text

SAMPLE_RATE = 16_000
FACTS = Path(__file__).parent  # facts-<subset>.tsv: the five hours, a part of train-clean-100


@dataclass(frozen=True)
class Subset:
    """An official subset: its number of utterances, its archive's size and SHA-256."""

    utterances: int
    size: str
    sha256: str


# utterances: Panayotov et al. 2015, and counted in the archives; SHA-256: from torchaudio
OFFICIAL = {
    "train-clean-100": Subset(
        28_539, "6.3 GB", "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"
    ),
    "train-clean-360": Subset(
        104_014, "23 GB", "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"
    ),
    "train-other-500": Subset(
        148_688, "30 GB", "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"
    ),
    "dev-clean": Subset(
        2_703, "337 MB", "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"
    ),
    "dev-other": Subset(
        2_864, "314 MB", "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"
    ),
    "test-clean": Subset(
        2_620, "346 MB", "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"
    ),
    "test-other": Subset(
        2_939, "328 MB", "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"
    ),
}
# our own selection from LibriSpeech, see README.md
FIVE_HOURS = ("train-5h", "dev-5h", "test-5h")


def prepare(
    data_root: Path | None,
    out: Path,
    train: Sequence[str] = (),
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    update_facts: bool = False,
) -> None:
    """Write the three manifests of `read_splits` and a lexicon of train and dev."""
    splits = read_splits(data_root, out / "download", train, dev, test, update_facts)
    known = [*splits["train"], *splits["dev"]]
    write_english_lexicon(out / "lexicon.dic", (utterance.text for utterance in known))
    write_manifests(out, splits)


def read_splits(
    data_root: Path | None,
    downloads: Path,
    train: Sequence[str] = (),
    dev: Sequence[str] = (),
    test: Sequence[str] = (),
    update_facts: bool = False,
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, checked.

    Args:
        data_root: folder that has `LibriSpeech/`.
        downloads: folder of the archives that are not under `data_root`.
        train: names of subsets; default train-clean-100. If no split is given and train-5h exists,
            the default is train-5h, dev-5h and test-5h.
        dev: names of subsets; default dev-clean.
        test: names of subsets; default test-clean.
        update_facts: write the lengths of the subsets instead of comparing with them.

    Raises:
        InputError: a file is missing, damaged, surplus or without transcript; a subset does not
            have the published number of utterances, nor that of its known part.
    """
    named = bool(train or dev or test)
    small = not named and locate(["LibriSpeech/train-5h"], data_root) is not None
    default = FIVE_HOURS if small else ("train-clean-100", "dev-clean", "test-clean")
    chosen = {
        split: tuple(names) or (name,)
        for split, names, name in zip(
            ("train", "dev", "test"), (train, dev, test), default, strict=True
        )
    }
    problems: list[str] = []
    splits: dict[str, list[Utterance]] = {split: [] for split in chosen}
    for split, names in chosen.items():
        for name in names:
            folder = obtain(source(name), data_root, downloads)
            texts = read_transcripts(folder)
            recordings, found = check(name, folder, texts, update_facts)
            problems += found
            splits[split] += utterances(texts, recordings)
    refuse(problems, "LibriSpeech")
    return splits


def source(subset: str) -> Source:
    """The source of a subset.

    Raises:
        InputError: there is no subset of this name.
    """
    folders = (f"LibriSpeech/{subset}", subset)
    licence = "CC BY 4.0"
    if official := OFFICIAL.get(subset):
        url = f"https://www.openslr.org/resources/12/{subset}.tar.gz"
        checksum = f"sha256:{official.sha256}"
        return Source(f"LibriSpeech {subset}", folders, url, official.size, licence, checksum)
    if subset in FIVE_HOURS:
        return Source(f"LibriSpeech {subset}", folders, "", "", licence)
    names = ", ".join([*OFFICIAL, *FIVE_HOURS])
    raise InputError(f"LibriSpeech has no subset {subset!r}; expected one of {names}")


def check(
    subset: str, folder: Path, texts: dict[str, str], update_facts: bool
) -> tuple[dict[str, Recording], list[str]]:
    """The recordings of a subset, and one line for each problem."""
    files = find_recordings(folder)
    recordings, problems = measure(files, SAMPLE_RATE, exact=False)
    path = FACTS / f"facts-{subset}.tsv"
    if update_facts:
        write_facts(path, recordings)
    facts = read_facts(path) if path.exists() else {}
    if subset in OFFICIAL and len(texts) != len(facts):  # not the known part of train-clean-100
        facts = {}
        expected = OFFICIAL[subset].utterances
        if len(texts) != expected:
            problems.append(
                f"{folder}: has transcripts of {len(texts)} utterances; expected {expected}"
            )
    problems += verify(files, recordings, texts, facts)
    return recordings, problems


def read_transcripts(folder: Path) -> dict[str, str]:
    """Utterance id -> words in lower case, from all `*.trans.txt` below a folder.

    Raises:
        InputError: a line is not an id with words, or not of the file's speaker and chapter.
    """
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*/*/*.trans.txt")):
        chapter = path.name.removesuffix(".trans.txt")
        for number, line in enumerate(read_text(path).splitlines(), 1):
            id, _, words = line.partition(" ")
            if id.rpartition("-")[0] != chapter or not words.strip() or id in texts:
                raise InputError(
                    f"{path}:{number}: is {line!r}; expected {chapter}-NUMBER WORDS, each id once"
                )
            texts[id] = " ".join(words.lower().split())
    return texts


def utterances(texts: dict[str, str], recordings: dict[str, Recording]) -> list[Utterance]:
    """The utterances with a readable recording; the speaker is the first part of the id."""
    return [
        item.utterance(id, texts[id], id.split("-")[0])
        for id, item in recordings.items()
        if id in texts
    ]


if __name__ == "__main__":
    parser = command_line(__doc__, Path(__file__).parent)
    for split, usual in (
        ("train", "train-clean-100"),
        ("dev", "dev-clean"),
        ("test", "test-clean"),
    ):
        parser.add_argument(
            f"--{split}",
            nargs="+",
            default=(),
            metavar="SUBSET",
            help=f"default: {usual}; {split}-5h if train-5h exists and no subset is named",
        )
    arguments = parser.parse_args()
    with reported("prepare librispeech"):
        prepare(
            arguments.data_root,
            arguments.out,
            arguments.train,
            arguments.dev,
            arguments.test,
            arguments.write_facts,
        )
