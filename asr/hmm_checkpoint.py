"""A trained HMM <-> its folder: `weights.safetensors` and `model.json`; nothing is unpickled."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.config import from_dict
from asr.errors import InputError
from asr.features import Features, FeatureSettings
from asr.folder import (
    DESCRIPTION,
    WEIGHTS,
    check_parts,
    read_description,
    read_weights,
    write_folder,
)
from asr.gmm import Gmm
from asr.hmm import Topology
from asr.tokenizer import PhoneTokenizer, tokenizer_from_dict

KIND = "hmm"
"""What `model.json` says of the folder."""


@dataclass(frozen=True)
class HmmModel:
    """All that turns waveforms into emissions, and says what their states are of.

    Args:
        features: waveforms -> features.
        gmm: features -> emissions.
        topology: which states are whose.
        tokenizer: what the tokens are, and the words.
        trained_on: what is known of the training, as plain values.
    """

    features: Features
    gmm: Gmm
    topology: Topology
    tokenizer: PhoneTokenizer
    trained_on: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sizes:
    n_states: int  # of a token
    n_silence_states: int
    n_pdfs: int
    max_components: int  # of a pdf


def save_hmm(folder: str | Path, model: HmmModel) -> None:
    """Write a model's folder; what else is in it stays."""
    sizes = _Sizes(
        model.topology.pdfs.shape[1],
        len(model.topology.silence),
        *model.gmm.log_weights.shape,
    )
    description = {
        "kind": KIND,
        "features": asdict(model.features.settings),
        "model": asdict(sizes),
        "tokenizer": model.tokenizer.to_dict(),
        "trained_on": model.trained_on,
    }
    weights = {
        "features.mean": model.features.mean,
        "features.std": model.features.std,
        "gmm.log_weights": model.gmm.log_weights.float(),
        "gmm.means": model.gmm.means.float(),
        "gmm.variances": model.gmm.variances.float(),
        "topology.pdfs": model.topology.pdfs,
        "topology.silence": torch.tensor(model.topology.silence, dtype=torch.int64),
        "topology.self_loops": model.topology.self_loops.float(),
    }
    write_folder(folder, description, weights)


def load_hmm(folder: str | Path, device: str | torch.device = "cpu") -> HmmModel:
    """The model of a folder.

    Raises:
        InputError: a file is missing or damaged, does not fit the other, or is of another kind of
            model.
    """
    values = read_description(folder)
    place = f"{Path(folder) / DESCRIPTION}"
    if values.get("kind") != KIND:
        raise InputError(f"{place}: kind is {values.get('kind', 'missing')}; expected {KIND}")
    check_parts(folder, values, ("features", "model", "tokenizer", "trained_on"))
    features = Features(from_dict(FeatureSettings, values["features"], f"{place}: features"))
    sizes = from_dict(_Sizes, values["model"], f"{place}: model")
    tokenizer = tokenizer_from_dict(values["tokenizer"], f"{place}: tokenizer")
    if not isinstance(tokenizer, PhoneTokenizer):
        raise InputError(f"{place}: tokenizer is of kind {tokenizer.kind}; expected phone")
    expected = _expected(sizes, len(tokenizer.symbols), features.settings.n_features, place)
    weights = read_weights(folder, expected)
    features.mean, features.std = weights["features.mean"], weights["features.std"]
    gmm = Gmm(*(weights[f"gmm.{name}"] for name in ("log_weights", "means", "variances")))
    topology = _topology(weights, Path(folder) / WEIGHTS)
    _check_finite(gmm, Path(folder) / WEIGHTS)
    return HmmModel(
        features.to(device).eval(), gmm.to(device), topology, tokenizer, values["trained_on"]
    )


def _expected(sizes: _Sizes, C: int, F: int, place: str) -> dict[str, Tensor]:
    """Weights of the right types and shapes, without values."""
    for name, size in asdict(sizes).items():
        if size < (name != "n_silence_states"):
            raise InputError(f"{place}: model.{name} is {size}; expected 1 or more")
    S, M = sizes.n_pdfs, sizes.max_components
    shapes: dict[str, tuple[int, ...]] = {
        "features.mean": (F,),
        "features.std": (F,),
        "gmm.log_weights": (S, M),
        "gmm.means": (S, M, F),
        "gmm.variances": (S, M, F),
        "topology.self_loops": (S,),
    }
    whole = {"topology.pdfs": (C, sizes.n_states), "topology.silence": (sizes.n_silence_states,)}
    expected = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    numbers = {
        name: torch.empty(shape, dtype=torch.int64, device="meta") for name, shape in whole.items()
    }
    return expected | numbers


def _topology(weights: dict[str, Tensor], path: Path) -> Topology:
    silence = tuple(weights["topology.silence"].tolist())
    self_loops = weights["topology.self_loops"]
    if not (self_loops < 0).all():
        raise InputError(f"{path}: topology.self_loops has values that are no log-probabilities")
    try:
        return Topology(weights["topology.pdfs"], silence, self_loops)
    except ValueError as error:
        raise InputError(f"{path}: topology: {error}") from None


def _check_finite(gmm: Gmm, path: Path) -> None:
    if not (gmm.log_weights <= 0).all() or not (gmm.n_components > 0).all():
        raise InputError(f"{path}: gmm.log_weights has a state without weights; expected some")
    if not gmm.means.isfinite().all():
        raise InputError(f"{path}: gmm.means has values that are not finite")
    if not (gmm.variances.isfinite() & (gmm.variances > 0)).all():
        raise InputError(f"{path}: gmm.variances has values that are not finite and above 0")
