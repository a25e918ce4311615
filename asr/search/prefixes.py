"""Prefixes of a beam and their extensions -> the prefixes to keep, identified by hashes."""

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
"""Names for a slot without a prefix, for the empty prefix's parent, and for the empty prefix."""


class Prefixes(NamedTuple):
    """The token sequences kept for each utterance, (N, K)."""

    last: Tensor  # last token; BLANK for the empty prefix
    name: Tensor  # hash of the tokens and words
    parent: Tensor  # name of the prefix without the last token
    context: Context

    @classmethod
    def start(cls, N: int, K: int, device: torch.device, fusion: Fusion | None) -> "Prefixes":
        """Only the empty prefix, in slot 0."""
        name = torch.full((N, K), NOBODY, device=device)
        name[:, 0] = EMPTY
        context = fusion.start(name) if fusion else {}
        return cls(torch.full_like(name, BLANK), name, torch.full_like(name, ORPHAN), context)

    def parents(self) -> tuple[Tensor, Tensor]:
        """(N, K): slot of the prefix without its last token; bool, whether it is in the beam."""
        names, order = self.name.sort(1)
        found = torch.searchsorted(names, self.parent).clamp(max=names.shape[1] - 1)
        return order.gather(1, found), names.gather(1, found) == self.parent

    def keep(self, extensions: Extensions, choice: Choice, context: Context) -> "Prefixes":
        """The chosen prefixes and extensions."""
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
        """Keep only the best of the prefixes with the same future, and free the others' slots.

        Args:
            future: (N, K), hash of all states that a prefix's continuations depend on.
            numbers: (N, K, 3), float64: scores, acoustic and LM log-probabilities.

        Returns:
            prefixes: the kept prefixes.
            recombined: the dropped prefixes.
        """
        score = numbers[:, :, 0]
        order = score.argsort(1, descending=True)
        futures, place = future.gather(1, order).sort(dim=1, stable=True)
        slots = order.gather(1, place)  # grouped by future, the best of each group first
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
        """The prefixes of some utterances."""
        some = {name: known[rows] for name, known in self.context.items()}
        return Prefixes(self.last[rows], self.name[rows], self.parent[rows], some)


def join(prefixes: Sequence[Prefixes]) -> Prefixes:
    """Concatenate prefixes of several utterances."""
    *fields, contexts = zip(*prefixes, strict=True)
    joined = {name: torch.cat([some[name] for some in contexts]) for name in contexts[0]}
    return Prefixes._make([*(torch.cat(field) for field in fields), joined])


def least_mass(least: Tensor, context: Context, fusion: Fusion | None) -> Tensor:
    """(N, K) or (N, 1): the acoustic log-probability that extensions need to reach a score.

    Args:
        least: (N,), the score to reach.
        context: context of the prefixes.
        fusion: lexicon, language model and boosts; None without any.
    """
    mass = least[:, None] - fusion.highest(context) if fusion else least[:, None]
    return mass.clamp(min=torch.finfo(mass.dtype).min)  # finite, so that -inf never reaches it


def mass_of_new_prefixes(
    prefixes: Prefixes, parent: Tensor, known: Tensor, extensions: Extensions
) -> Tensor:
    """(F,): acoustic log-probabilities of extensions; -inf if the result is in the beam already.

    Args:
        prefixes: the prefixes in the beam.
        parent: (N, K), slots of the parents: the prefixes without the last token.
        known: (N, K), bool, whether the parent is in the beam.
        extensions: extensions with the lexicon's outcomes.
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
    """Choose the K prefixes and extensions with the highest scores, in no order.

    Args:
        score: (N, K), scores of the prefixes.
        extensions: one or more extensions.
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
    """Record the origin of the chosen prefixes.

    Args:
        prefixes: the prefixes of the beam before.
        parent: (N, K), slots of the parents: the prefixes without the last token.
        arrived: (N, K), bool: whether most of the prefix's alignments have just come from its
            parent. The prefix is then treated as new, so that its last token begins in this frame.
        extensions: all extensions.
        choice: the chosen prefixes and extensions.
        after: the prefixes of the beam after the choice.
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
    """Complete hypotheses from the prefixes at the ends of their utterances.

    Args:
        prefixes: the prefixes.
        log_prob: (N, K), acoustic log-probabilities of the prefixes.
        fusion: lexicon, language model and boosts; None without any.
    """
    if fusion:
        fusion.make_room(log_prob.numel(), [prefixes.context])
        return fusion.end(prefixes.context, prefixes.last, log_prob)
    slot = (log_prob.flatten() > -math.inf).nonzero()[:, 0]
    return Extensions(slot, torch.full_like(slot, BLANK), at(log_prob, slot))


def _number(slot: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """A number for each extension, ascending in the order of extensions."""
    number = (slot << 24) + token
    return number if outcome is None else (number << 16) + outcome


def _name(parent: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """A 64-bit hash that identifies a prefix."""
    return mixed(parent, token if outcome is None else token + (outcome << 32))
