"""tagger + punctuated text -> precision, recall and F1 of its marks and its case."""

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.errors import InputError
from asr.files import finite_or_none
from asr.networks.tagger import Tagger, probabilities, tag_counts
from asr.scoring.detection import DetectionCounts, f1_interval
from asr.text.punctuation import CASES, MARKS, SENTENCE_ENDS, written_words
from asr.text.sentences import read_sentences

PASSAGE = 500
"""Number of words in a passage; the bootstrap draws passages, as sentences depend on each other."""


@dataclass(frozen=True)
class Measured:
    """How well one kind of tags is found.

    Args:
        counts: over the whole text.
        low: lower end of the 95 % bootstrap interval of the F1.
        high: its upper end.
    """

    counts: DetectionCounts
    low: float
    high: float


def measure(tagger: Tagger, path: str | Path) -> dict[str, Measured]:
    """Compare a tagger's marks and case with those of a text.

    The tagger reads all words of the text without their marks, in small letters, as one text.

    Args:
        tagger: in evaluation mode.
        path: a text, see `asr.text.sentences.read_sentences`.

    Returns:
        measured: by the names of `asr.networks.tagger.tag_counts`.

    Raises:
        InputError: the text can't be read, or has no word.
    """
    words, marks, cases = _read(path)
    tags = tagger.tags(words)
    found_marks = np.array([MARKS.index(mark) for mark, _ in tags])
    found_cases = np.array([CASES.index(case) for _, case in tags])
    arrays = (marks, cases, found_marks, found_cases)
    whole = tag_counts(*arrays)
    passages = [
        tag_counts(*(values[begin : begin + PASSAGE] for values in arrays))
        for begin in range(0, len(words), PASSAGE)
    ]
    return {
        name: Measured(counts, *f1_interval([passage[name] for passage in passages]))
        for name, counts in whole.items()
    }


def tune_thresholds(tagger: Tagger, path: str | Path) -> None:
    """Set a tagger's thresholds to those with the highest F1 on a text.

    The best threshold is about half the F1 that it gives, so it is below 0.5 where tags are hard to
    find. Commas are tuned where no sentence ends.

    Args:
        tagger: in evaluation mode.
        path: a text that is neither for training nor for the final measurement.

    Raises:
        InputError: the text can't be read, or has no word.

    Source: Lipton, Elkan and Naryanaswamy 2014, arXiv:1402.1892.
    """
    words, marks, cases = _read(path)
    log_probs = tagger.log_probs(words)
    end, comma, capital = (values.numpy() for values in probabilities(log_probs))
    is_right_case = 1 + log_probs.cases[:, 1:].argmax(1).numpy() == cases
    of_end = best_threshold(end, np.isin(marks, [MARKS.index(mark) for mark in SENTENCE_ENDS]))
    is_open = end < of_end
    of_comma = best_threshold(comma[is_open], marks[is_open] == MARKS.index(","))
    of_capital = best_threshold(capital, is_right_case, int(np.count_nonzero(cases)))
    tagger.get_buffer("thresholds").copy_(torch.tensor([of_end, of_comma, of_capital]))


def best_threshold(found: np.ndarray, is_true: np.ndarray, n_true: int | None = None) -> float:
    """The threshold with the highest F1, half-way between probabilities; 0.5 if nothing is true.

    Args:
        found: (U,), probabilities above 0.
        is_true: (U,), bool, which places get the right tag if they get one.
        n_true: number of places that have a tag; None if they are those of `is_true`.
    """
    if not is_true.any():
        return 0.5
    order = np.argsort(-found, kind="stable")
    values, n_right = found[order], np.cumsum(is_true[order])
    f1 = (
        2
        * n_right
        / (np.arange(1, len(values) + 1) + (is_true.sum() if n_true is None else n_true))
    )
    lower = np.append(values[1:], 0.0)
    best = np.where(lower < values, f1, -1.0).argmax()  # a threshold can't separate equal values
    return float(values[best] + lower[best]) / 2


def measured_values(measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
    """The measures as plain values for JSON; a rate without a count is None."""
    return {
        name: {
            **asdict(found.counts),
            "precision": finite_or_none(found.counts.precision),
            "recall": finite_or_none(found.counts.recall),
            "f1": finite_or_none(found.counts.f1),
            "f1_low": found.low,
            "f1_high": found.high,
        }
        for name, found in measured.items()
    }


def measured_table(measured: Mapping[str, Measured]) -> str:
    """The measures as lines for people to read."""
    lines = [f"{'':<18}{'in text':>9}{'found':>9}{'precision':>11}{'recall':>8}{'F1':>7}"]
    for name, (counts, low, high) in ((n, (m.counts, m.low, m.high)) for n, m in measured.items()):
        in_text = counts.true_positives + counts.false_negatives
        found = counts.true_positives + counts.false_positives
        rates = f"{counts.precision:>11.3f}{counts.recall:>8.3f}{counts.f1:>7.3f}"
        title = name.replace("_", " ")
        lines.append(f"{title:<18}{in_text:>9,}{found:>9,}{rates} ({low:.3f} to {high:.3f})")
    return "\n".join(lines)


def _read(path: str | Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(U,): the words of a text, with their marks and cases as numbers."""
    words: list[str] = []
    marks, cases = array("b"), array("b")
    for sentence in read_sentences(path):
        for word, _, (mark, case) in written_words(sentence):
            words.append(word)
            marks.append(MARKS.index(mark))
            cases.append(CASES.index(case))
    if not words:
        raise InputError(f"{path}: has no word; expected a punctuated text")
    return words, np.array(marks), np.array(cases)
