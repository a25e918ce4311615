"""words -> the punctuation mark after each word, and its case."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from asr.errors import InputError, check_size
from asr.networks.cells import Cell
from asr.networks.recurrent import (
    MAX_HIDDEN,
    MAX_LAYERS,
    MAX_WEIGHTS,
    Dropout,
    RecurrentStack,
    StackSettings,
)
from asr.scoring.detection import DetectionCounts, detection_counts
from asr.text.punctuation import CASES, MARKS, SENTENCE_ENDS, Tag, with_capitals

AFFIX_LENGTHS = (1, 2, 3, 4)
"""Numbers of letters of the beginnings and endings of words."""

N_INPUTS = 1 + 2 * len(AFFIX_LENGTHS)
"""I, the numbers that stand for a word: its own, and those of its beginnings and endings."""

WINDOW = 600
"""Maximum number of words that the network reads at once."""

MARGIN = 50
"""Number of words at either end of a window whose tags are taken from the neighbouring window."""

_WINDOWS_TOGETHER = 8


@dataclass(frozen=True)
class TaggerSettings:
    """Settings of the tagger.

    Args:
        embedding_size: size of the embeddings of words and of their beginnings and endings.
        n_buckets: number of embeddings of beginnings and endings, which share them by their hashes.
        cell: the kind of recurrent units.
        hidden_size: number of recurrent units of a layer in one direction.
        n_layers: number of recurrent layers.
        dropout: share of the embeddings and of each layer's output that is set to 0 in training.
    """

    embedding_size: int = 96
    n_buckets: int = 8192
    cell: Cell = "gru"
    hidden_size: int = 256
    n_layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_size("model.embedding_size", self.embedding_size, 1, MAX_HIDDEN)
        check_size("model.n_buckets", self.n_buckets, 1, 2**24)
        check_size("model.hidden_size", self.hidden_size, 1, MAX_HIDDEN)
        check_size("model.n_layers", self.n_layers, 1, MAX_LAYERS)
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; expected from 0 to below 1")


class TagLogProbs(NamedTuple):
    """Natural log-probabilities of the tags of words.

    Args:
        marks: (..., 5), of `MARKS`.
        cases: (..., 3), of `CASES`.
    """

    marks: Tensor
    cases: Tensor


class Tagger(nn.Module):
    """A bidirectional recurrent network over the words of a text.

    A word's input is its embedding plus the mean of those of its beginnings and endings. All words
    that are not in the list share one embedding; their beginnings and endings tell them apart.

    `thresholds` has the smallest probabilities of a sentence end, a comma and a capital that are
    taken for one. They are 0.5 at first; `asr.evaluation.punctuation.tune_thresholds` sets them.

    Args:
        words: the words with embeddings of their own, in small letters, each once.
        settings: sizes of the network.

    Raises:
        InputError: there are more than `MAX_WEIGHTS` weights.

    Source: Tilk and Alumäe 2016, "Bidirectional recurrent neural network with attention mechanism
    for punctuation restoration", without the attention; Bojanowski et al. 2017, arXiv:1607.04606,
    for hashed parts of words.
    """

    def __init__(self, words: Sequence[str], settings: TaggerSettings) -> None:
        super().__init__()
        self.words = tuple(words)
        self.settings = settings
        self._numbers = {word: number for number, word in enumerate(words, 1)}
        size = settings.embedding_size
        n_embedded = 1 + len(words) + settings.n_buckets
        check_size("number of embedding weights", n_embedded * size, 1, MAX_WEIGHTS)
        self.of_words = nn.Embedding(1 + len(words), size)
        self.of_affixes = nn.EmbeddingBag(settings.n_buckets, size, mode="mean")
        for table in (self.of_words, self.of_affixes):
            # small, so that a rare word's random values soon count less than what it has learned
            nn.init.normal_(table.weight, std=0.02)
        self.dropout = nn.Dropout(settings.dropout)
        stack = StackSettings(
            settings.cell,
            settings.hidden_size,
            settings.n_layers,
            layer_norm=True,
            dropout=Dropout(settings.dropout, settings.dropout),
        )
        self.stack = RecurrentStack(size, stack)
        self.output = nn.Linear(self.stack.output_size, len(MARKS) + len(CASES))
        self.register_buffer("thresholds", torch.full((3,), 0.5))

    def inputs(self, words: Sequence[str]) -> Tensor:
        """(U, I), int64: the numbers that stand for U words in small letters."""
        rows = [[self._numbers.get(word, 0), *self._affixes(word)] for word in words]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, N_INPUTS)

    def forward(self, inputs: Tensor, lengths: Tensor) -> TagLogProbs:
        """Log-probabilities of the tags of several texts.

        Args:
            inputs: (T, N, I), from `inputs`, padded with any of its numbers.
            lengths: (N,), int64, numbers of words.

        Returns:
            log_probs: (T, N, 5) and (T, N, 3); undefined after the end of a text.
        """
        T, N = inputs.shape[:2]
        affixes = self.of_affixes(inputs[:, :, 1:].flatten(0, 1)).view(T, N, -1)
        embedded = self.dropout(self.of_words(inputs[:, :, 0]) + affixes)
        outputs, _ = self.stack(embedded, lengths)
        marks, cases = self.output(outputs).split([len(MARKS), len(CASES)], 2)
        return TagLogProbs(F.log_softmax(marks, 2), F.log_softmax(cases, 2))

    @torch.no_grad()
    def log_probs(self, words: Sequence[str]) -> TagLogProbs:
        """Log-probabilities of the tags of a text of any length.

        The network reads texts of more than `WINDOW` words in windows that overlap, so that each
        word is read with at least `MARGIN` words on either side. The memory beside the result does
        not depend on the text's length.

        Args:
            words: U words in small letters.

        Returns:
            log_probs: (U, 5) and (U, 3), on the CPU.
        """
        marks, cases = [torch.zeros(0, len(MARKS))], [torch.zeros(0, len(CASES))]
        device = self.output.weight.device
        spans = list(windows(len(words)))
        for place in range(0, len(spans), _WINDOWS_TOGETHER):
            some = spans[place : place + _WINDOWS_TOGETHER]
            inputs = [self.inputs(words[one.begin : one.end]) for one in some]
            lengths = torch.tensor([len(rows) for rows in inputs])
            found = self(pad_sequence(inputs).to(device), lengths.to(device))
            for n, one in enumerate(some):
                kept = slice(one.first - one.begin, one.last - one.begin)
                marks.append(found.marks[kept, n].float().cpu())
                cases.append(found.cases[kept, n].float().cpu())
        return TagLogProbs(torch.cat(marks), torch.cat(cases))

    def tags(self, words: Sequence[str]) -> list[Tag]:
        """The tags of a text of any length; its sentences begin with a capital.

        Args:
            words: in small letters.
        """
        marks, cases = decided(self.log_probs(words), self.get_buffer("thresholds").cpu())
        pairs = zip(marks.tolist(), cases.tolist(), strict=True)
        return with_capitals([Tag(MARKS[mark], CASES[case]) for mark, case in pairs])

    def _affixes(self, word: str) -> Iterator[int]:
        for length in AFFIX_LENGTHS:
            yield crc32(f"<{word[:length]}".encode()) % self.settings.n_buckets
            yield crc32(f"{word[-length:]}>".encode()) % self.settings.n_buckets


def decided(log_probs: TagLogProbs, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """The tags that are taken.

    Where the marks that end sentences together reach their threshold, the most probable of them is
    taken; else a comma where it reaches its threshold. Likewise for the two cases with capitals.

    Args:
        log_probs: (..., 5) and (..., 3).
        thresholds: (3,), probabilities of a sentence end, a comma and a capital.

    Returns:
        marks: (...), int64, indices in `MARKS`.
        cases: (...), int64, indices in `CASES`.
    """
    found = probabilities(log_probs)
    end, comma, capital = thresholds.tolist()
    marks = (found.comma >= comma).long()  # the comma's index is 1
    of_ends = _FIRST_END + log_probs.marks[..., _FIRST_END:].argmax(-1)
    marks = torch.where(found.end >= end, of_ends, marks)
    cases = 1 + log_probs.cases[..., 1:].argmax(-1)  # the index of small letters is 0
    return marks, torch.where(found.capital >= capital, cases, 0)


class TagProbabilities(NamedTuple):
    """Probabilities that are compared with the thresholds.

    Args:
        end: (...), of all marks that end a sentence together.
        comma: (...), of a comma.
        capital: (...), of all cases but small letters.
    """

    end: Tensor
    comma: Tensor
    capital: Tensor


def probabilities(log_probs: TagLogProbs) -> TagProbabilities:
    """The probabilities that are compared with the thresholds.

    Args:
        log_probs: (..., 5) and (..., 3).
    """
    marks, cases = log_probs.marks.exp(), log_probs.cases.exp()
    return TagProbabilities(marks[..., _FIRST_END:].sum(-1), marks[..., 1], cases[..., 1:].sum(-1))


def tag_counts(
    marks: np.ndarray, cases: np.ndarray, found_marks: np.ndarray, found_cases: np.ndarray
) -> dict[str, DetectionCounts]:
    """Compare tags with those that were found.

    Args:
        marks: (U,), indices in `MARKS`, of the reference.
        cases: (U,), indices in `CASES`, of the reference.
        found_marks: (U,), those of the hypothesis.
        found_cases: (U,), likewise.

    Returns:
        counts: "sentence_ends", whichever of . ! ? it is; "commas"; "case", of words that are not
            in small letters; "full_stops", "exclamation_marks", "question_marks".
    """

    def of_mark(mark: str) -> DetectionCounts:
        number = MARKS.index(mark)
        return detection_counts(marks == number, found_marks == number)

    return {
        "sentence_ends": detection_counts(marks >= _FIRST_END, found_marks >= _FIRST_END),
        "commas": of_mark(","),
        "case": detection_counts(cases, found_cases),
        "full_stops": of_mark("."),
        "exclamation_marks": of_mark("!"),
        "question_marks": of_mark("?"),
    }


_FIRST_END = len(MARKS) - len(SENTENCE_ENDS)


class Window(NamedTuple):
    """A part of a text that the network reads at once.

    Args:
        begin: index of its first word.
        end: index after its last word.
        first: index of the first word whose tag is kept.
        last: index after the last word whose tag is kept.
    """

    begin: int
    end: int
    first: int
    last: int


def windows(n_words: int) -> Iterator[Window]:
    """Windows over a text; every word is kept once, in order."""
    first = 0
    while first < n_words:
        begin = max(0, first - MARGIN)
        end = min(n_words, begin + WINDOW)
        last = n_words if end == n_words else end - MARGIN
        yield Window(begin, end, first, last)
        first = last
