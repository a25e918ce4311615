"""A monophone HMM and frames aligned with it -> tied-state triphones."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm, Statistics, maximise
from asr.hmm.topology import Topology
from asr.hmm.tree_growth import StateStatistics, TreeSettings, grow_trees, question_sets
from asr.hmm.trees import DecisionTrees, middle_phone
from asr.model import load_model
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import BLANK
from asr.training.hmm_settings import HmmSettings


class Start(NamedTuple):
    """A trained monophone HMM."""

    features: Features
    symbols: tuple[str, ...]  # (C,), blank and phones
    gmm: Gmm
    topology: Topology


def load_start(settings: HmmSettings, lexicon: Lexicon) -> Start:
    """The HMM of the folder `data.start`.

    Raises:
        InputError: it has no Gaussian mixtures, or does not match the other settings or the
            lexicon.
    """
    folder, sizes = settings.data.start, settings.model
    model = load_model(folder)
    if model.topology is None or not isinstance(model.acoustic, GmmEmissions):
        found = f"data.start is {folder}, a {model.kind.name} model"
        raise InputError(f"{found}; expected an HMM with Gaussian mixtures")
    J, silence = model.topology.pdfs.shape[1], model.topology.silence
    there = _fixed(model.features.settings, J, len(silence))
    for name, value in _fixed(settings.features, sizes.n_states, sizes.n_silence_states).items():
        if value != there[name]:
            raise InputError(f"{name} is {value}; expected {there[name]}, as {folder} has")
    symbols = model.tokenizer.symbols
    if any(middle_phone(symbol) != symbol for symbol in symbols):
        raise InputError(f"data.start is {folder}, an HMM of triphones; expected one of phones")
    if unknown := [phone for phone in lexicon.phones if phone not in symbols]:
        found = f"data.lexicon has {len(unknown)} phones such as {unknown[0]!r}"
        raise InputError(f"{found}; expected phones that {folder} has")
    gmm = model.acoustic.gmm
    widest = max(gmm.n_components[list(silence)].tolist(), default=1)
    if widest > sizes.max_components:
        found = f"model.max_components is {sizes.max_components}"
        raise InputError(f"{found}; expected {widest} or more, as silence has in {folder}")
    return Start(model.features, symbols, gmm, model.topology)


def phone_topology(start: Start, symbols: Sequence[str]) -> Topology:
    """Triphones that have the pdfs of their phones, whatever their neighbours.

    Args:
        start: the monophone HMM.
        symbols: (C,), blank and triphones; their phones are among those of `start`.
    """
    phones = {phone: n for n, phone in enumerate(start.symbols)}
    rows = [BLANK, *(phones[middle_phone(unit)] for unit in symbols[BLANK + 1 :])]
    return replace(start.topology, pdfs=start.topology.pdfs[rows])


class Frames(NamedTuple):
    """Frames aligned with the states of triphones."""

    features: Tensor  # (B, F)
    tokens: Tensor  # (B,), int64, triphones
    states: Tensor  # (B,), int64, positions in the triphones


def unit_statistics(aligned: Iterable[Frames], C: int, J: int, F: int) -> Statistics:
    """Sums over the frames of each state of each triphone.

    Args:
        aligned: frames.
        C: number of tokens.
        J: number of states of a token.
        F: number of features of a frame.

    Returns:
        found: of C J states with one Gaussian each; the states of a token are consecutive.
    """
    found = Statistics(*(torch.zeros(C * J, *shape).double() for shape in ((1,), (1, F), (1, F))))
    for features, tokens, states in aligned:
        rows, values = tokens * J + states, features.double()[:, None]
        found.counts.index_add_(0, rows, torch.ones_like(values[:, :, 0]))
        found.sums.index_add_(0, rows, values)
        found.squares.index_add_(0, rows, values.square())
    return found


def grow(found: Statistics, symbols: Sequence[str], settings: TreeSettings) -> DecisionTrees:
    """Decision trees for the states of all phones; those of an unseen phone have one leaf each.

    Args:
        found: of all states of all triphones, from `unit_statistics`.
        symbols: (C,), blank and triphones.
        settings: how far trees are grown.

    Raises:
        InputError: `n_leaves` is smaller than the number of trees, or there are no frames.
    """
    J = len(found.counts) // len(symbols)
    seen = found.counts[:, 0].nonzero()[:, 0].tolist()
    if not seen:
        raise InputError("the training data have no words; expected some to grow trees from")
    statistics = StateStatistics(
        [symbols[row // J] for row in seen],
        [row % J for row in seen],
        found.counts[seen, 0].numpy(),
        found.sums[seen, 0].numpy(),
        found.squares[seen, 0].numpy(),
    )
    questions = question_sets(statistics, settings.variance_floor)
    grown = grow_trees(statistics, questions, settings)
    n_pdfs = grown.n_pdfs
    trees = dict(grown.trees)
    for phone in sorted({middle_phone(unit) for unit in symbols[BLANK + 1 :]} - trees.keys()):
        trees[phone] = tuple(range(n_pdfs, n_pdfs + J))
        n_pdfs += J
    return DecisionTrees(trees)


def tied_topology(phones: Topology, trees: DecisionTrees, symbols: Sequence[str]) -> Topology:
    """Triphones with the pdfs of their leaves in the decision trees; silence has its own.

    Args:
        phones: the same triphones with the pdfs of their phones; gives the self-loops.
        trees: with a leaf for each state of each triphone.
        symbols: (C,), blank and triphones.
    """
    pdfs = torch.tensor([trees.pdfs(unit) for unit in symbols[BLANK + 1 :]])
    silence = tuple(range(trees.n_pdfs, trees.n_pdfs + len(phones.silence)))
    tied = Topology(
        torch.cat([phones.pdfs[: BLANK + 1], pdfs]),
        silence,
        phones.self_loops.new_zeros(trees.n_pdfs + len(silence)),
    )
    return replace(tied, self_loops=phones.self_loops[_origins(phones, tied)])


def tied_gmm(
    start: Start, phones: Topology, tied: Topology, found: Statistics, min_count: float
) -> Gmm:
    """The initial mixtures of tied states: for each pdf, one Gaussian of its frames.

    Silence keeps its mixtures. A pdf with fewer than `min_count` frames, such as that of an unseen
    phone, gets the mean and variance of its phone's mixture.

    Args:
        start: the monophone HMM.
        phones: triphones that have the pdfs of their phones.
        tied: the same triphones with tied pdfs.
        found: of all states of all triphones.
        min_count: in frames.
    """
    origins, S = _origins(phones, tied), len(tied.self_loops)
    kept, J = list(tied.silence), tied.pdfs.shape[1]
    rows, leaves = slice((BLANK + 1) * J, None), tied.pdfs[BLANK + 1 :].flatten()
    summed = Statistics(
        *(
            one.new_zeros(S, *one.shape[1:]).index_add_(0, leaves, one[rows])
            for one in (found.counts, found.sums, found.squares)
        )
    )
    single = _joined(start.gmm)
    parts = (single.log_weights, single.means, single.variances)
    of_phones = Gmm(*(part[origins] for part in parts))
    gmm = maximise(of_phones, summed, torch.zeros(single.means.shape[2]), min_count).gmm

    M = max(start.gmm.n_components[origins[kept]].tolist(), default=1)
    log_weights = pad(gmm.log_weights, (0, M - 1), value=-torch.inf)
    means = pad(gmm.means, (0, 0, 0, M - 1))
    variances = pad(gmm.variances, (0, 0, 0, M - 1), value=1.0)
    log_weights[kept] = start.gmm.log_weights[origins[kept], :M].double()
    means[kept] = start.gmm.means[origins[kept], :M].double()
    variances[kept] = start.gmm.variances[origins[kept], :M].double()
    return Gmm(log_weights, means, variances)


def _fixed(features: FeatureSettings, n_states: int, n_silence_states: int) -> dict[str, Any]:
    """The settings that must equal those of the model `data.start`."""
    values = {f"features.{name}": value for name, value in asdict(features).items()}
    return values | {"model.n_states": n_states, "model.n_silence_states": n_silence_states}


def _origins(phones: Topology, tied: Topology) -> Tensor:
    """(S,), for each tied pdf, the pdf of its phone's state in the monophone HMM."""
    origins = torch.zeros(len(tied.self_loops), dtype=torch.int64)
    origins[tied.pdfs[BLANK + 1 :]] = phones.pdfs[BLANK + 1 :]
    origins[list(tied.silence)] = torch.tensor(phones.silence, dtype=torch.int64)
    return origins


def _joined(gmm: Gmm) -> Gmm:
    """One Gaussian for each state, float64, with the mean and variance of its mixture."""
    weights = gmm.log_weights.double().exp()[:, :, None]
    mean = (weights * gmm.means).sum(1, keepdim=True)
    squares = (weights * (gmm.variances.double() + gmm.means.double().square())).sum(
        1, keepdim=True
    )
    return Gmm(torch.zeros_like(mean[:, :, 0]), mean, squares - mean.square())
