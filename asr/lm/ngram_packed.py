"""n-gram trie -> the same in a third of the space on disk, and back."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from asr.lm.ngram_trie import NgramTrie, make_ngram_trie


def pack(trie: NgramTrie) -> dict[str, Tensor]:
    """The tables from which `unpack` makes the trie again, but for the last digits of its values.

    Probabilities after a context then sum to 1 with an error of about 1e-3.

    Returns:
        units: (M,), the last unit of each n-gram; uint16, or int32 for more than 65,534 units.
        n_children: (C + 1,), of the same type, number of n-grams that extend each context.
        log_probs: (M + 1,), float16.
        backoffs: (C + 1,), float16.
    """
    radix, kind = trie.n_units + 1, _kind(trie.n_units)
    parents = trie.keys[1:] // radix
    return {
        "units": (trie.keys[1:] % radix).to(kind),
        "n_children": torch.bincount(parents, minlength=len(trie.backoffs)).to(kind),
        "log_probs": trie.log_probs.half(),
        "backoffs": trie.backoffs.half(),
    }


def unpack(n_units: int, sizes: Sequence[int], tables: Mapping[str, Tensor]) -> NgramTrie:
    """The trie of packed tables.

    Args:
        n_units: V, without <s>.
        sizes: (order,), number of n-grams of each order.
        tables: see `pack`, which may come from a damaged file.

    Raises:
        ValueError: the tables contradict one another.
    """
    units, n_children = tables["units"].long(), tables["n_children"].long()
    if n_children.min() < 0 or n_children.sum() != len(units):
        raise ValueError(
            f"n_children has {n_children.sum()} n-grams in all; expected {len(units)}, none below 0"
        )
    if units.min() < 0 or units.max() > n_units:
        raise ValueError(f"units are from {units.min()} to {units.max()}; expected 0 to {n_units}")
    parents = torch.arange(len(n_children)).repeat_interleave(n_children)
    keys = torch.cat((torch.tensor([-1]), parents * (n_units + 1) + units))
    if not (keys[1:] > keys[:-1]).all():
        raise ValueError("units are not in ascending order after each context; expected that")
    return make_ngram_trie(n_units, sizes, keys, tables["log_probs"], tables["backoffs"])


def empty_packed(n_units: int, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Packed tables with their types and shapes, without data (on the device "meta").

    Args:
        n_units: V, without <s>.
        sizes: (order,), number of n-grams of each order.
    """
    nodes, contexts = 1 + sum(sizes), 1 + sum(sizes[:-1])
    kind = _kind(n_units)
    return {
        "units": torch.empty(nodes - 1, dtype=kind, device="meta"),
        "n_children": torch.empty(contexts, dtype=kind, device="meta"),
        "log_probs": torch.empty(nodes, dtype=torch.float16, device="meta"),
        "backoffs": torch.empty(contexts, dtype=torch.float16, device="meta"),
    }


def _kind(n_units: int) -> torch.dtype:
    """The smallest type for the numbers from 0 to V + 1, the number of the root's children."""
    return torch.uint16 if n_units + 1 < 2**16 else torch.int32
