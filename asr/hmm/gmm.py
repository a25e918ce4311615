"""features -> emissions: the Gaussian mixtures of all states, and their estimation with EM."""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

MIN_VARIANCE = 1e-6
"""Lower bound of all estimated variances, which keeps that of a constant feature above 0."""

MAX_COMPONENTS = 4096
"""Maximum number of Gaussians of a state."""

SPLIT_DEVIATIONS = 0.2
"""Distance from a split component's mean to those of its two halves, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Gmm:
    """A mixture of Gaussians with diagonal covariances for each of S states.

    Args:
        log_weights: (S, M), natural logs; -inf where a state has fewer than M components. Each
            state has at least one.
        means: (S, M, F); any finite values where there is no component.
        variances: (S, M, F); any values above 0 where there is no component.

    Raises:
        ValueError: the shapes do not match.
    """

    log_weights: Tensor
    means: Tensor
    variances: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.means.shape)
        if len(shape) != 3 or self.log_weights.shape != shape[:2]:
            found = tuple(self.log_weights.shape)
            raise ValueError(f"log_weights has shape {found}, means {shape}; expected (S, M, F)")
        if self.variances.shape != shape:
            raise ValueError(f"variances has shape {tuple(self.variances.shape)}; expected {shape}")

    @property
    def n_components(self) -> Tensor:
        """(S,), int64: number of components of each state."""
        return (self.log_weights > -math.inf).sum(1)

    def to(self, device: str | torch.device) -> "Gmm":
        """The same mixtures on a device."""
        return Gmm(*(part.to(device) for part in (self.log_weights, self.means, self.variances)))

    def emissions(self, features: Tensor) -> Tensor:
        """Log p(features | state).

        Args:
            features: (..., F), float32 or float64.

        Returns:
            emissions: (..., S), of the features' type.
        """
        powers, S = self._powers(features), len(self.log_weights)
        factors, constants = (table.to(powers.dtype) for table in self._tables)
        emissions = powers.new_empty(len(powers), S)
        for M, states in self._states_by_size:
            own = factors[:, states, :M].flatten(1), constants[states, :M].flatten()
            log_probs = torch.addmm(own[1], powers, own[0]).view(-1, len(states), M)
            emissions[:, states] = log_probs.logsumexp(2)
        return emissions.view(*features.shape[:-1], S)

    def _powers(self, features: Tensor) -> Tensor:
        """(B, 2 F): the features minus the mean of all means, and the squares of these differences.

        Features far from 0 have large squares. The terms of (x - mean)^2 would then cancel with
        large rounding errors.
        """
        centred = features.reshape(-1, features.shape[-1]) - self._centre.to(features.dtype)
        return torch.cat([centred, centred.square()], 1)

    @cached_property
    def _centre(self) -> Tensor:
        """(F,), float64: the mean of all means, rounded to values that float32 represents."""
        there = (self.log_weights > -math.inf)[:, :, None]
        middle = self.means.double().masked_fill(~there, 0.0).sum((0, 1)) / there.sum()
        return middle.float().double()

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor]:
        """Factors of a frame's powers, (2 F, S, M), and constants to add to the sum, (S, M)."""
        S, M, F = self.means.shape
        means = (self.means.double() - self._centre).reshape(-1, F)
        precisions = self.variances.double().reshape(-1, F).reciprocal()
        squares = means.square() * precisions - precisions.log() + math.log(2 * math.pi)
        constants = self.log_weights.double().reshape(-1) - 0.5 * squares.sum(1)
        factors = torch.cat([means * precisions, -0.5 * precisions], 1).T.contiguous()
        return factors.view(-1, S, M), constants.view(S, M)

    @cached_property
    def _states_by_size(self) -> list[tuple[int, Tensor]]:
        """Each number of components with the states that have it, so that padding is skipped."""
        places = torch.arange(1, self.log_weights.shape[1] + 1, device=self.log_weights.device)
        last = (places * (self.log_weights > -math.inf)).amax(1)
        return [(M, (last == M).nonzero()[:, 0]) for M in last.unique().tolist()]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sufficient statistics for the M-step; those of several batches or processes can be added.

    Args:
        counts: (S, M), float64, expected number of frames of each component.
        sums: (S, M, F), float64, weighted sums of the features of these frames.
        squares: (S, M, F), float64, weighted sums of the features' squares.
    """

    counts: Tensor
    sums: Tensor
    squares: Tensor

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.counts + other.counts, self.sums + other.sums, self.squares + other.squares
        )


def statistics(gmm: Gmm, features: Tensor, occupancies: Tensor) -> Statistics:
    """The E-step: each frame is divided among the components of its states by their posteriors.

    Args:
        gmm: the current mixtures.
        features: (B, F), float32 or float64, frames of any utterances, without padding.
        occupancies: (B, S), the state posteriors of each frame; or an alignment, (B,), int64: one
            state for each frame.
    """
    if occupancies.ndim == 1:
        occupancies = torch.nn.functional.one_hot(occupancies, len(gmm.log_weights))
    powers = gmm._powers(features)
    factors, constants = (table.to(powers.dtype) for table in gmm._tables)
    S, M = gmm.log_weights.shape
    counts = powers.new_zeros(S, M)
    centred = powers.new_zeros(S, M, powers.shape[1])
    # state by state: most states have occupancy 0 in most frames, so this is a tenth of the work
    for state, occupancy in enumerate(occupancies.to(powers.dtype).T.contiguous()):
        rows = occupancy.nonzero()[:, 0]
        if len(rows):
            own = powers[rows]
            log_probs = torch.addmm(constants[state], own, factors[:, state])
            posteriors = log_probs.softmax(1).mul_(occupancy[rows][:, None])
            counts[state], centred[state] = posteriors.sum(0), posteriors.T @ own
    counts = counts.double()
    sums, squares = centred.double().chunk(2, dim=2)
    offsets = counts[:, :, None] * gmm._centre  # the sums were taken relative to the centre
    return Statistics(counts, sums + offsets, squares + gmm._centre * (2 * sums + offsets))


class Update(NamedTuple):
    """The updated mixtures, and the states and components with too little data."""

    gmm: Gmm
    starved: Tensor  # (S,), bool: states that were left unchanged
    removed: Tensor  # (S, M), bool: removed components of the other states


def maximise(gmm: Gmm, found: Statistics, floor: Tensor, min_count: float = 10.0) -> Update:
    """The M-step: maximum-likelihood weights, means and variances.

    A state with fewer than `min_count` frames is left unchanged. In every other state, components
    with fewer frames are removed, except the one with the most frames, and the remaining weights
    are scaled to sum to 1. The remaining components move to the front.

    Args:
        gmm: the mixtures that the statistics were computed with.
        found: the statistics of all data.
        floor: (F,), lower bound of the variances.
        min_count: smallest number of frames; a component without frames is removed even if this
            is 0.

    Returns:
        update: the new mixtures, in float64.
    """
    counts, M = found.counts, gmm.log_weights.shape[1]
    there = gmm.log_weights > -math.inf
    enough = (counts >= min_count) & (counts > 0)
    total = counts.sum(1, keepdim=True)
    starved = (total < min_count) | (total == 0)  # (S, 1)
    heaviest = torch.nn.functional.one_hot(counts.argmax(1), M).bool()
    kept = there & (enough | heaviest | starved)
    updated = (kept & ~starved)[:, :, None]

    divisor = torch.where(updated, counts[:, :, None], 1.0)
    means = found.sums / divisor
    variances = (found.squares / divisor - means.square()).maximum(floor.to(means))
    shares = counts.masked_fill(~kept, 0.0)
    log_weights = torch.where(starved, gmm.log_weights.double(), _log_shares(shares))
    means = torch.where(updated, means, gmm.means.double())
    variances = torch.where(updated, variances, gmm.variances.double())

    order = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)  # (S, M)
    places = order[:, :, None].expand_as(means)
    parts = log_weights.gather(1, order), means.gather(1, places), variances.gather(1, places)
    return Update(Gmm(*parts), starved[:, 0], there & ~kept)


def flat_start(frames: Iterable[Tensor], n_states: int) -> Gmm:
    """A flat start: one Gaussian for each state, with the mean and the variance of all frames.

    The result is in float64.

    Args:
        frames: parts of the data, each (B, F).
        n_states: S.

    Raises:
        ValueError: there is no frame.
    """
    count, sums, squares = 0, torch.zeros(()), torch.zeros(())
    for part in frames:
        part = part.double()
        count, sums, squares = count + len(part), sums + part.sum(0), squares + part.square().sum(0)
    if not count:
        raise ValueError("frames has none; expected at least one")
    mean = sums / count
    variance = (squares / count - mean.square()).clamp(min=MIN_VARIANCE)
    shape = n_states, 1, len(mean)
    return Gmm(mean.new_zeros(shape[:2]), mean.expand(shape), variance.expand(shape))


def variance_floor(variance: Tensor, share: float = 0.01) -> Tensor:
    """(F,), lower bound of the components' variances: a share of the variance of all data.

    It is never below `MIN_VARIANCE`.

    Args:
        variance: (F,), variance of all data.
        share: fraction of that variance.
    """
    return (share * variance).clamp(min=MIN_VARIANCE)


def share_out(
    counts: Tensor, total: int, most: int, min_count: float = 10.0, power: float = 0.2
) -> Tensor:
    """Number of components for each state: states with more data get more.

    Each state gets one component. The others are assigned one by one, each to the state with the
    largest ratio of count**power to its current number of components. A state gets at most `most`
    components, and at least `min_count` frames for each of them. Components that no state may take
    stay unused.

    Args:
        counts: (S,), number of frames of each state.
        total: number of components of all states together.
        most: largest number of components of one state.
        min_count: smallest number of frames per component.
        power: 0 gives all states the same number, 1 gives numbers in proportion to the data.

    Returns:
        targets: (S,), int64, on the CPU.

    Source: Kaldi's gmm-mixup.
    """
    frames = counts.tolist()
    limits = [min(most, count / min_count if min_count else math.inf) for count in frames]
    targets = [1] * len(frames)
    queue = [(-(count**power), state) for state, count in enumerate(frames) if count > 0]
    heapq.heapify(queue)
    for _ in range(total - len(frames)):
        while queue and targets[queue[0][1]] + 1 > limits[queue[0][1]]:
            heapq.heappop(queue)
        if not queue:
            break
        state = queue[0][1]
        targets[state] += 1
        heapq.heapreplace(queue, (-(frames[state] ** power) / targets[state], state))
    return torch.tensor(targets)


def split(gmm: Gmm, targets: Tensor) -> Gmm:
    """Split the component with the largest weight of each state until it has enough components.

    Both halves get half the weight and the same variances. Their means move by `SPLIT_DEVIATIONS`
    in opposite directions, in all dimensions, so the mean of the mixture does not change.

    Args:
        gmm: the mixtures.
        targets: (S,), wanted number of components of each state. States with more keep them.
    """
    targets = targets.to(gmm.means.device)
    more = max(0, int(targets.max()) - gmm.log_weights.shape[1])
    log_weights = torch.nn.functional.pad(gmm.log_weights, (0, more), value=-math.inf)
    means = torch.nn.functional.pad(gmm.means, (0, 0, 0, more))
    variances = torch.nn.functional.pad(gmm.variances, (0, 0, 0, more), value=1.0)
    while True:
        there = log_weights > -math.inf
        states = (there.sum(1) < targets).nonzero()[:, 0]
        if not len(states):
            return Gmm(log_weights, means, variances)
        heaviest = log_weights[states].argmax(1)
        free = there[states].to(torch.int8).argmin(1)
        step = SPLIT_DEVIATIONS * variances[states, heaviest].sqrt()
        means[states, free] = means[states, heaviest] - step
        means[states, heaviest] += step
        variances[states, free] = variances[states, heaviest]
        log_weights[states, heaviest] -= math.log(2)
        log_weights[states, free] = log_weights[states, heaviest]


def _log_shares(counts: Tensor) -> Tensor:
    """(S, M): log of each count's share of the sum of its row; undefined in a row of zeros."""
    return (counts / counts.sum(1, keepdim=True)).log()
