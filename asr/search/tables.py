"""A search space -> the same as arrays and numbers, for compiled code."""

import math
from typing import NamedTuple

import numpy as np

from asr.search.compiled import Records
from asr.search.language_models import LMTables, make_lm_tables
from asr.search.lexicon_tree import NONE, Trie
from asr.search.phrases import PhraseBoosts
from asr.search.space import SearchSpace
from asr.text.jamo import Position, may_follow, position_of
from asr.text.subword import WORD_START
from asr.text.tokenizer import BLANK, BpeTokenizer, JamoTokenizer

TOKEN = np.dtype(
    [("bonus", "f8"), ("bonus_after_end", "f8"), ("ends_word", "i8"), ("position", "i8")]
)
"""Word bonuses without a lexicon: of a token; of a token after one with `ends_word`. The position
of one of Hangul's letters, as a place in `POSITIONS`."""

POSITIONS: tuple[Position | None, ...] = (None, "initial", "medial", "final")
"""Positions in a syllable, see `asr.text.jamo`; None for BLANK and all other tokens."""


class Limits(NamedTuple):
    """Settings of pruning; see `BeamSettings`."""

    beam_width: int
    token_floor: float
    score_floor: float
    blank_skip: float  # natural log; inf for off
    recombines: bool


class Tables(NamedTuple):
    """A search space. Words have the numbers of the lexicon, then `end`.

    The end of an utterance leads to `end_node`, the last one, which no token leaves.
    """

    limits: Limits
    children: np.ndarray  # (nodes, C), int32, as the next four in `Trie`
    first_word: np.ndarray  # (nodes,), int64
    n_words: np.ndarray  # (nodes,), int64
    ending_words: np.ndarray  # int64
    continues: np.ndarray  # (nodes,), bool
    look_ahead: np.ndarray  # (nodes + 1,), float64, times the language model's weight
    word_bonus: float  # of each of the lexicon's words
    separator: int  # NONE for no lexicon or no separator
    joined: bool  # whether there is a lexicon without a separator
    end: int  # the end of the utterance, as a word
    end_node: int
    tokens: Records  # (C,), TOKEN
    follows: np.ndarray  # (4, 4), bool, whether a position may follow another
    boosts: PhraseBoosts
    max_gain: float  # upper bound of what an extension adds to the score, besides look-ahead
    lm: LMTables


def make_tables(space: SearchSpace) -> Tables:
    """Make the tables of a search space."""
    settings, C = space.settings, len(space.tokenizer.symbols)
    trie = space.lexicon or Trie.without_words(C)
    boosts = space.boosts or PhraseBoosts.without_phrases(C)
    weight, bonus = float(settings.lm_weight), float(settings.word_bonus)
    look_ahead = np.zeros(len(trie.parents) + 1)
    if space.look_ahead is not None:
        look_ahead[:-1] = weight * space.look_ahead
    return Tables(
        limits=Limits(
            beam_width=settings.beam_width,
            token_floor=float(settings.token_floor),
            score_floor=float(settings.score_floor),
            blank_skip=math.log(settings.blank_skip) if settings.blank_skip < 1 else math.inf,
            recombines=space.recombines,
        ),
        children=trie.children,
        first_word=trie.first_word,
        n_words=trie.n_words,
        ending_words=trie.ending_words,
        continues=trie.continues,
        look_ahead=look_ahead,
        word_bonus=bonus,
        separator=NONE if trie.separator is None else trie.separator,
        joined=space.lexicon is not None and trie.separator is None,
        end=len(trie.words),
        end_node=len(trie.parents),
        tokens=_token_table(space),
        follows=np.array(
            [[may_follow(before, after) for after in POSITIONS] for before in POSITIONS]
        ),
        boosts=boosts,
        max_gain=max(0.0, bonus) + max(0.0, float(boosts.entry_bonus.max())),
        lm=make_lm_tables(space.lm, space.scores_words, weight, space.units),
    )


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
