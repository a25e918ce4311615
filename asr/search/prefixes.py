"""The state of one search: a tree of all prefixes so far, and the beam, those that are kept."""

import math
from typing import NamedTuple

import numpy as np

from asr.search.compiled import Records, inner
from asr.search.language_models import UNREAD
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.tables import Tables

NOBODY, EMPTY = 0, 1
"""Numbers of the empty prefix's parent, which is never in the beam, and of the empty prefix."""

BEFORE, AFTER = 0, 1
"""Whether masses are those before the next frame or those after it."""

PREFIX = np.dtype(
    [
        ("parent", "i8"),  # the prefix without the last token
        ("token", "i8"),  # the last token; BLANK for the empty prefix and for the end
        ("word", "i8"),  # the word that ends with the token; NONE for none
        ("node", "i8"),  # node of the lexicon
        ("phrase", "i8"),  # state of the phrases
        ("state", "i8"),  # the language model's state; UNREAD if it must be asked for it
        ("lm", "f8"),  # the language model's log-probability
        ("extra", "f8"),  # the score without the acoustic log-probability; with look-ahead
        ("total", "f8"),  # log-probability of all alignments so far; -inf outside the beam
        ("coming", "f8"),  # the same after the next frame, or with the end of the utterance
        ("entering", "f8"),  # the part of `coming` that extends the parent in the next frame
        ("onset", "i8"),  # when the tokens began: the number of an onset
        ("child", "i8"),  # an extension of this prefix; NOBODY for none
        ("sibling", "i8"),  # another extension of the parent; NOBODY for none
    ]
)
"""A partial hypothesis. A prefix that leaves the beam stays in the tree."""

ONSET = np.dtype([("prefix", "i8"), ("frame", "i8"), ("before", "i8"), ("drop", "i8")])
"""The last token of a prefix begins in a frame; the others, as onset `before` says. `drop` is the
last of the prefixes that were dropped in favour of this one; NONE for none."""

DROP = np.dtype(
    [
        ("onset", "i8"),  # of the prefix that was dropped
        ("kept", "i8"),  # onset of the prefix with the same future and a better score
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
        ("first_token", "i8"),  # the first column of `texts` with its tokens
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

    A prefix has a log-probability, its mass, for each of S states in which its alignments may end.
    A new prefix is in state 0.
    """

    now: Records  # (1,), NOW
    prefixes: Records  # PREFIX
    masses: np.ndarray  # (prefixes, 2, S), float64, before and after the next frame
    onsets: Records  # ONSET
    drops: Records  # DROP
    beam: np.ndarray  # int64, numbers of the prefixes in the beam, then of the candidates
    scores: np.ndarray  # float64, their scores after the next frame
    ranked: np.ndarray  # int64, their numbers in the order of `scores`
    pending: Records  # PENDING
    tried: np.ndarray  # (C,), int64, tokens that a frame tries
    slots: np.ndarray  # int64, hash table of the prefixes in the beam by their futures
    branches: Records  # BRANCH
    queue: np.ndarray  # int64, branches that may be in the n-best list, as a heap
    found: Records  # FOUND, the n-best list
    line: np.ndarray  # int64, a branch, its origin, its origin's origin ...
    texts: np.ndarray  # (5, ...), int64, see `asr.search.backtrace`


OF_PREFIXES = (
    *("prefixes", "masses", "beam", "scores", "ranked", "pending"),
    *("branches", "queue"),
)
"""The arrays of a `Tree` with room for all prefixes."""

GROWING = (*OF_PREFIXES, "onsets", "drops", "texts")
"""The arrays that get longer if there is no room."""


def room(tables: Tables, C: int, n_states: int) -> Tree:
    """Room for the state of a search."""
    width, recombines = tables.limits.beam_width, tables.limits.recombines
    n = 16 * width + 1024
    return Tree(
        now=np.zeros(1, NOW),
        prefixes=np.empty(n, PREFIX),
        masses=np.empty((n, 2, n_states)),
        onsets=np.empty(n, ONSET),
        drops=np.empty(n if recombines else width, DROP),
        beam=np.empty(n, np.int64),
        scores=np.empty(n),
        ranked=np.empty(n, np.int64),
        pending=np.empty(n, PENDING),
        tried=np.empty(C, np.int64),
        slots=np.empty(1 << (2 * width).bit_length() if recombines else 1, np.int64),
        branches=np.empty(n, BRANCH),
        queue=np.empty(n, np.int64),
        found=np.empty(width + 1, FOUND),
        line=np.empty(width + 1, np.int64),
        texts=np.empty((5, n), np.int64),
    )


def start(tree: Tree, tables: Tables, state: int) -> None:
    """Begin a search: only the empty prefix, whose alignments end in a state."""
    tree.now[0] = np.zeros(1, NOW)[0]
    tree.now["n_prefixes"], tree.now["n_onsets"], tree.now["n_beam"] = EMPTY + 1, 1, 1
    first = np.zeros(1, PREFIX)  # node ROOT, token BLANK, no extensions
    first["word"], first["phrase"] = NONE, tables.first_phrase
    first["state"] = tables.lm.first_state
    first["extra"], first["total"] = tables.nodes["ahead"][ROOT], -math.inf
    tree.prefixes[: EMPTY + 1] = first
    tree.prefixes["total"][EMPTY] = 0.0
    tree.masses[EMPTY, BEFORE], tree.masses[EMPTY, BEFORE, state] = -math.inf, 0.0
    tree.onsets[0], tree.beam[0] = (EMPTY, -1, NONE, NONE), EMPTY


@inner
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a + math.log1p(math.exp(b - a)) if b - a > -40.0 else a  # the digits of a end there


@inner
def find(tree: Tree, parent: int, token: int, word: int) -> int:
    """The number of an extension in the tree; NOBODY if it was never added."""
    number = tree.prefixes[parent].child
    while number != NOBODY:
        child = tree.prefixes[number]
        if child.token == token and child.word == word:
            break
        number = child.sibling
    return number


@inner
def store(tree: Tree, number: int) -> int:
    """Add the extension in the first free place to the tree, unless it has a number; its number."""
    new = tree.prefixes[tree.now[0].n_prefixes]
    if number == NOBODY:
        number = tree.now[0].n_prefixes
        tree.now[0].n_prefixes += 1
        parent = tree.prefixes[new.parent]
        new.total, new.child, new.sibling, parent.child = -math.inf, NOBODY, parent.child, number
    else:
        prefix = tree.prefixes[number]
        prefix.lm, prefix.extra, prefix.onset = new.lm, new.extra, new.onset
        if new.state != UNREAD:  # the prefix may have lost its state
            prefix.state = new.state
    return number
