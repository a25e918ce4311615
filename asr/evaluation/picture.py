"""Spectrogram, HMM alignment and posteriors of an utterance -> a picture on one time axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr.alignment.times import SILENT_UNIT, TimedLabel
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
