"""Texts in sclite's notation (alternatives, optional words) -> the plain texts to compare."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from asr.errors import InputError
from asr.scoring.word_graphs import START, Arc, WordGraph, cheapest_pairs, linear


@dataclass(frozen=True)
class Rules:
    """How words are read and compared; sclite's options in brackets.

    Args:
        ignore_case: compare without regard to case; None: only in sclite's formats (trn, STM,
            CTM), as sclite does [-s turns it off].
        optional: whether `(word)` is an optional word [-D]; None: in trn but not in STM and CTM,
            as in sclite.
        fragments: `wo-` matches words that begin with `wo`, `-rd` words that end with `rd` [-F].
        normalise: applied to texts before they are compared.
    """

    ignore_case: bool | None = None
    optional: bool | None = None
    fragments: bool = False
    normalise: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Alternatives:
    """`{ a / b c / @ }`: a choice between sequences; `@` is an empty one."""

    sequences: list[list["str | Alternatives"]]


Sequence = list[str | Alternatives]


_OUTSIDE = re.compile(r"[{}]|[^\s{}]+")
_INSIDE = re.compile(r"[{}/]|[^\s{}/]+")


def parse_notation(text: str, place: str) -> Sequence:
    """Parse a text in sclite's notation.

    Args:
        text: words, and alternatives in `{ ... / ... }`, which may be nested.
        place: where the text comes from; the error message starts with it.

    Raises:
        InputError: a brace is unmatched.
    """
    if "{" not in text and "}" not in text:
        return list(text.split())
    open_alternatives: list[list[Sequence]] = []
    sequence: Sequence = []
    position = 0
    # a slash separates only inside braces
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
    """Whether a text has only plain words, which are compared unchanged."""
    return not rules.fragments and not (notation and _SIGNS.search(text))


def word_graph(text: str, place: str, notation: str, rules: Rules) -> WordGraph:
    """The graph of all texts that a transcript allows.

    Args:
        text: the transcript.
        place: where the text comes from; the error message starts with it.
        notation: of the `Reading`: "trn", "timed", or "" for plain words.
        rules: only `optional` and `normalise` are used.

    Raises:
        InputError: a brace is unmatched.
    """
    if not notation:
        return linear((rules.normalise(text) if rules.normalise else text).split())
    optional = notation == "trn" if rules.optional is None else rules.optional
    return _graph(parse_notation(text, place), rules, optional)


def resolve(
    reference: WordGraph, hypothesis: WordGraph, fragments: bool = False
) -> tuple[str, str]:
    """Plain texts whose alignment has the errors that sclite counts.

    Of alternatives, those with the fewest errors are chosen. An omitted optional word is written to
    both texts, in parentheses, because it counts as correct; so is a matching fragment.

    Args:
        reference: graph of the reference.
        hypothesis: graph of the hypothesis.
        fragments: whether `wo-` and `-rd` match words that begin or end like this.

    Source: NIST sclite 2.10; see `cheapest_pairs` for differences.
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
        """Add a sequence after the arcs `before`; return the arcs that may precede what follows."""
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
    """The word of a token, without tags (`word;tag;tag`) and star, and whether it is optional."""
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
