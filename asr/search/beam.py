"""log_probs -> n-best lists, by CTC prefix beam search."""

import math
from collections.abc import Sequence

import numpy as np

from asr.search.backtrace import list_best
from asr.search.candidates import extend, highest_extra, set_least_scores
from asr.search.compiled import inner, outer
from asr.search.nbest import Frames, Hypothesis
from asr.search.prefixes import AFTER, BEFORE, Tree, log_add
from asr.search.pruning import begin_frame, end_frame
from asr.search.searches import Method, search_all
from asr.search.space import SearchSpace
from asr.search.tables import Limits, Tables
from asr.text.tokenizer import BLANK

LABEL, BLANKS = 0, 1
"""The states in which the alignments of a prefix end: its last token, or blank."""


def beam_search(log_probs: Sequence[Frames], space: SearchSpace) -> list[list[Hypothesis]]:
    """Find the most probable token sequences, each summed over its alignments.

    Args:
        log_probs: (T, C) of each utterance, natural logs, on any device.
        space: settings, lexicon, language model and boosts.

    Returns:
        nbest: for each utterance at most `n_best` hypotheses, best first; an empty list if no
            hypothesis is possible. Acoustic log-probabilities are exact if nothing was pruned, and
            lower bounds otherwise; those of recombined prefixes are estimates.

    Raises:
        ValueError: an array is not (T, C) with the tokenizer's C, or a value is NaN or +inf.

    Source: Hannun et al. 2014, arXiv:1408.2873, algorithm 1; here in log space.
    """
    return search_all("log_probs", log_probs, space, CTC)


@outer
def search(tree: Tree, tables: Tables, hmm: tuple, log_probs: np.ndarray, n_best: int) -> int:
    """Go on with the search of an utterance.

    Args:
        tree: the state of the search; changed.
        tables: the search space.
        hmm: nothing.
        log_probs: (T, C), float64, the next frames.
        n_best: largest number of hypotheses to list, as if the utterance ended here; 0 for no list.

    Returns:
        n: number of hypotheses in the list; -1 if the language model must be asked first or, with
            `is_full`, an array is too short. After that, go on with the same arguments.
    """
    now, limits = tree.now[0], tables.limits
    while now.row < len(log_probs):
        frame = log_probs[now.row]
        n_tried = tokens_to_try(limits, frame, tree.tried)
        if n_tried == 0:
            add_blank(tree, frame[BLANK])
        else:
            if not begin_frame(tree, limits):
                return -1
            stay(tree, frame)
            set_least_scores(tree, limits)
            extend_all(tree, tables, frame, tree.tried[:n_tried])
            if not end_frame(tree, limits):
                return -1
        now.row += 1
    if n_best == 0:
        return 0
    for number in tree.beam[: now.n_beam]:
        tree.prefixes[number].coming = tree.prefixes[number].total
    return list_best(tree, tables, n_best, 1, True)


@inner
def tokens_to_try(limits: Limits, frame: np.ndarray, tried: np.ndarray) -> int:
    """List the tokens that may extend prefixes in a frame; their number."""
    n, least = 0, min(limits.token_floor, frame[BLANK])
    if frame[BLANK] < limits.blank_skip:
        for token in range(1, len(frame)):
            if frame[token] >= least:
                tried[n] = token
                n += 1
    return n


@inner
def add_blank(tree: Tree, log_prob: float) -> None:
    """Extend all alignments by a frame of blank, in which no other token is tried."""
    for number in tree.beam[: tree.now[0].n_beam]:
        prefix = tree.prefixes[number]
        prefix.total += log_prob
        tree.masses[number, BEFORE, BLANKS] = prefix.total
        tree.masses[number, BEFORE, LABEL] = -math.inf
    tree.now[0].frame += 1


@inner
def stay(tree: Tree, frame: np.ndarray) -> None:
    """Extend the alignments of each prefix in the beam by blank, or by its last token again.

    If its parent, the prefix without the last token, is in the beam too, the parent's alignments
    that are extended by that token are added here.
    """
    for i in range(tree.now[0].n_beam):
        number = tree.beam[i]
        prefix, masses = tree.prefixes[number], tree.masses[number]
        blank = prefix.total + frame[BLANK]
        label = masses[BEFORE, LABEL] + frame[prefix.token]
        prefix.entering = -math.inf
        if tree.prefixes[prefix.parent].total > -math.inf:
            prefix.entering = mass_before(tree, prefix.parent, prefix.token) + frame[prefix.token]
            label = log_add(label, prefix.entering)
        masses[AFTER, BLANKS], masses[AFTER, LABEL] = blank, label
        prefix.coming = log_add(blank, label)
        tree.scores[i] = prefix.coming + prefix.extra


@inner
def mass_before(tree: Tree, number: int, token: int) -> float:
    """The alignments of a prefix that a new token extends; between equal tokens is a blank."""
    prefix = tree.prefixes[number]
    return tree.masses[number, BEFORE, BLANKS] if token == prefix.token else prefix.total


@inner
def extend_all(tree: Tree, tables: Tables, frame: np.ndarray, tried: np.ndarray) -> None:
    """Extend each prefix in the beam by each token, if the score may reach the least."""
    least = tree.now[0].least_before_lm
    for number in tree.beam[: tree.now[0].n_beam]:
        highest = highest_extra(tables, tree.prefixes[number])
        for token in tried:
            mass = mass_before(tree, number, token) + frame[token]
            if mass + highest >= least and mass > -math.inf:
                extend(tree, tables, number, token, mass)


CTC = Method(search, (), 2, BLANKS)
"""CTC's way of extending prefixes."""
