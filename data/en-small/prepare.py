"""English corpora and novels -> data/en-small: train.jsonl, lexicon.dic, text.txt and so on.

All of LibriSpeech: --librispeech train-clean-100 train-clean-360 train-other-500
"""

import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from asr.corpus.letter_to_sound import write_english_lexicon
from asr.corpus.manifest import Utterance
from asr.corpus.official import command_line, locate, refuse, write_manifests
from asr.errors import InputError, reported
from asr.files import read_text, write_text
from asr.text.normalisation import normalise

DATA = Path(__file__).parent.parent
CORPORA = ("librispeech", "commonvoice", "an4", "arctic", "ljspeech", "african-storybook")
# a few speakers who are in all splits of their corpus, so that dev and test can't have them
TRAIN_ONLY = {"arctic", "ljspeech", "african-storybook"}
SHORT = 3  # words; texts up to this length, such as commands, may be in several splits
# a longer recording with less text is mostly silence or other sounds: outside of Common Voice, the
# slowest over 10 s has 7 characters a second
LONG_S = 10.0
SPARSE = 3.0  # characters a second
FREQUENT = 3  # words of the novels that occur so often are in the lexicon
REPEATS = 10  # of the transcripts in the text for language models, beside 14 million words

Splits = Mapping[str, Sequence[Utterance]]


def prepare(data_root: Path | None, out: Path, librispeech: Sequence[str] = ()) -> None:
    """Check all corpora; write three manifests, a lexicon of train, dev and novels, and the texts.

    stdout has what was left out, and each corpus's share, which `hours.md` has too, for the model
    card. `librispeech` has the subsets for training; see `librispeech_subsets`.

    The id and the speaker of an utterance begin with the name of its corpus.

    Raises:
        InputError: a corpus is missing or has a problem, or a speaker is in two splits.
    """
    corpora = {corpus: read_corpus(corpus, data_root, librispeech) for corpus in CORPORA}
    splits = keep_texts_apart(join(corpora))
    splits["train"] = without_sparse(splits["train"])
    write_manifests(out, splits)
    known, novels = [*splits["train"], *splits["dev"]], read_novels(data_root)
    often = Counter(word for sentence in novels for word in normalise(sentence).lower().split())
    frequent = [word for word, count in often.items() if count >= FREQUENT]
    write_english_lexicon(out / "lexicon.dic", (one.text for one in known), frequent)
    write_lm_texts(out, splits, novels)
    rows = "\n".join(table(splits))
    write_text(out / "hours.md", rows + "\n")
    print(rows)


def read_corpus(corpus: str, data_root: Path | None, librispeech: Sequence[str] = ()) -> Splits:
    """The checked utterances of a corpus; downloads go to the corpus's own folder."""
    module, downloads = load(corpus), DATA / corpus / "download"
    match corpus:
        case "librispeech":
            return module.read_splits(
                data_root, downloads, **librispeech_subsets(data_root, librispeech)
            )
        case "commonvoice":
            return module.read_splits(data_root)
    return module.read_splits(data_root, downloads)


def load(corpus: str) -> ModuleType:
    """`data/<corpus>/prepare.py`."""
    spec = importlib.util.spec_from_file_location(corpus, DATA / corpus / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def librispeech_subsets(data_root: Path | None, train: Sequence[str]) -> dict[str, Sequence[str]]:
    """Subsets for each split: those given for train, with the usual ones for dev and test.

    If none is given, the five hours, and train-clean-100 if it is there too; without them the usual
    ones for all splits.
    """
    if train:
        return {"train": train}
    if locate(["LibriSpeech/train-5h"], data_root) is None:
        return {}
    more = ("train-clean-100",) if locate(["LibriSpeech/train-clean-100"], data_root) else ()
    return {"train": ("train-5h", *more), "dev": ("dev-5h",), "test": ("test-5h",)}


def join(corpora: Mapping[str, Splits]) -> dict[str, list[Utterance]]:
    """The splits of all corpora, with texts in one form.

    Raises:
        InputError: a speaker is in two splits. Utterances without a speaker are not compared.
    """
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for corpus, members in corpora.items():
        for split, utterances in members.items():
            splits["train" if corpus in TRAIN_ONLY else split] += [
                replace(
                    utterance,
                    id=f"{corpus}-{utterance.id}",
                    text=normalise(utterance.text),
                    speaker=f"{corpus}-{utterance.speaker}" if utterance.speaker else "",
                )
                for utterance in utterances
            ]
    first: dict[str, str] = {}
    problems = {
        f"speaker {utterance.speaker} is in {first[utterance.speaker]} and in {split}"
        for split, utterances in splits.items()
        for utterance in utterances
        if utterance.speaker and first.setdefault(utterance.speaker, split) != split
    }
    refuse(sorted(problems), "en-small")
    return splits


def keep_texts_apart(splits: Splits) -> dict[str, list[Utterance]]:
    """Train without the texts of dev and test, and dev without those of test.

    Only texts of more than `SHORT` words are compared. A line on stdout has the number of
    utterances left out, in all and of each corpus.
    """
    kept: dict[str, list[Utterance]] = {}
    seen: set[str] = set()
    for split, others in (("test", ""), ("dev", "test"), ("train", "dev or test")):
        kept[split] = [one for one in splits[split] if one.text not in seen]
        seen |= {one.text for one in kept[split] if len(one.text.split()) > SHORT}
        if others:
            count = len(splits[split]) - len(kept[split])
            left_out = Counter(map(corpus_of, splits[split])) - Counter(map(corpus_of, kept[split]))
            named = "".join(f", {number} of {corpus}" for corpus, number in left_out.items())
            print(f"{split}: {count} left out, whose text is in {others}{named}")
    return {split: kept[split] for split in splits}


def without_sparse(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The utterances but those of over `LONG_S` with less than `SPARSE` characters a second.

    Those left out are listed on stdout.
    """
    sparse = [
        one for one in utterances if one.duration > LONG_S and len(one.text) < SPARSE * one.duration
    ]
    print(
        f"train: {len(sparse)} left out, over {LONG_S:g} s with less than {SPARSE:g} characters"
        " a second"
    )
    for one in sparse:
        print(f"  {one.id}: {one.duration:.1f} s for {one.text!r}")
    return [utterance for utterance in utterances if utterance not in sparse]


def read_novels(data_root: Path | None) -> list[str]:
    """The sentences of `data/novels/train.txt`, which is made first if it is missing."""
    path = DATA / "novels" / "train.txt"
    if not path.exists():
        command = [sys.executable, path.with_name("prepare.py"), "--out", path.parent]
        command += ["--data-root", data_root] if data_root else []
        if subprocess.run(command).returncode:
            raise InputError(
                f"{path}: is missing, and could not be made; expected the novels' texts"
            )
    return read_text(path).splitlines()


def write_lm_texts(out: Path, splits: Splits, sentences: Iterable[str]) -> None:
    """Write the texts for language models.

    `text-novels.txt` has the novels' sentences, without those that are texts of dev or test, of
    more than `SHORT` words; a line on stdout has their number. `text-an4.txt`,
    `text-commonvoice.txt` and `text-reading.txt` have the transcripts of train: those of two
    corpora that talk of other things than novels do, and of the others. `text.txt` has all, the
    transcripts repeatedly.
    """
    held_out = {one.text for split in ("dev", "test") for one in splits[split]}
    held_out = {text for text in held_out if len(text.split()) > SHORT}
    sentences = list(sentences)
    kept = [sentence for sentence in sentences if sentence not in held_out]
    print(f"text.txt: {len(sentences) - len(kept)} sentences left out, as in dev or test")
    texts: dict[str, list[str]] = {"an4": [], "commonvoice": [], "reading": []}
    for one in splits["train"]:
        corpus = corpus_of(one)
        texts[corpus if corpus in texts else "reading"].append(one.text)
    for name, lines in {"novels": kept, **texts}.items():
        write_text(out / f"text-{name}.txt", "".join(f"{line}\n" for line in lines))
    transcripts = [one.text for one in splits["train"]] * REPEATS
    write_text(out / "text.txt", "\n".join([*kept, *transcripts]) + "\n")


def table(splits: Splits) -> list[str]:
    """Utterances, hours and share of the hours of each corpus in each split, in Markdown."""
    titles = [f"{split}: utterances | hours | share" for split in splits]
    rows = [f"| {' | '.join(['corpus', *titles])} |", f"|---{'|---:' * 3 * len(splits)}|"]
    for corpus in (*CORPORA, "all"):
        cells = [corpus]
        for members in splits.values():
            own = [one for one in members if corpus in (corpus_of(one), "all")]
            hours = _hours(own)
            cells += [f"{len(own):,}", f"{hours:.2f}", f"{hours / _hours(members):.1%}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def corpus_of(utterance: Utterance) -> str:
    """The corpus with which the id of a joined utterance begins."""
    return next(corpus for corpus in CORPORA if utterance.id.startswith(f"{corpus}-"))


def _hours(utterances: Iterable[Utterance]) -> float:
    return sum(utterance.duration for utterance in utterances) / 3600


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0], Path(__file__).parent)
    parser.add_argument(
        "--librispeech",
        nargs="+",
        default=[],
        metavar="SUBSET",
        help="subsets of LibriSpeech for training; then dev-clean and test-clean are the others",
    )
    arguments = parser.parse_args()
    with reported("prepare en-small"):
        prepare(arguments.data_root, arguments.out, arguments.librispeech)
