"""emissions and graphs -> log-likelihoods, occupancies, alignments: over all paths, or the best."""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.audio.features import mask
from asr.hmm.graph import Graphs

OUTSIDE = -1
"""The state of an alignment behind an utterance's end."""


class Occupancies(NamedTuple):
    """What a batch tells of the states: EM's E-step."""

    log_likelihoods: Tensor  # (N,), float64
    occupancies: Tensor  # (T, N, S), how probable each pdf is; 0 behind each utterance's end
    stays: Tensor  # (S,), float64, how often a state with that pdf was stayed in
    leaves: Tensor  # (S,), float64, and how often it was left


def log_likelihoods(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Tensor:
    """Log p(features | graph), summed over all paths.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: N of them.
        self_loops: (S,), log-probability of staying in a state, by its pdf.

    Returns:
        log_likelihoods: (N,), float64; -inf where there are fewer frames than the graph takes.

    Raises:
        ValueError: shapes do not fit each other, a length is not from 0 to T, or a graph has a pdf
            beyond S.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    arcs = _forward_arcs(graphs, self_loops)
    rows = _scores(_Frames(emissions, arcs), arcs, _sum)
    return (_last(rows, input_lengths, arcs) + arcs.end).logsumexp(1)


def forward_backward(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Occupancies:
    """Log-likelihoods over all paths, and how probable they make each state in each frame.

    Computed with logarithms in float64, so that a path may be as improbable as it likes. Both
    directions go in one loop: the backward one is a forward one over reversed frames and arcs.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: N of them.
        self_loops: (S,), log-probability of staying in a state, by its pdf.

    Returns:
        posteriors: occupancies are of the emissions' type and add up to 1 in each frame. Of an
            utterance with fewer frames than its graph takes, they are 0, and its log-likelihood
            is -inf.

    Raises:
        ValueError: as for `log_likelihoods`.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    (T, N, S), Q = emissions.shape, graphs.pdfs.shape[1]
    arcs, turned = _forward_arcs(graphs, self_loops), _turned(input_lengths, T)
    both = _both_ways(arcs, _backward_arcs(graphs, self_loops))
    frames = _Frames(torch.cat([emissions, _picked(emissions, turned)], 1), both)
    scores = torch.stack(list(_scores(frames, both, _sum))).view(T, 2 * N, Q)
    # of all paths to a state in a frame, and of all from it on; its emission is in either
    forward, backward = scores[:, :N], _picked(scores[:, N:], turned)

    ends = forward.gather(0, (input_lengths - 1).clamp(min=0)[None, :, None].expand(1, N, Q))[0]
    totals = (ends + arcs.end).logsumexp(1).masked_fill(input_lengths == 0, -torch.inf)
    inside = mask(input_lengths, T)[:, :, None] & (totals != -torch.inf)[:, None]
    emitted = emissions.gather(2, graphs.pdfs.expand(T, N, Q))
    exponents = (forward + backward).sub_(emitted).sub_(totals[:, None])
    exponents.masked_fill_(~inside | (forward == -torch.inf), -torch.inf)
    occupancies = exponents.exp_()
    exponents = (forward[:-1] + backward[1:]).add_(arcs.log_probs[0]).sub_(totals[:, None])
    stays = exponents.masked_fill_(~inside[1:], -torch.inf).exp_().sum(0)  # (N, Q)

    # by products, since adding by index takes no fixed order on a GPU
    members = torch.nn.functional.one_hot(graphs.pdfs, S).to(emissions.dtype)  # (N, Q, S)
    by_pdf = occupancies.to(emissions.dtype).transpose(0, 1) @ members
    counts = torch.stack([stays, occupancies.sum(0) - stays]).flatten(1)
    stays, leaves = counts @ members.flatten(0, 1).double()
    return Occupancies(totals, by_pdf.transpose(0, 1), stays, leaves)


def viterbi(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> tuple[Tensor, Tensor]:
    """The most probable path.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: N of them.
        self_loops: (S,), log-probability of staying in a state, by its pdf.

    Returns:
        log_probs: (N,), float64, of features and path; -inf where there are fewer frames than the
            graph takes.
        alignment: (T, N), int64, the graph's state in each frame; OUTSIDE behind the utterance's
            end, and everywhere where there is no path.

    Raises:
        ValueError: as for `log_likelihoods`.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    arcs = _forward_arcs(graphs, self_loops)
    choices: list[Tensor] = []  # numbers of the best arcs

    def best(entering: Tensor) -> Tensor:
        log_probs, choice = entering.max(0)
        choices.append(choice.to(torch.int16))
        return log_probs

    rows = _scores(_Frames(emissions, arcs), arcs, best)
    log_probs, ends = (_last(rows, input_lengths, arcs) + arcs.end).max(1)
    lengths = input_lengths.masked_fill(log_probs == -torch.inf, 0)
    alignment = _read_back(choices, arcs.sources, ends, lengths)
    return log_probs, torch.from_numpy(alignment).to(emissions.device)


def best_path(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Occupancies:
    """As `forward_backward`, as if the most probable path were the only one."""
    log_probs, alignment = viterbi(emissions, input_lengths, graphs, self_loops)
    inside, S = alignment != OUTSIDE, len(self_loops)
    pdfs = graphs.pdfs.gather(1, alignment.clamp(min=0).T).T  # (T, N)
    occupancies = torch.nn.functional.one_hot(pdfs, S) * inside[:, :, None]
    stayed = inside[1:] & (alignment[1:] == alignment[:-1])
    stays = pdfs[1:][stayed].bincount(minlength=S).double()
    visits = pdfs[inside].bincount(minlength=S).double()
    return Occupancies(log_probs, occupancies.to(emissions.dtype), stays, visits - stays)


class _Arcs(NamedTuple):
    """The arcs of a batch of graphs in one direction, with all their log-probabilities, float64."""

    pdfs: Tensor  # (N, Q)
    sources: Tensor  # (1 + P, N, Q), whence a state is reached: from itself, then from others
    log_probs: Tensor  # (1 + P, N, Q)
    start: Tensor  # (N, Q)
    end: Tensor  # (N, Q)


def _forward_arcs(graphs: Graphs, self_loops: Tensor) -> _Arcs:
    stay, leave = _moves(graphs, self_loops)
    before = graphs.predecessors
    weights = graphs.predecessor_weights + leave.expand_as(before).gather(2, before)
    sources, log_probs = _with_itself(before), torch.cat([stay[None], weights])
    return _Arcs(graphs.pdfs, sources, log_probs, graphs.start, graphs.end + leave)


def _backward_arcs(graphs: Graphs, self_loops: Tensor) -> _Arcs:
    stay, leave = _moves(graphs, self_loops)
    sources = _with_itself(graphs.successors)
    log_probs = torch.cat([stay[None], graphs.successor_weights + leave])
    return _Arcs(graphs.pdfs, sources, log_probs, graphs.end + leave, graphs.start)


def _moves(graphs: Graphs, self_loops: Tensor) -> tuple[Tensor, Tensor]:
    """(N, Q) each: log-probabilities of staying in each state, and of leaving it."""
    stay = self_loops.double()
    return stay[graphs.pdfs], (-stay.expm1()).log()[graphs.pdfs]


def _with_itself(others: Tensor) -> Tensor:
    """(1 + P, N, Q): each state's number, then those of the others."""
    states = torch.arange(others.shape[2], device=others.device)
    return torch.cat([states.expand_as(others[:1]), others])


def _both_ways(one: _Arcs, other: _Arcs) -> _Arcs:
    """A batch of 2 N."""
    parts = zip(one, other, strict=True)
    return _Arcs(*(torch.cat([a, b], a.ndim - 2) for a, b in parts))


class _Frames:
    """Emissions, frame by frame, of each state of each graph: (N Q,)."""

    def __init__(self, emissions: Tensor, arcs: _Arcs) -> None:
        N, S = len(arcs.pdfs), emissions.shape[2]
        rows = torch.arange(N, device=emissions.device)[:, None]
        self._places = (arcs.pdfs + rows * S).flatten()
        self._frames = emissions.flatten(1).unbind(0)

    def __iter__(self) -> Iterator[Tensor]:
        return (frame.index_select(0, self._places) for frame in self._frames)


def _scores(frames: _Frames, arcs: _Arcs, join: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """(N Q,) for each frame: log-probability of the paths to each state, with its emission.

    Args:
        frames: the emissions.
        arcs: by which states are reached.
        join: (1 + P, N Q), of the paths by each arc -> (N Q,).
    """
    sources, log_probs = _flat(arcs)
    scores = None
    for frame in frames:
        if scores is None:
            scores = arcs.start.flatten() + frame
        else:
            entering = scores.index_select(0, sources).view_as(log_probs).add_(log_probs)
            scores = join(entering).add_(frame)
        yield scores


def _sum(entering: Tensor) -> Tensor:
    return reduce(torch.logaddexp, entering.unbind(0))


def _flat(arcs: _Arcs) -> tuple[Tensor, Tensor]:
    """((1 + P) N Q,) places of the sources among N Q, and (1 + P, N Q) log-probabilities."""
    N, Q = arcs.start.shape
    rows = torch.arange(N, device=arcs.start.device)[:, None]
    return (arcs.sources + rows * Q).flatten(), arcs.log_probs.flatten(1)


def _last(rows: Iterable[Tensor], input_lengths: Tensor, arcs: _Arcs) -> Tensor:
    """(N, Q): each utterance's row in its last frame; -inf where it has no frame."""
    ends: dict[int, list[int]] = {}
    for n, length in enumerate(input_lengths.tolist()):
        ends.setdefault(length - 1, []).append(n)
    last = torch.full_like(arcs.start, -torch.inf)
    for t, row in enumerate(rows):
        if t in ends:
            last[ends[t]] = row.view_as(last)[ends[t]]
    return last


def _read_back(choices: list[Tensor], sources: Tensor, ends: Tensor, lengths: Tensor) -> np.ndarray:
    """(T, N): the path to each end."""
    before = sources.cpu().numpy()  # (1 + P, N, Q)
    n, states, length = np.arange(len(ends)), ends.cpu().numpy(), lengths.cpu().numpy()
    chosen = torch.stack(choices).cpu().view(-1, *before.shape[1:]).numpy() if choices else None
    alignment = np.full((len(choices) + 1, len(n)), OUTSIDE)
    for t in range(len(choices), -1, -1):
        inside = t < length
        alignment[t, inside] = states[inside]
        if t and chosen is not None:
            previous = before[chosen[t - 1, n, states], n, states]
            states = np.where(inside, previous, states)
    return alignment


def _turned(input_lengths: Tensor, T: int) -> Tensor:
    """(T, N): the frames of each utterance from its last to its first, then the padding."""
    frames = torch.arange(T, device=input_lengths.device)[:, None]
    return torch.where(frames < input_lengths, input_lengths - 1 - frames, frames)


def _picked(values: Tensor, frames: Tensor) -> Tensor:
    """(T, N, X): each utterance's values in the order of the frames given, (T, N)."""
    return values.gather(0, frames[:, :, None].expand_as(values))


def _checked(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Tensor:
    """`input_lengths` on the emissions' device."""
    shape, N, S = emissions.shape, len(graphs.pdfs), len(self_loops)
    if len(shape) != 3 or not shape[0] or shape[1:] != (N, S):
        raise ValueError(f"emissions has shape {tuple(shape)}; expected (T, {N}, {S})")
    if input_lengths.shape != (N,):
        raise ValueError(f"input_lengths has shape {tuple(input_lengths.shape)}; expected ({N},)")
    shortest, longest = (int(length) for length in input_lengths.aminmax())
    if shortest < 0 or longest > shape[0]:
        found = shortest if shortest < 0 else longest
        raise ValueError(f"input_lengths has {found}; expected from 0 to {shape[0]}")
    if int(graphs.pdfs.max()) >= S:
        raise ValueError(f"graphs has pdf {int(graphs.pdfs.max())}; expected below {S}")
    return input_lengths.to(emissions.device)
