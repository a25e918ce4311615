"""CMU ARCTIC, and Kathleen's recordings of its prompts -> data/arctic/{train,dev,test}.jsonl."""

import re
from collections.abc import Sequence
from pathlib import Path

from asr.corpus.manifest import Utterance
from asr.corpus.official import (
    Source,
    check_lengths,
    command_line,
    data_roots,
    find_recordings,
    locate,
    obtain,
    write_manifests,
)
from asr.corpus.spoken_text import ENGLISH, spoken_texts
from asr.errors import InputError, reported
from asr.files import read_text

FOLDERS = ("", "arctic", "ARCTIC")  # under a data root; in them cmu_us_SPEAKER_arctic
KATHLEEN = ("kathleen", "dataset-voice-kathleen")
# speakers that are downloaded if there is none at all; SHA-256: from torchaudio
DOWNLOADED = {
    "bdl": "26b91aaf48b2799b2956792b4632c2f926cd0542f402b5452d5adecb60942904",
    "slt": "7c173297916acf3cc7fcab2713be4c60b27312316765a90934651d367226b4ea",
}
N_PROMPTS = {"bdl": 1_132, "slt": 1_132, "kathleen": 1_132}  # not known of the other speakers
FACTS = Path(__file__).parent / "facts.tsv"
LINE = re.compile(r"\( *(arctic_[ab]\d{4}) +\"(.*)\" *\)")
SPLITS = {"4": "dev", "9": "test"}  # last digit of a prompt's number -> split; the others are train


def prepare(data_root: Path | None, out: Path, update_facts: bool = False) -> None:
    """Write the three manifests of `read_splits`."""
    write_manifests(out, read_splits(data_root, out / "download", update_facts))


def read_splits(
    data_root: Path | None, downloads: Path, update_facts: bool = False
) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, of all speakers that are there, checked.

    A prompt is in one split only, whoever reads it: dev has the prompts whose number ends in 4,
    test those in 9, train all others.

    Raises:
        InputError: a recording or its text is missing; a recording is damaged, or shorter or longer
            than the official one.
    """
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    problems = []
    for speaker, folder in speakers(data_root, downloads).items():
        prompts = read_texts(folder) if speaker == "kathleen" else read_prompts(folder)
        found = find_recordings(folder if speaker == "kathleen" else folder / "wav")
        files |= {f"{speaker}-{name}": path for name, path in found.items()}
        texts |= {f"{speaker}-{name}": text for name, text in prompts.items()}
        different = len({prompt(name) for name in prompts})
        if different != N_PROMPTS.get(speaker, different):
            problems.append(
                f"{folder}: has {different} different prompts; expected {N_PROMPTS[speaker]}"
            )
    recordings = check_lengths("CMU ARCTIC", files, texts, FACTS, update_facts, problems)

    utterances = [
        recordings[id].utterance(id, text, id.split("-")[0])
        for id, text in sorted(spoken_texts(texts, "CMU ARCTIC", ENGLISH).items())
    ]
    return split(utterances)


def split(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Train, dev and test by the number of the prompt.

    Where a speaker took the words of another prompt, the first prompt with these words decides, so
    that no text is in two splits.
    """
    first: dict[str, str] = {}
    for utterance in sorted(utterances, key=lambda utterance: prompt(utterance.id)):
        first.setdefault(utterance.text, prompt(utterance.id))
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for utterance in utterances:
        splits[SPLITS.get(first[utterance.text][-1], "train")].append(utterance)
    return splits


def prompt(name: str) -> str:
    """`kathleen-arctic_a0366_1592708614` -> `arctic_a0366`."""
    return name.rpartition("-")[2][: len("arctic_a0366")]


def speakers(data_root: Path | None, downloads: Path) -> dict[str, Path]:
    """Speaker -> folder, of all that are there; two are downloaded if there is none.

    Raises:
        InputError: a download failed.
    """
    found: dict[str, Path] = {}
    for root in data_roots(data_root):
        for parent in FOLDERS:
            for folder in sorted((root / parent).glob("cmu_us_*_arctic")):
                found.setdefault(folder.name.split("_")[2], folder)
    if kathleen := locate(KATHLEEN, data_root):
        found["kathleen"] = kathleen
    return found or {name: obtain(source(name), data_root, downloads) for name in DOWNLOADED}


def source(speaker: str) -> Source:
    """The source of a speaker's recordings."""
    folder = f"cmu_us_{speaker}_arctic"
    return Source(
        name=f"CMU ARCTIC {speaker}",
        folders=(folder,),
        url=f"http://festvox.org/cmu_arctic/packed/{folder}.tar.bz2",
        size="about 100 MB",
        licence="free for any purpose, keep the notice",
        checksum=f"sha256:{DOWNLOADED[speaker]}",
    )


def read_prompts(folder: Path) -> dict[str, str]:
    """Name of a recording -> text, from `etc/txt.done.data`: `( arctic_a0001 "Author of ..." )`.

    Raises:
        InputError: a line has another form, or a name occurs twice.
    """
    path = folder / "etc" / "txt.done.data"
    prompts: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        match = LINE.fullmatch(line.strip())
        if match is None or match[1] in prompts:
            raise InputError(
                f'{path}:{number}: is {line!r}; expected ( arctic_a0001 "TEXT" ), each name once'
            )
        prompts[match[1]] = match[2]
    return prompts


def read_texts(folder: Path) -> dict[str, str]:
    """Name of a recording -> text, from the `.txt` beside each of Kathleen's recordings."""
    paths = folder.rglob("arctic_[ab][0-9][0-9][0-9][0-9]*.txt")
    return {path.stem: read_text(path) for path in sorted(paths)}


if __name__ == "__main__":
    arguments = command_line(__doc__, Path(__file__).parent).parse_args()
    with reported("prepare arctic"):
        prepare(arguments.data_root, arguments.out, arguments.write_facts)
