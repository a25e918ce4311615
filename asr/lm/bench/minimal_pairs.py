"""word lists and templates, or a file -> pairs of a grammatical and an ungrammatical sentence."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import InputError, counted
from asr.files import read_text
from asr.text.normalisation import canonical


@dataclass(frozen=True)
class Pair:
    """A minimal pair: two sentences that differ in one point of grammar.

    Args:
        good: the grammatical sentence.
        bad: the ungrammatical one.
        groups: groups that the pair is counted in.
    """

    good: str
    bad: str
    groups: tuple[str, ...] = ()


def read_minimal_pairs(path: str | Path) -> list[Pair]:
    """Read pairs from a file, one per line: good, tab, bad, optionally a tab and a group.

    Raises:
        InputError: a line is not a pair (the message has the line's number), or there is no pair.
    """
    pairs = []
    for number, line in enumerate(read_text(path, "pairs").split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        columns = [canonical(column, place) for column in line.split("\t")]
        if len(columns) not in (2, 3) or not all(columns):
            raise InputError(
                f"{place}: is {line[:80]!r}; expected good, tab, bad, optionally a tab and a group"
            )
        good, bad, *groups = columns
        pairs.append(Pair(good, bad, tuple(groups)))
    if not pairs:
        raise InputError(f"{path}: has no pair; expected at least one line: good, tab, bad")
    return pairs


def subject_verb_pairs() -> list[Pair]:
    """A few hundred pairs of English sentences in which the verb agrees with its subject or not.

    Each pair is in two groups: by the number of words between subject and verb, and by the number
    of attractors. Attractors are nouns among these words whose number (singular or plural) differs
    from the subject's. Each sentence occurs with a singular and with a plural subject. So a model
    that knows only the frequencies of the verbs is right half the time in every group.

    Source: the task is that of Linzen, Dupoux and Goldberg 2016, arXiv:1611.01368, and of Marvin
    and Linzen 2018, arXiv:1808.09031; the sentences are our own, of words of 19th-century novels.
    """
    pairs = []
    for between, frames in _FRAMES.items():
        n_nouns = frames[0][1].count("{}")
        for item in range(_ITEMS[n_nouns]):
            for numbers in itertools.product((0, 1), repeat=1 + n_nouns):
                pairs.append(_pair(between, item, numbers))
    return pairs


def _pair(between: int, item: int, numbers: tuple[int, ...]) -> Pair:
    """Fill a template with the words chosen by `item`; in `numbers` 0 is singular, 1 plural."""
    frames = _FRAMES[between]
    kind, frame = frames[item % len(frames)]
    nouns = list(_nouns(kind, between + item))
    subject, *others = (noun[number] for noun, number in zip(nouns, numbers, strict=False))
    verb = _VERBS[item // len(frames) % len(_VERBS)]
    predicate = _PREDICATES[kind][item % len(_PREDICATES[kind])]
    words = frame.format(*others)
    begin = f"the {subject} {words}" if words else f"the {subject}"
    good, bad = (f"{begin} {verb[n]} {predicate}" for n in (numbers[0], 1 - numbers[0]))
    attractors = sum(number != numbers[0] for number in numbers[1:])
    groups = counted(between, "word") + " between", counted(attractors, "attractor")
    return Pair(good, bad, groups)


def _nouns(kind: str, item: int) -> Iterator[tuple[str, str]]:
    """A subject of the kind, then other nouns, all different."""
    nouns = _NOUNS[kind]
    for step in (0, 5, 10):
        yield nouns[(item + step) % len(nouns)]


_ITEMS = {0: 24, 1: 16, 2: 8}
"""Sentences per template, by the number of nouns between subject and verb (without numbers)."""

_NOUNS = {
    "person": (
        ("man", "men"),
        ("lady", "ladies"),
        ("boy", "boys"),
        ("woman", "women"),
        ("friend", "friends"),
        ("child", "children"),
        ("servant", "servants"),
        ("girl", "girls"),
        ("gentleman", "gentlemen"),
        ("sister", "sisters"),
        ("soldier", "soldiers"),
        ("brother", "brothers"),
        ("stranger", "strangers"),
    ),
    "thing": (
        ("house", "houses"),
        ("letter", "letters"),
        ("room", "rooms"),
        ("tree", "trees"),
        ("book", "books"),
        ("garden", "gardens"),
        ("picture", "pictures"),
        ("window", "windows"),
        ("flower", "flowers"),
        ("door", "doors"),
        ("paper", "papers"),
    ),
}

_VERBS = (("was", "were"), ("is", "are"), ("has been", "have been"))

_PREDICATES = {
    "person": ("very happy", "quite alone", "too proud", "ill", "silent", "ready to go", "tired"),
    "thing": ("very old", "beautiful", "too small", "quite lost", "dear to me"),
}

_FRAMES = {
    0: (("person", ""), ("thing", "")),
    1: (("person", "always"), ("thing", "never"), ("person", "often"), ("thing", "now")),
    2: (("person", "before me"), ("thing", "behind him"), ("person", "beside her")),
    3: (
        ("person", "with the {}"),
        ("thing", "near the {}"),
        ("person", "behind the {}"),
        ("thing", "beside the {}"),
    ),
    4: (
        ("person", "who loved the {}"),
        ("thing", "behind the old {}"),
        ("person", "whom the {} knew"),
    ),
    5: (
        ("person", "who lived with the {}"),
        ("thing", "that stood near the {}"),
        ("person", "who came with the {}"),
        ("person", "who spoke to the {}"),
    ),
    6: (
        ("person", "between the {} and the {}"),
        ("thing", "behind the {} near the {}"),
        ("person", "beside the {} of the {}"),
    ),
    8: (
        ("person", "who had followed the {} and the {}"),
        ("thing", "that stood between the {} and the {}"),
        ("person", "who went with the {} of the {}"),
    ),
    11: (
        ("person", "of whom the {} had so often spoken to the {}"),
        ("thing", "that we had often seen near the {} of the {}"),
    ),
}
"""Templates of the words between subject and verb, by their number of words."""
