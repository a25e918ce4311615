"""The state of one search: a tree of all prefixes so far, and the beam, those that are kept."""

import math
from typing import NamedTuple

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.language_models import UNREAD
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.tables import Tables

NO_PREFIX, EMPTY_PREFIX = 0, 1
"""The number used in place of a prefix if there is none, and that of the empty prefix.

The element number NO_PREFIX is never in the beam; it is the parent of the empty prefix.
"""

BEFORE, AFTER = 0, 1
"""Whether `ending_log_probs` are those before the next frame or those after it."""

NEW_LENGTH, NEW_LENGTH_PER_PREFIX = 1024, 16
"""Length of new arrays: a constant, and so much for each prefix of a full beam. They can grow."""

PREFIX = np.dtype(
    [
        ("parent", "i8"),  # the prefix without the last token
        ("token", "i8"),  # the last token; BLANK for the empty prefix and for the end
        ("word", "i8"),  # the word that ends with the token; NONE for none
        ("node", "i8"),  # node of the lexicon
        ("phrase", "i8"),  # state of the phrases
        ("lm_state", "i8"),  # the language model's state; UNREAD if it must be called for it
        ("lm", "f8"),  # the language model's log-probability
        ("other_score", "f8"),  # the score without `log_prob`: language model, bonuses ...
        ("log_prob", "f8"),  # acoustic, of all alignments so far; -inf outside the beam
        ("next_log_prob", "f8"),  # the same after the next frame, or with the end of the utterance
        ("from_parent", "f8"),  # the part of `next_log_prob` that extends the parent in that frame
        ("onset", "i8"),  # when the tokens began: the number of an onset
        ("child", "i8"),  # an extension of this prefix; NO_PREFIX for none
        ("sibling", "i8"),  # another extension of the parent; NO_PREFIX for none
    ]
)
"""A partial hypothesis. A prefix that leaves the beam stays in the tree."""

ONSET = np.dtype([("prefix", "i8"), ("frame", "i8"), ("before", "i8"), ("drop", "i8")])
"""The last token of a prefix begins in a frame; the others, as onset `before` says. `drop` is the
last of the prefixes that were dropped in favour of this one; NONE for none."""

DROP = np.dtype(
    [
        ("onset", "i8"),  # of the prefix that was dropped
        ("kept", "i8"),  # onset of the equivalent prefix, with a better score
        ("next", "i8"),  # the drop before, in favour of the same onset; NONE for none
        ("frame", "i8"),
        ("score", "f8"),  # of the dropped prefix minus that of the kept one
        ("log_prob", "f8"),  # the same for the acoustic log-probability
        ("lm", "f8"),  # the same for the language model's
    ]
)

PENDING = np.dtype([("prefix", "i8"), ("bound", "f8")])
"""A prefix that the language model must read first, for a score of at most `bound`: an extension by
a word, or, with a model of tokens, the prefix to extend."""

BRANCH = np.dtype(
    [
        ("origin", "i8"),  # the branch that this one goes on like; NONE for none
        ("start", "i8"),  # the drop with which this one starts; without an origin, a prefix
        ("score", "f8"),
        ("log_prob", "f8"),
        ("lm", "f8"),
    ]
)
"""A complete hypothesis: a prefix that ends with the utterance; or one that was dropped, which goes
on as its origin does after the prefix that was kept."""

FOUND = np.dtype(
    [
        ("score", "f8"),
        ("log_prob", "f8"),
        ("lm", "f8"),
        ("first_token", "i8"),  # the first column of `sequences` with its tokens
        ("n_tokens", "i8"),
        ("first_word", "i8"),  # the same for its words
        ("n_words", "i8"),
    ]
)
"""A hypothesis of the n-best list."""

NOW = np.dtype(
    [
        ("row", "i8"),  # the next row to read of the frames given
        ("frame", "i8"),  # number of frames read since the start
        ("least", "f8"),  # the score that a candidate needs to enter the next beam
        ("least_before_lm", "f8"),  # the same before the language model scores its last word
        ("n_prefixes", "i8"),
        ("n_onsets", "i8"),
        ("n_drops", "i8"),
        ("n_beam", "i8"),
        ("n_candidates", "i8"),
        ("n_pending", "i8"),
        ("is_full", "i8"),  # whether an array is too short to go on
    ]
)


class Tree(NamedTuple):
    """The state of the search of one utterance.

    The alignments of a prefix have S possible endings: blank or not with CTC, HMM states with an
    HMM. A prefix has a log-probability for each. The alignments of a new prefix have ending 0.
    """

    now: Records  # (1,), NOW
    prefixes: Records  # PREFIX
    ending_log_probs: np.ndarray  # (prefixes, 2, S), float64; BEFORE or AFTER the next frame
    onsets: Records  # ONSET
    drops: Records  # DROP
    beam: np.ndarray  # int64, numbers of the prefixes in the beam, then of the candidates
    scores: np.ndarray  # float64, their scores after the next frame
    selected: np.ndarray  # int64, the same prefixes, in the order of `scores` after selection
    pending: Records  # PENDING
    tried: np.ndarray  # (C,), int64, tokens that a frame tries
    hash_table: np.ndarray  # int64, the beam, with one slot for equivalent prefixes
    branches: Records  # BRANCH
    queue: np.ndarray  # int64, branches that may be in the n-best list, as a heap
    found: Records  # FOUND, the n-best list
    chain: np.ndarray  # int64, the drops with which a branch and its origins start
    sequences: np.ndarray  # (5, ...), int64, those of `found`, see `asr.search.backtrace`


OF_PREFIXES = (
    *("prefixes", "ending_log_probs", "beam", "scores", "selected", "pending"),
    *("branches", "queue"),
)
"""The arrays of a `Tree` with room for all prefixes."""

GROWING = (*OF_PREFIXES, "onsets", "drops", "sequences")
"""The arrays that get longer if there is no room."""


def allocate_tree(tables: Tables, C: int, n_endings: int) -> Tree:
    """Allocate the arrays of a search, for C tokens."""
    width, recombines = tables.limits.beam_width, tables.limits.recombines
    n = NEW_LENGTH + NEW_LENGTH_PER_PREFIX * width
    return Tree(
        now=np.zeros(1, NOW),
        prefixes=np.empty(n, PREFIX),
        ending_log_probs=np.empty((n, 2, n_endings)),
        onsets=np.empty(n, ONSET),
        drops=np.empty(n if recombines else width, DROP),
        beam=np.empty(n, np.int64),
        scores=np.empty(n),
        selected=np.empty(n, np.int64),
        pending=np.empty(n, PENDING),
        tried=np.empty(C, np.int64),
        hash_table=np.empty(1 << (2 * width).bit_length() if recombines else 1, np.int64),
        branches=np.empty(n, BRANCH),
        queue=np.empty(n, np.int64),
        found=np.empty(width + 1, FOUND),
        chain=np.empty(width + 1, np.int64),
        sequences=np.empty((5, n), np.int64),
    )


def reset_tree(tree: Tree, tables: Tables, ending: int) -> None:
    """Begin another search: with the empty prefix only, whose alignments have this ending."""
    tree.now[0] = np.zeros(1, NOW)[0]
    tree.now["n_prefixes"], tree.now["n_onsets"], tree.now["n_beam"] = EMPTY_PREFIX + 1, 1, 1
    first = np.zeros(1, PREFIX)  # node ROOT, token BLANK, no extensions
    first["word"], first["phrase"] = NONE, tables.boosts.start
    first["lm_state"] = tables.lm.first_state
    first["other_score"], first["log_prob"] = tables.look_ahead[ROOT], -math.inf
    tree.prefixes[: EMPTY_PREFIX + 1] = first
    tree.prefixes["log_prob"][EMPTY_PREFIX] = 0.0
    tree.ending_log_probs[EMPTY_PREFIX, BEFORE] = -math.inf
    tree.ending_log_probs[EMPTY_PREFIX, BEFORE, ending] = 0.0
    tree.onsets[0], tree.beam[0] = (EMPTY_PREFIX, -1, NONE, NONE), EMPTY_PREFIX


@inner
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    # below e^-40 the sum rounds to a
    return a + math.log1p(math.exp(b - a)) if b - a > -40.0 else a


@inner
def find(tree: Tree, parent: int, token: int, word: int) -> int:
    """The number of an extension in the tree; NO_PREFIX if it was never added."""
    number = tree.prefixes[parent].child
    while number != NO_PREFIX:
        child = tree.prefixes[number]
        if child.token == token and child.word == word:
            break
        number = child.sibling
    return number


@inner
def store(tree: Tree, number: int) -> int:
    """Add the extension in the first free slot to the tree, unless it has a number; its number."""
    slot = tree.prefixes[tree.now[0].n_prefixes]
    if number == NO_PREFIX:
        number = tree.now[0].n_prefixes
        tree.now[0].n_prefixes += 1
        parent = tree.prefixes[slot.parent]
        slot.log_prob, slot.child = -math.inf, NO_PREFIX
        slot.sibling, parent.child = parent.child, number
    else:
        prefix = tree.prefixes[number]
        prefix.lm, prefix.other_score, prefix.onset = slot.lm, slot.other_score, slot.onset
        if slot.lm_state != UNREAD:  # the prefix may have lost its state
            prefix.lm_state = slot.lm_state
    return number
