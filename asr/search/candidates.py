"""A prefix and a token -> the extensions that may enter the beam, with their scores."""

import math

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.language_models import NGRAM, NO_LM, PYTHON_LM, UNREAD, ngram_score
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import NO_PREFIX, Tree, find, store
from asr.search.tables import Limits, Tables
from asr.text.tokenizer import BLANK

NO_WORD, BETWEEN, AT_END = np.int64(NONE), np.int64(ROOT), np.int64(BLANK)
"""Typed constants: numba would compile a function again for each plain int."""


@inner
def set_least_scores(tree: Tree, limits: Limits) -> None:
    """Set the scores that extensions need, from those of the prefixes in the beam."""
    now = tree.now[0]
    best, worst = -math.inf, math.inf
    for i in range(now.n_beam):
        best, worst = max(best, tree.scores[i]), min(worst, tree.scores[i])
    # the prefixes in the beam may fill the next one alone
    now.least = worst if now.n_beam == limits.beam_width else -math.inf
    now.least_before_lm = max(now.least, best + limits.score_floor)


@inner
def max_other_score(tables: Tables, prefix: Records) -> float:
    """Upper bound of `other_score` after one more token."""
    taken_back = tables.boosts.taken_back[prefix.phrase] + tables.look_ahead[prefix.node]
    return prefix.other_score - taken_back + tables.max_gain


@inner
def extend(tree: Tree, tables: Tables, parent: int, token: int, log_prob: float) -> None:
    """Extend a prefix by a token, in each way that the lexicon and Hangul's syllables allow.

    The extensions have the acoustic log-probability `log_prob`.
    """
    before = tree.prefixes[parent].node
    after = np.int64(tables.children[before, token])
    if after == NONE or not may_follow(tables, tree.prefixes[parent].token, token):
        return
    if tables.joined or token == tables.separator:  # a word may end
        node = after if tables.joined else before
        first = tables.first_word[node]
        for word in tables.ending_words[first : first + tables.n_words[node]]:
            add_candidate(tree, tables, parent, token, word, BETWEEN, log_prob)
        if not tables.joined or not tables.continues[after]:
            return
    add_candidate(tree, tables, parent, token, NO_WORD, after, log_prob)


@inner
def may_follow(tables: Tables, before: int, token: int) -> bool:
    """Whether a token, or BLANK for the end, may follow another; a rule for Hangul's letters."""
    tokens = tables.tokens
    return tables.follows[tokens[before].position, tokens[token].position]


@inner
def add_candidate(
    tree: Tree, tables: Tables, parent: int, token: int, word: int, node: int, log_prob: float
) -> None:
    """Add an extension to the candidates, unless its score is too low or not known yet."""
    now, number = tree.now[0], find(tree, parent, token, word)
    if tree.prefixes[number].log_prob > -math.inf:  # it is in the beam, with these alignments
        return
    if number == NO_PREFIX or tables.lm.kind == PYTHON_LM:
        if now.n_prefixes == len(tree.prefixes):
            now.is_full = 1
            return
        slot = tree.prefixes[now.n_prefixes]  # the first free one
        fill_extension(tree, tables, slot, parent, token, word, node)
        bound = log_prob + slot.other_score  # the language model can only lower the score
        if bound < now.least_before_lm or not add_lm(tree, tables, number, bound):
            return
        number = store(tree, number)  # even if the score is too low: it need not be computed again
    prefix, before = tree.prefixes[number], tree.prefixes[parent]
    score = log_prob + prefix.other_score
    bound = score - tables.lm.weight * (prefix.lm - before.lm) if tables.lm.weight else score
    if bound >= now.least_before_lm and score >= now.least and score > -math.inf:
        place = now.n_beam + now.n_candidates
        prefix.next_log_prob, prefix.onset = log_prob, before.onset
        tree.beam[place], tree.scores[place] = number, score
        now.n_candidates += 1


@inner
def fill_extension(
    tree: Tree, tables: Tables, slot: Records, parent: int, token: int, word: int, node: int
) -> None:
    """Write an extension to a slot, scored without the language model."""
    before = tree.prefixes[parent]
    slot.parent, slot.token, slot.word, slot.node = parent, token, word, node
    slot.phrase, slot.onset = before.phrase, before.onset
    slot.lm_state, slot.lm = before.lm_state, before.lm
    score = before.other_score - tables.look_ahead[before.node] + tables.look_ahead[node]
    if word != NONE and word != tables.end:
        score += tables.word_bonus
    boosts = tables.boosts
    if token != BLANK:
        slot.phrase = np.int64(boosts.after[before.phrase, token])
        score += boosts.entry_bonus[slot.phrase] - boosts.taken_back[before.phrase]
        own = tables.tokens[token]
        begins = tables.tokens[before.token].ends_word
        score += own.bonus_after_end if begins else own.bonus
    elif node == tables.end_node:
        score += boosts.end_bonus[before.phrase]
    slot.other_score = score


@inner
def add_lm(tree: Tree, tables: Tables, number: int, bound: float) -> bool:
    """Add the language model's log-probability to the extension in the first free slot.

    The extension has this number in the tree, or NO_PREFIX, and a score of at most `bound`. If the
    language model must be called first, nothing is added, and the result is false.
    """
    lm, slot = tables.lm, tree.prefixes[tree.now[0].n_prefixes]
    before, item = tree.prefixes[slot.parent], slot.word if lm.of_words else slot.token
    if lm.kind == NO_LM or item == NONE:
        return True
    unit, log_prob = lm.items[item].unit, lm.items[item].unk_share
    if lm.kind == NGRAM:
        found, slot.lm_state = ngram_score(lm.ngram, before.lm_state, unit)
        log_prob += found
    elif lm.of_words:  # the answer is kept in the tree
        if number == NO_PREFIX:
            slot.lm_state = UNREAD
            number = store(tree, number)
        answered = tree.prefixes[number]
        if answered.lm_state == UNREAD:
            wait(tree, number, bound)
            return False
        slot.lm_state, log_prob = answered.lm_state, answered.lm
        if before.lm > -math.inf:
            log_prob -= before.lm
    else:
        if before.lm_state == UNREAD:
            wait(tree, slot.parent, bound)
            return False
        slot.lm_state, log_prob = UNREAD, lm.rows[before.lm_state, unit]
    slot.lm += log_prob
    if lm.weight:  # 0 times -inf would be NaN
        slot.other_score += lm.weight * log_prob
    return True


@inner
def wait(tree: Tree, prefix: int, bound: float) -> None:
    """Let a prefix wait for the language model."""
    now = tree.now[0]
    if now.n_pending and tree.pending[now.n_pending - 1].prefix == prefix:
        last = tree.pending[now.n_pending - 1]
        last.bound = max(last.bound, bound)
        return
    pending = tree.pending[now.n_pending]
    pending.prefix, pending.bound = prefix, bound
    now.n_pending += 1


@inner
def add_ends(tree: Tree, tables: Tables) -> None:
    """Add all complete hypotheses to the candidates, with the `next_log_prob` of their prefixes.

    If no prefix ends with a complete word and syllable, all of them end, without the words they
    have begun.
    """
    now = tree.now[0]
    now.n_candidates, now.n_pending, now.is_full = 0, 0, 0
    now.least, now.least_before_lm = -math.inf, -math.inf
    for whole in (True, False):
        for number in tree.beam[: now.n_beam]:
            prefix = tree.prefixes[number]
            if whole and not may_follow(tables, prefix.token, BLANK):
                continue
            if not whole or prefix.node == ROOT:
                add_end(tree, tables, number, NO_WORD, prefix.next_log_prob)
            if whole and tables.separator != NONE:
                first = tables.first_word[prefix.node]
                for word in tables.ending_words[first : first + tables.n_words[prefix.node]]:
                    add_end(tree, tables, number, word, prefix.next_log_prob)
        if now.n_candidates or now.n_pending or now.is_full:
            break


@inner
def add_end(tree: Tree, tables: Tables, prefix: int, word: int, log_prob: float) -> None:
    """Add a prefix, with its last word or NONE, as a complete hypothesis.

    A word LM first reads the last word (a prefix of its own), then the sentence end.
    """
    now = tree.now[0]
    if tables.lm.of_words:
        if word != NONE:
            if now.n_prefixes == len(tree.prefixes):
                now.is_full = 1
                return
            number = find(tree, prefix, AT_END, word)
            slot = tree.prefixes[now.n_prefixes]
            fill_extension(tree, tables, slot, prefix, AT_END, word, BETWEEN)
            if not add_lm(tree, tables, number, math.inf):
                return
            prefix = store(tree, number)
        word = tables.end
    add_candidate(tree, tables, prefix, AT_END, word, tables.end_node, log_prob)
