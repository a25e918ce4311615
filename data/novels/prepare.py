"""English novels, or any plain text -> data/novels/{train,dev,test}.txt, one sentence per line.

With --punctuated -> {train,dev,test}-punctuated.txt.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from punctuated import punctuated_line, split_of_book
from spoken import spell_numbers, spell_titles

from asr.corpus.download import download
from asr.corpus.official import data_roots
from asr.errors import InputError, counted, listed, reported
from asr.files import replacing
from asr.text.normalisation import normalise
from asr.text.sentences import DAMAGED, open_bytes

NOVELS = Path("text/english_novels.txt.xz")
LIBRISPEECH = Path("librispeech-lm-norm.txt.gz")
LIBRISPEECH_URL = f"https://www.openslr.org/resources/11/{LIBRISPEECH}"
SPLITS = ("train", "dev", "test")
TITLE = "== "
HELD_OUT = 0.02  # share of each book's words for dev and test together
LONGEST_BOOK = 200_000  # lines; a longer text counts as several books, which bounds the memory


@dataclass
class Report:
    """Counts of what was written and left out.

    Args:
        sentences: written, for each split.
        words: written, for each split.
        books: number of books.
        numbers: numbers that were spelled out.
        wordless: sentences without a letter, such as rows of asterisks; left out.
        unspeakable: sentences with a digit that is not part of a number; left out.
        headings: sentences left out of the punctuated text, those without a word among them.
    """

    sentences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    words: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    books: int = 0
    numbers: int = 0
    wordless: int = 0
    unspeakable: list[str] = field(default_factory=list)
    headings: int = 0


def prepare(texts: Sequence[Path], out: Path, held_out: float = HELD_OUT) -> Report:
    """Write the three files; the last part of each book goes to test, the part before it to dev.

    Args:
        texts: plain, .gz or .xz; UTF-8.
        out: folder of the files.
        held_out: share of a book's words for dev and test together, half each.

    Raises:
        InputError: a text can't be read, or is too short to give each file a sentence.
    """
    report = Report()
    with _files(out, "", texts, report) as files:
        for lines in books(texts):
            report.books += 1
            written = [line for one in sentences(lines) if (line := line_of(one, report))]
            for split, sentence in zip(split_of(written, held_out), written, strict=True):
                _write(files, split, sentence, report)
    return report


def prepare_punctuated(texts: Sequence[Path], out: Path) -> Report:
    """Write the three punctuated files; whole books go to dev and test, see `split_of_book`.

    Args:
        texts: plain, .gz or .xz; UTF-8; 20 books or more.
        out: folder of the files.

    Raises:
        InputError: a text can't be read, or there are fewer books.
    """
    report = Report()
    with _files(out, "-punctuated", texts, report) as files:
        for number, lines in enumerate(books(texts)):
            report.books += 1
            for sentence in sentences(lines):
                if line := punctuated_line(sentence):
                    _write(files, split_of_book(number), line, report)
                else:
                    report.headings += 1
        if report.books < 20:
            raise InputError(
                f"{listed([str(text) for text in texts])}: has {counted(report.books, 'book')};"
                " expected 20 or more, as whole books go to dev and test"
            )
    return report


@contextmanager
def _files(
    out: Path, ending: str, texts: Sequence[Path], report: Report
) -> Iterator[dict[str, TextIO]]:
    """The files of the splits, each with a sentence at the end, or none of them changed."""
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        names = {split: out / f"{split}{ending}.txt" for split in SPLITS}
        paths = {split: stack.enter_context(replacing(name)) for split, name in names.items()}
        yield {
            split: stack.enter_context(path.open("w", encoding="utf-8"))
            for split, path in paths.items()
        }
        for split, count in report.sentences.items():
            if not count:
                place = listed([str(text) for text in texts])
                raise InputError(f"{place}: too short: {split} has no sentence")


def _write(files: dict[str, TextIO], split: str, sentence: str, report: Report) -> None:
    files[split].write(sentence + "\n")
    report.sentences[split] += 1
    report.words[split] += len(sentence.split())


def books(texts: Iterable[Path]) -> Iterator[list[str]]:
    """The lines of each book; each file and each line `== Title` begins a book."""
    for path in texts:
        lines: list[str] = []
        for line in _lines(path):
            title = line.startswith(TITLE)
            if lines and (title or len(lines) == LONGEST_BOOK):
                yield lines
                lines = []
            if not title:
                lines.append(line)
        if lines:
            yield lines


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_bytes(path) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield line.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    place = f"{path}:{number}"
                    raise InputError(f"{place}: is not UTF-8 text ({error.reason})") from None
    except DAMAGED as error:
        raise InputError(f"{path}: can't be decompressed: {error}") from None


def sentences(lines: Sequence[str]) -> Iterator[str]:
    """The sentences of a book, unchanged."""
    for paragraph in paragraphs(lines):
        start = 0
        for end in _SENTENCE_END.finditer(paragraph):
            if not _goes_on(paragraph[start : end.start()], end):
                yield paragraph[start : end.end()]
                start = end.end()
        yield paragraph[start:]


def paragraphs(lines: Sequence[str]) -> Iterator[str]:
    """Whole paragraphs, whether each is one line or lines are wrapped.

    Wrapped lines often begin with a lower-case letter, paragraphs hardly ever. Text without capital
    letters is taken as already normalised, with one sentence per line.
    """
    begins = [line[0] for line in lines if line]
    small = sum(map(str.islower, begins))
    if not (small > 0.1 * len(begins) and any(map(str.isupper, begins))):
        yield from filter(None, lines)
        return
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line:
            paragraph.append(line)
        elif paragraph:
            yield " ".join(paragraph)
            paragraph = []


# one or more end marks, closing quotes or brackets, white space, then a capital or a digit
_SENTENCE_END = re.compile(
    r"(?P<mark>[.!?]+(?:\s+[.!?]+)*)[\"'”’)\]_]*\s+(?=(?:[-–—]+\s*)?[\"'“‘(\[_]*[A-ZÀ-ÞΑ-Ω0-9£])"
)
_ABBREVIATED = re.compile(
    r"(?:^|[^\w.])(?:Mr|Mrs|Messrs|Dr|St|Sta|Mme|Mlle|Capt|Col|Gen|Lieut|Lt|Sergt|Rev|Hon|Prof"
    r"|viz|vol|[A-HJ-Z](?:\.[A-Z])*)$"
)
_NUMBERED = re.compile(r"(?:^|\W)(?:No|Nos|p|pp|ch|chap)$", re.IGNORECASE)


def _goes_on(sentence: str, end: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation: Mr. X, J. Smith, No. 7."""
    if end["mark"] != ".":
        return False
    if end.string[end.end()].isdigit() and _NUMBERED.search(sentence):
        return True
    return _ABBREVIATED.search(sentence) is not None


def line_of(sentence: str, report: Report) -> str:
    """The sentence spelled out and normalised; "" if it has no word or can't be read aloud."""
    sentence, numbers = spell_numbers(spell_titles(sentence))
    report.numbers += numbers
    words = normalise(sentence)
    if any(character.isdigit() for character in words):
        report.unspeakable.append(words)
        return ""
    if not any(character.isalpha() for character in words):
        report.wordless += 1
        return ""
    return words


def split_of(sentences: Sequence[str], held_out: float) -> Iterator[str]:
    """The split of each sentence of a book, by the number of words up to it."""
    total = sum(len(sentence.split()) for sentence in sentences)
    before = 0
    for sentence in sentences:
        before += len(sentence.split())
        left = total - before
        if left < 0.5 * held_out * total:
            yield "test"
        else:
            yield "dev" if left < held_out * total else "train"


def locate(name: Path, data_root: Path | None) -> Path | None:
    """A file under `data_root`, else under `$ASR_DATA`, else None."""
    candidates = [root / name for root in data_roots(data_root)]
    return next((path for path in candidates if path.is_file()), None)


def find_texts(options: argparse.Namespace) -> list[Path]:
    """The files given on the command line."""
    if options.text:
        return options.text
    if options.librispeech:
        if found := locate(LIBRISPEECH, options.data_root):
            return [found]
        print(f"downloading 1.5 GB from {LIBRISPEECH_URL} (public domain)", file=sys.stderr)
        return [download(LIBRISPEECH_URL, options.out / "download" / LIBRISPEECH)]
    if found := locate(NOVELS, options.data_root):
        return [found]
    raise InputError(
        f"{NOVELS}: neither under --data-root nor under $ASR_DATA; give another text with --text,"
        " or take LibriSpeech's with --librispeech"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, help=f"folder that has {NOVELS}")
    parser.add_argument("--text", type=Path, nargs="+", help="other texts: plain, .gz or .xz")
    parser.add_argument(
        "--librispeech",
        action="store_true",
        help=f"use LibriSpeech's text for language models, {LIBRISPEECH}; downloads 1.5 GB if it is"
        " neither under --data-root nor under $ASR_DATA",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=HELD_OUT,
        help="share of each book's words for dev and test (%(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder of the files (%(default)s)"
    )
    parser.add_argument(
        "--punctuated",
        action="store_true",
        help="write the texts for train_punctuation.py instead: whole books go to dev and test",
    )
    options = parser.parse_args()
    if options.punctuated and options.held_out != HELD_OUT:
        parser.error(
            "--held-out is for the texts of language models; expected none with --punctuated"
        )
    if not 0 < options.held_out < 1:
        parser.error(f"--held-out is {options.held_out}; expected a share between 0 and 1")
    texts = find_texts(options)
    if options.punctuated:
        report = prepare_punctuated(texts, options.out)
        left_out = f"{report.headings} headings and other sentences without a mark or a word"
    else:
        report = prepare(texts, options.out, options.held_out)
        examples = "; ".join(line[:60] for line in report.unspeakable[:3])
        left_out = (
            f"{report.wordless} sentences without a word, {len(report.unspeakable)} with a"
            f" digit outside a number{f', such as: {examples}' if examples else ''}"
        )
    ending = "-punctuated" if options.punctuated else ""
    for split in SPLITS:
        print(
            f"{options.out / split}{ending}.txt: {report.sentences[split]} sentences,"
            f" {report.words[split]} words",
            file=sys.stderr,
        )
    numbers = "" if options.punctuated else f"; {report.numbers} numbers spelled out"
    print(f"{report.books} books{numbers}", file=sys.stderr)
    print(f"left out: {left_out}", file=sys.stderr)


if __name__ == "__main__":
    with reported("prepare novels"):
        main()
