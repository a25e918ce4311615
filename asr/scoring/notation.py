"""Texts in sclite's notation (alternatives, optional words) -> the plain texts that count."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from asr.errors import InputError
from asr.scoring.word_graphs import START, Arc, WordGraph, cheapest_pairs, linear


@dataclass(frozen=True)
class Rules:
    """How words are read and compared; sclite's options in brackets.

    Args:
        ignore_case: compare without regard to case; None does so in sclite's own forms (trn, stm,
            ctm), as sclite does [-s turns it off].
        optional: `(word)` may be left out [-D]; None takes it so in trn, and as it stands in STM
            and CTM, as sclite does.
        fragments: `wo-` matches every word that begins so, `-rd` every one that ends so [-F].
        normalise: brings a text to the form that is compared.
    """

    ignore_case: bool | None = None
    optional: bool | None = None
    fragments: bool = False
    normalise: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Alternatives:
    """`{ a / b c / @ }`: one of several sequences."""

    sequences: list[list["str | Alternatives"]]


Sequence = list[str | Alternatives]


_OUTSIDE = re.compile(r"[{}]|[^\s{}]+")
_INSIDE = re.compile(r"[{}/]|[^\s{}/]+")


def parse_notation(text: str, place: str) -> Sequence:
    """What a text in sclite's notation consists of.

    Args:
        text: words, with `{ ... / ... }` around alternatives, which may hold others.
        place: where it stands, which begins the error's line.

    Raises:
        InputError: a brace has no partner.
    """
    if "{" not in text and "}" not in text:
        return list(text.split())
    open_alternatives: list[list[Sequence]] = []
    sequence: Sequence = []
    position = 0
    # a slash is a sign between alternatives alone
    while found := (_INSIDE if open_alternatives else _OUTSIDE).search(text, position):
        token, position = found.group(), found.end()
        if token == "{":
            open_alternatives.append([sequence])
            sequence = []
        elif token in "/}" and open_alternatives:
            open_alternatives[-1].append(sequence)
            sequence = []
            if token == "}":
                before, *sequences = open_alternatives.pop()
                sequence = [*before, Alternatives(sequences)]
        elif token == "}":
            raise InputError(f"{place}: has '}}' without '{{'; expected {{ word / other }}")
        else:
            sequence.append(token)
    if open_alternatives:
        raise InputError(f"{place}: has '{{' without '}}'; expected {{ word / other }}")
    return sequence


def is_plain(text: str, notation: str, rules: Rules) -> bool:
    """Whether a text is nothing but words, which are compared as they stand."""
    return not rules.fragments and not (notation and _SIGNS.search(text))


def word_graph(text: str, place: str, notation: str, rules: Rules) -> WordGraph:
    """Every text that a transcript allows.

    Args:
        text: of the transcript.
        place: where it stands, which begins the error's line.
        notation: of a `Reading`: "trn", "timed" or "", where a text is words alone.
        rules: `optional` and `normalise` are read.

    Raises:
        InputError: a brace has no partner.
    """
    if not notation:
        return linear((rules.normalise(text) if rules.normalise else text).split())
    optional = notation == "trn" if rules.optional is None else rules.optional
    return _graph(parse_notation(text, place), rules, optional)


def resolve(
    reference: WordGraph, hypothesis: WordGraph, fragments: bool = False
) -> tuple[str, str]:
    """The plain texts whose alignment has the errors that sclite counts.

    Of alternatives the one is taken that gives the fewest errors. An optional word that is left out
    stands in both texts, in its brackets, since it counts as right; a fragment that matches stands
    in both as well.

    Args:
        reference: what was said.
        hypothesis: what was recognised.
        fragments: whether `wo-` and `-rd` match words that begin or end so.

    Source: NIST sclite 2.10; see `cheapest_pairs` for what differs.
    """
    same = _same_or_fragment if fragments else str.__eq__
    said: list[str] = []
    heard: list[str] = []
    for mine, other in cheapest_pairs(reference, hypothesis, same):
        if mine and other:
            said.append(mine.word)
            heard.append(mine.word if same(mine.word, other.word) else other.word)
        elif arc := mine or other:
            shown = f"({arc.word})" if arc.optional else arc.word
            said += [shown] if mine or arc.optional else []
            heard += [shown] if other or arc.optional else []
    return " ".join(said), " ".join(heard)


_SIGNS = re.compile(r"[{}();@*\\]")
_NOTHING = "@"


def _graph(sequence: Sequence, rules: Rules, optional: bool) -> WordGraph:
    arcs = [START]

    def add(sequence: Sequence, before: tuple[int, ...]) -> tuple[int, ...]:
        """Arcs of a sequence behind others; what comes behind it may follow the arcs returned."""
        for item in sequence:
            if isinstance(item, Alternatives):
                ends = [end for each in item.sequences for end in add(each, before)]
                before = tuple(dict.fromkeys(ends))
            elif item != _NOTHING:
                word, is_optional = _word(item, optional)
                for part in rules.normalise(word).split() if rules.normalise else [word]:
                    arcs.append(Arc(part, before, is_optional))
                    before = (len(arcs) - 1,)
        return before

    return WordGraph(arcs, add(sequence, (0,)))


def _word(token: str, optional: bool) -> tuple[str, bool]:
    """A token's word without its tags (`word;tag;tag`) and star, and whether it is optional."""
    word = re.split(r"(?<=[^\\]);", token, maxsplit=1)[0].replace("\\;", ";")
    if len(word) > 1:
        word = word.removesuffix("*")
    if optional and len(word) > 2 and word[0] == "(" and word[-1] == ")":
        return word[1:-1], True
    return word, False


def _same_or_fragment(said: str, heard: str) -> bool:
    for fragment, word in ((said, heard), (heard, said)):
        if len(fragment) > 1 and fragment.startswith("-"):
            return word.endswith(fragment[1:])
        if len(fragment) > 1 and fragment.endswith("-"):
            return word.startswith(fragment[:-1])
    return said == heard
