"""A prefix and a token -> the extensions that may enter the beam, with their scores."""

import math

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.language_models import NGRAM, NO_LM, UNREAD, ngram_score
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import NOBODY, Tree, add, find, keep
from asr.search.tables import Limits, Tables
from asr.text.tokenizer import BLANK

NO_WORD, BETWEEN, AT_END = np.int64(NONE), np.int64(ROOT), np.int64(BLANK)
"""A word, a node and a token; numba would compile a function anew for each plain constant."""


@inner
def least_score(tree: Tree, limits: Limits) -> float:
    """The score that an extension needs before the language model has scored its last word."""
    now = tree.now[0]
    best, worst = -math.inf, math.inf
    for i in range(now.n_beam):
        best, worst = max(best, tree.scores[i]), min(worst, tree.scores[i])
    # the prefixes in the beam may fill the next one alone
    now.lowest = worst if now.n_beam == limits.beam_width else -math.inf
    return max(now.lowest, best + limits.score_floor)


@inner
def highest_extra(tables: Tables, prefix: Records) -> float:
    """Upper bound of `extra` after one more token."""
    given = tables.phrases[prefix.phrase].lent + tables.nodes[prefix.node].ahead
    return prefix.extra - given + tables.max_gain


@inner
def extend(tree: Tree, tables: Tables, prefix: int, token: int, mass: float, least: float) -> None:
    """Extend a prefix by a token, in each way that the lexicon allows.

    Args:
        tree: the state of the search.
        tables: the search space.
        prefix: number of the prefix.
        token: the token.
        mass: acoustic log-probability of the extension.
        least: the score that it needs.
    """
    before = tree.prefixes[prefix].node
    after = np.int64(tables.children[before, token])
    if after == NONE:
        return
    if tables.joined or token == tables.separator:  # a word may end
        ends = tables.nodes[after if tables.joined else before]
        for word in tables.endings[ends.first_word : ends.first_word + ends.n_words]:
            consider(tree, tables, prefix, token, word, BETWEEN, mass, least)
        if not tables.joined or not ends.inner:
            return
    consider(tree, tables, prefix, token, NO_WORD, after, mass, least)


@inner
def consider(
    tree: Tree,
    tables: Tables,
    prefix: int,
    token: int,
    word: int,
    node: int,
    mass: float,
    least: float,
) -> None:
    """Add an extension to the candidates, unless its score is too low or not known yet."""
    now = tree.now[0]
    if token != BLANK and is_in_beam(tree, prefix, token, word):  # it has this mass already
        return
    if now.n_beam + now.n_candidates == len(tree.candidates):
        now.is_full = 1
        return
    candidate = tree.candidates[now.n_candidates]
    describe(tree, tables, candidate, prefix, token, word, node)
    candidate.coming = mass
    score = mass + candidate.extra
    # the language model can only lower the score
    if score < least or score == -math.inf or not ask(tree, tables, candidate, score):
        return
    score = mass + candidate.extra
    if score >= now.lowest and score > -math.inf:
        tree.scores[now.n_beam + now.n_candidates] = score
        now.n_candidates += 1


@inner
def is_in_beam(tree: Tree, prefix: int, token: int, word: int) -> bool:
    """Whether an extension of a prefix is in the beam."""
    number = tree.prefixes[prefix].kept_child
    while number != NOBODY:
        child = tree.prefixes[number]
        if child.token == token and child.word == word:
            return True
        number = child.kept_sibling
    return False


@inner
def describe(
    tree: Tree, tables: Tables, candidate: Records, prefix: int, token: int, word: int, node: int
) -> None:
    """Fill in an extension, scored without the language model."""
    before = tree.prefixes[prefix]
    candidate.number, candidate.parent, candidate.token = NOBODY, prefix, token
    candidate.word, candidate.node, candidate.phrase = word, node, before.phrase
    candidate.lm, candidate.state = before.lm, before.state
    extra = before.extra - tables.nodes[before.node].ahead + tables.nodes[node].ahead
    extra += tables.bonuses[word + 1]
    if token != BLANK:
        candidate.phrase = np.int64(tables.after_phrase[before.phrase, token])
        extra += tables.phrases[candidate.phrase].worth - tables.phrases[before.phrase].lent
        own = tables.tokens[token]
        begins = tables.tokens[before.token].ends_word
        extra += own.bonus_after_end if begins else own.bonus
    elif node == len(tables.nodes) - 1:
        extra += tables.phrases[before.phrase].end
    candidate.extra = extra


@inner
def ask(tree: Tree, tables: Tables, candidate: Records, bound: float) -> bool:
    """Add the language model's log-probability to an extension.

    Args:
        tree: the state of the search.
        tables: the search space.
        candidate: the extension, from `describe`.
        bound: upper bound of its score.

    Returns:
        done: false if the language model must be asked first.
    """
    lm, before = tables.lm, tree.prefixes[candidate.parent]
    item = candidate.word if lm.of_words else candidate.token
    is_last_word = candidate.token == BLANK and candidate.node != len(tables.nodes) - 1
    if lm.kind == NO_LM or (item == NONE if lm.of_words else is_last_word):
        return True
    unit, log_prob = lm.items[item].unit, lm.items[item].share
    if lm.kind == NGRAM:
        found, candidate.state = ngram_score(lm.ngram, before.state, unit)
        log_prob += found
    elif lm.of_words:  # the answer is kept in the tree
        candidate.number = find(tree, candidate)
        if candidate.number == NOBODY:
            if len(tree.prefixes) - tree.now[0].n_prefixes <= tables.limits.beam_width:
                tree.now[0].is_full = 1
                return False
            candidate.number = add(tree, candidate)
            tree.prefixes[candidate.number].state = UNREAD
        answered = tree.prefixes[candidate.number]
        if answered.state == UNREAD:
            wait(tree, candidate.number, bound)
            return False
        candidate.state, log_prob = answered.state, answered.lm
        if before.lm > -math.inf:
            log_prob -= before.lm
    else:
        if before.state == UNREAD:
            wait(tree, candidate.parent, bound)
            return False
        candidate.state, log_prob = UNREAD, lm.rows[before.state, unit]
    candidate.lm += log_prob
    if lm.weight:  # 0 times -inf would be NaN
        candidate.extra += lm.weight * log_prob
    return True


@inner
def wait(tree: Tree, prefix: int, bound: float) -> None:
    """Let a prefix wait for the language model."""
    now = tree.now[0]
    if now.n_pending == len(tree.pending):
        now.is_full = 1
        return
    pending = tree.pending[now.n_pending]
    pending.prefix, pending.bound = prefix, bound
    now.n_pending += 1


@inner
def add_ends(tree: Tree, tables: Tables) -> None:
    """Add all complete hypotheses to the candidates, with the masses `coming` of their prefixes.

    If no prefix ends with a complete word, all of them end, without the words they have begun.
    """
    now = tree.now[0]
    now.n_candidates, now.n_pending, now.is_full, now.lowest = 0, 0, 0, -math.inf
    for whole in (True, False):
        for number in tree.beam[: now.n_beam]:
            prefix = tree.prefixes[number]
            no_word_begun = tables.separator == NONE or prefix.token == BLANK
            if not whole or (prefix.node == ROOT and no_word_begun):
                add_end(tree, tables, number, NO_WORD, prefix.coming)
            if whole and tables.separator != NONE:
                ends = tables.nodes[prefix.node]
                for word in tables.endings[ends.first_word : ends.first_word + ends.n_words]:
                    add_end(tree, tables, number, word, prefix.coming)
        if now.n_candidates or now.n_pending or now.is_full:
            break


@inner
def add_end(tree: Tree, tables: Tables, prefix: int, word: int, mass: float) -> None:
    """Add a prefix, with its last word or NONE, as a complete hypothesis."""
    now = tree.now[0]
    if tables.lm.of_words:  # it reads the last word, then the end
        if word != NONE:
            last = tree.candidates[now.n_candidates]
            describe(tree, tables, last, prefix, AT_END, word, BETWEEN)
            if not ask(tree, tables, last, math.inf):
                return
            if now.n_prefixes == len(tree.prefixes):
                now.is_full = 1
                return
            prefix = keep(tree, last)
        word = tables.end
    consider(tree, tables, prefix, AT_END, word, len(tables.nodes) - 1, mass, -math.inf)
