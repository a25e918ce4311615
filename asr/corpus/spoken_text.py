"""Written transcripts -> the words that were said, if the letters alone tell them."""

import re
import sys
import unicodedata
from collections.abc import Mapping

from asr.errors import InputError
from asr.text.normalisation import normalise

ENGLISH = {
    "mr": "mister",
    "mrs": "missus",
    "messrs": "messieurs",
    "dr": "doctor",
    "etc": "et cetera",
}
"""English abbreviations without their dots -> words, as in LibriSpeech's transcripts."""


def spoken_texts(
    texts: Mapping[str, str], corpus: str, abbreviations: Mapping[str, str]
) -> dict[str, str]:
    """The normalised texts (see `normalise`) that have only letters, apostrophes and blanks.

    Initials are separate words: U.S. is "u s", and nine p.m. is "nine p m".

    The other texts are left out, and a line on stderr says why. They have no word, or a digit or
    symbol that can be read aloud in several ways ("2011", "&"), or they are damaged.

    Args:
        texts: utterance id -> transcript.
        corpus: its name, for the lines.
        abbreviations: word in lower case -> the words to write for it.

    Returns:
        spoken: utterance id -> words in lower case, in the same order.
    """
    spoken = {}
    for id, text in texts.items():
        try:
            text = _INITIALS.sub(lambda found: found[0].replace(".", ". "), text)
            words = [abbreviations.get(word, word) for word in normalise(text).split()]
            reason = _problem(" ".join(words))
        except InputError as error:
            reason = str(error)
        if reason:
            print(f"{corpus}: {id} is left out: its {reason}", file=sys.stderr)
        else:
            spoken[id] = " ".join(words)
    return spoken


_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}")


def _problem(text: str) -> str:
    if not text:
        return "text has no word"
    found = next((character for character in text if not _is_spoken(character)), "")
    return found and f"text {text!r} has {found!r}; expected letters only"


def _is_spoken(character: str) -> bool:
    # marks belong to letters in many scripts; the joiners are part of the spelling in some
    return character in " '\u200c\u200d" or unicodedata.category(character)[0] in "LM"
