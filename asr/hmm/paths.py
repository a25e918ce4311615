"""emissions and graphs -> log-likelihoods, state occupancies and forced alignments."""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.audio.features import mask
from asr.hmm.graph import Graphs

OUTSIDE = -1
"""Used in place of a state in the padding of an alignment, after the end of an utterance."""


class Occupancies(NamedTuple):
    """State occupancies and transition counts of a batch: the E-step's result."""

    log_likelihoods: Tensor  # (N,), float64
    occupancies: Tensor  # (T, N, S), posterior of each pdf; 0 after each utterance's end
    stays: Tensor  # (S,), float64, expected number of self-loops taken in states with that pdf
    leaves: Tensor  # (S,), float64, expected number of times that such a state was left


def log_likelihoods(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Tensor:
    """Log p(features | graph), summed over all paths.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: graphs of the N utterances.
        self_loops: (S,), log-probability of each pdf's self-loop.

    Returns:
        log_likelihoods: (N,), float64; -inf where there are fewer frames than the graph needs.

    Raises:
        ValueError: shapes do not match, a length is not from 0 to T, or a graph has a pdf
            above S - 1.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    arcs = _forward_arcs(graphs, self_loops)
    rows = _scores(_Frames(emissions, arcs), arcs, _sum)
    return (_last(rows, input_lengths, arcs) + arcs.end).logsumexp(1)


def forward_backward(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Occupancies:
    """The forward-backward algorithm: log-likelihoods and state occupancies over all paths.

    It computes with logarithms in float64, so improbable paths do not underflow. One loop does
    both passes: the backward pass is a forward pass over reversed frames and arcs.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: graphs of the N utterances.
        self_loops: (S,), log-probability of each pdf's self-loop.

    Returns:
        posteriors: occupancies have the emissions' type and sum to 1 in each frame. An utterance
            with fewer frames than its graph needs has occupancies of 0 and a log-likelihood
            of -inf.

    Raises:
        ValueError: as for `log_likelihoods`.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    (T, N, S), Q = emissions.shape, graphs.pdfs.shape[1]
    arcs, backwards = _forward_arcs(graphs, self_loops), _reversed_frames(input_lengths, T)
    both = _joined(arcs, _backward_arcs(graphs, self_loops))
    frames = _Frames(torch.cat([emissions, _reordered(emissions, backwards)], 1), both)
    scores = torch.stack(list(_scores(frames, both, _sum))).view(T, 2 * N, Q)
    # log-probabilities of all paths up to a state, and from it on; both contain its emission
    forward, backward = scores[:, :N], _reordered(scores[:, N:], backwards)

    ends = forward.gather(0, (input_lengths - 1).clamp(min=0)[None, :, None].expand(1, N, Q))[0]
    totals = (ends + arcs.end).logsumexp(1).masked_fill(input_lengths == 0, -torch.inf)
    inside = mask(input_lengths, T)[:, :, None] & (totals != -torch.inf)[:, None]
    emitted = emissions.gather(2, graphs.pdfs.expand(T, N, Q))
    exponents = (forward + backward).sub_(emitted).sub_(totals[:, None])
    exponents.masked_fill_(~inside | (forward == -torch.inf), -torch.inf)
    occupancies = exponents.exp_()
    exponents = (forward[:-1] + backward[1:]).add_(arcs.log_probs[0]).sub_(totals[:, None])
    stays = exponents.masked_fill_(~inside[1:], -torch.inf).exp_().sum(0)  # (N, Q)

    # as a matrix product: index_add has no fixed order of summation on a GPU
    members = torch.nn.functional.one_hot(graphs.pdfs, S).to(emissions.dtype)  # (N, Q, S)
    by_pdf = occupancies.to(emissions.dtype).transpose(0, 1) @ members
    counts = torch.stack([stays, occupancies.sum(0) - stays]).flatten(1)
    stays, leaves = counts @ members.flatten(0, 1).double()
    return Occupancies(totals, by_pdf.transpose(0, 1), stays, leaves)


def viterbi(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> tuple[Tensor, Tensor]:
    """The Viterbi algorithm: the most probable path, which is the forced alignment.

    Args:
        emissions: (T, N, S); padding is not used.
        input_lengths: (N,), int64.
        graphs: graphs of the N utterances.
        self_loops: (S,), log-probability of each pdf's self-loop.

    Returns:
        log_probs: (N,), float64, log p(features, path); -inf where there are fewer frames than
            the graph needs.
        alignment: (T, N), int64, the graph's state in each frame; OUTSIDE after the utterance's
            end, and in all frames of an utterance without a path.

    Raises:
        ValueError: as for `log_likelihoods`.
    """
    input_lengths = _checked(emissions, input_lengths, graphs, self_loops)
    arcs = _forward_arcs(graphs, self_loops)
    choices: list[Tensor] = []  # numbers of the best arcs, for the traceback

    def best(entering: Tensor) -> Tensor:
        log_probs, choice = entering.max(0)
        choices.append(choice.to(torch.int16))
        return log_probs

    rows = _scores(_Frames(emissions, arcs), arcs, best)
    log_probs, ends = (_last(rows, input_lengths, arcs) + arcs.end).max(1)
    lengths = input_lengths.masked_fill(log_probs == -torch.inf, 0)
    alignment = _traceback(choices, arcs.sources, ends, lengths)
    return log_probs, torch.from_numpy(alignment).to(emissions.device)


def best_path(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Occupancies:
    """The E-step of Viterbi training: like `forward_backward`, with the most probable path only."""
    log_probs, alignment = viterbi(emissions, input_lengths, graphs, self_loops)
    inside, S = alignment != OUTSIDE, len(self_loops)
    pdfs = graphs.pdfs.gather(1, alignment.clamp(min=0).T).T  # (T, N)
    occupancies = torch.nn.functional.one_hot(pdfs, S) * inside[:, :, None]
    stayed = inside[1:] & (alignment[1:] == alignment[:-1])
    stays = pdfs[1:][stayed].bincount(minlength=S).double()
    visits = pdfs[inside].bincount(minlength=S).double()
    return Occupancies(log_probs, occupancies.to(emissions.dtype), stays, visits - stays)


class _Arcs(NamedTuple):
    """The arcs of a batch of graphs in one direction, self-loops included; float64."""

    pdfs: Tensor  # (N, Q)
    sources: Tensor  # (1 + P, N, Q), states from which a state is reached: itself, then others
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
    """Log-probabilities of each state's self-loop, and of leaving it: (N, Q) each."""
    stay = self_loops.double()
    return stay[graphs.pdfs], (-stay.expm1()).log()[graphs.pdfs]


def _with_itself(others: Tensor) -> Tensor:
    """(1 + P, N, Q): each state's own number, followed by the numbers in `others`."""
    states = torch.arange(others.shape[2], device=others.device)
    return torch.cat([states.expand_as(others[:1]), others])


def _joined(one: _Arcs, other: _Arcs) -> _Arcs:
    """The arcs of two batches of N as one batch of 2 N."""
    parts = zip(one, other, strict=True)
    return _Arcs(*(torch.cat([a, b], a.ndim - 2) for a, b in parts))


class _Frames:
    """Iterates over the frames: the emission of each state of each graph, (N Q,)."""

    def __init__(self, emissions: Tensor, arcs: _Arcs) -> None:
        N, S = len(arcs.pdfs), emissions.shape[2]
        rows = torch.arange(N, device=emissions.device)[:, None]
        self._places = (arcs.pdfs + rows * S).flatten()
        self._frames = emissions.flatten(1).unbind(0)

    def __iter__(self) -> Iterator[Tensor]:
        return (frame.index_select(0, self._places) for frame in self._frames)


def _scores(frames: _Frames, arcs: _Arcs, join: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """For each frame, (N Q,): log-probability of the paths to each state, with its emission.

    Args:
        frames: the emissions.
        arcs: the arcs into each state.
        join: combines the scores over each arc, (1 + P, N Q), into one for each state, (N Q,):
            the log of their sum, or their maximum.
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
    """Indices of the sources among the N Q states, ((1 + P) N Q,), and log-probs (1 + P, N Q)."""
    N, Q = arcs.start.shape
    rows = torch.arange(N, device=arcs.start.device)[:, None]
    return (arcs.sources + rows * Q).flatten(), arcs.log_probs.flatten(1)


def _last(rows: Iterable[Tensor], input_lengths: Tensor, arcs: _Arcs) -> Tensor:
    """(N, Q): the scores in each utterance's last frame; -inf if it has no frame."""
    ends: dict[int, list[int]] = {}
    for n, length in enumerate(input_lengths.tolist()):
        ends.setdefault(length - 1, []).append(n)
    last = torch.full_like(arcs.start, -torch.inf)
    for t, row in enumerate(rows):
        if t in ends:
            last[ends[t]] = row.view_as(last)[ends[t]]
    return last


def _traceback(choices: list[Tensor], sources: Tensor, ends: Tensor, lengths: Tensor) -> np.ndarray:
    """(T, N): the path to each utterance's end state."""
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


def _reversed_frames(input_lengths: Tensor, T: int) -> Tensor:
    """(T, N): frame numbers of each utterance in reverse order, then those of the padding."""
    frames = torch.arange(T, device=input_lengths.device)[:, None]
    return torch.where(frames < input_lengths, input_lengths - 1 - frames, frames)


def _reordered(values: Tensor, frames: Tensor) -> Tensor:
    """(T, N, X): each utterance's values in the order of `frames`, (T, N)."""
    return values.gather(0, frames[:, :, None].expand_as(values))


def _checked(
    emissions: Tensor, input_lengths: Tensor, graphs: Graphs, self_loops: Tensor
) -> Tensor:
    """Check the arguments, and return `input_lengths` on the device of `emissions`."""
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
