"""emissions -> n-best lists, by prefix beam search over the states of an HMM."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr.errors import counted
from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE, Topology
from asr.search.backtrace import list_best
from asr.search.candidates import extend, max_other_score, set_least_scores
from asr.search.compiled import inner, outer
from asr.search.lexicon_tree import ROOT, Trie
from asr.search.nbest import FrameScores, Hypothesis
from asr.search.prefixes import AFTER, BEFORE, Tree, log_add
from asr.search.pruning import begin_frame, end_frame
from asr.search.searches import Method, search_all
from asr.search.space import SearchSpace
from asr.search.tables import Tables
from asr.text.tokenizer import BLANK


class HmmTables(NamedTuple):
    """The J HMM states of each token and the Z of the silence after it, (C, J + Z)."""

    J: int
    pdfs: np.ndarray  # int64
    loops: np.ndarray  # float64, log-probability of staying in the state
    moves: np.ndarray  # float64, log-probability of leaving the state
    first_token: np.ndarray  # (nodes + 1,), int64, where those of each node begin in `tokens`
    tokens: np.ndarray  # int64, the tokens that may follow each node of the lexicon


def hmm_beam_search(
    emissions: Sequence[FrameScores], space: SearchSpace, topology: Topology
) -> list[list[Hypothesis]]:
    """Find the most probable token sequences, each summed over its alignments.

    This is `asr.search.beam.ctc_beam_search` with HMM states in place of CTC's blank. A prefix has
    a log-probability for each state of its last token and of the silence after it. Silence may
    follow a complete word, or any token if there is no lexicon.

    Args:
        emissions: (T, S) of each utterance, log p(features | state), on any device.
        space: settings, lexicon, language model and boosts. `token_floor` and `blank_skip` are for
            CTC only and have no effect. Other settings in nats need to be about ten times as large
            as for CTC, because emissions have a larger range.
        topology: the HMM states of the tokens.

    Returns:
        nbest: for each utterance at most `n_best` hypotheses, best first; an empty list if no
            hypothesis is possible. Acoustic log-probabilities are exact if nothing was pruned, and
            lower bounds otherwise; those of recombined prefixes are estimates.

    Raises:
        ValueError: an array is not (T, S) with the topology's S, a value is NaN or +inf, or the
            tokenizer and the topology have different tokens.
    """
    C = len(space.tokenizer.symbols)
    if len(topology.pdfs) != C:
        raise ValueError(
            f"topology has {counted(len(topology.pdfs), 'token')}; the tokenizer has {C}"
        )
    return search_all("emissions", emissions, space, hmm_method(topology, space))


def hmm_method(topology: Topology, space: SearchSpace) -> Method:
    """How an HMM extends prefixes."""
    C, J = topology.pdfs.shape
    silence = np.broadcast_to(np.array(topology.silence, np.int64), (C, len(topology.silence)))
    pdfs = np.concatenate((topology.pdfs.numpy(), silence), 1)
    loops = topology.self_loops.double().numpy()[pdfs]
    moves = np.log1p(-np.exp(loops))
    # the empty prefix is in its last state before the first frame, and must leave it at once
    loops[BLANK, :J], moves[BLANK, : J - 1], moves[BLANK, J - 1] = -math.inf, -math.inf, 0.0
    pdfs[BLANK, :J] = 0
    arrays = pdfs, loops, moves, *(space.lexicon or Trie.without_words(C)).arcs
    # other layouts would be compiled on their own
    hmm = HmmTables(J, *map(np.ascontiguousarray, arrays))
    return Method(search, hmm, pdfs.shape[1], J - 1, len(topology.self_loops))


@outer
def search(tree: Tree, tables: Tables, hmm: HmmTables, emissions: np.ndarray, n_best: int) -> int:
    """Go on with the search of an utterance; see `asr.search.beam.search`."""
    now, limits = tree.now[0], tables.limits
    while now.row < len(emissions):
        frame = emissions[now.row]
        if not begin_frame(tree, limits):
            return -1
        stay(tree, hmm, frame)
        set_least_scores(tree, limits)
        extend_all(tree, tables, hmm, frame)
        if not end_frame(tree, limits):
            return -1
        now.row += 1
    for number in tree.beam[: now.n_beam]:
        tree.prefixes[number].next_log_prob = leaving(tree, hmm, number)
    return list_best(tree, tables, n_best, hmm.J, False)


@inner
def stay(tree: Tree, hmm: HmmTables, frame: np.ndarray) -> None:
    """Extend the alignments of each prefix by one frame, in the same HMM state or into the next.

    If its parent, the prefix without the last token, is in the beam too, the parent's alignments
    that are extended by that token are added here.
    """
    for i in range(tree.now[0].n_beam):
        number = tree.beam[i]
        prefix = tree.prefixes[number]
        token, endings = prefix.token, tree.ending_log_probs[number, BEFORE]
        into = leaving(tree, hmm, prefix.parent)  # of the alignments that move into the state
        prefix.next_log_prob = -math.inf
        for j in range(len(endings)):
            if j == hmm.J:  # after the loop before, `into` leaves the token
                into = into + ENTER_SILENCE if prefix.node == ROOT else -math.inf
            emission = frame[hmm.pdfs[token, j]]
            log_prob = log_add(endings[j] + hmm.loops[token, j], into) + emission
            if j == 0:
                prefix.from_parent = into + emission
            tree.ending_log_probs[number, AFTER, j] = log_prob
            prefix.next_log_prob = log_add(prefix.next_log_prob, log_prob)
            into = endings[j] + hmm.moves[token, j]
        tree.scores[i] = prefix.next_log_prob + prefix.other_score


@inner
def leaving(tree: Tree, hmm: HmmTables, number: int) -> float:
    """Log-probability of the alignments that leave a prefix, for another token or the end.

    They leave from the last token's last state or, if there is silence, from its last state.
    """
    prefix, endings = tree.prefixes[number], tree.ending_log_probs[number, BEFORE]
    if prefix.log_prob == -math.inf:
        return -math.inf
    own, last = hmm.J - 1, len(endings) - 1
    leaves = endings[own] + hmm.moves[prefix.token, own]
    if own == last or prefix.node != ROOT:  # no silence follows
        return leaves
    return log_add(leaves + PASS_SILENCE, endings[last] + hmm.moves[prefix.token, last])


@inner
def extend_all(tree: Tree, tables: Tables, hmm: HmmTables, frame: np.ndarray) -> None:
    """Extend each prefix by the tokens that may follow it, if the score may reach the least."""
    highest_entry, least = -math.inf, tree.now[0].least_before_lm
    for token in range(1, len(hmm.pdfs)):
        highest_entry = max(highest_entry, frame[hmm.pdfs[token, 0]])
    for number in tree.beam[: tree.now[0].n_beam]:
        prefix = tree.prefixes[number]
        leaves, highest = leaving(tree, hmm, number), max_other_score(tables, prefix)
        if leaves + highest_entry + highest < least:
            continue
        begin, end = hmm.first_token[prefix.node], hmm.first_token[prefix.node + 1]
        for token in hmm.tokens[begin:end]:
            log_prob = leaves + frame[hmm.pdfs[token, 0]]
            if log_prob + highest >= least and log_prob > -math.inf:
                extend(tree, tables, number, token, log_prob)
