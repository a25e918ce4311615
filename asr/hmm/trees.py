"""Lexicon -> triphones; decision trees: states of triphones -> pdfs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from asr.errors import InputError, shortened
from asr.text.lexicon import Lexicon

EDGE = "#"
"""The word boundary: the left neighbour of a word's first phone, the right one of its last."""


def context_lexicon(lexicon: Lexicon) -> Lexicon:
    """Convert a lexicon to word-internal triphones: `K AE T` becomes `#-K+AE K-AE+T AE-T+#`.

    Raises:
        InputError: a phone's name would make a triphone's name ambiguous.
    """
    for phone in lexicon.phones:
        if phone == EDGE or (len(phone) > 1 and {"-", "+"} & set(phone)):
            raise InputError(
                f"the lexicon has phone {phone!r}; triphones such as K-AE+T expect no phone"
                f" {EDGE}, and no longer name with - or + in it"
            )
    return Lexicon(
        {
            word: tuple(_in_context(phones) for phones in spoken)
            for word, spoken in lexicon.pronunciations.items()
        }
    )


def parse_unit(unit: str) -> tuple[str, str, str]:
    """Split a triphone's name into left neighbour, phone and right neighbour: `K-AE+T` -> K, AE, T.

    A unit without context, such as silence, is its own phone with "" as neighbours.
    """
    match = _UNIT.fullmatch(unit)
    return (match[1], match[2], match[3]) if match else ("", unit, "")


def middle_phone(unit: str) -> str:
    """The phone of a triphone or a unit without context: AE for `K-AE+T`."""
    return parse_unit(unit)[1]


@dataclass(frozen=True)
class Split:
    """A node of a tree: is the neighbour one of `phones`? Each answer leads to a node or a pdf.

    Args:
        side: the neighbour that the question is about.
        phones: the phones for which the answer is yes.
        yes: the next node, or the pdf, for the answer yes.
        no: the same for the answer no.

    Raises:
        ValueError: `phones` is empty.
    """

    side: Literal["left", "right"]
    phones: frozenset[str]
    yes: "Split | int"
    no: "Split | int"

    def __post_init__(self) -> None:
        if not self.phones:
            raise ValueError("a question has no phones; expected at least one")


@dataclass(frozen=True)
class DecisionTrees:
    """State tying: the pdf of each state of any triphone, whether or not it was seen in training.

    Args:
        trees: for each phone, one tree for each state; the leaves are pdf indices from 0 to
            `n_pdfs` - 1.

    Raises:
        ValueError: a phone has no tree, or a number is missing.
    """

    trees: Mapping[str, tuple[Split | int, ...]]

    def __post_init__(self) -> None:
        for phone, trees in self.trees.items():
            if not trees:
                raise ValueError(f"phone {phone!r} has no tree; expected one for each state")
        if missing := set(range(max(self._leaves, default=0) + 1)) - self._leaves:
            raise ValueError(f"no leaf has number {min(missing)}; expected all from 0 on")
        if min(self._leaves) < 0:
            raise ValueError(f"a leaf has number {min(self._leaves)}; expected 0 or more")

    @property
    def n_pdfs(self) -> int:
        """The number of pdfs, which are the different leaves."""
        return len(self._leaves)

    def pdfs(self, unit: str) -> tuple[int, ...]:
        """The pdf of each state of a triphone such as `K-AE+T`, or of a phone without context.

        Raises:
            InputError: the phone has no tree, because it was not in the training data.
        """
        left, phone, right = parse_unit(unit)
        if phone not in self.trees:
            expected = " ".join(self.trees)
            raise InputError(f"unit {unit!r} is of phone {phone!r}; expected one of {expected}")
        return tuple(_answer(tree, left, right) for tree in self.trees[phone])

    def to_dict(self) -> dict[str, Any]:
        """The trees as plain values, for `trees_from_dict`."""
        return {phone: [_plain(tree) for tree in trees] for phone, trees in self.trees.items()}

    @cached_property
    def _leaves(self) -> set[int]:
        return {leaf for trees in self.trees.values() for tree in trees for leaf in _leaves(tree)}


def trees_from_dict(values: Mapping[str, Any], place: str) -> DecisionTrees:
    """Rebuild the trees from the plain values of `to_dict`.

    Args:
        values: a list of trees for each phone.
        place: the file they come from; the error message starts with it.

    Raises:
        InputError: the values do not describe trees.
    """
    if not isinstance(values, dict):
        raise InputError(f"{place}: trees is {shortened(values)}; expected lists of trees by phone")
    trees = {}
    try:
        for phone, plain in values.items():
            if not isinstance(plain, list):
                raise ValueError(
                    f"phone {phone!r} has {shortened(plain)}; expected a list of trees"
                )
            trees[phone] = tuple(_tree(tree, f"phone {phone!r}") for tree in plain)
        return DecisionTrees(trees)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


_UNIT = re.compile(r"(.+?)-(.+)\+(.+)")


def _in_context(phones: Sequence[str]) -> tuple[str, ...]:
    neighbours = (EDGE, *phones, EDGE)
    return tuple(
        f"{left}-{phone}+{right}"
        for left, phone, right in zip(neighbours, phones, neighbours[2:], strict=False)
    )


def _answer(tree: Split | int, left: str, right: str) -> int:
    while isinstance(tree, Split):
        neighbour = left if tree.side == "left" else right
        tree = tree.yes if neighbour in tree.phones else tree.no
    return tree


def _leaves(tree: Split | int) -> Iterator[int]:
    if isinstance(tree, Split):
        yield from _leaves(tree.yes)
        yield from _leaves(tree.no)
    else:
        yield tree


def _plain(tree: Split | int) -> Any:
    if not isinstance(tree, Split):
        return tree
    yes, no = _plain(tree.yes), _plain(tree.no)
    return {"side": tree.side, "phones": sorted(tree.phones), "yes": yes, "no": no}


def _tree(values: Any, where: str) -> Split | int:
    match values:
        case int() if not isinstance(values, bool):
            return values
        case {
            "side": "left" | "right" as side,
            "phones": [*phones],
            "yes": yes,
            "no": no,
            **more,
        } if not more and all(isinstance(phone, str) for phone in phones):
            return Split(side, frozenset(phones), _tree(yes, where), _tree(no, where))
    raise ValueError(
        f"{where} has {shortened(values)}; expected a number, or side, phones, yes and no"
    )
