"""written text, tokenizer -> words that a model can spell."""

from asr.errors import InputError, listed, shortened
from asr.text.normalisation import TextSettings, canonical, in_case, normalise
from asr.text.tokenizer import BLANK, Tokenizer, spellings


def spellable_words(text: str, tokenizer: Tokenizer, place: str = "text") -> list[str]:
    """The words of a written text, in the form that a model spells.

    The words are converted to the case of the model. Punctuation is removed (see
    `asr.text.normalisation.normalise`) from words that it can't spell, so "well-known," may become
    two words, and from those with an apostrophe at either end, unless they are in its lexicon.

    Args:
        text: the text, with any line breaks.
        tokenizer: the model's tokenizer.
        place: the text's file; error messages start with it.

    Returns:
        words: in the order of the text.

    Raises:
        InputError: the text has no word, words that can't be spelled, such as those with digits,
            or control characters.
    """
    found = _spellable_forms(text, tokenizer, place)
    if not found:
        raise InputError(f"{place}: has no word; expected the text of the recording")
    if missing := _unspelled(found, tokenizer):
        expected = "words of its lexicon"
        if not tokenizer.words:
            expected = f"words of {shortened(''.join(tokenizer.symbols[BLANK + 1 :]))}"
        if any(character.isdigit() for word in missing for character in word):
            expected += "; numbers are to be written as words"
        count = f" and {len(missing) - 10} others" if len(missing) > 10 else ""
        raise InputError(
            f"{place}: has words that the model can't spell: {listed(missing[:10])}{count};"
            f" expected {expected}"
        )
    return found


def unspelled_words(text: str, tokenizer: Tokenizer, place: str = "text") -> list[str]:
    """The words that `spellable_words` would name because the model can't spell them, each once."""
    return _unspelled(_spellable_forms(text, tokenizer, place), tokenizer)


def _spellable_forms(text: str, tokenizer: Tokenizer, place: str) -> list[str]:
    words = [in_case(word, tokenizer.case) for word in canonical(text, place).split()]
    written = spellings(dict.fromkeys(words), tokenizer)
    # an apostrophe at the edge of a word is mostly a quotation mark
    is_plain = {word: bool(tokenizer.words) or word == word.strip("'") for word in written}
    forms = {
        word: [word] if spelled and is_plain[word] else _without_marks(word)
        for word, spelled in written.items()
    }
    return [form for word in words for form in forms[word]]


def _unspelled(words: list[str], tokenizer: Tokenizer) -> list[str]:
    return [word for word, some in spellings(dict.fromkeys(words), tokenizer).items() if not some]


def _without_marks(word: str) -> list[str]:
    return normalise(word, TextSettings(case="keep")).split()
