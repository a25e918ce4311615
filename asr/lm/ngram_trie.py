"""n-grams with their probabilities -> the probability of any unit after any others."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise

import torch
from torch import Tensor

MAX_NODES = 2**31
"""Nodes' numbers are int32, and below this."""


@dataclass(frozen=True, eq=False)
class NgramTrie:
    """The n-grams of a back-off model, each a node below the one that it continues.

    Node 0 is the root, the n-gram without any unit. The others are numbered by their order, then
    by the node that they continue, then by their last unit, so that keys that rise are all it
    takes to find a child, in one search; 32 bits would not hold them. The sentence's beginning is
    a unit of its own, the one after the last.

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

    @property
    def tables(self) -> dict[str, Tensor]:
        """The tensors by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)[2:]}

    def to(self, device: str | torch.device) -> "NgramTrie":
        """The same trie on a device."""
        tables = {name: table.to(device) for name, table in self.tables.items()}
        return NgramTrie(self.n_units, self.sizes, **tables)

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
        # asked at each frame of a search: few operations, each the fastest of its kind
        log_probs = torch.zeros_like(state, dtype=torch.float32)
        keys = self.keys[:-1]  # so that every search ends at a key
        places, missing = state, torch.ones_like(state, dtype=torch.bool)
        for _ in range(self.order - 1):
            wanted = torch.add(units, state, alpha=self.n_units + 1)
            places = torch.searchsorted(keys, wanted)
            missing = self.keys.index_select(0, places) != wanted
            log_probs.addcmul_(self.backoffs.index_select(0, state), missing)
            state = torch.where(missing, self.suffixes.index_select(0, state), state)
        found = torch.where(missing, units + 1, places)  # at last in the root, which has all units
        log_probs += self.log_probs.index_select(0, found)
        return log_probs, self.states.index_select(0, found).long()

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


def make_ngram_trie(
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


def empty_tables(sizes: Sequence[int]) -> dict[str, Tensor]:
    """Tables of the types and shapes that a trie has them in, without their numbers ("meta").

    Args:
        sizes: (order,), how many n-grams each order has.
    """
    nodes, contexts = 1 + sum(sizes), 1 + sum(sizes[:-1])
    return {
        "keys": torch.empty(nodes, dtype=torch.int64, device="meta"),
        "log_probs": torch.empty(nodes, dtype=torch.float32, device="meta"),
        "backoffs": torch.empty(contexts, dtype=torch.float32, device="meta"),
        "suffixes": torch.empty(contexts, dtype=torch.int32, device="meta"),
        "states": torch.empty(nodes, dtype=torch.int32, device="meta"),
    }


def check_trie(trie: NgramTrie) -> None:
    """Refuse tables with which a trie could not be asked: those of a damaged file, say.

    Args:
        trie: with tables of the types and lengths that `NgramTrie` gives them.

    Raises:
        ValueError: keys don't rise, a node belongs where it can't, or a number is not finite.
    """
    keys = trie.keys
    if keys[0] != -1 or not (keys[1:] > keys[:-1]).all():
        raise ValueError("keys don't rise from -1 on; expected those of n-grams in their order")
    shorter = slice(0, 1)
    for order, nodes in enumerate(trie.levels, 1):
        if nodes.start < nodes.stop:
            first, last = (keys[[nodes.start, nodes.stop - 1]] // (trie.n_units + 1)).tolist()
            if first < shorter.start or last >= shorter.stop:
                raise ValueError(
                    f"keys let {order}-grams continue the nodes {first} to {last}; expected"
                    f" {shorter.start} to {shorter.stop - 1}"
                )
        shorter = nodes
    for nodes in [slice(0, 1), *trie.levels[:-1]]:  # the way to the root gets shorter and shorter
        _check_range("suffixes", trie.suffixes[nodes], max(nodes.start, 1))
    _check_range("states", trie.states, len(trie.backoffs))
    for name in ("log_probs", "backoffs"):
        if not trie.tables[name].isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite; expected none")


def _check_range(name: str, nodes: Tensor, n: int) -> None:
    if len(nodes):
        lowest, highest = (int(bound) for bound in nodes.aminmax())
        if lowest < 0 or highest >= n:
            raise ValueError(f"{name} has nodes from {lowest} to {highest}; expected 0 to {n - 1}")


def _find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where keys stand among the ascending ones; 0, the root, for those that are not there."""
    places = torch.searchsorted(keys[:-1], wanted)  # so that every search ends at a key
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
