"""References and hypotheses -> alignments -> ErrorCounts -> rates."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import kaldialign

from asr.scoring.word_graphs import cheapest_pairs, linear

if TYPE_CHECKING:
    import jiwer

Alignment = list[tuple[str, str]]
"""(reference word, hypothesis word) in order; "" stands where the other has no partner."""


@dataclass(frozen=True)
class ErrorCounts:
    """How many errors, of how many reference words; counts add up, rates don't.

    A rate over many utterances is the rate of their counts' sum, `sum(counts, ErrorCounts())`.

    Args:
        substitutions: words that became others.
        deletions: words of the reference without a partner.
        insertions: words of the hypothesis without a partner.
        words: words of the reference (characters of it in `character_errors`).
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word, a fraction; without words 0.0 if no error, else infinite."""
        if self.words == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.words

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.words + other.words,
        )


def wer(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Word errors of a text, or of many texts together; see `ErrorCounts`.

    >>> counts = asr.wer(["three five", "nine"], ["three nine", "nine"])
    >>> counts.rate, counts.substitutions, counts.words
    (0.3333333333333333, 1, 3)

    Args:
        references: what was said: a text, or one for each utterance.
        hypotheses: what was recognised, in the same form.

    Returns:
        counts: of all utterances, in words: whatever white space separates, compared as it stands.

    Raises:
        ValueError: there are more of the one than of the other, or something that is no text.
    """
    return sum(word_errors(*_texts(references, hypotheses)), ErrorCounts())


def cer(references: str | Sequence[str], hypotheses: str | Sequence[str]) -> ErrorCounts:
    """Character errors of a text, or of many texts together; the blank between words is one too.

    >>> asr.cer("three five", "three nine").rate
    0.2

    Args:
        references: what was said: a text, or one for each utterance.
        hypotheses: what was recognised, in the same form.

    Returns:
        counts: of all utterances, in characters (code points); its `words` is how many there are.

    Raises:
        ValueError: as for `wer`.
    """
    return sum(character_errors(*_texts(references, hypotheses)), ErrorCounts())


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Errors of each utterance, in words: whatever white space separates, compared as it stands.

    Raises:
        ValueError: there are more of the one than of the other.
    """
    return [count_errors(alignment) for alignment in align_words(references, hypotheses)]


def character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Errors of each utterance, in characters (code points).

    The blank between two words is a character as it is in `jiwer.cer`; more white space
    counts as one blank, and none at the ends. The errors are the fewest possible; which of them are
    substitutions may be different in another program.

    Raises:
        ValueError: there are more of the one than of the other.
    """
    _check_sequences(references, hypotheses)
    return [
        # a tab or two blanks are one blank
        _count_characters(" ".join(reference.split()), " ".join(hypothesis.split()))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Alignment]:
    """Each utterance's words in pairs: the fewest errors possible, and then the most hits.

    So are the errors that papers print split into substitutions, deletions and insertions. A text
    of more than about 2,000 words is aligned piece by piece: its errors are the fewest as well, and
    each piece has the most hits.

    Raises:
        ValueError: there are more of the one than of the other.

    Source: all three kinds of error cost 1, as in jiwer and Kaldi. NIST sclite, whose split this
    is, lets a substitution cost 4 and the others 3: where two deletions and two insertions can
    stand for three substitutions it may count more errors than the fewest.
    """
    _check_sequences(references, hypotheses)
    return [
        _aligned_words(reference.split(), hypothesis.split())
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]


def count_errors(alignment: Alignment) -> ErrorCounts:
    """The errors of one alignment."""
    insertions = sum(not reference for reference, _ in alignment)
    deletions = sum(not hypothesis for _, hypothesis in alignment)
    different = sum(reference != hypothesis for reference, hypothesis in alignment)
    return ErrorCounts(
        substitutions=different - insertions - deletions,
        deletions=deletions,
        insertions=insertions,
        words=len(alignment) - insertions,
    )


def confusions(alignments: Iterable[Alignment]) -> list[tuple[str, str, int]]:
    """Which word became which, and how often: the most frequent first, then by the alphabet.

    Returns:
        (reference word, hypothesis word, times): "" as in an alignment.
    """
    times = Counter(pair for alignment in alignments for pair in alignment if pair[0] != pair[1])
    return [(*pair, count) for pair, count in sorted(times.items(), key=lambda i: (-i[1], i[0]))]


def alignment_text(alignment: Alignment) -> str:
    """An alignment to be read by people: REF, HYP and Eval, a line each, in columns.

    Missing partners are stars; below every error stands S, D or I.
    """
    rows: tuple[list[str], list[str], list[str]] = ([], [], [])
    for reference, hypothesis in alignment:
        width = max(len(reference), len(hypothesis))
        mark = "I" if not reference else "D" if not hypothesis else "S"
        rows[0].append((reference or "*" * width).ljust(width))
        rows[1].append((hypothesis or "*" * width).ljust(width))
        rows[2].append(("" if reference == hypothesis else mark).ljust(width))
    titles = ("REF: ", "HYP: ", "Eval:")
    lines = (f"{title} {' '.join(row)}" for title, row in zip(titles, rows, strict=True))
    return "\n".join(line.rstrip() for line in lines)


def _texts(
    references: str | Sequence[str], hypotheses: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    if isinstance(references, str) != isinstance(hypotheses, str):
        one, other = "a text", "several"
        if isinstance(hypotheses, str):
            one, other = other, one
        raise ValueError(f"references is {one} and hypotheses {other}; expected the same of both")
    found = []
    for name, texts in (("references", references), ("hypotheses", hypotheses)):
        found.append([texts] if isinstance(texts, str) else list(texts))
        for number, text in enumerate(found[-1]):
            if not isinstance(text, str):
                raise ValueError(f"{name}[{number}] is {text!r}; expected a text")
    return found[0], found[1]


def _check_sequences(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    for name, texts in (("references", references), ("hypotheses", hypotheses)):
        if isinstance(texts, str):
            raise ValueError(f"{name} is one text; expected a sequence of texts")
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")


_LONG = 2000
"""Words or characters; kaldialign's tables of longer texts would not fit the memory."""


def _count_characters(reference: str, hypothesis: str) -> ErrorCounts:
    if reference == hypothesis:
        return ErrorCounts(words=len(reference))
    if max(len(reference), len(hypothesis)) > _LONG:
        import jiwer  # takes its time, and is seldom needed

        output = jiwer.process_characters([reference], [hypothesis])
        errors = output.substitutions, output.deletions, output.insertions
    else:
        counts = kaldialign.edit_distance(reference, hypothesis)
        errors = counts["sub"], counts["del"], counts["ins"]
    return ErrorCounts(*errors, len(reference))


def _aligned_words(reference: list[str], hypothesis: list[str]) -> Alignment:
    if reference == hypothesis:
        return list(zip(reference, reference, strict=True))
    if max(len(reference), len(hypothesis)) > _LONG:
        return _aligned_in_pieces(reference, hypothesis)
    # with sclite's costs: the most hits among the fewest errors, if its errors are the fewest
    alignment: Alignment = kaldialign.align(reference, hypothesis, "", sclite_mode=True)
    counts = count_errors(alignment)
    if (
        min(counts.deletions, counts.insertions) >= 2
        and kaldialign.edit_distance(reference, hypothesis)["total"] < counts.errors
    ):
        pairs = cheapest_pairs(linear(reference), linear(hypothesis))
        return [(said.word if said else "", heard.word if heard else "") for said, heard in pairs]
    return alignment


def _aligned_in_pieces(reference: list[str], hypothesis: list[str]) -> Alignment:
    """An alignment with the fewest errors, cut at hits; each piece then has the most hits."""
    import jiwer  # takes its time, and is seldom needed

    output = jiwer.process_words([" ".join(reference)], [" ".join(hypothesis)])
    alignment: Alignment = []
    piece: Alignment = []
    for pair in _pairs(reference, hypothesis, output.alignments[0]):
        piece.append(pair)
        if len(piece) == _LONG or (2 * len(piece) >= _LONG and pair[0] == pair[1]):
            alignment += _realigned(piece)
            piece = []
    return alignment + _realigned(piece)


def _realigned(piece: Alignment) -> Alignment:
    return _aligned_words(
        [said for said, _ in piece if said], [heard for _, heard in piece if heard]
    )


def _pairs(
    reference: list[str], hypothesis: list[str], chunks: "list[jiwer.AlignmentChunk]"
) -> Alignment:
    alignment: Alignment = []
    for chunk in chunks:
        said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        length = max(len(said), len(heard))
        alignment += zip(said or [""] * length, heard or [""] * length, strict=True)
    return alignment
