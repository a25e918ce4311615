"""The end of a search -> its n-best list, with what recombination dropped on the way."""

import numpy as np

from asr.search.candidates import add_ends
from asr.search.compiled import Records, inner
from asr.search.lexicon_tree import NONE
from asr.search.prefixes import Tree
from asr.search.tables import Tables
from asr.text.tokenizer import BLANK

TOKENS, FRAMES, WORDS, FIRST, LAST = 0, 1, 2, 3, 4
"""Rows of `sequences`: a hypothesis's tokens, last to first, and their frames; its words, last to
first, and the frames of their first and last tokens."""


@inner
def list_best(tree: Tree, tables: Tables, n_best: int, frames_per_token: int, repeats: bool) -> int:
    """List the best hypotheses, as if the utterance ended here.

    The same tokens with the same words come once. The acoustic log-probability of a hypothesis that
    was dropped is an estimate: its difference from that of the kept one is assumed to stay the same
    to the end.

    Args:
        tree: the state of the search, with the log-probabilities of ending in `next_log_prob`.
        tables: the search space.
        n_best: largest number of hypotheses; 0 for no list.
        frames_per_token: smallest number of frames of a token.
        repeats: whether a token needs one more frame if the one before is the same.

    Returns:
        n: the number of hypotheses; -1 if an array is full or the language model must be called.
    """
    if n_best == 0:
        return 0
    add_ends(tree, tables)
    now = tree.now[0]
    if now.is_full or now.n_pending:
        return -1
    n, n_found = now.n_candidates, 0
    n_queue = start_branches(tree, n)
    first = tree.found[0]
    first.first_token, first.first_word = 0, 0
    while n_queue > 0 and n_found < n_best:
        number = tree.queue[0]
        n_queue = pop(tree, n_queue)
        new, after = tree.found[n_found], tree.found[n_found + 1]
        if max(new.first_token, new.first_word) + now.frame + 1 > tree.sequences.shape[1]:
            now.is_full = 1
            return -1
        trace_back(tree, tables, number, new)
        after.first_token = new.first_token + new.n_tokens
        after.first_word = new.first_word + new.n_words
        needed = new.n_tokens * frames_per_token
        if repeats:
            needed += count_repeats(tree.sequences[TOKENS, new.first_token : after.first_token])
        if needed > now.frame or is_duplicate(tree, n_found):
            continue
        branch = tree.branches[number]
        new.score, new.log_prob, new.lm = branch.score, branch.log_prob, branch.lm
        n_found += 1
        n_before, n = n, branch_off(tree, n, number)
        if now.is_full:
            return -1
        for i in range(n_before, n):
            n_queue = push(tree, n_queue, i)
    return n_found


@inner
def start_branches(tree: Tree, n: int) -> int:
    """Put a branch for each of the n complete hypotheses into the queue; its length."""
    n_queue, n_beam = 0, tree.now[0].n_beam
    for i in range(n):
        branch, number = tree.branches[i], tree.beam[n_beam + i]
        end = tree.prefixes[number]
        branch.origin, branch.start = NONE, number
        branch.score = end.next_log_prob + end.other_score
        branch.log_prob, branch.lm = end.next_log_prob, end.lm
        n_queue = push(tree, n_queue, i)
    return n_queue


@inner
def push(tree: Tree, n: int, number: int) -> int:
    """Add a branch to the queue of n branches; its new length."""
    queue, branches, place = tree.queue, tree.branches, n
    while place > 0 and branches[number].score > branches[queue[(place - 1) >> 1]].score:
        queue[place] = queue[(place - 1) >> 1]
        place = (place - 1) >> 1
    queue[place] = number
    return n + 1


@inner
def pop(tree: Tree, n: int) -> int:
    """Remove the best branch, the first, from the queue of n branches; its new length."""
    queue, branches, place, n = tree.queue, tree.branches, 0, n - 1
    last = queue[n]
    while 2 * place + 1 < n:
        child = 2 * place + 1
        if child + 1 < n and branches[queue[child + 1]].score > branches[queue[child]].score:
            child += 1
        if branches[queue[child]].score <= branches[last].score:
            break
        queue[place], place = queue[child], child
    queue[place] = last
    return n


@inner
def trace_back(tree: Tree, tables: Tables, number: int, new: Records) -> None:
    """Write the tokens, frames and words of a branch to `sequences`."""
    branches, chain, sequences = tree.branches, tree.chain, tree.sequences
    n, column, word_column = 0, new.first_token, new.first_word
    while branches[number].origin != NONE:
        chain[n], number = branches[number].start, branches[number].origin
        n += 1
    end = tree.prefixes[branches[number].start]
    word = end.word
    if tables.lm.of_words:  # the last word, if any, is a prefix of its own
        last = tree.prefixes[end.parent]
        word = last.word if last.token == BLANK else np.int64(NONE)
    if word != NONE:
        sequences[WORDS, word_column], sequences[LAST, word_column] = word, column
        word_column += 1
    onset = end.onset
    for i in range(n, -1, -1):
        # go back to the kept prefix or, at last, to the empty one
        kept = tree.drops[chain[i - 1]].kept if i > 0 else 0
        while onset != kept:
            prefix = tree.prefixes[tree.onsets[onset].prefix]
            sequences[TOKENS, column] = prefix.token
            sequences[FRAMES, column] = tree.onsets[onset].frame
            if prefix.word != NONE:
                sequences[WORDS, word_column], sequences[LAST, word_column] = prefix.word, column
                word_column += 1
            column += 1
            onset = tree.onsets[onset].before
        if i > 0:
            onset = tree.drops[chain[i - 1]].onset
    new.n_tokens, new.n_words = column - new.first_token, word_column - new.first_word
    set_word_frames(sequences, new, tables.separator)


@inner
def set_word_frames(sequences: np.ndarray, new: Records, separator: int) -> None:
    """Set the frames of the words' first and last tokens.

    Until here, row LAST has the columns of the words' last tokens. The columns are in reverse
    order: those of a word end where those of the word spoken before it begin.
    """
    end = new.first_token + new.n_tokens  # the column after those of the word
    for i in range(new.first_word + new.n_words - 1, new.first_word - 1, -1):
        begin = sequences[LAST, i]
        last = begin + 1 if sequences[TOKENS, begin] == separator else begin
        sequences[FIRST, i] = sequences[FRAMES, end - 1]
        sequences[LAST, i] = sequences[FRAMES, last]
        end = begin


@inner
def count_repeats(tokens: np.ndarray) -> int:
    """Number of tokens that are the same as the one before."""
    n = 0
    for i in range(1, len(tokens)):
        n += tokens[i] == tokens[i - 1]
    return n


@inner
def is_duplicate(tree: Tree, n: int) -> bool:
    """Whether hypothesis n has the same tokens and words as one before."""
    new = tree.found[n]
    for i in range(n):
        old = tree.found[i]
        if old.n_tokens == new.n_tokens and old.n_words == new.n_words:
            same = is_same(tree.sequences[TOKENS], old.first_token, new.first_token, new.n_tokens)
            if same and is_same(tree.sequences[WORDS], old.first_word, new.first_word, new.n_words):
                return True
    return False


@inner
def is_same(values: np.ndarray, one: int, other: int, n: int) -> bool:
    """Whether n values from two places on are the same."""
    i = 0
    while i < n and values[one + i] == values[other + i]:
        i += 1
    return i == n


@inner
def branch_off(tree: Tree, n: int, origin: int) -> int:
    """Add to the n branches those off a hypothesis; their new number.

    They are the prefixes dropped in favour of its own, before it left its origin. The branches
    after that are added for the origin.
    """
    branch = tree.branches[origin]
    if branch.origin == NONE:
        onset = tree.prefixes[branch.start].onset
    else:
        onset = tree.drops[branch.start].onset
    until = tree.now[0].frame
    while onset != NONE:
        number = tree.onsets[onset].drop
        while number != NONE:
            drop = tree.drops[number]
            if drop.frame < until:  # later, the hypothesis had another token
                if n == len(tree.branches):
                    tree.now[0].is_full = 1
                    return n
                new = tree.branches[n]
                new.origin, new.start, new.score = origin, number, branch.score + drop.score
                new.log_prob, new.lm = branch.log_prob + drop.log_prob, branch.lm + drop.lm
                n += 1
            number = drop.next
        until, onset = tree.onsets[onset].frame, tree.onsets[onset].before
    return n
