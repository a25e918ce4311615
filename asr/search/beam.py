"""log_probs -> n-best lists, by CTC prefix beam search."""

import math
from collections.abc import Sequence

import numpy as np

from asr.search.backtrace import list_best
from asr.search.candidates import extend, max_other_score, set_least_scores
from asr.search.compiled import inner, outer
from asr.search.nbest import FrameScores, Hypothesis
from asr.search.prefixes import AFTER, BEFORE, Tree, log_add
from asr.search.pruning import begin_frame, end_frame
from asr.search.searches import Method, search_all
from asr.search.space import SearchSpace
from asr.search.tables import Limits, Tables
from asr.text.tokenizer import BLANK

IN_TOKEN, IN_BLANK = 0, 1
"""The endings of a prefix's alignments: its last token, or blank."""


def ctc_beam_search(log_probs: Sequence[FrameScores], space: SearchSpace) -> list[list[Hypothesis]]:
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
        n: number of hypotheses in the list; -1 if the language model must be called first or, with
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
    for number in tree.beam[: now.n_beam]:
        tree.prefixes[number].next_log_prob = tree.prefixes[number].log_prob
    return list_best(tree, tables, n_best, 1, True)


@inner
def tokens_to_try(limits: Limits, frame: np.ndarray, tried: np.ndarray) -> int:
    """List the tokens that may extend prefixes in a frame; their number.

    A token at least as probable as blank is always tried, unless blank reaches `blank_skip`.
    """
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
        prefix.log_prob += log_prob
        tree.ending_log_probs[number, BEFORE, IN_BLANK] = prefix.log_prob
        tree.ending_log_probs[number, BEFORE, IN_TOKEN] = -math.inf
    tree.now[0].frame += 1


@inner
def stay(tree: Tree, frame: np.ndarray) -> None:
    """Extend the alignments of each prefix in the beam by blank, or by its last token again.

    If its parent, the prefix without the last token, is in the beam too, the parent's alignments
    that are extended by that token are added here.
    """
    for i in range(tree.now[0].n_beam):
        number = tree.beam[i]
        prefix, endings = tree.prefixes[number], tree.ending_log_probs[number]
        in_blank = prefix.log_prob + frame[BLANK]
        in_token = endings[BEFORE, IN_TOKEN] + frame[prefix.token]
        prefix.from_parent = -math.inf
        if tree.prefixes[prefix.parent].log_prob > -math.inf:
            before = log_prob_before(tree, prefix.parent, prefix.token)
            prefix.from_parent = before + frame[prefix.token]
            in_token = log_add(in_token, prefix.from_parent)
        endings[AFTER, IN_BLANK], endings[AFTER, IN_TOKEN] = in_blank, in_token
        prefix.next_log_prob = log_add(in_blank, in_token)
        tree.scores[i] = prefix.next_log_prob + prefix.other_score


@inner
def log_prob_before(tree: Tree, number: int, token: int) -> float:
    """Log-probability of the alignments that a new token can extend.

    A repeated token needs a blank before it.
    """
    prefix = tree.prefixes[number]
    if token == prefix.token:
        return tree.ending_log_probs[number, BEFORE, IN_BLANK]
    return prefix.log_prob


@inner
def extend_all(tree: Tree, tables: Tables, frame: np.ndarray, tried: np.ndarray) -> None:
    """Extend each prefix in the beam by each token, if the score may reach the least."""
    least = tree.now[0].least_before_lm
    for number in tree.beam[: tree.now[0].n_beam]:
        highest = max_other_score(tables, tree.prefixes[number])
        for token in tried:
            log_prob = log_prob_before(tree, number, token) + frame[token]
            if log_prob + highest >= least and log_prob > -math.inf:
                extend(tree, tables, number, token, log_prob)


CTC = Method(search, (), 2, IN_BLANK)
"""CTC's way of extending prefixes."""
