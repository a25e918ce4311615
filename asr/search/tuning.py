"""n-best lists and references of development data -> weights for rescoring."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asr.files import replacing, write_text
from asr.search.nbest import Hypothesis
from asr.search.rescore import NEVER, RescoreWeights, check_list, hypothesis_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LM_WEIGHTS = tuple(round(0.1 * n, 1) for n in range(21))
"""Default grid of weights for CTC; an HMM's emissions need weights ten times as large."""

WORD_BONUSES = tuple(0.5 * n for n in range(-4, 17))
"""Default grid for CTC with a language model, which costs about 6 nats per word; the bonus returns
a part of them."""

LONE_WORD_BONUSES = tuple(0.5 * n for n in range(-40, 9))
"""Default grid without a language model, where only a negative bonus penalises words."""


@dataclass(frozen=True, eq=False)
class Tuning:
    """The errors of development data at every point of a grid of weights, and the chosen point.

    With a few hundred words, dozens of points tie, and one error less is chance. So the chosen
    point is not the one with the fewest errors, but the one nearest to the mean of all points, each
    weighted by exp(-errors). This is the middle of a plateau, and varies little between sets of
    development data. With enough data, one point leads by several errors, and the mean is near it.
    A point with more errors than the point of the smallest weights (no rescoring, if 0 is in the
    grid) is never chosen.

    Args:
        lm_weights: grid for each language model's weight, ascending.
        word_bonuses: grid for the word bonus, ascending.
        errors: one axis for each language model's weight, then one for the word bonus; int.
        words: number of words of the references.

    Raises:
        ValueError: an axis is empty or not ascending, the errors have another shape, or there is
            no word.

    Source: the mean of a Gibbs posterior, whose risk is the count of errors (Catoni 2007,
    "PAC-Bayesian supervised classification", chapter 1).
    """

    lm_weights: tuple[float, ...]
    word_bonuses: tuple[float, ...]
    errors: np.ndarray
    words: int

    def __post_init__(self) -> None:
        _check_axes(self.lm_weights, self.word_bonuses)
        shape = tuple(map(len, self.axes))
        if self.errors.shape != shape:
            raise ValueError(
                f"errors has shape {self.errors.shape}; expected one axis for each"
                f" language model's {len(self.lm_weights)} weights, then {len(self.word_bonuses)}"
            )
        if self.words < 1:
            raise ValueError("the references have no word; expected some to be right or wrong")

    @property
    def axes(self) -> list[tuple[float, ...]]:
        """The grid of each axis of the errors."""
        return [self.lm_weights] * (self.errors.ndim - 1) + [self.word_bonuses]

    @property
    def names(self) -> list[str]:
        """Names of the axes: lm_weight, or lm_weight_1 and so on, and word_bonus."""
        n_lms = self.errors.ndim - 1
        numbers = [f"_{n + 1}" for n in range(n_lms)] if n_lms > 1 else [""] * n_lms
        return [*(f"lm_weight{number}" for number in numbers), "word_bonus"]

    @cached_property
    def centre(self) -> np.ndarray:
        """(axes,), the mean of all points, each weighted by exp(-errors).

        On an axis that does not change the errors, it is the value nearest to 0.
        """
        shares = np.exp(self.errors.min() - self.errors)
        shares /= shares.sum()
        middle = []
        for number, axis in enumerate(self.axes):
            others = tuple(n for n in range(shares.ndim) if n != number)
            if (self.errors == self.errors.take([0], number)).all():
                middle.append(min(axis, key=abs))
            else:
                middle.append(float(shares.sum(axis=others) @ np.array(axis)))
        return np.array(middle)

    @cached_property
    def chosen(self) -> tuple[int, ...]:
        """Indices of the chosen weights in the grid."""
        grids = np.meshgrid(*self.axes, indexing="ij")
        size = np.abs(np.stack(grids)).sum(axis=0)
        allowed = self.errors <= self.errors.ravel()[size.argmin()]
        steps = [max(axis[-1] - axis[0], 1e-9) for axis in self.axes]
        away = sum(
            ((grid - middle) / step) ** 2
            for grid, middle, step in zip(grids, self.centre, steps, strict=True)
        )
        # rounded, so that equal distances are equal in spite of rounding errors
        away = np.where(allowed, away.round(9), np.inf)
        best = np.lexsort((size.ravel(), away.ravel()))[0]
        return tuple(int(n) for n in np.unravel_index(best, self.errors.shape))

    @property
    def weights(self) -> RescoreWeights:
        """The chosen weights."""
        *lm_weights, word_bonus = (axis[n] for axis, n in zip(self.axes, self.chosen, strict=True))
        return RescoreWeights(tuple(lm_weights), word_bonus)

    @property
    def wer(self) -> float:
        """Word error rate of the development data with the chosen weights, a fraction."""
        return int(self.errors[self.chosen]) / self.words

    @property
    def at_end(self) -> list[str]:
        """Names of the axes chosen at an end other than 0, where the grid may be too small."""
        return [
            name
            for name, axis, n in zip(self.names, self.axes, self.chosen, strict=True)
            if len(axis) > 1 and n in (0, len(axis) - 1) and axis[n] != 0
        ]


def tune(
    nbests: Sequence[Sequence[Hypothesis]],
    lm_log_probs: Sequence[np.ndarray],
    references: Sequence[str],
    lm_weights: Sequence[float] = LM_WEIGHTS,
    word_bonuses: Sequence[float] = WORD_BONUSES,
) -> Tuning:
    """Tune the weights of `asr.search.rescore.rescore` on development data, by grid search.

    The grid has len(lm_weights) ** n_lms * len(word_bonuses) points, so give fewer weights for
    three or more language models.

    Args:
        nbests: one list for each utterance of development data, of hypotheses with their words.
        lm_log_probs: one array for each list, from `asr.search.rescore.lm_log_probs`.
        references: the reference texts.
        lm_weights: grid for each language model's weight, ascending.
        word_bonuses: grid for the word bonus, ascending.

    Raises:
        ValueError: numbers of lists, references or language models differ; there are none, or a
            list is empty; a number is NaN; an axis is empty or not ascending; there is no word.
    """
    _check_axes(lm_weights, word_bonuses)
    if not len(nbests) == len(lm_log_probs) == len(references) > 0:
        raise ValueError(
            f"{len(nbests)} nbests, {len(lm_log_probs)} lm_log_probs, {len(references)}"
            " references; expected the same number of each, at least 1"
        )
    for index, (nbest, found) in enumerate(zip(nbests, lm_log_probs, strict=True)):
        check_list(nbest, found, f"lm_log_probs[{index}]")
        if found.shape[1] != lm_log_probs[0].shape[1]:
            raise ValueError(
                f"lm_log_probs[{index}] is of {found.shape[1]} language models, the first of"
                f" {lm_log_probs[0].shape[1]}"
            )
    lists = _padded(nbests, lm_log_probs, references)
    bonuses = np.array(word_bonuses)[:, None] * lists.n_words[:, None]  # (utterances, B, H)
    shape = (len(lm_weights),) * lists.language.shape[2]
    errors = np.empty((*shape, len(word_bonuses)), dtype=np.int64)
    for point in np.ndindex(shape):
        weights = np.array([lm_weights[n] for n in point])
        scores = lists.acoustic + lists.language @ weights  # (utterances, H)
        best = (scores[:, None] + bonuses).argmax(axis=2)
        errors[point] = np.take_along_axis(lists.errors, best, axis=1).sum(axis=0)
    return _tuning(lm_weights, word_bonuses, errors, references)


def write_tuning(folder: str | Path, tuning: Tuning, name: str = "tuning") -> None:
    """Write the whole grid as `name`.tsv and as a picture, `name`.png.

    Args:
        folder: created if it does not exist.
        tuning: from `tune`.
        name: name of the files, without suffix.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join([*tuning.names, "errors", "wer", "chosen"])]
    for index in np.ndindex(tuning.errors.shape):
        weights = [f"{axis[n]:g}" for axis, n in zip(tuning.axes, index, strict=True)]
        errors = tuning.errors[index]
        figures = [f"{errors}", f"{errors / tuning.words:.6f}"]
        lines.append("\t".join([*weights, *figures, "yes" if index == tuning.chosen else "no"]))
    write_text(folder / f"{name}.tsv", "\n".join(lines) + "\n")
    _draw(folder / f"{name}.png", tuning)


def _draw(path: Path, tuning: Tuning) -> None:
    """A map of the word error rate for every pair of axes, or a curve if there is one axis."""
    from matplotlib.figure import Figure  # slow to import, and needed only here

    pairs = list(combinations(range(tuning.errors.ndim), 2))
    n_plots = len(pairs) or 1
    figure = Figure(figsize=(1 + 5 * n_plots, 4.5), layout="constrained")
    plots = figure.subplots(1, n_plots, squeeze=False)[0]
    if pairs:
        for plot, (x, y) in zip(plots, pairs, strict=True):
            _draw_map(plot, tuning, x, y)
    else:
        _draw_curve(plots[0], tuning)
    at = ", ".join(
        f"{name} {axis[n]:g}"
        for name, axis, n in zip(tuning.names, tuning.axes, tuning.chosen, strict=True)
    )
    figure.suptitle(f"{at}: WER {tuning.wer:.2%}\nof {tuning.words} words of development data")
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _draw_curve(plot: "Axes", tuning: Tuning) -> None:
    rates = 100 * tuning.errors / tuning.words
    plot.plot(tuning.word_bonuses, rates, "o-", ms=3)
    (chosen,) = tuning.chosen
    plot.plot(tuning.word_bonuses[chosen], rates[chosen], "o", ms=12, mec="red", mew=2, mfc="none")
    plot.set_xlabel("word_bonus")
    plot.set_ylabel("WER, %")


def _draw_map(plot: "Axes", tuning: Tuning, x: int, y: int) -> None:
    others = tuple(n for n in range(tuning.errors.ndim) if n not in (x, y))
    rates = 100 * tuning.errors.min(axis=others) / tuning.words  # x < y, so columns are y's
    # the worst points share one colour, so that the better ones can be told apart
    worst = np.quantile(rates, 0.75)
    image = plot.imshow(rates.T, origin="lower", aspect="auto", cmap="viridis_r", vmax=worst)
    label = "WER, %" + (
        f" (least over {', '.join(tuning.names[n] for n in others)})" if others else ""
    )
    plot.figure.colorbar(image, ax=plot, label=label, extend="max")
    plot.plot(tuning.chosen[x], tuning.chosen[y], "o", ms=12, mec="red", mew=2, mfc="none")
    for axis, number in ((plot.xaxis, x), (plot.yaxis, y)):
        values = tuning.axes[number]
        shown = range(0, len(values), 1 + len(values) // 12)
        axis.set_ticks(list(shown), [f"{values[n]:g}" for n in shown])
        axis.set_label_text(tuning.names[number])


class _Lists(NamedTuple):
    """All lists as arrays, padded with hypotheses that are never the best."""

    acoustic: np.ndarray  # (utterances, H), log-probabilities
    language: np.ndarray  # (utterances, H, language models), log-probabilities
    n_words: np.ndarray  # (utterances, H)
    errors: np.ndarray  # (utterances, H)


def _padded(
    nbests: Sequence[Sequence[Hypothesis]],
    lm_log_probs: Sequence[np.ndarray],
    references: Sequence[str],
) -> _Lists:
    shape = len(nbests), max(map(len, nbests))
    lists = _Lists(
        np.full(shape, -np.inf),
        np.zeros((*shape, lm_log_probs[0].shape[1])),
        np.zeros(shape),
        np.zeros(shape, dtype=np.int64),
    )
    counts = hypothesis_errors(nbests, references)
    for row, (nbest, found) in enumerate(zip(nbests, lm_log_probs, strict=True)):
        H = len(nbest)
        lists.acoustic[row, :H] = [hypothesis.log_prob for hypothesis in nbest]
        lists.language[row, :H] = np.maximum(found, NEVER)
        lists.n_words[row, :H] = [len(hypothesis.words or ()) for hypothesis in nbest]
        lists.errors[row, :H] = [count.errors for count in counts[row]]
    return lists


def _tuning(
    lm_weights: Sequence[float],
    word_bonuses: Sequence[float],
    errors: np.ndarray,
    references: Sequence[str],
) -> Tuning:
    words = sum(len(reference.split()) for reference in references)
    return Tuning(tuple(lm_weights), tuple(word_bonuses), errors, words)


def _check_axes(lm_weights: Sequence[float], word_bonuses: Sequence[float]) -> None:
    for name, axis in (("lm_weights", lm_weights), ("word_bonuses", word_bonuses)):
        if not len(axis) or not all(before < after for before, after in pairwise(axis)):
            raise ValueError(f"{name} is {axis}; expected ascending numbers")
