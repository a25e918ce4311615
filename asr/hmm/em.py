"""features and graphs -> better mixtures and transitions: one pass of EM, step by step."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from asr.audio.features import mask
from asr.hmm.gmm import (
    Gmm,
    Statistics,
    flat_start,
    maximise,
    share_out,
    split,
    statistics,
    variance_floor,
)
from asr.hmm.graph import Graphs
from asr.hmm.paths import best_path, forward_backward
from asr.hmm.topology import Topology, update_self_loops


class Expected(NamedTuple):
    """What the E-step of a batch, or of a whole pass, tells the M-step."""

    statistics: Statistics
    stays: Tensor  # (S,), float64, how often a state with that pdf was stayed in
    leaves: Tensor  # (S,), float64, and how often it was left
    log_likelihoods: Tensor  # (N,), float64, of the model before the M-step


class Improved(NamedTuple):
    """What the M-step gives."""

    gmm: Gmm
    self_loops: Tensor  # (S,), float64
    starved: Tensor  # (S,), bool: states of too few frames, which stay as they were
    removed: Tensor  # (S, M), bool: Gaussians of too few frames, which are gone


def flat_hmm(
    frames: Iterable[Tensor],
    quiet_frames: Iterable[Tensor] | None,
    topology: Topology,
    floor_share: float,
) -> tuple[Gmm, Tensor]:
    """What EM begins with: all states at the mean and the variance of all frames.

    Their paths are then equally probable for any division of an utterance's frames among its
    states, so that the first pass takes them about equally long.

    Args:
        frames: parts of the data, each (B, F).
        quiet_frames: those whose mean the silence has, in the same form. Were it like the others,
            states of words might take the silence before or behind them, for good. None for that.
        topology: of the HMM.
        floor_share: of all frames' variance, below which that of no Gaussian will go.

    Returns:
        gmm: one Gaussian a state, in float64.
        floor: (F,), of variances.

    Raises:
        ValueError: there is no frame.
    """
    gmm = flat_start(frames, len(topology.self_loops))
    if topology.silence and quiet_frames is not None:
        means = gmm.means.clone()
        means[list(topology.silence)] = flat_start(quiet_frames, 1).means[0]
        gmm = replace(gmm, means=means)
    return gmm, variance_floor(gmm.variances[0, 0], floor_share)


def expect(
    gmm: Gmm,
    self_loops: Tensor,
    features: Tensor,
    input_lengths: Tensor,
    graphs: Graphs,
    best: bool = False,
) -> Expected:
    """The E-step of a batch.

    Args:
        gmm: the mixtures so far.
        self_loops: (S,), log-probabilities of staying in a state, so far.
        features: (T, N, F); padding is not used.
        input_lengths: (N,), int64.
        graphs: N, of what is said.
        best: whether a frame counts for the best path alone, not for all.
    """
    found = (best_path if best else forward_backward)(
        gmm.emissions(features), input_lengths, graphs, self_loops
    )
    inside = mask(input_lengths, len(features))
    counted = statistics(gmm, features[inside], found.occupancies[inside])
    return Expected(counted, found.stays, found.leaves, found.log_likelihoods)


def improve(
    gmm: Gmm, self_loops: Tensor, found: Expected, floor: Tensor, min_count: float
) -> Improved:
    """The M-step.

    Args:
        gmm: the mixtures that `found` comes from.
        self_loops: (S,), likewise.
        found: of all data.
        floor: (F,), below which no variance goes.
        min_count: a Gaussian of fewer frames is removed; a state of fewer stays as it was.
    """
    update = maximise(gmm, found.statistics, floor, min_count)
    stays = update_self_loops(self_loops, found.stays, found.leaves, min_count)
    return Improved(update.gmm, stays, update.starved, update.removed)


def n_components_after(passes: int, n_states: int, n_components: int, grow_until: int) -> int:
    """Gaussians of all states after so many passes: one each before, all from `grow_until` on."""
    return n_states + round((n_components - n_states) * min(passes, grow_until) / grow_until)


def grown(
    gmm: Gmm, counts: Tensor, n_components: int, max_components: int, min_count: float
) -> Gmm:
    """The mixtures with so many Gaussians in all, more where there are more frames.

    Args:
        gmm: the mixtures.
        counts: (S,), frames of each state.
        n_components: Gaussians of all states.
        max_components: of one state.
        min_count: as for `improve`. A state has twice as many frames for each of its Gaussians,
            since the halves of one that is split are not equal.
    """
    return split(gmm, share_out(counts, n_components, max_components, 2 * min_count))


def starved_line(starved: Tensor, names: Sequence[str], min_count: float) -> str:
    """Which states have too few frames, (S,), bool; empty for none."""
    found = [names[pdf] for pdf in starved.nonzero()[:, 0].tolist()]
    stay = f"states with fewer than {min_count:g} frames stay as they were: {', '.join(found)}"
    return stay if found else ""


def floored(gmm: Gmm, floor: Tensor) -> Gmm:
    """The mixtures with no variance below the floor, (F,)."""
    return replace(gmm, variances=torch.maximum(gmm.variances, floor.to(gmm.variances)))
