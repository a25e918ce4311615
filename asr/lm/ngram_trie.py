"""n-grams with probabilities and back-off weights -> the probability of a unit in a context."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

MAX_NODES = 2**31
"""Upper bound of the number of nodes, whose indices are int32."""

MAX_ORDER = 64
"""Maximum number of units of an n-gram."""


@dataclass(frozen=True, eq=False)
class NgramTrie:
    """A back-off n-gram model as a trie: an n-gram is a child of the (n-1)-gram that it extends.

    Node 0 is the root, the empty n-gram. The other nodes are sorted by order, then by parent, then
    by last unit. So the keys are ascending and a binary search finds a child. The beginning of a
    sentence, <s>, is the unit with the number V.

    Args:
        n_units: V, without <s>.
        sizes: (order,), number of n-grams of each order; M is their sum, and C the sum without the
            highest order. The first is V + 1.
        keys: (M + 1,), int64: `parent * (V + 1) + unit` of each node; -1 for the root.
        log_probs: (M + 1,), float32: natural log-probability of a node's last unit, given the
            units before it.
        backoffs: (C + 1,), float32: natural log of a node's back-off weight.
        suffixes: (C + 1,), int32: the node of the longest proper suffix of a node's n-gram.
        states: (M + 1,), int32: the node with the shortest context that gives the same
            probabilities of all following units.
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
        """Number of units of the longest n-grams."""
        return len(self.sizes)

    @property
    def levels(self) -> list[slice]:
        """(order,), the range of the nodes of each order."""
        firsts = accumulate(self.sizes, initial=1)
        return [slice(first, last) for first, last in pairwise(firsts)]

    @property
    def tables(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)[2:]}

    def to(self, device: str | torch.device) -> "NgramTrie":
        """The same trie on a device."""
        tables = {name: table.to(device) for name, table in self.tables.items()}
        return NgramTrie(self.n_units, self.sizes, **tables)

    @cached_property
    def first_children(self) -> Tensor:
        """(C + 2,), int64: the first child of each context; its last comes before the next's."""
        contexts = torch.arange(len(self.backoffs) + 1, device=self.keys.device)
        return torch.searchsorted(self.keys, contexts * (self.n_units + 1))

    def start(self, rows: int) -> Tensor:
        """(rows,), int64: the state at the start of a sentence."""
        return self.states[self.n_units + 1].long().repeat(rows)

    def children(self, nodes: Tensor, units: Tensor) -> Tensor:
        """(rows,), int64: the child of each node for one unit; 0 if there is none."""
        return _find(self.keys, nodes * (self.n_units + 1) + units)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of units, given their contexts.

        Args:
            state: (rows,), int64: nodes below the highest order.
            units: (rows,), int64, from 0 to V - 1; not checked, because that is slow on a GPU.

        Returns:
            log_probs: (rows,), float32, natural logarithms.
            state: (rows,), int64: nodes after the units.
        """
        # called in every frame of a search, so written for speed
        log_probs = torch.zeros_like(state, dtype=torch.float32)
        keys = self.keys[:-1]  # without the last key, so that every result is a valid index
        places, missing = state, torch.ones_like(state, dtype=torch.bool)
        for _ in range(self.order - 1):
            wanted = torch.add(units, state, alpha=self.n_units + 1)
            places = torch.searchsorted(keys, wanted)
            missing = self.keys.index_select(0, places) != wanted
            log_probs.addcmul_(self.backoffs.index_select(0, state), missing)
            state = torch.where(missing, self.suffixes.index_select(0, state), state)
        found = torch.where(missing, units + 1, places)  # unigrams exist for all units
        log_probs += self.log_probs.index_select(0, found)
        return log_probs, self.states.index_select(0, found).long()

    def distribution(self, state: Tensor) -> Tensor:
        """(rows, V), float32: the natural log-probability of every unit after each context."""
        contexts = [state]
        for _ in range(self.order - 2):
            contexts.append(self.suffixes[contexts[-1]].long())
        radix = self.n_units + 1
        found = self.log_probs[1 : radix + 1].repeat(len(state), 1)
        for nodes in reversed(contexts):  # longer contexts overwrite shorter ones
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
    """Make a trie from its n-grams; suffixes and states are computed.

    Args:
        n_units: V, without <s>.
        sizes: (order,), number of n-grams of each order; all V + 1 unigrams must be present.
        keys: (M + 1,), int64, ascending, as in `NgramTrie`.
        log_probs: (M + 1,), as in `NgramTrie`.
        backoffs: (C + 1,), as in `NgramTrie`.
        suffixes: (M + 1,), int32, if already known. If the trie lacks the (n-1)-gram at the end of
            an n-gram, the suffix is a shorter one.
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


def with_backoffs(trie: NgramTrie) -> NgramTrie:
    """The trie with the back-off weights that make each context with n-grams sum to 1.

    Where all units have n-grams, none backs off, and the weight stays.
    """
    backoffs = trie.backoffs.clone()
    trie = replace(trie, backoffs=backoffs)
    for nodes in trie.levels[1:]:  # in order: higher orders use the lower orders' weights
        contexts, shorter = shorter_log_probs(trie, nodes)
        left = left_for_backoff(contexts, trie.log_probs[nodes].double(), len(backoffs))
        left_shorter = left_for_backoff(contexts, shorter, len(backoffs))
        known = torch.zeros(len(left), dtype=torch.bool)
        known[contexts] = True
        known &= (left > 0) & (left_shorter > 0)
        backoffs[known] = (left[known] / left_shorter[known]).log().float()
    return trie


def shorter_log_probs(trie: NgramTrie, nodes: slice) -> tuple[Tensor, Tensor]:
    """Contexts of an order's n-grams, (n,), and the log-probs of their units one order lower."""
    contexts = trie.keys[nodes] // (trie.n_units + 1)
    units = trie.keys[nodes] % (trie.n_units + 1)
    return contexts, trie.score(trie.suffixes[contexts].long(), units)[0].double()


def left_for_backoff(contexts: Tensor, log_probs: Tensor, n_contexts: int) -> Tensor:
    """(n_contexts,), float64: probability that each context's n-grams leave for back-off."""
    left = torch.ones(n_contexts, dtype=torch.float64)
    return left.index_add_(0, contexts, -log_probs.exp())


def empty_tables(sizes: Sequence[int]) -> dict[str, Tensor]:
    """Tables with a trie's types and shapes, without data (on the device "meta").

    Args:
        sizes: (order,), number of n-grams of each order.
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
    """Check a trie's numbers, which may come from a damaged file.

    Args:
        trie: a trie whose tables have the types and lengths documented in `NgramTrie`.

    Raises:
        ValueError: keys are not ascending, or a node's number is out of range.
    """
    keys = trie.keys
    if keys[0] != -1 or not (keys[1:] > keys[:-1]).all():
        raise ValueError(
            "keys are not in ascending order from -1; expected those of sorted n-grams"
        )
    shorter = slice(0, 1)
    for order, nodes in enumerate(trie.levels, 1):
        if nodes.start < nodes.stop:
            first, last = (keys[[nodes.start, nodes.stop - 1]] // (trie.n_units + 1)).tolist()
            if first < shorter.start or last >= shorter.stop:
                raise ValueError(
                    f"keys give {order}-grams the parent nodes {first} to {last}; expected"
                    f" {shorter.start} to {shorter.stop - 1}"
                )
        shorter = nodes
    for nodes in [slice(0, 1), *trie.levels[:-1]]:  # a suffix has a lower order
        _check_range("suffixes", trie.suffixes[nodes], max(nodes.start, 1))
    _check_range("states", trie.states, len(trie.backoffs))


def _check_range(name: str, nodes: Tensor, n: int) -> None:
    if len(nodes):
        lowest, highest = (int(bound) for bound in nodes.aminmax())
        if lowest < 0 or highest >= n:
            raise ValueError(f"{name} has nodes from {lowest} to {highest}; expected 0 to {n - 1}")


def _find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Indices of the wanted keys among the ascending keys; 0, the root, for missing ones."""
    places = torch.searchsorted(keys[:-1], wanted)  # so that every result is a valid index
    return places * (keys[places] == wanted)


def _suffixes(n_units: int, sizes: Sequence[int], keys: Tensor) -> Tensor:
    """(M + 1,), int32: the node of each n-gram's longest proper suffix that the trie has."""
    radix = n_units + 1
    suffixes = torch.zeros(len(keys), dtype=torch.int32)
    first = 1 + sizes[0]
    for size in sizes[1:]:
        level = keys[first : first + size]
        parents, units = level // radix, level % radix
        # extend the parent's suffix by this unit; if the trie lacks that, the suffix's suffix, ...
        nodes = suffixes[parents].long()
        found = _find(keys[:first], nodes * radix + units)
        while (missing := (found == 0).nonzero()[:, 0]).numel():
            nodes[missing] = suffixes[nodes[missing]].long()
            found[missing] = _find(keys[:first], nodes[missing] * radix + units[missing])
        suffixes[first : first + size] = found.int()
        first += size
    return suffixes


def _states(sizes: Sequence[int], tells: Tensor, suffixes: Tensor) -> Tensor:
    """(M + 1,), int32: the node itself, or its suffix's state if the node makes no difference.

    Args:
        sizes: (order,), number of n-grams of each order.
        tells: (C + 1,), whether a node has children or a back-off weight other than 1.
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
