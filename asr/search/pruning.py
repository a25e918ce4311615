"""The beam and the candidates -> the next beam."""

import math

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.lexicon_tree import NONE
from asr.search.prefixes import AFTER, BEFORE, NO_PREFIX, Tree
from asr.search.tables import Limits

LOG_HALF = math.log(0.5)

HASH_FACTOR, HASH_SHIFT = 2654435761, 15
"""For Knuth's multiplicative hash: the prime next to 2^32 / golden ratio; bits to mix in."""


@inner
def begin_frame(tree: Tree, limits: Limits) -> bool:
    """Prepare for a frame; false if there is no room for the tokens that may begin in it."""
    now = tree.now[0]
    left = min(len(tree.onsets) - now.n_onsets, len(tree.drops) - now.n_drops)
    now.n_pending, now.n_candidates, now.is_full = 0, 0, left < limits.beam_width
    return not now.is_full


@inner
def end_frame(tree: Tree, limits: Limits) -> bool:
    """Choose the next beam, unless an array is full or the language model must be called first."""
    now, width = tree.now[0], limits.beam_width
    if now.is_full:
        return False
    n = now.n_beam + now.n_candidates
    for i in range(n):
        tree.selected[i] = tree.beam[i]
    if n > width:
        select_highest(tree.scores, tree.selected, n, width)
    if must_call_lm(tree, width):
        return False
    replace_beam(tree, width)
    advance(tree)
    if limits.recombines:
        recombine(tree)
    now.frame += 1
    return True


@inner
def select_highest(scores: np.ndarray, numbers: np.ndarray, n: int, k: int) -> None:
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
def must_call_lm(tree: Tree, width: int) -> bool:
    """Whether the language model must be called before the next beam can be chosen.

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
def replace_beam(tree: Tree, width: int) -> None:
    """Make the selected prefixes, the first `width`, the next beam."""
    now, n_kept = tree.now[0], 0
    for place in range(now.n_beam + now.n_candidates):
        number = tree.selected[place]
        if place < width and tree.scores[place] > -math.inf:
            tree.beam[n_kept] = number
            n_kept += 1
        else:
            tree.prefixes[number].log_prob = -math.inf
    now.n_beam = n_kept


@inner
def advance(tree: Tree) -> None:
    """Move the beam past the frame, and record which tokens begin in it."""
    now = tree.now[0]
    n_before = now.n_onsets
    for number in tree.beam[: now.n_beam]:
        prefix, endings = tree.prefixes[number], tree.ending_log_probs[number]
        is_new = prefix.log_prob == -math.inf
        # most of the alignments may come from the parent in this frame
        if is_new or prefix.from_parent - prefix.next_log_prob > LOG_HALF:
            new = tree.onsets[now.n_onsets]
            new.prefix, new.frame, new.drop = number, now.frame, NONE
            new.before = tree.prefixes[prefix.parent].onset
            now.n_onsets += 1
        for i in range(endings.shape[1]):
            endings[BEFORE, i] = -math.inf if is_new else endings[AFTER, i]
        if is_new:
            endings[BEFORE, 0] = prefix.next_log_prob
        prefix.log_prob = prefix.next_log_prob
    for onset in range(n_before, now.n_onsets):  # only now: others need the one before
        tree.prefixes[tree.onsets[onset].prefix].onset = onset


@inner
def recombine(tree: Tree) -> None:
    """Keep only the best of equivalent prefixes: those that every continuation changes alike."""
    now, n = tree.now[0], 0
    tree.hash_table[:] = NO_PREFIX
    for number in tree.beam[: now.n_beam]:
        slot = slot_of_equivalent(tree, number)
        best, prefix = tree.prefixes[tree.hash_table[slot]], tree.prefixes[number]
        # NO_PREFIX has a log_prob of -inf
        if prefix.log_prob + prefix.other_score > best.log_prob + best.other_score:
            tree.hash_table[slot] = number
    for number in tree.beam[: now.n_beam]:
        kept = tree.hash_table[slot_of_equivalent(tree, number)]
        if kept == number:
            tree.beam[n] = number
            n += 1
        else:
            drop(tree, tree.prefixes[number], tree.prefixes[kept])
    now.n_beam = n


@inner
def slot_of_equivalent(tree: Tree, number: int) -> int:
    """The slot of the hash table with an equivalent prefix; or a free one."""
    prefix, mask = tree.prefixes[number], len(tree.hash_table) - 1
    mixed = prefix.lm_state
    for value in (prefix.node, prefix.phrase, prefix.token):
        mixed = (mixed ^ (mixed >> HASH_SHIFT)) * HASH_FACTOR + value
    slot = (mixed ^ (mixed >> HASH_SHIFT)) & mask
    while tree.hash_table[slot] != NO_PREFIX:
        other = tree.prefixes[tree.hash_table[slot]]
        same_node = prefix.node == other.node and prefix.token == other.token
        if same_node and prefix.lm_state == other.lm_state and prefix.phrase == other.phrase:
            break
        slot = (slot + 1) & mask
    return int(slot)


@inner
def drop(tree: Tree, gone: Records, kept: Records) -> None:
    """Remove a prefix from the beam in favour of an equivalent one with a better score."""
    now = tree.now[0]
    new, onset = tree.drops[now.n_drops], tree.onsets[kept.onset]
    new.onset, new.kept, new.frame, new.next = gone.onset, kept.onset, now.frame, onset.drop
    new.score = gone.log_prob + gone.other_score - kept.log_prob - kept.other_score
    new.log_prob, new.lm = gone.log_prob - kept.log_prob, 0.0
    if kept.lm > -math.inf:
        new.lm = gone.lm - kept.lm
    onset.drop = now.n_drops
    now.n_drops += 1
    gone.log_prob = -math.inf
