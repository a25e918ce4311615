"""A prefix and a token -> the extensions that may enter the beam, with their scores."""

import math

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.language_models import ASKED, NGRAM, NO_LM, UNREAD, ngram_score
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.prefixes import NOBODY, Tree, find, store
from asr.search.tables import Limits, Tables
from asr.text.tokenizer import BLANK

NO_WORD, BETWEEN, AT_END = np.int64(NONE), np.int64(ROOT), np.int64(BLANK)
"""A word, a node and a token; numba would compile a function anew for each plain constant."""


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
def highest_extra(tables: Tables, prefix: Records) -> float:
    """Upper bound of `extra` after one more token."""
    given = tables.phrases[prefix.phrase].lent + tables.nodes[prefix.node].ahead
    return prefix.extra - given + tables.max_gain


@inner
def extend(tree: Tree, tables: Tables, parent: int, token: int, mass: float) -> None:
    """Extend a prefix by a token, in each way that the lexicon and Hangul's syllables allow.

    Args:
        tree: the state of the search.
        tables: the search space.
        parent: number of the prefix.
        token: the token.
        mass: acoustic log-probability of the extension.
    """
    before = tree.prefixes[parent].node
    after = np.int64(tables.children[before, token])
    if after == NONE or not may_follow(tables, tree.prefixes[parent].token, token):
        return
    if tables.joined or token == tables.separator:  # a word may end
        ends = tables.nodes[after if tables.joined else before]
        for word in tables.endings[ends.first_word : ends.first_word + ends.n_words]:
            consider(tree, tables, parent, token, word, BETWEEN, mass)
        if not tables.joined or not ends.inner:
            return
    consider(tree, tables, parent, token, NO_WORD, after, mass)


@inner
def may_follow(tables: Tables, before: int, token: int) -> bool:
    """Whether a token, or BLANK for the end, may follow another; a rule for Hangul's letters."""
    tokens = tables.tokens
    return tables.follows[tokens[before].position, tokens[token].position]


@inner
def consider(
    tree: Tree, tables: Tables, parent: int, token: int, word: int, node: int, mass: float
) -> None:
    """Add an extension to the candidates, unless its score is too low or not known yet."""
    now, number = tree.now[0], find(tree, parent, token, word)
    if tree.prefixes[number].total > -math.inf:  # it is in the beam, with this mass
        return
    if number == NOBODY or tables.lm.kind == ASKED:
        if now.n_prefixes == len(tree.prefixes):
            now.is_full = 1
            return
        new = tree.prefixes[now.n_prefixes]  # in the first free place
        describe(tree, tables, new, parent, token, word, node)
        bound = mass + new.extra  # the language model can only lower the score
        if bound < now.least_before_lm or not add_lm(tree, tables, number, bound):
            return
        number = store(tree, number)  # even if the score is too low: it need not be computed again
    new, before = tree.prefixes[number], tree.prefixes[parent]
    score = mass + new.extra
    bound = score - tables.lm.weight * (new.lm - before.lm) if tables.lm.weight else score
    if bound >= now.least_before_lm and score >= now.least and score > -math.inf:
        place = now.n_beam + now.n_candidates
        new.coming, new.onset = mass, before.onset
        tree.beam[place], tree.scores[place] = number, score
        now.n_candidates += 1


@inner
def describe(
    tree: Tree, tables: Tables, new: Records, parent: int, token: int, word: int, node: int
) -> None:
    """Fill in an extension, scored without the language model."""
    before = tree.prefixes[parent]
    new.parent, new.token, new.word, new.node = parent, token, word, node
    new.phrase, new.state, new.lm, new.onset = before.phrase, before.state, before.lm, before.onset
    extra = before.extra - tables.nodes[before.node].ahead + tables.nodes[node].ahead
    extra += tables.bonuses[word + 1]
    if token != BLANK:
        new.phrase = np.int64(tables.after_phrase[before.phrase, token])
        extra += tables.phrases[new.phrase].worth - tables.phrases[before.phrase].lent
        own = tables.tokens[token]
        begins = tables.tokens[before.token].ends_word
        extra += own.bonus_after_end if begins else own.bonus
    elif node == tables.end_node:
        extra += tables.phrases[before.phrase].end
    new.extra = extra


@inner
def add_lm(tree: Tree, tables: Tables, number: int, bound: float) -> bool:
    """Add the language model's log-probability to the extension in the first free place.

    Args:
        tree: the state of the search.
        tables: the search space.
        number: that of the extension in the tree, or NOBODY.
        bound: upper bound of its score.

    Returns:
        done: false if the language model must be asked first.
    """
    lm, new = tables.lm, tree.prefixes[tree.now[0].n_prefixes]
    before, item = tree.prefixes[new.parent], new.word if lm.of_words else new.token
    if lm.kind == NO_LM or item == NONE:
        return True
    unit, log_prob = lm.items[item].unit, lm.items[item].share
    if lm.kind == NGRAM:
        found, new.state = ngram_score(lm.ngram, before.state, unit)
        log_prob += found
    elif lm.of_words:  # the answer is kept in the tree
        if number == NOBODY:
            new.state = UNREAD
            number = store(tree, number)
        answered = tree.prefixes[number]
        if answered.state == UNREAD:
            wait(tree, number, bound)
            return False
        new.state, log_prob = answered.state, answered.lm
        if before.lm > -math.inf:
            log_prob -= before.lm
    else:
        if before.state == UNREAD:
            wait(tree, new.parent, bound)
            return False
        new.state, log_prob = UNREAD, lm.rows[before.state, unit]
    new.lm += log_prob
    if lm.weight:  # 0 times -inf would be NaN
        new.extra += lm.weight * log_prob
    return True


@inner
def wait(tree: Tree, prefix: int, bound: float) -> None:
    """Let a prefix wait for the language model."""
    now = tree.now[0]
    last = tree.pending[max(0, now.n_pending - 1)]
    if now.n_pending and last.prefix == prefix:
        last.bound = max(last.bound, bound)
        return
    pending = tree.pending[now.n_pending]
    pending.prefix, pending.bound = prefix, bound
    now.n_pending += 1


@inner
def add_ends(tree: Tree, tables: Tables) -> None:
    """Add all complete hypotheses to the candidates, with the masses `coming` of their prefixes.

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
            if now.n_prefixes == len(tree.prefixes):
                now.is_full = 1
                return
            number = find(tree, prefix, AT_END, word)
            describe(tree, tables, tree.prefixes[now.n_prefixes], prefix, AT_END, word, BETWEEN)
            if not add_lm(tree, tables, number, math.inf):
                return
            prefix = store(tree, number)
        word = tables.end
    consider(tree, tables, prefix, AT_END, word, tables.end_node, mass)
