"""A file of phrases that are likely to be said -> phrases with their bonuses."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from asr.errors import InputError
from asr.files import read_lines
from asr.text.normalisation import canonical

BOOST = 2.0
"""Default bonus of a phrase, in nats per token."""

MAX_BOOST = 1e6
"""Largest bonus; larger sums would lose the digits of log-probabilities."""


class Phrase(NamedTuple):
    """A phrase to make more likely."""

    text: str
    nats: float  # bonus for each of its tokens
    place: str  # the start of an error message: the phrase, after the file and line it is from


Phrases = Mapping[str, float] | Sequence[Phrase]
"""Phrases with their bonuses in nats per token, or those of a file."""


def as_phrases(phrases: Phrases) -> list[Phrase]:
    """The phrases as a list; a text with a bonus is its own place."""
    if isinstance(phrases, Mapping):
        return [Phrase(text, nats, f"phrase {text!r}") for text, nats in phrases.items()]
    return list(phrases)


def read_phrases(path: str | Path) -> list[Phrase]:
    """Read phrases from a file: one per line, optionally followed by a tab and a bonus.

    Args:
        path: a UTF-8 file; empty lines are skipped. The bonus is in nats per token, `BOOST` by
            default. Phrases are converted to canonical form, see
            `asr.text.normalisation.canonical`.

    Returns:
        phrases: in the order of the file.

    Raises:
        InputError: the file can't be read or has no phrase; a line has no phrase before the tab or
            no number after it, or repeats a phrase.
    """
    phrases: dict[str, Phrase] = {}
    for number, line in enumerate(read_lines(path, "phrases"), 1):
        if not line.strip():
            continue
        words, tab, nats = line.partition("\t")
        phrase = canonical(words, f"{path}:{number}")
        if not phrase or phrase in phrases:
            found = f"{phrase!r} again" if phrase else "no phrase"
            raise InputError(f"{path}:{number}: has {found}; expected each phrase once")
        bonus = _bonus(nats.strip(), f"{path}:{number}") if tab else BOOST
        phrases[phrase] = Phrase(phrase, bonus, f"{path}:{number}: phrase {phrase!r}")
    if not phrases:
        raise InputError(f"{path}: has no phrase; expected one per line")
    return list(phrases.values())


def _bonus(nats: str, place: str) -> float:
    try:
        bonus = float(nats)
    except ValueError:
        bonus = math.nan
    if not abs(bonus) <= MAX_BOOST:
        raise InputError(
            f"{place}: has {nats!r}; expected a bonus in nats after the tab, from {-MAX_BOOST:g} to"
            f" {MAX_BOOST:g}"
        )
    return bonus
