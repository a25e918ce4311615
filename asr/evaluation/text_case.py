"""texts and a tokenizer -> a message if the model writes another case than the texts."""

from collections.abc import Sequence

from asr.text.normalisation import case_of
from asr.text.tokenizer import BLANK, Tokenizer, UnitTokenizer, spellings

_NAMES = {"lower": "small letters", "upper": "capitals", "keep": "small letters and capitals"}


def case_fault(texts: Sequence[str], tokenizer: Tokenizer) -> str:
    """What is wrong if the model writes another case than the texts; "" if nothing is.

    The message has the share of the texts' words that the model can't write; they always count as
    errors.

    Args:
        texts: reference texts, in canonical form.
        tokenizer: of the model.
    """
    words = [word for text in texts for word in text.split()]
    found, learned = case_of(words), tokenizer.case
    if isinstance(tokenizer, UnitTokenizer):  # texts stay as they are, but the units have a case
        learned = case_of(tokenizer.symbols[BLANK + 1 :])
    if found == learned or not any(word.lower() != word.upper() for word in words):
        return ""
    written = spellings(dict.fromkeys(words), tokenizer)
    lost = sum(not written[word] for word in words) / len(words)
    if lost == 1:
        told = "the model can write none of their words"
    elif lost:
        told = f"the model can't write {lost:.1%} of their words"
    else:
        told = "words that differ only in case count as errors"
    return f"its texts are in {_NAMES[found]}, those of the model in {_NAMES[learned]}; {told}"
