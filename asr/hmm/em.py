"""features and graphs -> updated mixtures and transitions: the steps of one pass of EM."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from asr.audio.features import mask
from asr.errors import listed
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
    """The result of the E-step for a batch or a whole pass, and the input of the M-step."""

    statistics: Statistics
    stays: Tensor  # (S,), float64, expected number of self-loops taken in states with that pdf
    leaves: Tensor  # (S,), float64, expected number of times that such a state was left
    log_likelihoods: Tensor  # (N,), float64, under the model before the M-step


class Improved(NamedTuple):
    """The result of the M-step."""

    gmm: Gmm
    self_loops: Tensor  # (S,), float64, log-probabilities
    starved: Tensor  # (S,), bool: states with too few frames, left unchanged
    removed: Tensor  # (S, M), bool: Gaussians removed because they had too few frames


def flat_hmm(
    frames: Iterable[Tensor],
    quiet_frames: Iterable[Tensor] | None,
    topology: Topology,
    floor_share: float,
) -> tuple[Gmm, Tensor]:
    """The initial model of EM: every state has the mean and the variance of all frames.

    All divisions of an utterance's frames among its states are then equally probable, so in the
    first pass the states have about equal expected durations.

    Args:
        frames: parts of the data, each (B, F).
        quiet_frames: quiet frames in the same form; their mean becomes the mean of the silence
            states. If the silence started like all other states, states of words might take over
            the silence next to them, and keep it. None to start the silence like all other states.
        topology: the HMM's topology.
        floor_share: lower bound of the Gaussians' variances, as a share of the variance of all
            frames.

    Returns:
        gmm: one Gaussian for each state, in float64.
        floor: (F,), lower bound of the variances.

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
        gmm: the current mixtures.
        self_loops: (S,), the current log-probabilities of staying in a state.
        features: (T, N, F); padding is not used.
        input_lengths: (N,), int64.
        graphs: graphs of the N utterances' texts.
        best: whether to use only the most probable path (Viterbi training), instead of all paths.
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
        gmm: the mixtures that `found` was computed with.
        self_loops: (S,), the log-probabilities that `found` was computed with.
        found: results of the E-step, summed over all data.
        floor: (F,), lower bound of the variances.
        min_count: a Gaussian with fewer frames is removed; a state with fewer is left unchanged.
    """
    update = maximise(gmm, found.statistics, floor, min_count)
    stays = update_self_loops(self_loops, found.stays, found.leaves, min_count)
    return Improved(update.gmm, stays, update.starved, update.removed)


def n_components_after(passes: int, n_states: int, n_components: int, grow_until: int) -> int:
    """The number of Gaussians of all states together after a number of passes.

    It grows linearly from one for each state to `n_components` after pass `grow_until`.
    """
    return n_states + round((n_components - n_states) * min(passes, grow_until) / grow_until)


def grown(
    gmm: Gmm, counts: Tensor, n_components: int, max_components: int, min_count: float
) -> Gmm:
    """Split Gaussians until there are `n_components` in all; states with more frames get more.

    Args:
        gmm: the mixtures.
        counts: (S,), number of frames of each state.
        n_components: wanted number of Gaussians of all states together.
        max_components: largest number of Gaussians of one state.
        min_count: as for `improve`. A state needs twice as many frames for each of its Gaussians,
            because the two halves of a Gaussian don't get equal numbers of frames.
    """
    return split(gmm, share_out(counts, n_components, max_components, 2 * min_count))


def starved_line(starved: Tensor, names: Sequence[str], min_count: float) -> str:
    """A message that names the states with too few frames; empty if there are none.

    Args:
        starved: (S,), bool, whether a state has too few frames.
        names: (S,), names of the states' pdfs.
        min_count: the smallest number of frames that is enough.
    """
    found = [names[pdf] for pdf in starved.nonzero()[:, 0].tolist()]
    stay = f"states with fewer than {min_count:g} frames stay as they were: {listed(found)}"
    return stay if found else ""


def floored(gmm: Gmm, floor: Tensor) -> Gmm:
    """The mixtures with all variances raised to at least `floor`, (F,)."""
    return replace(gmm, variances=torch.maximum(gmm.variances, floor.to(gmm.variances)))
