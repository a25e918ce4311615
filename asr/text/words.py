"""What a caller gives for a lexicon -> words, or words with their phones."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asr.text.lexicon import Lexicon, Pronunciation, read_lexicon, read_words
from asr.text.normalisation import TextSettings, normalise

AnyLexicon = Lexicon | Mapping[str, Any] | Iterable[str] | Path
"""A `Lexicon`; the path of a file; words with their phones; or words alone, spelled by letters.

The phones of a word are a text, "TH R IY", a sequence, ["TH", "R", "IY"], or a sequence of such
sequences for a word that is said in several ways, the usual one first.
"""

AS_WRITTEN = TextSettings(case="keep", punctuation="keep")
"""Texts keep all that is heard or seen, but have one spelling (NFC) and one blank between words."""


def as_words(lexicon: AnyLexicon) -> list[str]:
    """The words alone, each once.

    Args:
        lexicon: see `AnyLexicon`; a path may also be that of a list with a word a line.

    Raises:
        InputError: the file can't be used.
        ValueError: there is no word, or one that is empty or has white space in it.
    """
    if isinstance(lexicon, str | Path):
        return read_words(lexicon)
    given = lexicon.pronunciations if isinstance(lexicon, Lexicon) else lexicon
    return [_word(word, place) for place, word in enumerate(_some(given))]


def as_lexicon(lexicon: AnyLexicon) -> Lexicon:
    """The words with their phones; words that come alone are spelled by their letters.

    Args:
        lexicon: see `AnyLexicon`; a path is that of a pronouncing dictionary.

    Raises:
        InputError: the file can't be used.
        ValueError: there is no word, one that is empty or has white space in it, or phones that
            can't be read.
    """
    if isinstance(lexicon, Lexicon):
        return lexicon
    if isinstance(lexicon, str | Path):
        return read_lexicon(lexicon, stress=False)
    if isinstance(lexicon, Mapping):
        found: dict[str, dict[Pronunciation, None]] = {}
        for place, word in enumerate(_some(lexicon)):
            spoken = _pronunciations(word, lexicon[word])
            found.setdefault(_word(word, place), {}).update(dict.fromkeys(spoken))
        return Lexicon({word: tuple(spoken) for word, spoken in found.items()})
    return Lexicon({word: (tuple(word),) for word in as_words(lexicon)})


def _some(words: Iterable[Any]) -> list[Any]:
    found = list(dict.fromkeys(words))
    if not found:
        raise ValueError("lexicon has no word; expected at least one")
    return found


def _word(word: Any, place: int) -> str:
    if not isinstance(word, str) or len(word.split()) != 1:
        raise ValueError(f"lexicon has {word!r} as word {place}; expected one word")
    return normalise(word, AS_WRITTEN)


def _pronunciations(word: str, spoken: Any) -> list[Pronunciation]:
    several = spoken if _is_sequence(spoken) and all(map(_is_sequence, spoken)) else [spoken]
    found = [
        tuple(one.split() if isinstance(one, str) else one) for one in several if _some_phones(one)
    ]
    if not found or len(found) < len(several):
        raise ValueError(
            f"lexicon[{word!r}] is {spoken!r}; expected phones, as 'TH R IY', ['TH', 'R', 'IY']"
            " or, of several pronunciations, [['TH', 'R', 'IY'], ...]"
        )
    return found


def _some_phones(spoken: Any) -> bool:
    if isinstance(spoken, str):
        return bool(spoken.split())
    phones = spoken if _is_sequence(spoken) else ()
    return bool(phones) and all(isinstance(p, str) and p.split() == [p] for p in phones)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)
