"""text -> log-probability under a language model -> perplexities comparable between units."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr.errors import InputError, counted, texts_of
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import UNK, Vocabulary
from asr.text.sentences import without_marks


@dataclass(frozen=True)
class Total:
    """The log-probability of a text, and the counts to divide it by.

    The model also predicts the end of each sentence. It counts as one more unit, one more word and
    one more character. With the same normalisation, a text has the same words and characters for
    every model. So `per_word` and `per_character` can be compared between models with different
    units; `per_unit` can't.

    Args:
        log_prob: natural log-probability of all units and ends.
        units: number of the model's units and of ends.
        words: number of words of the normalised text, separated by spaces, and of ends.
        characters: number of characters (code points) of the normalised text, with the spaces
            between words, and of ends.
    """

    log_prob: float = 0.0
    units: int = 0
    words: int = 0
    characters: int = 0

    def __add__(self, other: "Total") -> "Total":
        return Total(
            self.log_prob + other.log_prob,
            self.units + other.units,
            self.words + other.words,
            self.characters + other.characters,
        )

    @property
    def per_unit(self) -> float:
        """Perplexity of a unit, exp(-log_prob / units)."""
        return _exp(-self.log_prob / self.units)

    @property
    def per_word(self) -> float:
        """Perplexity of a word, exp(-log_prob / words)."""
        return _exp(-self.log_prob / self.words)

    @property
    def per_character(self) -> float:
        """Perplexity of a character, exp(-log_prob / characters)."""
        return _exp(-self.log_prob / self.characters)

    @property
    def bits_per_character(self) -> float:
        """-log_prob / (characters * ln 2)."""
        return -self.log_prob / (self.characters * math.log(2))


@dataclass(frozen=True)
class Perplexity:
    """Perplexities of a text, by three rules for out-of-vocabulary (OOV) words.

    A word is OOV if one of its units is unknown to the model.

    Args:
        sentences: number of sentences.
        empty: number of texts without a word; they are skipped.
        oov: the OOV words, in the text's order.
        whole: the whole text; an unknown unit has the probability of `<unk>`. This is the
            probability of all unknown words together, so a smaller vocabulary looks better.
        known: the text without OOV words and the spaces before them, both in the sum and in the
            counts. The words after them are still predicted from `<unk>`.
        spelled: the whole text; an unknown unit has the probability of `<unk>` times that of its
            spelling, with all characters equally probable. Here a smaller vocabulary has no
            advantage, and a word model can be compared with a character model.
        alphabet: number of characters for spelling: those of the text's words, and an end.
    """

    sentences: int
    empty: int
    oov: tuple[str, ...]
    whole: Total
    known: Total
    spelled: Total
    alphabet: int

    @property
    def per_word(self) -> float:
        """Perplexity per word of the whole text, ends included: `whole.per_word`."""
        return self.whole.per_word

    @property
    def oov_rate(self) -> float:
        """OOV words as a fraction of the text's words, without ends."""
        return len(self.oov) / (self.whole.words - self.sentences)


def perplexity(
    model: LanguageModel, texts: str | Iterable[str], place: str = "the text"
) -> Perplexity:
    """The perplexity of a text.

    >>> asr.perplexity(lm, ["three five", "nine"]).per_word

    Args:
        model: any language model.
        texts: one text for each sentence, or a single sentence. `<s>` at the beginning and `</s>`
            at the end of a sentence are removed.
        place: where the texts come from; the error message starts with it.

    Raises:
        InputError: the texts have no word, or one has `<s>` or `</s>` among its words.
        ValueError: `texts` is not a list of texts.
    """
    vocabulary = model.vocabulary
    texts = [texts] if isinstance(texts, str) else texts_of("texts", texts)
    given = [without_marks(text, f"{place}: sentence {n}") for n, text in enumerate(texts, 1)]
    lines = [vocabulary.normalise(text) for text in given]
    sentences = [line for line in lines if line]
    if not sentences:
        raise InputError(f"{place}: has no word; expected at least one")
    units = [vocabulary.encode(sentence) for sentence in sentences]
    scores = model.sentence_log_probs(units)
    whole, known = Total(), Total()
    oov: list[str] = []
    n_letters = 0
    for row in zip(sentences, units, scores, strict=True):
        for part in _parts(vocabulary, *row):
            whole += part.total
            if part.unknown:
                oov.append(part.word)
                n_letters += part.letters
            else:
                known += part.total
    letters = set().union(*sentences)  # of the text, so that they are the same for every model
    alphabet = len(letters - {" "}) + 1  # and the end of a word
    spelled = whole.log_prob - n_letters * math.log(alphabet)
    return Perplexity(
        sentences=len(sentences),
        empty=len(lines) - len(sentences),
        oov=tuple(oov),
        whole=whole,
        known=known,
        spelled=replace(whole, log_prob=spelled),
        alphabet=alphabet,
    )


@dataclass(frozen=True)
class _Part:
    """A word with the space before it, or the end of a sentence."""

    total: Total
    word: str = ""
    unknown: int = 0  # number of unknown units
    letters: int = 0  # number of letters to spell, with an end


def _parts(
    vocabulary: Vocabulary, sentence: str, units: Sequence[int], scores: np.ndarray
) -> Iterator[_Part]:
    first = 0
    for word in sentence.split():
        space = 1 if first else 0
        length = len(vocabulary.encode(word))
        if vocabulary.unit in ("char", "jamo"):  # there a space is a unit too
            length += space
        span = slice(first, first + length)
        log_prob = float(scores[span].sum(dtype=np.float64))
        unknown = units[span].count(UNK)
        letters = len(word) + 1 if unknown and vocabulary.unit == "word" else unknown
        yield _Part(Total(log_prob, length, 1, len(word) + space), word, unknown, letters)
        first += length
    if first != len(units):
        raise ValueError(f"{sentence!r} has {counted(len(units), 'unit')}; its words have {first}")
    yield _Part(Total(float(scores[-1]), 1, 1, 1))


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
