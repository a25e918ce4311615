"""labels of places, in a reference and a hypothesis -> precision, recall and F1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.scoring.bootstrap import ratio_interval


@dataclass(frozen=True)
class DetectionCounts:
    """How many labels were found; counts of parts of a text add up.

    Args:
        true_positives: labels of the hypothesis that the reference has at the same place.
        false_positives: labels of the hypothesis that the reference does not have there.
        false_negatives: labels of the reference that the hypothesis does not have there. A wrong
            label is both a false positive and a false negative.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    @property
    def precision(self) -> float:
        """Share of the hypothesis's labels that are right; NaN if it has none."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the reference's labels that were found; NaN if it has none."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; NaN if neither text has a label."""
        return _ratio(2 * self.true_positives, self._twice)

    @property
    def _twice(self) -> int:
        return 2 * self.true_positives + self.false_positives + self.false_negatives

    def __add__(self, other: "DetectionCounts") -> "DetectionCounts":
        return DetectionCounts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


def detection_counts(references: np.ndarray, hypotheses: np.ndarray) -> DetectionCounts:
    """Compare the labels of the same places.

    Args:
        references: (U,), whole numbers; 0 stands for no label.
        hypotheses: (U,), likewise.

    Raises:
        ValueError: the arrays have different shapes.
    """
    if references.shape != hypotheses.shape:
        raise ValueError(
            f"hypotheses has shape {hypotheses.shape}; expected that of references,"
            f" {references.shape}"
        )
    same = references == hypotheses
    return DetectionCounts(
        int(np.count_nonzero(same & (references != 0))),
        int(np.count_nonzero(~same & (hypotheses != 0))),
        int(np.count_nonzero(~same & (references != 0))),
    )


def f1_interval(
    counts: Sequence[DetectionCounts],
    confidence: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap confidence interval of the F1 of all counts together.

    Args:
        counts: one for each passage. Each sample draws as many passages with replacement.
        confidence: the fraction of the samples' values inside the interval.
        samples: number of samples.
        seed: of the random samples; the same seed gives the same interval.

    Returns:
        low, high: quantiles of the samples' values; a sample without any label counts as 0.

    Raises:
        ValueError: as `asr.scoring.bootstrap.ratio_interval`.
    """
    found = [2 * count.true_positives for count in counts]
    return ratio_interval(found, [count._twice for count in counts], confidence, samples, seed)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
