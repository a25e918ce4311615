"""Prefixes of a beam and the extensions on from them -> the prefixes kept, told apart by name."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr.search.alternatives import Recombined
from asr.search.backtrace import Trace
from asr.search.extensions import Choice, Extensions, at, mixed
from asr.search.fusion import Fusion
from asr.search.lexicon_tree import NONE
from asr.search.lm_states import Context
from asr.text.tokenizer import BLANK

NOBODY, ORPHAN, EMPTY = 0, 1, 2
"""Names of a slot without a prefix, of what the empty prefix extends, and of the empty prefix."""


class Prefixes(NamedTuple):
    """The token sequences that are kept of each utterance, (N, K)."""

    last: Tensor  # the last token; BLANK where the prefix is empty
    name: Tensor  # a hash that stands for tokens and words
    parent: Tensor  # the name of the prefix without the last token
    context: Context

    @classmethod
    def start(cls, N: int, K: int, device: torch.device, fusion: Fusion | None) -> "Prefixes":
        """The empty prefix alone, in slot 0."""
        name = torch.full((N, K), NOBODY, device=device)
        name[:, 0] = EMPTY
        context = fusion.start(name) if fusion else {}
        return cls(torch.full_like(name, BLANK), name, torch.full_like(name, ORPHAN), context)

    def parents(self) -> tuple[Tensor, Tensor]:
        """(N, K) the slot of the prefix without the last token; bool, whether it has one."""
        names, order = self.name.sort(1)
        found = torch.searchsorted(names, self.parent).clamp(max=names.shape[1] - 1)
        return order.gather(1, found), names.gather(1, found) == self.parent

    def keep(self, extensions: Extensions, choice: Choice, context: Context) -> "Prefixes":
        """Those chosen."""
        slot, new = choice.slot, choice.new
        old = choice.possible & ~new
        last = extensions.token.take(choice.extension)
        name = self.name.gather(1, slot)
        named = _name(name, last, context.get("outcome"))
        parent = torch.where(old, self.parent.gather(1, slot), ORPHAN)
        return Prefixes(
            last=torch.where(new, last, self.last.gather(1, slot)),
            name=torch.where(new, named, torch.where(old, name, NOBODY)),
            parent=torch.where(new, name, parent),
            context=context,
        )

    def recombine(self, future: Tensor, numbers: Tensor) -> tuple["Prefixes", Recombined]:
        """Of the prefixes with the same future the best alone; the slots of the others are free.

        Args:
            future: (N, K), what all that may follow depends on, as a hash.
            numbers: (N, K, 3), float64: scores, acoustic and LM log-probabilities.

        Returns:
            prefixes: those kept.
            recombined: the others.
        """
        score = numbers[:, :, 0]
        order = score.argsort(1, descending=True)
        futures, place = future.gather(1, order).sort(dim=1, stable=True)
        slots = order.gather(1, place)  # the same futures side by side, the best first
        here = torch.arange(score.shape[1], device=score.device).expand_as(slots)
        first = here.clone()
        first[:, 1:] *= futures[:, 1:] != futures[:, :-1]
        best = slots.gather(1, first.cummax(1).values)
        twin = torch.zeros_like(best).scatter(1, slots, best)
        gone = (twin != here) & (score > -math.inf)
        row, slot = gone.nonzero(as_tuple=True)
        kept = twin[row, slot]
        behind = numbers[row, slot] - numbers[row, kept]
        recombined = Recombined(row, slot, kept, self.name[row, slot], behind)
        name, parent = self.name.masked_fill(gone, NOBODY), self.parent.masked_fill(gone, ORPHAN)
        return self._replace(name=name, parent=parent), recombined

    def rows(self, rows: slice) -> "Prefixes":
        """Those of some utterances."""
        some = {name: known[rows] for name, known in self.context.items()}
        return Prefixes(self.last[rows], self.name[rows], self.parent[rows], some)


def join(prefixes: Sequence[Prefixes]) -> Prefixes:
    """Those of several utterances after the other."""
    *fields, contexts = zip(*prefixes, strict=True)
    joined = {name: torch.cat([some[name] for some in contexts]) for name in contexts[0]}
    return Prefixes._make([*(torch.cat(field) for field in fields), joined])


def least_mass(least: Tensor, context: Context, fusion: Fusion | None) -> Tensor:
    """(N, K) or (N, 1): the mass below which no extension of a prefix can reach `least`, (N,)."""
    short = least[:, None] - fusion.highest(context) if fusion else least[:, None]
    return short.clamp(min=torch.finfo(short.dtype).min)  # what is impossible is short of all


def mass_of_new_prefixes(
    prefixes: Prefixes, parent: Tensor, known: Tensor, extensions: Extensions
) -> Tensor:
    """(F,), the mass of extensions, -inf of those to prefixes that are in the beam.

    Args:
        prefixes: in the beam.
        parent: (N, K), the slots of the prefixes that they extend.
        known: (N, K), bool, whether there is one.
        extensions: with lexicon and phrases.
    """
    if not extensions.slot.shape[0]:
        return extensions.mass
    N, K = prefixes.last.shape
    parent = torch.arange(0, N * K, K, device=parent.device)[:, None] + parent
    arrived = _number(parent, prefixes.last, prefixes.context.get("outcome"))
    numbers = _number(extensions.slot, extensions.token, extensions.outcome)
    found = torch.searchsorted(numbers, arrived).clamp(max=numbers.shape[0] - 1)
    found = found[known & (numbers.take(found) == arrived)]
    return extensions.mass.index_fill(0, found, -math.inf)


def choose(score: Tensor, extensions: Extensions) -> Choice:
    """The K prefixes and extensions of the highest score, in no order.

    Args:
        score: (N, K), of the prefixes.
        extensions: one or more.
    """
    N, K = score.shape
    table, first = extensions.table(N, K)
    best, place = torch.cat((score, table), 1).topk(K, 1, sorted=False)
    possible = best > -math.inf
    new = possible & (place >= K)
    extension = torch.where(new, first[:, None] + place - K, 0)
    return Choice(
        torch.where(place < K, place, extensions.slot.take(extension) % K), extension, new, possible
    )


def trace(
    prefixes: Prefixes,
    parent: Tensor,
    arrived: Tensor,
    extensions: Extensions,
    choice: Choice,
    after: Prefixes,
) -> Trace:
    """Where the chosen come from.

    Args:
        prefixes: of the beam before.
        parent: (N, K), the slots of the prefixes that they extend.
        arrived: (N, K), bool: most of the prefix's alignments have just arrived from there. Then it
            comes from there as if it were new, so that its last token begins here.
        extensions: all there were.
        choice: of them and the prefixes.
        after: the chosen.
    """
    here = torch.arange(prefixes.last.shape[1], device=prefixes.last.device)
    slot = torch.where(arrived, parent, here).gather(1, choice.slot)
    token = torch.where(arrived, prefixes.last, BLANK).gather(1, choice.slot)
    token = torch.where(choice.new, extensions.token.take(choice.extension), token)
    word = None
    if "word" in after.context:
        word = torch.where(token == BLANK, NONE, after.context["word"])
    return Trace(torch.where(choice.new, choice.slot, slot), token, word)


def end(prefixes: Prefixes, log_prob: Tensor, fusion: Fusion | None) -> Extensions:
    """What the utterances' ends make of prefixes with their acoustic log-probabilities, (N, K)."""
    if fusion:
        fusion.make_room(log_prob.numel(), [prefixes.context])
        return fusion.end(prefixes.context, prefixes.last, log_prob)
    slot = (log_prob.flatten() > -math.inf).nonzero()[:, 0]
    return Extensions(slot, torch.full_like(slot, BLANK), at(log_prob, slot))


def _number(slot: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """Numbers of extensions, rising in their order."""
    number = (slot << 24) + token
    return number if outcome is None else (number << 16) + outcome


def _name(parent: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """64 bits that tell a prefix from all others."""
    return mixed(parent, token if outcome is None else token + (outcome << 32))
