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

NODE = np.dtype(
    [("first_word", "i8"), ("n_words", "i8"), ("continues", "i8"), ("look_ahead", "f8")]
)
"""A node of the lexicon, as in `Trie`, with its look-ahead times the language model's weight."""

TOKEN = np.dtype(
    [("bonus", "f8"), ("bonus_after_end", "f8"), ("ends_word", "i8"), ("position", "i8")]
)
"""Word bonuses without a lexicon: of a token; of a token after one with `ends_word`. The position
of one of Hangul's letters, as a place in `POSITIONS`."""

POSITIONS: tuple[Position | None, ...] = (None, "initial", "medial", "final")
"""Positions in a syllable, see `asr.text.jamo`; None for BLANK and all other tokens."""

PHRASE = np.dtype([("entry_bonus", "f8"), ("taken_back", "f8"), ("end_bonus", "f8")])
"""A state of the phrases, as in `PhraseBoosts`."""


class Limits(NamedTuple):
    """Settings of pruning; see `BeamSettings`."""

    beam_width: int
    token_floor: float
    score_floor: float
    blank_skip: float  # natural log; inf for off
    recombines: bool


class Tables(NamedTuple):
    """A search space. Words have the numbers of the lexicon, then `end`.

    The end of an utterance leads to `end_node`, the last one, which no token leaves. Without a
    lexicon, all tokens lead to ROOT. Without phrases, their automaton has one state.
    """

    limits: Limits
    children: np.ndarray  # (nodes, C), int32, as in `Trie`
    nodes: Records  # (nodes + 1,), NODE
    ending_words: np.ndarray  # int64, words, as in `Trie`
    bonuses: np.ndarray  # float64, of NONE, each word, and `end`: word + 1
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
    settings, trie, C = space.settings, space.lexicon, len(space.tokenizer.symbols)
    children, nodes, ending_words = _lexicon_tables(space)
    tokens = _token_table(space)
    first_phrase, after_phrase, phrases = _phrase_tables(space)
    n_words = 0 if trie is None else len(trie.words)
    separator = None if trie is None else trie.separator
    bonuses = np.full(n_words + 2, float(settings.word_bonus))
    bonuses[[0, -1]] = 0.0
    gain = max(0.0, bonuses.max(), tokens["bonus"].max(), tokens["bonus_after_end"].max())
    units = np.zeros(C, np.int64) if space.units is None else space.units
    return Tables(
        limits=Limits(
            beam_width=settings.beam_width,
            token_floor=float(settings.token_floor),
            score_floor=float(settings.score_floor),
            blank_skip=math.log(settings.blank_skip) if settings.blank_skip < 1 else math.inf,
            recombines=space.recombines,
        ),
        children=children,
        nodes=nodes,
        ending_words=ending_words,
        bonuses=bonuses,
        separator=NONE if separator is None else separator,
        joined=trie is not None and separator is None,
        end=n_words,
        end_node=len(nodes) - 1,
        tokens=tokens,
        follows=np.array(
            [[may_follow(before, after) for after in POSITIONS] for before in POSITIONS]
        ),
        first_phrase=first_phrase,
        after_phrase=after_phrase,
        phrases=phrases,
        max_gain=float(gain + max(0.0, phrases["entry_bonus"].max())),
        lm=make_lm_tables(space.lm, space.scores_words, float(settings.lm_weight), units),
    )


def _lexicon_tables(space: SearchSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`children`, `nodes` and `ending_words` of the tables."""
    trie = space.lexicon
    if trie is None:
        C = len(space.tokenizer.symbols)
        return np.full((1, C), ROOT, np.int32), np.zeros(2, NODE), np.zeros(0, np.int64)
    nodes = np.zeros(len(trie.parents) + 1, NODE)
    for name in ("first_word", "n_words", "continues"):
        nodes[name][:-1] = getattr(trie, name)
    if space.look_ahead is not None:
        nodes["look_ahead"][:-1] = space.settings.lm_weight * space.look_ahead
    return trie.children, nodes, trie.ending_words


def _token_table(space: SearchSpace) -> np.ndarray:
    """(C,), TOKEN."""
    tokenizer, bonus = space.tokenizer, float(space.settings.word_bonus)
    tokens = np.zeros(len(tokenizer.symbols), TOKEN)
    if isinstance(tokenizer, JamoTokenizer):
        tokens["position"] = [POSITIONS.index(position_of(each)) for each in tokenizer.symbols]
    if space.lexicon is not None:
        return tokens
    if isinstance(tokenizer, BpeTokenizer):
        tokens["bonus"] = [bonus * symbol.startswith(WORD_START) for symbol in tokenizer.symbols]
        tokens["bonus_after_end"], tokens["ends_word"][BLANK] = bonus, 1
    elif tokenizer.separator is not None:
        tokens["bonus_after_end"] = bonus
        tokens["bonus_after_end"][tokenizer.separator] = 0.0
        tokens["ends_word"][[BLANK, tokenizer.separator]] = 1
    else:
        tokens["bonus"] = bonus
    return tokens


def _phrase_tables(space: SearchSpace) -> tuple[int, np.ndarray, np.ndarray]:
    """`first_phrase`, `after_phrase` and `phrases` of the tables."""
    boosts = space.boosts
    if boosts is None:
        C = len(space.tokenizer.symbols)
        return 0, np.zeros((1, C), np.int32), np.zeros(1, PHRASE)
    phrases = np.zeros(len(boosts.after), PHRASE)
    for name in ("entry_bonus", "taken_back", "end_bonus"):
        phrases[name] = getattr(boosts, name)
    return boosts.start, boosts.after, phrases
