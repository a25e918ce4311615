"""ARPA files <-> the words and n-grams of a back-off model."""

import bz2
import gzip
import lzma
import math
import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import numpy as np
import torch

from asr.audio.memory import free_memory
from asr.errors import InputError, counted
from asr.files import MAX_LINE_BYTES, naming_lack_of_memory, replacing
from asr.lm.ngram_trie import NgramTrie, make_ngram_trie
from asr.text.normalisation import canonical
from asr.text.sentences import DAMAGED, open_bytes

MARKS = ("<unk>", "</s>", "<s>")
"""In ARPA files: all unknown words; a sentence's end; its beginning, which is a context only."""

UNKNOWN = -100.0
"""Logarithm to base 10 of the probability of `<unk>` where a file has none, as KenLM takes it."""

NEVER = -99.0
"""What stands for -inf, the logarithm of 0, as in SRILM's files: all numbers here are finite."""

_LN10 = math.log(10)
_HUGE = 1e8  # beyond it, numbers are damaged
_IRSTLM = (b"iARPA", b"qARPA", b"blmt ", b"Qblmt ")  # what its other files begin with
_MAX_COMMENT_BYTES = 1 << 24  # before `\\data\\`
_MAX_BLANK = 1_000_000  # lines
_BYTES_PER_NGRAM = 20  # of memory, at least: a number and two weights
_CHUNK = 100_000  # n-grams that are spelled at once


def read_arpa(
    path: str | Path, words: Sequence[str] | None = None
) -> tuple[tuple[str, ...], NgramTrie]:
    """The words and n-grams of an ARPA file, plain or compressed (gzip, xz, bzip2).

    What stands before `\\data\\` is a comment. Fields may have any blanks between, lines may be
    blank, weights may be missing. `<UNK>` is read as `<unk>`; without either it is as rare as
    `UNKNOWN` says, which is said on stderr. -inf is read as `NEVER`. Words come in the form that
    all texts have, that of `asr.text.normalisation.canonical`.

    Args:
        path: of the file; UTF-8.
        words: (V,), which the file must have and no others, in the order of their numbers, `<unk>`
            and `</s>` first. None: these two, then the others as they come in the file.

    Returns:
        words: (V,), without `<s>`.
        trie: their n-grams.

    Raises:
        InputError: the file is cut or of another kind; it has other n-grams or words than it
            should; a word can't be met in any text, or is another one in its canonical form; an
            n-gram has a word without a unigram, comes twice or continues one that is not there; a
            log-probability is no number or above 0; the highest order has weights other than 0;
            there is no `</s>` or `<s>`; a line is longer than `MAX_LINE_BYTES`. The message has the
            line's number. Or there is not enough memory for the n-grams.
        OSError: the file can't be read.
    """
    with naming_lack_of_memory(path), open_bytes(path) as stream:
        reader = _Reader(stream, str(path))
        try:
            sizes = reader.header()
            found, numbers, unigrams = reader.unigrams(sizes, words)
            longer = [reader.section(order, sizes, numbers) for order in range(2, len(sizes) + 1)]
            reader.expect("\\end\\")
        except DAMAGED as error:
            reader.fail(f"can't be decompressed: {error}", reader.number + 1)
        return tuple(found), _joined(reader, [unigrams, *longer])


def write_arpa(path: str | Path, words: Sequence[str], trie: NgramTrie) -> None:
    """Write an ARPA file, whole or not at all, compressed if called `.gz`, `.xz` or `.bz2`.

    `read_arpa` with the same words gives the same n-grams again, to the last bit.

    Args:
        path: of the file; its folder exists.
        words: (V,), `<unk>` and `</s>` first.
        trie: their n-grams.

    Raises:
        InputError: a word is empty, has white space or is one that ARPA files have as a mark.
        ValueError: there are not V words, or others are first.
    """
    if len(words) != trie.n_units or tuple(words[:2]) != MARKS[:2]:
        raise ValueError(
            f"words are {len(words)}, first {list(words[:2])}; expected {trie.n_units}, first"
            f" {list(MARKS[:2])}"
        )
    for word in words[2:]:
        if word in (*MARKS, "<UNK>") or word.split() != [word]:
            raise InputError(f"{path}: {word!r} can't be a word of an ARPA file; expected none")
    with replacing(path) as partial, ExitStack() as stack:
        stream = cast(BinaryIO, stack.enter_context(partial.open("wb")))
        match Path(path).suffix:
            case ".gz":  # without name and time: the same model is the same file
                zipped = gzip.GzipFile("", "wb", 5, stream, mtime=0)
                stream = cast(BinaryIO, stack.enter_context(zipped))
            case ".xz":
                stream = cast(BinaryIO, stack.enter_context(lzma.open(stream, "wb", preset=1)))
            case ".bz2":
                stream = cast(BinaryIO, stack.enter_context(bz2.open(stream, "wb")))
        for text in _texts([*words, MARKS[2]], trie):
            stream.write(text.encode())


class _Section(NamedTuple):
    """The n-grams of one order."""

    first: int  # line of the first one
    blank: Sequence[int]  # of each blank line among them, after how many it comes
    units: np.ndarray  # (n, order)
    log_probs: np.ndarray  # (n,), natural logarithms
    backoffs: np.ndarray  # (n,), natural logarithms

    def line(self, n: int) -> int:
        """Where the n-th is in the file, from 0."""
        return self.first + n + bisect_right(self.blank, n)

    @property
    def end(self) -> int:
        """The line behind the last one."""
        return self.first + len(self.units) + bisect_left(self.blank, len(self.units))

    def longer(self, log_prob: float) -> "_Section":
        """With one more unigram."""
        return self._replace(
            log_probs=np.append(self.log_probs, log_prob), backoffs=np.append(self.backoffs, 0.0)
        )


class _Reader:
    """The lines of an ARPA file one after the other, and what is wrong with them."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.lines = self._short_lines(stream)
        self.path = path
        self.number = 0  # of the line last read
        self.line = b""  # that line, if it is still to be understood

    def fail(self, fault: str, number: int | None = None) -> NoReturn:
        raise InputError(f"{self.path}:{self.number if number is None else number}: {fault}")

    def _short_lines(self, stream: BinaryIO) -> Iterator[bytes]:
        """The lines. One that is too long is refused, since a small file may unpack to any size."""
        for line in iter(partial(stream.readline, MAX_LINE_BYTES), b""):
            if len(line) == MAX_LINE_BYTES:
                what = f"has a line of more than {MAX_LINE_BYTES:,} bytes"
                if line.count(b"\r") > 1:
                    what = "ends its lines with CR alone, not with LF"
                raise InputError(f"{self.path}: {what}; expected an ARPA file")
            yield line

    def skip_blank(self, expected: str) -> None:
        """Go on to a line that is not blank."""
        start = self.number
        while not self.line.strip():
            self.line = next(self.lines, b"")
            self.number += 1
            if not self.line:
                self.fail(f"the file ends here; expected {expected}")
            if self.number > start + _MAX_BLANK:
                self.fail(f"comes after {_MAX_BLANK:,} blank lines; expected {expected}")

    def expect(self, title: str) -> None:
        """Take a line of this title."""
        self.skip_blank(title)
        if self.line.strip() != title.encode():
            self.fail(f"is {_shown(self.line)}; expected {title}")
        self.line = b""

    def header(self) -> list[int]:
        """How many n-grams of each order the file says that it has."""
        begin, n_bytes = b"", 0
        while self.line.strip().removeprefix(BOM_UTF8) != b"\\data\\":
            self.line = next(self.lines, b"")
            self.number += 1
            begin = begin or self.line.strip()
            n_bytes += len(self.line)
            if n_bytes > _MAX_COMMENT_BYTES:
                raise InputError(
                    f"{self.path}: has no line \\data\\ in its first {_MAX_COMMENT_BYTES:,} bytes;"
                    " expected an ARPA file"
                )
            if not self.line:
                raise InputError(f"{self.path}: {_kind(begin)}; expected an ARPA file")
            if begin.startswith(_IRSTLM):
                raise InputError(
                    f"{self.path}: is IRSTLM's {begin.split()[0].decode()}; expected an ARPA"
                    " file, as compile-lm --text=yes makes of it"
                )
        sizes: list[int] = []
        while True:
            self.line = b""
            self.skip_blank("ngram counts")
            if sizes and self.line.startswith(b"\\"):
                self._check_memory(sum(sizes))
                return sizes
            match = re.fullmatch(rb"ngram\s+(\d{1,3})\s*=\s*(\d{1,18})", self.line.strip())
            if match is None or int(match[1]) != len(sizes) + 1:
                self.fail(f"is {_shown(self.line)}; expected ngram {len(sizes) + 1}=")
            sizes.append(int(match[2]))

    def _check_memory(self, n_ngrams: int) -> None:
        if (needed := n_ngrams * _BYTES_PER_NGRAM) > (free := free_memory()):
            raise InputError(
                f"{self.path}: has {n_ngrams:,} n-grams, as it says, for which"
                f" {needed / 1e9:,.1f} GB of memory are needed; {free / 1e9:,.1f} GB are free"
            )

    def unigrams(
        self, sizes: Sequence[int], words: Sequence[str] | None
    ) -> tuple[Sequence[str], dict[bytes, int], _Section]:
        """The words; their numbers, as the file spells them, `<s>` last; and their unigrams."""
        places: dict[bytes, int] = defaultdict(count().__next__)
        section = self.section(1, sizes, places)
        if len(again := np.flatnonzero(section.units[:, 0] != np.arange(len(section.units)))):
            self.fail("has a word that was there before", section.line(int(again[0])))
        if {b"<UNK>", b"<unk>"} <= places.keys():
            last = max(places[b"<UNK>"], places[b"<unk>"])
            self.fail("has <UNK> beside <unk>; expected one of them", section.line(last))
        if not {b"<UNK>", b"<unk>"} & places.keys():
            places[b"<unk>"] = len(places)
            section = section.longer(UNKNOWN * _LN10)
            print(
                f"{self.path}: has no <unk>; all words that it does not know share the log10"
                f" probability {UNKNOWN:g}",
                file=sys.stderr,
            )
        rows = self._rows(places, section)
        if words is None:
            words = [*MARKS[:2], *(text for text in rows if text not in MARKS)]
        for word in (*MARKS, *words):
            if word not in rows:
                self.fail(f"the unigrams end here; expected {word} among them", section.end)
        numbers = {word: n for n, word in enumerate([*words, MARKS[2]])}
        for text, row in rows.items():
            if text not in numbers:
                self.fail(
                    f"has the word {text!r}; expected one of the vocabulary", section.line(row)
                )
        order = [rows[word] for word in numbers]
        units = np.arange(len(order), dtype=np.int32)[:, None]
        found = section._replace(
            units=units, log_probs=section.log_probs[order], backoffs=section.backoffs[order]
        )
        spellings = {row: spelling for spelling, row in places.items()}
        return words, {spellings[rows[word]]: n for word, n in numbers.items()}, found

    def _rows(self, places: Mapping[bytes, int], section: _Section) -> dict[str, int]:
        """Each word, as texts have it, and where its unigram is."""
        rows: dict[str, int] = {}
        for spelling, row in places.items():
            word = self._text(spelling, section.line(row))
            if word in rows:
                self.fail(
                    f"has the word {spelling.decode()!a}, which is {word!r} of line"
                    f" {section.line(rows[word])} spelled in another way; expected each word once",
                    section.line(row),
                )
            rows[word] = row
        return rows

    def section(self, order: int, sizes: Sequence[int], numbers: Mapping[bytes, int]) -> _Section:
        """The n-grams of an order, with their words' numbers."""
        size = sizes[order - 1]
        self.skip_blank(f"\\{order}-grams:")
        if size or self.line.strip() == f"\\{order}-grams:".encode():
            self.expect(f"\\{order}-grams:")  # without n-grams some programs leave it out
        end, highest, first = order + 1, order == len(sizes), self.number + 1
        units, log_probs, backoffs, blank = array("i"), array("d"), array("d"), array("q")
        for line in [] if self.line else self.lines:
            self.number += 1
            fields = line.split()
            if not fields:
                blank.append(len(log_probs))
                if len(blank) > _MAX_BLANK:
                    self.fail(f"is blank, after {_MAX_BLANK:,} blank lines; expected n-grams")
                continue
            if fields[0].startswith(b"\\"):
                self.line = line
                break
            if len(log_probs) == size:
                self.fail(f"is {order}-gram {size + 1}; expected {size}, as the file says above")
            if len(fields) not in (end, end + 1):
                shown = f"{end}" if highest else f"{end} or {end + 1}"
                self.fail(f"has {counted(len(fields), 'field')}; expected {shown}")
            try:
                log_prob = float(fields[0])
                backoff = float(fields[end]) if len(fields) > end else 0.0
                units.extend([numbers[word] for word in fields[1:end]])
            except ValueError:
                self.fail(f"is {_shown(line)}; expected numbers around the words")
            except KeyError as error:
                self.fail(f"has the word {_shown(error.args[0])}, which is not among the unigrams")
            if log_prob == -math.inf:
                log_prob = NEVER
            if not -_HUGE < log_prob <= 0:
                self.fail(f"is {_shown(line)}; expected a log-probability of at most 0")
            if not abs(backoff) < _HUGE:
                self.fail(f"is {_shown(line)}; expected a finite weight behind the words")
            if highest and backoff:
                self.fail(f"is {_shown(line)}; expected no weight in the highest order")
            log_probs.append(log_prob)
            backoffs.append(backoff)
        section = _Section(
            first,
            blank,
            np.frombuffer(units, dtype=np.int32).reshape(-1, order),
            np.frombuffer(log_probs) * _LN10,
            np.frombuffer(backoffs) * _LN10,
        )
        if len(log_probs) != size:
            found = f"there are {len(log_probs)} {order}-grams"
            self.fail(f"{found}; expected {size}, as the file says above", section.end)
        return section

    def _text(self, spelling: bytes, number: int) -> str:
        """A word as texts have it."""
        try:
            text = spelling.decode()
        except UnicodeDecodeError as error:
            found = f"{_shown(spelling)} with the byte 0x{spelling[error.start]:02x}"
            self.fail(f"has the word {found}, as in Latin-1 or the like; expected UTF-8", number)
        word = canonical(text, f"{self.path}:{number}")
        if word.split() != [word]:
            found = "white space" if word else "invisible characters alone"
            self.fail(
                f"has the word {text!r} of {found}, which no text can have; expected a word", number
            )
        return MARKS[0] if word == "<UNK>" else word


def _joined(reader: _Reader, sections: list[_Section]) -> NgramTrie:
    """The trie of all orders' n-grams."""
    n_words = len(sections[0].units)
    keys = [np.array([-1]), np.arange(n_words)]
    log_probs, backoffs = [np.zeros(1), sections[0].log_probs], [np.zeros(1), sections[0].backoffs]
    firsts = [0, 1]  # node of each order
    for section in sections[1:]:
        nodes = 1 + section.units[:, 0].astype(np.int64)
        for order in range(2, section.units.shape[1]):
            wanted = nodes * n_words + section.units[:, order - 1]
            places = np.searchsorted(keys[order], wanted)
            there = keys[order].take(places, mode="clip") == wanted
            if not there.all():
                fault = f"continues {order} words that are no {order}-gram of the file"
                reader.fail(fault, section.line(int(there.argmin())))
            nodes = firsts[order] + places
        found = nodes * n_words + section.units[:, -1]
        by_key = np.argsort(found, kind="stable")
        found = found[by_key]
        if len(again := np.flatnonzero(np.diff(found) == 0)):
            line = section.line(int(by_key[again + 1].min()))
            reader.fail("has an n-gram that was there before", line)
        firsts.append(firsts[-1] + len(keys[-1]))
        keys.append(found)
        log_probs.append(section.log_probs[by_key])
        backoffs.append(section.backoffs[by_key])
    return make_ngram_trie(
        n_words - 1,
        [len(part) for part in keys[1:]],
        torch.from_numpy(np.concatenate(keys)),
        torch.from_numpy(np.concatenate(log_probs)),
        torch.from_numpy(np.concatenate(backoffs[:-1])),
    )


def _texts(words: Sequence[str], trie: NgramTrie) -> Iterator[str]:
    """An ARPA file in parts."""
    yield "\\data\\\n" + "".join(f"ngram {n}={size}\n" for n, size in enumerate(trie.sizes, 1))
    names = np.array(words, dtype=object)
    keys = trie.keys.cpu().numpy()
    log_probs = trie.log_probs.cpu().double().numpy() / _LN10
    backoffs = trie.backoffs.cpu().double().numpy() / _LN10
    for order, nodes in enumerate(trie.levels, 1):
        yield f"\n\\{order}-grams:\n"
        for first in range(nodes.start, nodes.stop, _CHUNK):
            chunk = slice(first, min(first + _CHUNK, nodes.stop))
            ending, columns = np.arange(chunk.start, chunk.stop), []
            for _ in range(order):
                ending, units = np.divmod(keys[ending], len(words))
                columns.append(names[units].tolist())
            spelled = map(" ".join, zip(*reversed(columns), strict=True))
            values: list[Any] = [log_probs[chunk].tolist(), spelled, backoffs[chunk].tolist()]
            # nine digits are enough for any float32 to come back as it was
            pattern = "%.9g\t%s\t%.9g\n" if order < trie.order else "%.9g\t%s\n"
            rows = zip(*values[: pattern.count("%")], strict=True)
            yield "".join([pattern % row for row in rows])
    yield "\n\\end\\\n"


def _kind(begin: bytes) -> str:
    """What a file is that begins with a line and is no ARPA file."""
    if begin.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\\data\\" in begin.replace(b"\0", b""):
        if b"\0" not in begin:
            return "ends its lines with CR alone, not with LF"
        wide = "UTF-32" if b"\0\0" in begin else "UTF-16"
        return f"is {wide}, and not UTF-8"
    return "has no line \\data\\"


def _shown(text: bytes, length: int = 60) -> str:
    """Bytes as they are shown in a message."""
    shown = repr(text.strip().decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= length else shown[:length] + "…"
