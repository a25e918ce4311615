"""recurrent model and recordings -> how far it remembers, and what its gates do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asr.errors import InputError
from asr.model import HMM, Model
from asr.networks.acoustic import AcousticModel
from asr.networks.cells import read
from asr.networks.memory import (
    REACH_S,
    LayerRun,
    MemoryCurve,
    gates,
    layer_runs,
    network_gradients,
    squared_gradients,
)

N_BINS = 40
"""Number of bins of a histogram."""

GATE_NAMES = ("input", "forget", "output", "reset", "update")
"""Names of the values of a layer that are gates, from 0 to 1; the others are outputs and cells."""


@dataclass
class Histogram:
    """Counts of values between two limits; values outside count in the outermost bins.

    Args:
        low: the lower limit.
        high: the upper limit.
        counts: (N_BINS,), int64, changed by `add`.
    """

    low: float
    high: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(N_BINS, np.int64))

    def add(self, values: Tensor) -> None:
        """Count values of any shape."""
        clipped = values.clamp(self.low, self.high).numpy(force=True)
        self.counts += np.histogram(clipped, N_BINS, (self.low, self.high))[0]

    @property
    def shares(self) -> np.ndarray:
        """(N_BINS,), of all values."""
        return self.counts / max(1, self.counts.sum())

    @property
    def edges(self) -> tuple[float, float]:
        """Shares of the values in the lowest and in the highest tenth: closed and open gates."""
        n = N_BINS // 10
        return float(self.shares[:n].sum()), float(self.shares[-n:].sum())


@dataclass
class LayerDiagnosis:
    """What was measured of a layer of one direction.

    Args:
        name: such as "layer 2 backward".
        frame_s: seconds from one frame of the layer's input to the next.
        memory: of its outputs, with respect to its own inputs, in the order in which it reads.
        histograms: of its gates, outputs and cells, by name.
    """

    name: str
    frame_s: float
    memory: MemoryCurve
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def add(self, run: LayerRun, generator: torch.Generator) -> None:
        """Add what the layer did with an utterance."""
        self.memory.add(
            *squared_gradients(lambda rows: read(run.layer, rows)[0], run.inputs, generator)
        )
        for name, values in gates(run).items():
            if name not in self.histograms:
                high = 1.0 if name in GATE_NAMES else max(1.0, float(values.abs().max().ceil()))
                self.histograms[name] = Histogram(0.0 if name in GATE_NAMES else -high, high)
            self.histograms[name].add(values)


class Diagnosis(NamedTuple):
    """What was measured of a network.

    Args:
        n_utterances: number of recordings.
        seconds: their duration.
        frame_s: seconds from one frame of features to the next.
        memory: of the log-probabilities, with respect to the features.
        layers: of each layer and direction, from the lowest layer on.
    """

    n_utterances: int
    seconds: float
    frame_s: float
    memory: MemoryCurve
    layers: list[LayerDiagnosis]


def diagnose(model: Model, waveforms: Iterable[Tensor], seed: int = 0) -> Diagnosis:
    """Measure memory and gates of a model's network on real utterances.

    Args:
        model: with a recurrent network: CTC or hybrid.
        waveforms: (samples,) each, at the model's rate, of at least one window.
        seed: of the random vectors by which the norms of gradients are estimated.

    Raises:
        InputError: the model is an HMM of Gaussians.
    """
    network = network_of(model)
    generator = torch.Generator().manual_seed(seed)
    settings = model.features.settings
    hop_s = settings.hop_length / settings.sample_rate
    memory, n_samples, n = MemoryCurve(round(REACH_S / hop_s)), 0, 0
    layers: dict[str, LayerDiagnosis] = {}
    for waveform in waveforms:
        n, n_samples = n + 1, n_samples + len(waveform)
        lengths = torch.tensor([len(waveform)], device=waveform.device)
        features, _ = model.features(waveform[None], lengths)
        memory.add(*network_gradients(network, features, generator))
        for run in layer_runs(network, features[:, 0], hop_s):
            empty = LayerDiagnosis(run.name, run.frame_s, MemoryCurve(round(REACH_S / run.frame_s)))
            layers.setdefault(run.name, empty).add(run, generator)
    return Diagnosis(n, n_samples / settings.sample_rate, hop_s, memory, list(layers.values()))


def network_of(model: Model) -> AcousticModel:
    """A model's recurrent network.

    Raises:
        InputError: it has none.
    """
    if model.kind is HMM:
        raise InputError("is an HMM of Gaussians; expected a model with a recurrent network")
    acoustic: nn.Module = getattr(model.acoustic, "network", model.acoustic)
    assert isinstance(acoustic, AcousticModel)
    return acoustic
