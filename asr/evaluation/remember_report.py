"""results of recipes/remember.py -> a Markdown table and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr.evaluation.gradient_costs import GradientCost
from asr.files import replacing
from asr.networks.equations import CellName
from asr.training.remember import CountingResult, RecallResult
from asr.training.remember_settings import GradientName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NETWORKS: dict[CellName, str] = {
    "linear": "linear RNN",
    "rnn": "tanh RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "lstm-peephole": "LSTM with peepholes",
}
"""Names of the networks for people."""

GRADIENTS: dict[GradientName, str] = {
    "bptt": "BPTT",
    "truncated": "truncated BPTT",
    "rtrl": "RTRL",
}
"""Names of the gradients for people."""

STYLES: dict[GradientName, str] = {"bptt": "o-", "truncated": "s:", "rtrl": "x--"}
"""How each gradient is drawn; the lines of the two exact ones often coincide."""


@dataclass(frozen=True)
class Remembered:
    """All results of a run.

    Args:
        counting: the weights that each gradient found.
        recall: accuracy by network, gradient and distance; at least one.
        costs: time and memory by gradient and length; at least one.
    """

    counting: Sequence[CountingResult]
    recall: Sequence[RecallResult]
    costs: Sequence[GradientCost]


def remember_table(results: Remembered) -> list[str]:
    """Lines of Markdown: weights found, accuracies in percent, relative times, memory in MiB."""
    lines = _row("counting: gradient", ["input weight", "recurrent weight"], head=True)
    for found in results.counting:
        cells = [f"{found.input_weight:.6f}", f"{found.recurrent_weight:.6f}"]
        lines += _row(GRADIENTS[found.gradient], cells)

    distances = sorted({result.distance for result in results.recall})
    accuracies = {(r.cell, r.gradient, r.distance): r.accuracy for r in results.recall}
    lines += ["", *_row("recall: accuracy in % after so many distractors", distances, head=True)]
    for cell, gradient in dict.fromkeys((r.cell, r.gradient) for r in results.recall):
        cells = [f"{100 * accuracies[cell, gradient, distance]:.1f}" for distance in distances]
        lines += _row(f"{NETWORKS[cell]}, {GRADIENTS[gradient]}", cells)

    lengths = sorted({cost.length for cost in results.costs})
    times = relative_times(results.costs)
    peaks = {(cost.gradient, cost.length): cost.peak_bytes for cost in results.costs}
    gradients = list(dict.fromkeys(cost.gradient for cost in results.costs))
    lines += ["", *_row("relative time of a gradient of so many frames", lengths, head=True)]
    for gradient in gradients:
        lines += _row(GRADIENTS[gradient], [f"{times[gradient, n]:.3g}" for n in lengths])
    lines += ["", *_row("memory in MiB of a gradient of so many frames", lengths, head=True)]
    for gradient in gradients:
        lines += _row(GRADIENTS[gradient], [f"{peaks[gradient, n] / 2**20:.3g}" for n in lengths])
    return lines


def relative_times(costs: Sequence[GradientCost]) -> dict[tuple[GradientName, int], float]:
    """The time of each gradient and length, divided by the first one's at the shortest length."""
    base = min(costs, key=lambda cost: cost.length).seconds
    return {(cost.gradient, cost.length): cost.seconds / base for cost in costs}


def draw_remembered(path: str | Path, results: Remembered) -> None:
    """Write a picture: accuracy by distance for each network, time and memory by length.

    Args:
        path: path of the PNG file.
        results: what to draw.
    """
    from matplotlib.figure import Figure  # slow to import, and needed only here

    cells = list(dict.fromkeys(result.cell for result in results.recall))
    figure = Figure(figsize=(3 * max(len(cells), 2), 7), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    plots = above.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for plot, cell in zip(plots, cells, strict=True):
        _draw_accuracies(plot, [result for result in results.recall if result.cell == cell])
        plot.set_title(NETWORKS[cell])
    plots[0].set_ylabel("accuracy")
    plots[0].legend(loc="lower left", fontsize=8)
    times = relative_times(results.costs)
    memory = {(cost.gradient, cost.length): cost.peak_bytes / 2**20 for cost in results.costs}
    for plot, values, title in zip(
        below.subplots(1, 2), (times, memory), ("relative time", "memory in MiB"), strict=True
    ):
        _draw_costs(plot, values)
        plot.set_ylabel(title)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _draw_accuracies(plot: "Axes", results: Sequence[RecallResult]) -> None:
    for gradient in dict.fromkeys(result.gradient for result in results):
        points = sorted((r.distance, r.accuracy) for r in results if r.gradient == gradient)
        plot.plot(*zip(*points, strict=True), STYLES[gradient], label=GRADIENTS[gradient])
    _mark(plot, sorted({result.distance for result in results}))
    plot.set_xlabel("distractors")
    plot.set_ylim(0, 1.05)


def _draw_costs(plot: "Axes", values: dict[tuple[GradientName, int], float]) -> None:
    for gradient in dict.fromkeys(name for name, _ in values):
        points = sorted(
            (length, value) for (name, length), value in values.items() if name == gradient
        )
        plot.plot(*zip(*points, strict=True), STYLES[gradient], label=GRADIENTS[gradient])
    _mark(plot, sorted({length for _, length in values}))
    plot.set_yscale("log")
    plot.set_xlabel("frames")
    plot.legend(fontsize=8)


def _mark(plot: "Axes", numbers: Sequence[int]) -> None:
    """A logarithmic axis with marks at these numbers."""
    plot.set_xscale("log", base=2)
    plot.set_xticks(numbers, map(str, numbers))


def _row(name: str, cells: Sequence[object], head: bool = False) -> list[str]:
    """A row of a table; a head has the line below it too."""
    row = f"| {' | '.join([name, *map(str, cells)])} |"
    return [row, f"|---{'|---:' * len(cells)}|"] if head else [row]
