"""outputs -> natural log-probabilities of units, by a full or an adaptive softmax."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SoftmaxKind = Literal["full", "adaptive"]


class Softmax(nn.Module):
    """A softmax over units, exactly normalised.

    "full" is the plain softmax over all units. "adaptive" has a first softmax over the most
    frequent tenth of the units and two groups: the next three tenths, and the rest. The probability
    of a unit in a group is that of the group times that of the unit within the group. So frequent
    units need no computation for the rare ones: with 20,000 English words, an average word needs a
    seventh of all logits.

    Args:
        input_size: E, size of an output.
        n_units: V; for "adaptive", sorted by falling frequency.
        kind: "full" or "adaptive".

    Source: Grave et al. 2017, arXiv:1609.04309; there rare units have shorter vectors. Here all
    have E values, so that they can also serve as embeddings.
    """

    def __init__(self, input_size: int, n_units: int, kind: SoftmaxKind = "full") -> None:
        super().__init__()
        ends = [n_units] if kind == "full" else [n_units // 10, 4 * n_units // 10, n_units]
        self.n_frequent = ends[0]
        self.groups = [(begin, end) for begin, end in pairwise(ends) if begin < end]
        bound = input_size**-0.5
        self.weight = nn.Parameter(torch.empty(n_units, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_units))
        if self.groups:
            self.group_weight = nn.Parameter(torch.zeros(len(self.groups), input_size))
            self.group_bias = nn.Parameter(torch.zeros(len(self.groups)))

    def log_probs(self, outputs: Tensor) -> Tensor:
        """The log-probability of every unit: (N, E) -> (N, V), at least float32."""
        first = self._first(outputs)
        parts = [first[:, : self.n_frequent]]
        for number, group in enumerate(self.groups):
            parts.append(first[:, self.n_frequent + number, None] + self._within(outputs, group))
        return torch.cat(parts, 1)

    def score(self, outputs: Tensor, units: Tensor, rows: Tensor | None = None) -> Tensor:
        """The log-probabilities of single units.

        Args:
            outputs: (N, E).
            units: (M,), int64.
            rows: (M,), int64, index of the output that scores each unit; None: unit n is scored
                by output n.

        Returns:
            scores: (M,), at least float32.
        """
        if rows is None:
            rows = torch.arange(len(outputs), device=outputs.device)
        inside = [(begin <= units) & (units < end) for begin, end in self.groups]
        first = units
        for number, here in enumerate(inside):
            first = first.masked_fill(here, self.n_frequent + number)
        scores = self._first(outputs)[rows, first]
        for (begin, end), here in zip(self.groups, inside, strict=True):
            asked, row = rows[here].unique(return_inverse=True)
            within = self._within(outputs[asked], (begin, end))[row, units[here] - begin]
            scores = scores.index_add(0, here.nonzero()[:, 0], within)
        return scores

    def _first(self, outputs: Tensor) -> Tensor:
        """(N, n_frequent + groups): log-probs of the frequent units and of each group."""
        weight, bias = self.weight[: self.n_frequent], self.bias[: self.n_frequent]
        if self.groups:
            weight = torch.cat([weight, self.group_weight])
            bias = torch.cat([bias, self.group_bias])
        return _log_softmax(F.linear(outputs, weight, bias))

    def _within(self, outputs: Tensor, group: tuple[int, int]) -> Tensor:
        """(N, units of the group): log-probs of the units, given their group."""
        begin, end = group
        return _log_softmax(F.linear(outputs, self.weight[begin:end], self.bias[begin:end]))


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, torch.promote_types(logits.dtype, torch.float32))
