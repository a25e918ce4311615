"""An utterance's alignment and posteriors, confidences of words, or results -> pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr.alignment.times import SILENT_UNIT, TimedLabel
from asr.evaluation.calibration import reliability
from asr.evaluation.results import SystemResult
from asr.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 0.3
"""Smallest probability of a peak that is labelled with its unit's name."""


@dataclass(frozen=True, eq=False)
class UnitCurves:
    """The posteriors of units over time.

    Args:
        title: name of the model.
        times: (T + 1,), seconds: frame t lasts from `times[t]` to `times[t + 1]`.
        probabilities: (T, U), posteriors of the units.
        units: (U,), names of the units; SILENT_UNIT is drawn in grey and without a name.
    """

    title: str
    times: np.ndarray
    probabilities: np.ndarray
    units: Sequence[str]


def draw_alignment(
    path: str | Path,
    text: str,
    spectrogram: tuple[np.ndarray, np.ndarray],
    states: tuple[np.ndarray, np.ndarray, Sequence[TimedLabel]],
    posteriors: Sequence[UnitCurves],
) -> None:
    """Write a picture: the spectrogram, the HMM's alignment, and the posteriors of each network.

    Args:
        path: path of the PNG file.
        text: the transcript, used as title.
        spectrogram: times in seconds, (T + 1,), as in `UnitCurves`; and log energies, (T, F).
        states: times in seconds, (T + 1,); the number of the HMM's state in each frame, (T,),
            ascending; and the segments of the units.
        posteriors: posteriors of each network; the frame lengths of networks may differ.

    Source: Graves et al. 2006, "Connectionist temporal classification", figure 1.
    """
    from matplotlib.figure import Figure  # slow to import, and needed only here

    times, energies = spectrogram
    figure = Figure(figsize=(12, 4.5 + 2 * len(posteriors)), layout="constrained")
    plots = figure.subplots(2 + len(posteriors), 1, sharex=True, squeeze=False)[:, 0]
    plots[0].pcolormesh(times, np.arange(energies.shape[1] + 1), energies.T, cmap="magma")
    plots[0].set_ylabel("mel band")
    plots[0].set_title(text)
    _draw_path(plots[1], *states)
    for plot, track in zip(plots[2:], posteriors, strict=True):
        _draw_posteriors(plot, track)
    plots[-1].set_xlabel("seconds")
    plots[-1].set_xlim(times[0], times[-1])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def draw_reliability(
    path: str | Path, title: str, confidences: np.ndarray, right: np.ndarray
) -> None:
    """Write a reliability diagram: the share of right words over their confidence.

    Each bin of words is a point with the 95 % interval of its share; points on the diagonal are
    calibrated. Below is the number of words with each confidence.

    Args:
        path: path of the PNG file.
        title: title of the picture.
        confidences: (words,), from 0 to 1.
        right: (words,), bool.

    Raises:
        ValueError: as for `asr.evaluation.calibration.reliability`.

    Source: DeGroot and Fienberg 1983, "The comparison and evaluation of forecasters"; the intervals
    are those of Wilson 1927, "Probable inference, the law of succession, and statistical
    inference".
    """
    from matplotlib.figure import Figure

    bins = reliability(confidences, right)
    means, shares, words = map(np.array, zip(*bins, strict=True))
    centres, halves = _wilson(shares, words)
    figure = Figure(figsize=(5, 6.5), layout="constrained")
    plot, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    plot.plot([0, 1], [0, 1], "--", color="0.6", label="calibrated")
    plot.vlines(means, centres - halves, centres + halves, color="tab:blue", linewidth=1)
    plot.plot(means, shares, "o-", color="tab:blue", markersize=4, label="words, 95 % intervals")
    plot.set_title(title)
    plot.set_ylabel("share of right words")
    plot.legend(loc="upper left")
    counts.hist(confidences, bins=50, range=(0, 1), color="tab:blue")
    counts.set_ylabel("words")
    counts.set_xlabel("confidence")
    counts.set_xlim(0, 1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def draw_latency(path: str | Path, whole: SystemResult, streams: Sequence[SystemResult]) -> None:
    """Write a picture: the WER of streams over their latency, beside that of whole utterances.

    Args:
        path: path of the PNG file.
        whole: result of the whole utterances.
        streams: results with a latency.
    """
    from matplotlib.figure import Figure

    ordered = sorted(streams, key=lambda result: result.name)
    latencies = np.array([result.latency_s for result in ordered], dtype=float)
    rates, low, high = (
        [100 * getattr(result, name) for result in ordered]
        for name in ("wer", "wer_low", "wer_high")
    )
    figure = Figure(figsize=(6, 4), layout="constrained")
    plot = figure.subplots()
    plot.vlines(latencies, low, high, color="tab:blue", linewidth=1)
    plot.plot(latencies, rates, "o", color="tab:blue", label="streams, 95 % intervals")
    for result, latency, rate in zip(ordered, latencies, rates, strict=True):
        name = result.name.removeprefix(f"{whole.name}-stream-")
        plot.annotate(name, (latency, rate), (5, 5), textcoords="offset points", fontsize=8)
    plot.axhline(100 * whole.wer, linestyle="--", color="0.6", label="whole utterances")
    plot.set_title(f"{whole.name}: labels are chunk and right context in seconds", fontsize=10)
    plot.set_xlabel("latency: chunk and right context (s)")
    plot.set_ylabel("WER (%)")
    plot.margins(x=0.25)  # room for the labels
    plot.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _wilson(shares: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres and half lengths of the 95 % intervals of shares of so many words."""
    z = 1.96
    weights = 1 + z**2 / counts
    centres = (shares + z**2 / (2 * counts)) / weights
    halves = z * np.sqrt(shares * (1 - shares) / counts + (z / (2 * counts)) ** 2) / weights
    return centres, halves


def _draw_path(
    plot: "Axes", times: np.ndarray, numbers: np.ndarray, segments: Sequence[TimedLabel]
) -> None:
    plot.stairs(numbers, times, baseline=None, color="black", linewidth=1.2)
    top = numbers.max() * 1.05 + 1
    for segment in segments:
        plot.axvline(segment.start, color="0.85", linewidth=0.7, zorder=0)
        if segment.label != SILENT_UNIT:
            middle = (segment.start + segment.end) / 2
            plot.text(middle, top, segment.label, ha="center", va="bottom", fontsize=8)
    plot.set_ylim(-1, top * 1.18)
    plot.set_ylabel("HMM: state")


def _draw_posteriors(plot: "Axes", track: UnitCurves) -> None:
    middles = (track.times[:-1] + track.times[1:]) / 2
    for unit, probabilities in zip(track.units, track.probabilities.T, strict=True):
        if unit == SILENT_UNIT:
            plot.plot(middles, probabilities, "--", color="0.7", label="silence or blank")
            plot.legend(loc="upper right", fontsize=8)
            continue
        (line,) = plot.plot(middles, probabilities, linewidth=1.2)
        for peak in _peaks(probabilities):
            plot.text(
                middles[peak],
                probabilities[peak] + 0.02,
                unit if unit.strip() else "\N{OPEN BOX}",  # the space between words
                color=line.get_color(),
                ha="center",
                va="bottom",
                fontsize=8,
            )
    plot.set_ylim(0, 1.4)
    plot.set_yticks([0.0, 0.5, 1.0])
    plot.set_ylabel(f"{track.title}:\nprobability")


def _peaks(probabilities: np.ndarray) -> list[int]:
    """The frame with the highest probability in each stretch where it is at least `SHOWN`."""
    above = np.flatnonzero(probabilities >= SHOWN)
    stretches = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1)
    return [int(some[probabilities[some].argmax()]) for some in stretches if len(some)]
