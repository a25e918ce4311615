"""A lexicon in any of the accepted types -> words, or words with their phones."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asr.text.lexicon import Lexicon, Pronunciation, is_special_symbol, read_lexicon, read_words
from asr.text.normalisation import canonical

AnyLexicon = Lexicon | Mapping[str, Any] | Iterable[str] | Path
"""A `Lexicon`, the path of a file, words with their phones, or words alone, spelled by letters.

The phones of a word are a text, "TH R IY", or a sequence, ["TH", "R", "IY"]. A word with several
pronunciations has a sequence of these, the most usual one first.
"""


def as_words(lexicon: AnyLexicon) -> list[str]:
    """The words of a lexicon, in canonical form, each once.

    Args:
        lexicon: see `AnyLexicon`; a path may also be that of a list with one word per line.

    Raises:
        InputError: the file can't be used.
        ValueError: there is no word, or a word is empty, has white space or is a special symbol.
    """
    if isinstance(lexicon, str | Path):
        return read_words(lexicon)
    given = lexicon.pronunciations if isinstance(lexicon, Lexicon) else lexicon
    return list(dict.fromkeys(_word(word, place) for place, word in enumerate(_some(given))))


def as_lexicon(lexicon: AnyLexicon) -> Lexicon:
    """The words of a lexicon with their phones; words without phones are spelled by letters.

    Args:
        lexicon: see `AnyLexicon`; a path must be that of a pronunciation dictionary.

    Raises:
        InputError: the file can't be used.
        ValueError: there is no word, a word is empty, has white space or is a special symbol, or
            its phones have the wrong type.
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
    if not isinstance(words, Iterable):
        raise ValueError(f"lexicon is {words!r}; expected words, words with phones, or a path")
    found = list(dict.fromkeys(words))
    if not found:
        raise ValueError("lexicon has no word; expected at least one")
    return found


def _word(word: Any, place: int) -> str:
    if not isinstance(word, str) or len(word.split()) != 1:
        raise ValueError(f"lexicon has {word!r} as word {place}; expected one word")
    found = canonical(word, f"lexicon: word {place}")
    if is_special_symbol(found) or found.startswith(("#", ";;")):  # lost in a dictionary file
        raise ValueError(f"lexicon has {word!r} as word {place}; expected a spoken word")
    return found


def _pronunciations(word: str, spoken: Any) -> list[Pronunciation]:
    several = spoken if _is_sequence(spoken) and all(map(_is_sequence, spoken)) else [spoken]
    found = [
        tuple(one.split() if isinstance(one, str) else one) for one in several if _some_phones(one)
    ]
    if not found or len(found) < len(several):
        raise ValueError(
            f"lexicon[{word!r}] is {spoken!r}; expected phones, such as 'TH R IY' or"
            " ['TH', 'R', 'IY'], or for several pronunciations [['TH', 'R', 'IY'], ...]"
        )
    return found


def _some_phones(spoken: Any) -> bool:
    if isinstance(spoken, str):
        return bool(spoken.split())
    phones = spoken if _is_sequence(spoken) else ()
    return bool(phones) and all(isinstance(p, str) and p.split() == [p] for p in phones)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)
