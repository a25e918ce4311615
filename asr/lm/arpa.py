"""ARPA files <-> the words and n-grams of a back-off model."""

import gzip
import lzma
import math
import os
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import numpy as np
import torch

from asr.errors import InputError
from asr.lm.ngram_trie import NgramTrie, make_ngram_trie
from asr.text.sentences import DAMAGED, open_bytes

MARKS = ("<unk>", "</s>", "<s>")
"""In ARPA files: all unknown words; a sentence's end; its beginning, which is a context only."""

_LN10 = math.log(10)
_CHUNK = 100_000  # n-grams that are spelled at once


def read_arpa(
    path: str | Path, words: Sequence[str] | None = None
) -> tuple[tuple[str, ...], NgramTrie]:
    """The words and n-grams of an ARPA file, plain or compressed (`.gz`, `.xz`).

    What stands before `\\data\\` is a comment; `<UNK>` is read as `<unk>`.

    Args:
        path: of the file; UTF-8.
        words: (V,), which the file must have and no others, in the order of their numbers, `<unk>`
            and `</s>` first. None: these two, then the others as they come in the file.

    Returns:
        words: (V,), without `<s>`.
        trie: their n-grams.

    Raises:
        InputError: the file is cut; it has other n-grams or words than it should; an n-gram has a
            word without a unigram, comes twice or continues one that is not there; a
            log-probability is no number or above 0; there is no `<unk>`, `</s>` or `<s>`. The
            message has the line's number.
        OSError: the file can't be read.
    """
    with open_bytes(path) as stream:
        reader = _Reader(stream, str(path))
        try:
            sizes = reader.header()
            numbers, unigrams = reader.unigrams(sizes, words)
            longer = [reader.section(order, sizes, numbers) for order in range(2, len(sizes) + 1)]
            reader.expect("\\end\\")
        except DAMAGED as error:
            reader.fail(f"can't be decompressed: {error}", reader.number + 1)
    _, *others, _ = numbers
    return (MARKS[0], *(word.decode() for word in others)), _joined(reader, [unigrams, *longer])


def write_arpa(path: str | Path, words: Sequence[str], trie: NgramTrie) -> None:
    """Write an ARPA file at once or not at all, compressed where it is called `.gz` or `.xz`.

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
        if word in (*MARKS, "<UNK>") or word.encode().split() != [word.encode()]:
            raise InputError(f"{path}: {word!r} can't be a word of an ARPA file; expected none")
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with ExitStack() as stack:
            stream = cast(BinaryIO, stack.enter_context(partial.open("wb")))
            if path.suffix == ".gz":  # without name and time: the same model is the same file
                zipped = gzip.GzipFile("", "wb", 5, stream, mtime=0)
                stream = cast(BinaryIO, stack.enter_context(zipped))
            elif path.suffix == ".xz":
                stream = cast(BinaryIO, stack.enter_context(lzma.open(stream, "wb", preset=1)))
            for text in _texts([*words, MARKS[2]], trie):
                stream.write(text.encode())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class _Section(NamedTuple):
    """The n-grams of one order."""

    line: int  # of the first one, where each has a line
    units: np.ndarray  # (n, order)
    log_probs: np.ndarray  # (n,), natural logarithms
    backoffs: np.ndarray  # (n,), natural logarithms


class _Reader:
    """The lines of an ARPA file one after the other, and what is wrong with them."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.stream = stream
        self.path = path
        self.number = 0  # of the line last read
        self.line = b""  # that line, if it is still to be understood

    def fail(self, fault: str, number: int | None = None) -> NoReturn:
        raise InputError(f"{self.path}:{self.number if number is None else number}: {fault}")

    def skip_blank(self, expected: str) -> None:
        """Go on to a line that is not blank."""
        while not self.line.strip():
            self.line = next(self.stream, b"")
            self.number += 1
            if not self.line:
                self.fail(f"the file ends here; expected {expected}")

    def expect(self, title: str) -> None:
        """Take a line of this title."""
        self.skip_blank(title)
        if self.line.strip() != title.encode():
            self.fail(f"is {_shown(self.line)}; expected {title}")
        self.line = b""

    def header(self) -> list[int]:
        """How many n-grams of each order the file says that it has."""
        while self.line.strip() != b"\\data\\":
            self.line = next(self.stream, b"")
            self.number += 1
            if not self.line:
                raise InputError(f"{self.path}: has no line \\data\\; expected an ARPA file")
        sizes: list[int] = []
        while True:
            self.line = b""
            self.skip_blank("ngram counts")
            if sizes and self.line.startswith(b"\\"):
                return sizes
            match = re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", self.line.strip())
            if match is None or int(match[1]) != len(sizes) + 1:
                self.fail(f"is {_shown(self.line)}; expected ngram {len(sizes) + 1}=")
            sizes.append(int(match[2]))

    def unigrams(
        self, sizes: Sequence[int], words: Sequence[str] | None
    ) -> tuple[dict[bytes, int], _Section]:
        """The words, as the file has them, with their numbers, and the unigrams in this order.

        `<unk>` is first, and `<s>` last.
        """
        places: dict[bytes, int] = defaultdict(count().__next__)
        section = self.section(1, sizes, places)
        if len(again := np.flatnonzero(section.units[:, 0] != np.arange(len(section.units)))):
            self.fail("has a word that was there before", section.line + int(again[0]))
        unk = b"<UNK>" if b"<UNK>" in places else b"<unk>"
        if {b"<UNK>", b"<unk>"} <= places.keys():
            last = section.line + max(places[b"<UNK>"], places[b"<unk>"])
            self.fail("has <UNK> beside <unk>; expected one of them", last)
        places = {b"<unk>" if word == unk else word: n for word, n in places.items()}
        texts = [self._text(word, section.line + n) for word, n in places.items()]
        if words is None:
            words = [*MARKS[:2], *(text for text in texts if text not in MARKS)]
        for word in (*MARKS, *words):
            if word.encode() not in places:
                self.fail(f"the unigrams end here; expected {word} among them")
        numbers = {word.encode(): n for n, word in enumerate([*words, MARKS[2]])}
        for text, (spelling, n) in zip(texts, places.items(), strict=True):
            if spelling not in numbers:
                self.fail(
                    f"has the word {text!r}; expected one of the vocabulary", section.line + n
                )
        order = [places[word] for word in numbers]
        units = np.arange(len(order), dtype=np.int32)[:, None]
        found = _Section(section.line, units, section.log_probs[order], section.backoffs[order])
        return {unk if word == b"<unk>" else word: n for word, n in numbers.items()}, found

    def section(self, order: int, sizes: Sequence[int], numbers: Mapping[bytes, int]) -> _Section:
        """The n-grams of an order, with their words' numbers."""
        self.expect(f"\\{order}-grams:")
        end, first = order + 1, self.number + 1
        lengths = (end,) if order == len(sizes) else (end, end + 1)
        units, log_probs, backoffs = array("i"), array("d"), array("d")
        for line in self.stream:
            self.number += 1
            fields = line.split()
            if not fields or fields[0].startswith(b"\\"):
                self.line = line
                break
            if len(fields) not in lengths:
                self.fail(f"has {len(fields)} fields; expected {' or '.join(map(str, lengths))}")
            try:
                log_prob = float(fields[0])
                backoff = float(fields[end]) if len(fields) > end else 0.0
                units.extend([numbers[word] for word in fields[1:end]])
            except ValueError:
                self.fail(f"is {_shown(line)}; expected numbers around the words")
            except KeyError as error:
                self.fail(f"has the word {_shown(error.args[0])}, which is not among the unigrams")
            if not -math.inf < log_prob <= 0 or not math.isfinite(backoff):
                self.fail(f"is {_shown(line)}; expected a log-probability of at most 0")
            log_probs.append(log_prob)
            backoffs.append(backoff)
        if len(log_probs) != sizes[order - 1]:
            found = f"there are {len(log_probs)} {order}-grams"
            self.fail(f"{found}; expected {sizes[order - 1]}, as the file says above")
        return _Section(
            first,
            np.frombuffer(units, dtype=np.int32).reshape(-1, order),
            np.frombuffer(log_probs) * _LN10,
            np.frombuffer(backoffs) * _LN10,
        )

    def _text(self, word: bytes, number: int) -> str:
        try:
            return word.decode()
        except UnicodeDecodeError:
            self.fail(f"has the word {_shown(word)}; expected UTF-8 text", number)


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
                reader.fail(fault, section.line + int(there.argmin()))
            nodes = firsts[order] + places
        found = nodes * n_words + section.units[:, -1]
        by_key = np.argsort(found, kind="stable")
        found = found[by_key]
        if len(again := np.flatnonzero(np.diff(found) == 0)):
            reader.fail(
                "has an n-gram that was there before", section.line + int(by_key[again + 1].min())
            )
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


def _shown(text: bytes, length: int = 60) -> str:
    """Bytes as they are shown in a message."""
    shown = repr(text.strip().decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= length else shown[:length] + "…"
