"""References and hypotheses -> alignments -> ErrorCounts -> rates."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import ne
from typing import TYPE_CHECKING

import kaldialign

from asr.errors import texts_of
from asr.scoring.word_graphs import cheapest_pairs, linear

if TYPE_CHECKING:
    import jiwer

Alignment = list[tuple[str, str]]
"""(reference word, hypothesis word) in order; "" for an insertion or a deletion."""


@dataclass(frozen=True)
class ErrorCounts:
    """Numbers of errors and of reference words; counts can be added, rates can't.

    The rate of many utterances is the rate of their sum, `sum(counts, ErrorCounts())`.

    Args:
        substitutions: reference words aligned with a different hypothesis word.
        deletions: reference words aligned with no hypothesis word.
        insertions: hypothesis words aligned with no reference word.
        words: reference words (in `character_errors`, reference characters).
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
        """Errors per reference word, a fraction; without words 0.0, or infinite with errors."""
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
    """Word errors of one text, or of many texts together; see `ErrorCounts`.

    >>> counts = asr.wer(["three five", "nine"], ["three nine", "nine"])
    >>> counts.rate, counts.substitutions, counts.words
    (0.3333333333333333, 1, 3)

    Args:
        references: the correct text, or one text for each utterance.
        hypotheses: the recognised text, or as many texts.

    Returns:
        counts: of all utterances. Words are separated by white space and compared unchanged.

    Raises:
        ValueError: the numbers of references and hypotheses differ, or one of them is no text.
    """
    return sum(word_errors(*_texts(references, hypotheses)), ErrorCounts())


def cer(
    references: str | Sequence[str], hypotheses: str | Sequence[str], spaces: bool = True
) -> ErrorCounts:
    """Character errors of one text, or of many texts together, including spaces between words.

    >>> asr.cer("three five", "three nine").rate
    0.2

    Args:
        references: the correct text, or one text for each utterance.
        hypotheses: the recognised text, or as many texts.
        spaces: whether the space between two words is a character; see `character_errors`.

    Returns:
        counts: of all utterances, in characters (code points); `words` counts reference characters.

    Raises:
        ValueError: as for `wer`.
    """
    return sum(character_errors(*_texts(references, hypotheses), spaces), ErrorCounts())


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Word errors of each utterance. Words are separated by white space and compared unchanged.

    Raises:
        ValueError: the numbers of references and hypotheses differ.
    """
    return [count_errors(alignment) for alignment in align_words(references, hypotheses)]


def character_errors(
    references: Sequence[str], hypotheses: Sequence[str], spaces: bool = True
) -> list[ErrorCounts]:
    """Character errors of each utterance, in code points.

    The space between two words is a character, as in `jiwer.cer`. Several white-space characters
    count as one space, and those at both ends of a text don't count. The number of errors is the
    smallest possible; other programs may split it differently into the three kinds.

    Args:
        references: the correct texts.
        hypotheses: the recognised texts.
        spaces: False to compare the texts without white space, where writers differ in it, as in
            Korean, or have none.

    Raises:
        ValueError: the numbers of references and hypotheses differ.
    """
    _check_sequences(references, hypotheses)
    space = " " if spaces else ""
    return [
        _count_characters(space.join(reference.split()), space.join(hypothesis.split()))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]


def align_words(references: Sequence[str], hypotheses: Sequence[str]) -> list[Alignment]:
    """Align the words of each utterance: the fewest errors possible, and among those the most hits.

    Papers usually split errors into substitutions, deletions and insertions in this way. A text of
    more than about 2,000 words is aligned in pieces: the number of errors is still the smallest,
    and each piece has the most hits.

    Raises:
        ValueError: the numbers of references and hypotheses differ.

    Source: all three kinds of error cost 1, as in jiwer and Kaldi. The split into kinds is that of
    NIST sclite, whose costs are 4 for a substitution and 3 for the others. sclite may therefore
    count more errors, since two deletions and two insertions cost as much as three substitutions.
    """
    _check_sequences(references, hypotheses)
    return [
        _aligned_words(reference.split(), hypothesis.split())
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]


def count_errors(alignment: Alignment) -> ErrorCounts:
    """Count the errors of one alignment."""
    if not alignment:
        return ErrorCounts()
    references, hypotheses = zip(*alignment, strict=True)
    insertions, deletions = references.count(""), hypotheses.count("")
    different = sum(map(ne, references, hypotheses))
    return ErrorCounts(
        substitutions=different - insertions - deletions,
        deletions=deletions,
        insertions=insertions,
        words=len(alignment) - insertions,
    )


def confusions(alignments: Iterable[Alignment]) -> list[tuple[str, str, int]]:
    """Pairs of different words with their counts, the most frequent first, then alphabetically.

    Returns:
        (reference word, hypothesis word, count): "" for an insertion or a deletion.
    """
    times = Counter(pair for alignment in alignments for pair in alignment if pair[0] != pair[1])
    return [(*pair, count) for pair, count in sorted(times.items(), key=lambda i: (-i[1], i[0]))]


def alignment_text(alignment: Alignment) -> str:
    """Three lines with aligned columns: REF, HYP and Eval.

    Missing words are shown as stars. Eval marks each error with S, D or I.
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
        one, other = "one text", "several"
        if isinstance(hypotheses, str):
            one, other = other, one
        raise ValueError(
            f"references is {one} and hypotheses {other}; expected two texts, or two lists"
        )
    if isinstance(references, str) and isinstance(hypotheses, str):
        return [references], [hypotheses]
    return texts_of("references", references), texts_of("hypotheses", hypotheses)


def _check_sequences(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    for name, texts in (("references", references), ("hypotheses", hypotheses)):
        if isinstance(texts, str):
            raise ValueError(f"{name} is one text; expected a sequence of texts")
    if len(references) != len(hypotheses):
        raise ValueError(
            f"{len(hypotheses)} hypotheses for {len(references)} references; expected the same"
            " number"
        )


_LONG = 2000
"""In words or characters; kaldialign's tables for longer texts would not fit in memory."""


def _count_characters(reference: str, hypothesis: str) -> ErrorCounts:
    if reference == hypothesis:
        return ErrorCounts(words=len(reference))
    if max(len(reference), len(hypothesis)) > _LONG:
        import jiwer  # slow to import, and rarely needed

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
    # sclite's costs give the most hits, and nearly always the fewest errors
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
    """Align a long text with the fewest errors, split it at hits, and align each piece again."""
    import jiwer  # slow to import, and rarely needed

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
