"""The beam and the candidates -> the next beam."""

import math

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.lexicon_tree import NONE
from asr.search.prefixes import AFTER, BEFORE, NOBODY, Tree
from asr.search.tables import Limits


@inner
def begin_frame(tree: Tree, limits: Limits) -> bool:
    """Prepare for a frame; false if there is no room for the tokens that may begin in it."""
    now = tree.now[0]
    left = min(len(tree.onsets) - now.n_onsets, len(tree.drops) - now.n_drops)
    now.n_pending, now.n_candidates, now.is_full = 0, 0, left < limits.beam_width
    return not now.is_full


@inner
def end_frame(tree: Tree, limits: Limits) -> bool:
    """Choose the next beam, unless an array is full or the language model must be asked first."""
    now, width = tree.now[0], limits.beam_width
    if now.is_full:
        return False
    n = now.n_beam + now.n_candidates
    for i in range(n):
        tree.ranked[i] = tree.beam[i]
    if n > width:
        rank(tree.scores, tree.ranked, n, width)
    if must_ask(tree, width):
        return False
    choose(tree, width)
    advance(tree)
    if limits.recombines:
        recombine(tree)
    now.frame += 1
    return True


@inner
def rank(scores: np.ndarray, numbers: np.ndarray, n: int, k: int) -> None:
    """Move the k highest of n scores to the front, in no order, and the numbers with them.

    Source: Hoare 1961, "Algorithm 65: find" (quickselect).
    """
    low, high = 0, n - 1
    while low < high:
        pivot, i, j = scores[(low + high) >> 1], low, high
        while i <= j:
            while scores[i] > pivot:
                i += 1
            while scores[j] < pivot:
                j -= 1
            if i <= j:
                scores[i], scores[j] = scores[j], scores[i]
                numbers[i], numbers[j] = numbers[j], numbers[i]
                i, j = i + 1, j - 1
        if k <= j + 1:
            high = j
        elif k > i:
            low = i
        else:
            return


@inner
def must_ask(tree: Tree, width: int) -> bool:
    """Whether the language model must be asked before the next beam can be chosen.

    Only those prefixes stay pending whose scores may reach the best ones that are known.
    """
    now, n, least = tree.now[0], 0, tree.now[0].least_before_lm
    if now.n_pending and now.n_beam + now.n_candidates >= width:
        lowest = math.inf
        for i in range(width):
            lowest = min(lowest, tree.scores[i])
        least = max(least, lowest)
    for i in range(now.n_pending):
        if tree.pending[i].bound >= least:
            tree.pending[n].prefix = tree.pending[i].prefix
            n += 1
    now.n_pending = n
    return n > 0


@inner
def choose(tree: Tree, width: int) -> None:
    """Make the best prefixes and candidates, which have been ranked first, the next beam."""
    now, n_kept = tree.now[0], 0
    for place in range(now.n_beam + now.n_candidates):
        number = tree.ranked[place]
        if place < width and tree.scores[place] > -math.inf:
            tree.beam[n_kept] = number
            n_kept += 1
        else:
            tree.prefixes[number].total = -math.inf
    now.n_beam = n_kept


@inner
def advance(tree: Tree) -> None:
    """Move the beam past the frame, and record which tokens begin in it."""
    now = tree.now[0]
    onset = now.n_onsets
    for number in tree.beam[: now.n_beam]:
        prefix = tree.prefixes[number]
        if begins(prefix):
            new = tree.onsets[now.n_onsets]
            new.prefix, new.frame, new.drop = number, now.frame, NONE
            new.before = tree.prefixes[prefix.parent].onset
            now.n_onsets += 1
    for number in tree.beam[: now.n_beam]:
        prefix = tree.prefixes[number]
        if begins(prefix):
            prefix.onset = onset
            onset += 1
        masses, is_new = tree.masses[number], prefix.total == -math.inf
        for i in range(masses.shape[1]):
            masses[BEFORE, i] = -math.inf if is_new else masses[AFTER, i]
        if is_new:
            masses[BEFORE, 0] = prefix.coming
        prefix.total = prefix.coming


@inner
def begins(prefix: Records) -> bool:
    """Whether a prefix is new, or most of its alignments come from its parent in this frame."""
    return prefix.total == -math.inf or prefix.entering - prefix.coming > math.log(0.5)


@inner
def recombine(tree: Tree) -> None:
    """Of the prefixes whose scores any continuation changes alike, keep only the best."""
    now, n = tree.now[0], 0
    for slot in range(len(tree.slots)):
        tree.slots[slot] = NOBODY
    for number in tree.beam[: now.n_beam]:
        slot = slot_of_future(tree, number)
        best, prefix = tree.prefixes[tree.slots[slot]], tree.prefixes[number]
        if prefix.total + prefix.extra > best.total + best.extra:  # NOBODY's are -inf
            tree.slots[slot] = number
    for number in tree.beam[: now.n_beam]:
        kept = tree.slots[slot_of_future(tree, number)]
        if kept == number:
            tree.beam[n] = number
            n += 1
        else:
            drop(tree, tree.prefixes[number], tree.prefixes[kept])
    now.n_beam = n


@inner
def slot_of_future(tree: Tree, number: int) -> int:
    """The place in the hash table of the prefixes with the same future; or a free one."""
    prefix, mask = tree.prefixes[number], len(tree.slots) - 1
    mixed = prefix.state
    for value in (prefix.node, prefix.phrase, prefix.token):
        mixed = (mixed ^ (mixed >> 15)) * 2654435761 + value
    slot = (mixed ^ (mixed >> 15)) & mask
    while tree.slots[slot] != NOBODY:
        other = tree.prefixes[tree.slots[slot]]
        same_node = prefix.node == other.node and prefix.token == other.token
        if same_node and prefix.state == other.state and prefix.phrase == other.phrase:
            break
        slot = (slot + 1) & mask
    return int(slot)


@inner
def drop(tree: Tree, gone: Records, kept: Records) -> None:
    """Remove a prefix from the beam in favour of a better one with the same future."""
    now = tree.now[0]
    new, onset = tree.drops[now.n_drops], tree.onsets[kept.onset]
    new.onset, new.kept, new.frame, new.next = gone.onset, kept.onset, now.frame, onset.drop
    new.score = gone.total + gone.extra - kept.total - kept.extra
    new.log_prob, new.lm = gone.total - kept.total, 0.0
    if kept.lm > -math.inf:
        new.lm = gone.lm - kept.lm
    onset.drop = now.n_drops
    now.n_drops += 1
    gone.total = -math.inf
