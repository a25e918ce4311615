"""Pairs of several systems -> their errors, rates with intervals, groups, and comparisons."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from asr.errors import InputError, listed
from asr.files import finite_or_none
from asr.scoring.bootstrap import bootstrap_interval, paired_gain
from asr.scoring.error_rates import (
    Alignment,
    ErrorCounts,
    align_words,
    cer,
    count_errors,
)
from asr.scoring.transcripts import Pairs

Values = dict[str, Any]
"""Plain values for JSON; rates are fractions, and None where they are infinite."""


@dataclass(frozen=True)
class System:
    """The hypotheses of one system and their errors.

    Args:
        name: distinguishes it from the other systems.
        pairs: the references with the system's hypotheses.
        alignments: of each utterance.
        counts: word errors of each utterance.
    """

    name: str
    pairs: Pairs
    alignments: list[Alignment]
    counts: list[ErrorCounts]


def aligned_system(name: str, pairs: Pairs) -> System:
    """Align the hypotheses of a system and count its errors."""
    alignments = align_words(pairs.references, pairs.hypotheses)
    return System(name, pairs, alignments, [count_errors(alignment) for alignment in alignments])


def system_names(paths: Sequence[str | Path]) -> list[str]:
    """Short names of files: the shortest parts of their paths that tell them apart.

    >>> system_names(["exp/ctc/greedy.txt", "exp/ctc/beam.txt"])
    ['greedy.txt', 'beam.txt']
    >>> system_names(["exp/ctc/hyp.txt", "exp/hmm/hyp.txt"])
    ['ctc', 'hmm']

    Args:
        paths: different ones.
    """
    # bytes of a name that are not UTF-8 are escaped, because JSON can't hold them
    given = [Path(os.fsencode(path).decode("utf-8", "backslashreplace")) for path in paths]
    parts = [path.parts[1:] if path.is_absolute() else path.parts for path in given]
    if len(parts) > 1:
        ends = zip(*(part[:0:-1] for part in parts), strict=False)  # each keeps its first part
        n_common = len(list(takewhile(lambda names: len(set(names)) == 1, ends)))
        parts = [part[: len(part) - n_common] for part in parts]
    for n in range(1, max(map(len, parts)) + 1):
        if len({part[-n:] for part in parts}) == len(parts):
            return ["/".join(part[-n:]) for part in parts]
    return [str(path) for path in given]


def score_values(systems: Sequence[System], by: str | None, path: str | Path) -> Values:
    """The rates and counts of a system, or of several as the list `systems`.

    Args:
        systems: of the same utterances. All but the first are compared with the first.
        by: a field of the references; each system then has `groups`, one for each value of it.
        path: of the references, for the error message.

    Raises:
        InputError: the references do not have the field.
    """
    names = None if by is None else field_values(systems[0].pairs, by, path)
    values = [_system_values(system, names) for system in systems]
    grouped = {} if by is None else {"by": by}
    if len(systems) == 1:
        return values[0] | grouped
    for system, its_values in zip(systems, values, strict=True):
        its_values |= _comparison_values(system, systems[0])
    named = [
        {"name": system.name} | its_values
        for system, its_values in zip(systems, values, strict=True)
    ]
    return grouped | {"systems": named}


def has_field(pairs: Pairs, field: str) -> bool:
    """Whether every reference has a text in this field, such as speaker."""
    values = (said.fields.get(field) for said, _ in pairs.entries)
    return all(isinstance(value, str) and value for value in values)


def field_values(pairs: Pairs, field: str, path: str | Path) -> list[str]:
    """The value of a field of each reference, as text; "" where it is empty or null.

    Args:
        pairs: the references, from a manifest or another file with fields.
        field: its name, such as speaker.
        path: of the references, for the error message.

    Raises:
        InputError: an utterance does not have the field, or its value is a list or an object.
    """
    said = [entry for entry, _ in pairs.entries]
    known = list(dict.fromkeys(name for entry in said for name in entry.fields))
    if field not in known:
        expected = f"one of {listed(sorted(known))}" if known else "a manifest, a table or an STM"
        raise InputError(f"{path}: has no field {field!r}; expected {expected}")
    values = []
    for entry in said:
        if field not in entry.fields:
            raise InputError(f"{entry.place}: has no {field!r}; expected it, as in other rows")
        value = entry.fields[field]
        if isinstance(value, list | dict):
            kind = type(value).__name__
            raise InputError(f"{entry.place}: {field} is a {kind}; expected text or a number")
        values.append("" if value is None else str(value))
    return values


def group_values(counts: Sequence[ErrorCounts], names: Sequence[str]) -> list[Values]:
    """The rates of each group of utterances, most errors first, then by name.

    Args:
        counts: word errors of each utterance.
        names: the group of each utterance.
    """
    groups: dict[str, list[ErrorCounts]] = {}
    for name, count in zip(names, counts, strict=True):
        groups.setdefault(name, []).append(count)
    values = [
        {"group": name, "utterances": len(its_counts), **_rate_values(its_counts)}
        for name, its_counts in groups.items()
    ]
    errors = {name: sum(count.errors for count in group) for name, group in groups.items()}
    return sorted(values, key=lambda each: (-errors[each["group"]], each["group"]))


def _rate_values(counts: Sequence[ErrorCounts]) -> Values:
    total = sum(counts, ErrorCounts())
    low, high = bootstrap_interval(counts)
    return {
        "wer": finite_or_none(total.rate),
        "wer_low": finite_or_none(low),
        "wer_high": finite_or_none(high),
        "substitutions": total.substitutions,
        "deletions": total.deletions,
        "insertions": total.insertions,
        "words": total.words,
    }


def _system_values(system: System, groups: Sequence[str] | None) -> Values:
    pairs, counts = system.pairs, system.counts
    with_spaces = cer(pairs.references, pairs.hypotheses)
    without = cer(pairs.references, pairs.hypotheses, spaces=False)
    wrong = sum(count.errors > 0 for count in counts)
    rates = _rate_values(counts)
    values = {name: rates.pop(name) for name in ("wer", "wer_low", "wer_high")}
    values |= {
        "cer": finite_or_none(with_spaces.rate),
        "cer_no_spaces": finite_or_none(without.rate),
        **rates,
        "characters": with_spaces.words,
        "characters_no_spaces": without.words,
        "utterances": len(counts),
        "utterances_with_errors": wrong,
        "sentence_error_rate": wrong / len(counts),
        "paired_by": "line" if pairs.ids is None else "id",
    }
    return values if groups is None else values | {"groups": group_values(counts, groups)}


def _comparison_values(system: System, first: System) -> Values:
    """The gain over the first system; None for the first, and where references differ.

    Of references with alternatives, each system has those that fit it best. These may have other
    numbers of words.
    """
    values: Values = dict.fromkeys(("over", "gain", "gain_low", "gain_high", "p"))
    if system is first or _words(system) != _words(first):
        return values
    found = paired_gain(system.counts, first.counts)
    return {
        "over": first.name,
        "gain": finite_or_none(found.gain),
        "gain_low": finite_or_none(found.low),
        "gain_high": finite_or_none(found.high),
        "p": found.p,
    }


def _words(system: System) -> list[int]:
    return [count.words for count in system.counts]
