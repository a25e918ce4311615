"""n-grams with their probabilities -> the probability of any unit after any others."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NgramTrie:
    """The n-grams of a back-off model, each a node below the one that it continues.

    Node 0 is the root, the n-gram without any unit. The others are numbered by their order, then
    by the node that they continue, then by their last unit, so that keys that rise are all it
    takes to find a child. The sentence's beginning is a unit of its own, the one after the last.

    Args:
        n_units: V, without the sentence's beginning.
        sizes: (order,), how many n-grams each order has, M together, and C below the highest; the
            first is V + 1.
        keys: (M + 1,), int64: `parent * (V + 1) + unit` of each node, and -1 of the root.
        log_probs: (M + 1,), float32: natural log-probability of a node's last unit after the
            others.
        backoffs: (C + 1,), float32: natural logarithm of what a node's shorter context is
            weighted by where a unit does not continue the node.
        suffixes: (C + 1,), int32: the node of the longest n-gram that a node's own ends with.
        states: (M + 1,), int32: the node that tells as much as this one of what follows.
    """

    n_units: int
    sizes: tuple[int, ...]
    keys: Tensor
    log_probs: Tensor
    backoffs: Tensor
    suffixes: Tensor
    states: Tensor

    @property
    def order(self) -> int:
        """How many units the longest n-grams have."""
        return len(self.sizes)

    @property
    def levels(self) -> list[slice]:
        """(order,), the nodes of each order."""
        firsts = accumulate(self.sizes, initial=1)
        return [slice(first, last) for first, last in pairwise(firsts)]

    def to(self, device: str | torch.device) -> "NgramTrie":
        """The same trie on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def start(self, rows: int) -> Tensor:
        """(rows,), int64: the state at a sentence's beginning."""
        return self.states[self.n_units + 1].long().repeat(rows)

    def children(self, nodes: Tensor, units: Tensor) -> Tensor:
        """(rows,), int64: the nodes that continue nodes by a unit each; 0 where there is none."""
        return _find(self.keys, nodes * (self.n_units + 1) + units)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """What a unit costs after a context.

        Args:
            state: (rows,), int64: nodes below the highest order.
            units: (rows,), int64, each from 0 to V - 1: on the GPU this can't be checked in time.

        Returns:
            log_probs: (rows,), float32, natural logarithms.
            state: (rows,), int64: after the units.
        """
        log_probs = torch.zeros_like(state, dtype=torch.float32)
        for _ in range(self.order - 1):
            missing = self.children(state, units) == 0
            log_probs = log_probs + self.backoffs[state] * missing
            state = torch.where(missing, self.suffixes[state].long(), state)
        found = self.children(state, units)  # at last in the root, which has all units
        return log_probs + self.log_probs[found], self.states[found].long()

    def distribution(self, state: Tensor) -> Tensor:
        """(rows, V), float32: the natural log-probability of every unit after each context."""
        contexts = [state]
        for _ in range(self.order - 2):
            contexts.append(self.suffixes[contexts[-1]].long())
        radix = self.n_units + 1
        found = self.log_probs[1 : radix + 1].repeat(len(state), 1)
        for nodes in reversed(contexts):  # short contexts first: longer ones know better
            found += self.backoffs[nodes, None]
            first = torch.searchsorted(self.keys, nodes * radix)
            number = torch.searchsorted(self.keys, (nodes + 1) * radix) - first
            number *= nodes > 0
            rows = torch.arange(len(nodes), device=nodes.device).repeat_interleave(number)
            before = (number.cumsum(0) - number)[rows]
            children = first[rows] + torch.arange(len(rows), device=nodes.device) - before
            found[rows, self.keys[children] % radix] = self.log_probs[children]
        return found[:, : self.n_units]


def make_trie(
    n_units: int,
    sizes: Sequence[int],
    keys: Tensor,
    log_probs: Tensor,
    backoffs: Tensor,
    suffixes: Tensor | None = None,
) -> NgramTrie:
    """A trie of its n-grams; what follows from them is computed.

    Args:
        n_units: V, without the sentence's beginning.
        sizes: (order,), how many n-grams each order has, all V + 1 units alone among them.
        keys: (M + 1,), int64, ascending, as `NgramTrie` has them.
        log_probs: (M + 1,).
        backoffs: (C + 1,).
        suffixes: (M + 1,), int32, where they are known; of an n-gram that is there, the one that
            it ends with need not be.
    """
    if suffixes is None:
        suffixes = _suffixes(n_units, sizes, keys)
    tells = backoffs != 0
    tells[keys[1:] // (n_units + 1)] = True
    states = _states(sizes, tells, suffixes)
    suffixes = suffixes[: len(backoffs)].clone()
    return NgramTrie(
        n_units, tuple(sizes), keys, log_probs.float(), backoffs.float(), suffixes, states
    )


def _find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where keys stand among the ascending ones; 0, the root, for those that are not there."""
    places = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return places * (keys[places] == wanted)


def _suffixes(n_units: int, sizes: Sequence[int], keys: Tensor) -> Tensor:
    """(M + 1,), int32: of each node the longest n-gram in the trie that its own ends with."""
    radix = n_units + 1
    suffixes = torch.zeros(len(keys), dtype=torch.int32)
    first = 1 + sizes[0]
    for size in sizes[1:]:
        level = keys[first : first + size]
        parents, units = level // radix, level % radix
        # what ends with the parent's suffix, and this unit; or else with that one's suffix, ...
        nodes = suffixes[parents].long()
        found = _find(keys[:first], nodes * radix + units)
        while (missing := (found == 0).nonzero()[:, 0]).numel():
            nodes[missing] = suffixes[nodes[missing]].long()
            found[missing] = _find(keys[:first], nodes[missing] * radix + units[missing])
        suffixes[first : first + size] = found.int()
        first += size
    return suffixes


def _states(sizes: Sequence[int], tells: Tensor, suffixes: Tensor) -> Tensor:
    """(M + 1,), int32: of each node itself or, where it tells nothing, its suffix's state.

    Args:
        sizes: (order,), how many n-grams each order has.
        tells: (C + 1,), whether something continues a node, or leaving it has a weight.
        suffixes: (M + 1,), int32.
    """
    states = torch.arange(len(suffixes), dtype=torch.int32)
    first = 1
    for size in sizes:
        level = states[first : first + size]
        shorter = states[suffixes[first : first + size]]
        if first < len(tells):
            shorter = torch.where(tells[first : first + size], level, shorter)
        level.copy_(shorter)
        first += size
    return states
