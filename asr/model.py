"""A trained model <-> its folder of `weights.safetensors` and `model.json`, without pickle."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr.audio.features import Features, FeatureSettings
from asr.config import from_dict
from asr.errors import InputError, check_size, shortened
from asr.folder import (
    DESCRIPTION,
    WEIGHTS,
    check_parts,
    read_description,
    read_weights,
    write_folder,
)
from asr.hmm.emissions import GmmEmissions, HybridEmissions
from asr.hmm.gmm import MAX_COMPONENTS, Gmm
from asr.hmm.topology import MAX_PDFS, MAX_STATES, Topology
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.tokenizer import BLANK, Tokenizer, tokenizer_from_dict

Acoustic = AcousticModel | GmmEmissions | HybridEmissions


@dataclass(frozen=True)
class Kind:
    """A kind of acoustic model, with the values that differ between kinds in decoding and reports.

    Args:
        name: short name.
        title: name in reports.
        weight_scale: typical size of language-model weights and word bonuses, relative to CTC. An
            HMM treats neighbouring frames as independent, so its emissions have a larger range.
        needs_word_bonus: whether a search without a language model needs a word bonus, because it
            would otherwise split long words into many short ones.
        alignment: the alignments used in training, in words; may refer to values of `trained_on`
            in braces.
    """

    name: str
    title: str
    weight_scale: float
    needs_word_bonus: bool
    alignment: str


CTC = Kind("CTC", "CTC", 1.0, False, "none: the loss sums over all")
HMM = Kind("HMM", "HMM", 10.0, True, "{epochs} passes over all")
HYBRID = Kind(
    name="hybrid",
    title="hybrid of a network and an HMM",
    weight_scale=10.0,
    needs_word_bonus=True,
    alignment="the HMM's, a state for each frame",
)

KINDS = {AcousticModel.kind: CTC, GmmEmissions.kind: HMM, HybridEmissions.kind: HYBRID}
"""Kinds by the value of `kind` in `model.json`; a CTC model has none there."""


@dataclass(frozen=True)
class Model:
    """A trained acoustic model: waveforms -> log-probabilities of the tokens, or HMM emissions.

    Args:
        features: waveforms -> features.
        acoustic: features -> log_probs, or emissions.
        tokenizer: the model's tokens; for an HMM, phones with a lexicon.
        trained_on: a description of the training, as plain values.
        topology: the HMM states of the tokens; None for CTC.
    """

    features: Features
    acoustic: Acoustic
    tokenizer: Tokenizer
    trained_on: dict[str, Any] = field(default_factory=dict)
    topology: Topology | None = None

    @property
    def kind(self) -> Kind:
        """CTC, HMM or HYBRID."""
        return KINDS[self.acoustic.kind]

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters, without an HMM's transition probabilities."""
        return self.acoustic.n_parameters

    @property
    def columns(self) -> list[tuple[str, list[int]]]:
        """The columns of log_probs or emissions that belong to each symbol.

        The symbol "" stands for CTC's blank, or an HMM's silence.
        """
        symbols = self.tokenizer.symbols[BLANK + 1 :]
        if self.topology is None:
            return [("", [BLANK]), *((symbol, [n]) for n, symbol in enumerate(symbols, 1))]
        pdfs = self.topology.pdfs[BLANK + 1 :].tolist()
        return [("", list(self.topology.silence)), *zip(symbols, pdfs, strict=True)]

    @property
    def units(self) -> tuple[str, ...]:
        """The tokens' symbols; CTC's include the blank, which an HMM doesn't have."""
        return self.tokenizer.symbols[0 if self.topology is None else BLANK + 1 :]

    def summary(self) -> list[tuple[str, str]]:
        """The model's size, as pairs of a title and a line for people to read."""
        states = [] if self.topology is None else [("states", self.topology.summary)]
        parts = self.acoustic.summary(self.features.settings.hop_ms)
        return [*states, parts, ("parameters", f"{self.n_parameters:,}")]


@dataclass(frozen=True)
class HmmSizes:
    """Sizes of an HMM, as saved in `model.json`.

    Args:
        n_states: number of states of a token.
        n_silence_states: number of states of the silence between words.
        n_pdfs: S, number of distributions; states may share one.
    """

    n_states: int
    n_silence_states: int
    n_pdfs: int

    def __post_init__(self) -> None:
        check_size("n_states", self.n_states, 1, MAX_STATES)
        check_size("n_silence_states", self.n_silence_states, 0, MAX_STATES)
        check_size("n_pdfs", self.n_pdfs, 1, MAX_PDFS)


@dataclass(frozen=True)
class GmmSizes:
    """Sizes of an HMM's Gaussian mixtures, as saved in `model.json`.

    Args:
        max_components: largest number of components of one mixture.
    """

    max_components: int

    def __post_init__(self) -> None:
        check_size("max_components", self.max_components, 1, MAX_COMPONENTS)


def save_model(folder: str | Path, model: Model, half: bool = False) -> None:
    """Write a model's folder; other files in it stay.

    Args:
        folder: created if it doesn't exist.
        model: the trained model.
        half: see `asr.folder.write_folder`.
    """
    acoustic, topology = model.acoustic, model.topology
    description: dict[str, Any] = {"features": asdict(model.features.settings)}
    if acoustic.kind is not None:
        description["kind"] = acoustic.kind
    description["model"] = acoustic.sizes
    if topology is not None:
        S = len(topology.self_loops)
        sizes = HmmSizes(topology.pdfs.shape[1], len(topology.silence), S)
        description["topology"] = asdict(sizes)
    description |= {"tokenizer": model.tokenizer.to_dict(), "trained_on": model.trained_on}
    write_folder(folder, description, _weights(model), half)


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> Model:
    """Load a model from its folder, in evaluation mode.

    Raises:
        InputError: a file is missing or damaged, or the two files don't fit each other.
    """
    values = read_description(folder)
    if "vocabulary" in values:
        raise InputError(f"{folder}: is a language model's folder; expected an acoustic model's")
    kind = values.get("kind")
    if not (kind is None or isinstance(kind, str)) or kind not in KINDS:
        known = ", ".join(name for name in KINDS if name)
        raise InputError(
            f"{Path(folder) / DESCRIPTION}: kind is {shortened(kind)}; expected {known}, or none"
            " for CTC"
        )
    parts = ("features", "model", "tokenizer", "trained_on", *(["topology"] if kind else []))
    check_parts(folder, values, parts)
    place, file = f"{Path(folder) / DESCRIPTION}", f"{Path(folder) / WEIGHTS}"
    features = Features(from_dict(FeatureSettings, values["features"], f"{place}: features"))
    tokenizer = tokenizer_from_dict(values["tokenizer"], f"{place}: tokenizer")
    n_outputs, n_features = len(tokenizer.symbols), features.settings.n_features
    expected: dict[str, Tensor] = {}
    with torch.device("meta"):  # shapes without memory, until the weights are known to fit
        if kind:
            if not tokenizer.words:
                raise InputError(f"{place}: tokenizer is of kind {tokenizer.kind}; expected phone")
            sizes = from_dict(HmmSizes, values["topology"], f"{place}: topology")
            expected = _empty_topology(sizes, n_outputs)
            n_outputs = sizes.n_pdfs
        acoustic = _empty_acoustic(kind, values["model"], n_features, n_outputs, f"{place}: model")
    expected |= _weights(Model(features, acoustic, tokenizer))
    # a mixture with fewer components than the largest is padded with components of weight 0
    weights = read_weights(folder, expected, impossible=("acoustic.log_weights",))
    # not strict: the features' other buffers follow from the settings
    features.load_state_dict(_part(weights, "features."), strict=False)
    acoustic.load_state_dict(_part(weights, "acoustic."), assign=True)
    topology = _topology(weights, file) if kind else None
    acoustic.check(file)
    features, acoustic = features.to(device).eval(), acoustic.to(device).eval()
    return Model(features, acoustic, tokenizer, values["trained_on"], topology)


def check_log_probs(log_probs: Tensor | np.ndarray, place: str) -> None:
    """Check that a model's output for a recording has neither NaN nor +inf.

    Args:
        log_probs: (T, C), or an HMM's emissions, (T, S).
        place: the recording; the error message starts with it.

    Raises:
        InputError: a value is NaN or +inf.
    """
    if not (log_probs < np.inf).all():
        raise InputError(
            f"{place}: the model gives NaN for it; expected log-probabilities: its weights are"
            " damaged, or the samples are too large"
        )


def _empty_acoustic(
    kind: str | None, values: dict[str, Any], n_features: int, n_outputs: int, place: str
) -> Acoustic:
    """A network or Gaussian mixtures of the right shapes, without values."""
    if kind == GmmEmissions.kind:
        M = from_dict(GmmSizes, values, place).max_components
        tables = torch.empty(n_outputs, M), *torch.empty(2, n_outputs, M, n_features)
        return GmmEmissions(Gmm(*tables))
    settings = from_dict(AcousticSettings, values, place)
    try:
        if kind == HybridEmissions.kind:
            return HybridEmissions(n_features, n_outputs, settings)
        return AcousticModel(n_features, n_outputs, settings)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _empty_topology(sizes: HmmSizes, C: int) -> dict[str, Tensor]:
    """The tensors of a topology, of the right shapes, without values."""
    return {
        "topology.pdfs": torch.empty(C, sizes.n_states, dtype=torch.int64),
        "topology.silence": torch.empty(sizes.n_silence_states, dtype=torch.int64),
        "topology.self_loops": torch.empty(sizes.n_pdfs),
    }


def _topology(weights: dict[str, Tensor], file: str) -> Topology:
    self_loops = weights["topology.self_loops"]
    if not (self_loops < 0).all():
        raise InputError(f"{file}: topology.self_loops has values that are no log-probabilities")
    try:
        silence = tuple(weights["topology.silence"].tolist())
        return Topology(weights["topology.pdfs"], silence, self_loops)
    except ValueError as error:
        raise InputError(f"{file}: topology: {error}") from None


def _weights(model: Model) -> dict[str, Tensor]:
    weights = {f"acoustic.{name}": value for name, value in model.acoustic.state_dict().items()}
    weights |= {"features.mean": model.features.mean, "features.std": model.features.std}
    if model.topology is not None:
        silence = torch.tensor(model.topology.silence, dtype=torch.int64)
        weights |= {"topology.pdfs": model.topology.pdfs, "topology.silence": silence}
        weights["topology.self_loops"] = model.topology.self_loops.float()
    return weights


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights[name] for name in names}
