"""A search space -> the same as arrays and numbers, for compiled code."""

import math
from typing import NamedTuple

import numpy as np

from asr.search.compiled import Records
from asr.search.language_models import LMTables, make_lm_tables
from asr.search.lexicon_tree import NONE, ROOT
from asr.search.space import SearchSpace
from asr.text.jamo import Position, may_follow, position_of
from asr.text.subword import WORD_START
from asr.text.tokenizer import BLANK, BpeTokenizer, JamoTokenizer

NODE = np.dtype([("first_word", "i8"), ("n_words", "i8"), ("inner", "i8"), ("ahead", "f8")])
"""A node of the lexicon, as in `Trie`, with its look-ahead times the language model's weight."""

TOKEN = np.dtype(
    [("bonus", "f8"), ("bonus_after_end", "f8"), ("ends_word", "i8"), ("position", "i8")]
)
"""Word bonuses without a lexicon: of a token; of a token after one with `ends_word`. The position
of one of Hangul's letters, as a place in `POSITIONS`."""

POSITIONS: tuple[Position | None, ...] = (None, "initial", "medial", "final")
"""Positions in a syllable, see `asr.text.jamo`; None for BLANK and all other tokens."""

PHRASE = np.dtype([("worth", "f8"), ("lent", "f8"), ("end", "f8")])
"""A state of the phrases, as in `PhraseBoosts`."""


class Limits(NamedTuple):
    """Settings of pruning; see `BeamSettings`."""

    beam_width: int
    token_floor: float
    score_floor: float
    blank_skip: float  # natural log; inf for off
    recombines: bool


class Tables(NamedTuple):
    """A search space. Words have the numbers of the lexicon, then any other word, then `end`.

    The end of an utterance leads to `end_node`, the last one, which no token leaves. Without a
    lexicon, all tokens lead to ROOT. Without phrases, their automaton has one state.
    """

    limits: Limits
    children: np.ndarray  # (nodes, C), int32, as in `Trie`
    nodes: Records  # (nodes + 1,), NODE
    endings: np.ndarray  # int64, words, as in `Trie`
    bonuses: np.ndarray  # float64, of NONE, of each word, any other word, and `end`
    separator: int  # NONE for no lexicon or no separator
    joined: bool  # whether there is a lexicon without a separator
    end: int  # the end of the utterance, as a word
    end_node: int
    tokens: Records  # (C,), TOKEN
    follows: np.ndarray  # (4, 4), bool, whether a position may follow another
    first_phrase: int  # the first state of the phrases
    after_phrase: np.ndarray  # (states, C), int32, as `after` in `PhraseBoosts`
    phrases: Records  # (states,), PHRASE
    max_gain: float  # upper bound of what an extension adds to the score, besides look-ahead
    lm: LMTables


def make_tables(space: SearchSpace) -> Tables:
    """Make the tables of a search space."""
    settings, tokenizer, trie = space.settings, space.tokenizer, space.lexicon
    C, bonus = len(tokenizer.symbols), float(space.settings.word_bonus)
    tokens, n_words = np.zeros(C, TOKEN), 0
    children, nodes = np.full((1, C), ROOT, np.int32), np.zeros(2, NODE)
    endings, separator = np.zeros(1, np.int64), NONE
    if trie is not None:
        n_words, children, endings = len(trie.words), trie.children, trie.endings
        separator = NONE if trie.separator is None else trie.separator
        nodes = np.zeros(len(trie.parents) + 1, NODE)
        nodes["first_word"][:-1], nodes["n_words"][:-1] = trie.first_word, trie.n_words
        nodes["inner"][:-1] = trie.inner
        if space.ahead is not None:
            nodes["ahead"][:-1] = settings.lm_weight * space.ahead
    elif isinstance(tokenizer, BpeTokenizer):
        tokens["bonus"] = [bonus * symbol.startswith(WORD_START) for symbol in tokenizer.symbols]
        tokens["bonus_after_end"], tokens["ends_word"][BLANK] = bonus, 1
    elif tokenizer.separator is not None:
        tokens["bonus_after_end"] = bonus
        tokens["bonus_after_end"][tokenizer.separator] = 0.0
        tokens["ends_word"][[BLANK, tokenizer.separator]] = 1
    else:
        tokens["bonus"] = bonus
    if isinstance(tokenizer, JamoTokenizer):
        tokens["position"] = [POSITIONS.index(position_of(each)) for each in tokenizer.symbols]
    bonuses = np.full(n_words + 3, bonus)
    bonuses[0], bonuses[-2], bonuses[-1] = 0.0, bonus + settings.unk_bonus, 0.0
    phrases, after_phrase, first_phrase = np.zeros(1, PHRASE), np.zeros((1, C), np.int32), 0
    if space.boosts is not None:
        first_phrase, after_phrase = space.boosts.start, space.boosts.after
        phrases = np.zeros(len(after_phrase), PHRASE)
        for name in ("worth", "lent", "end"):
            phrases[name] = getattr(space.boosts, name)
    gain = max(0.0, bonuses.max(), tokens["bonus"].max(), tokens["bonus_after_end"].max())
    units = np.zeros(C, np.int64) if space.units is None else space.units
    return Tables(
        Limits(
            settings.beam_width,
            float(settings.token_floor),
            float(settings.score_floor),
            math.log(settings.blank_skip) if settings.blank_skip < 1 else math.inf,
            space.recombines,
        ),
        children,
        nodes,
        endings,
        bonuses,
        separator,
        trie is not None and trie.separator is None,
        n_words + 1,
        len(nodes) - 1,
        tokens,
        np.array([[may_follow(before, after) for after in POSITIONS] for before in POSITIONS]),
        first_phrase,
        after_phrase,
        phrases,
        float(gain + max(0.0, phrases["worth"].max())),
        make_lm_tables(space.lm, space.scores_words, float(settings.lm_weight), units),
    )
