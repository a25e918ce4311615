"""log_probs of one utterance -> n-best list, with plain arguments."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from asr.lm.load import load_language_model, with_words
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import Vocabulary
from asr.networks.ctc import checked_log_probs
from asr.search.greedy import check_symbols
from asr.search.lexicon_tree import make_lexicon_tree
from asr.search.nbest import Hypothesis, spelled
from asr.search.space import BeamSettings, SearchSpace
from asr.text.normalisation import in_case
from asr.text.tokenizer import PhoneTokenizer, Tokenizer, tokenizer_of
from asr.text.words import AnyLexicon, as_lexicon, as_words


def beam_search(
    log_probs: Tensor | np.ndarray,
    symbols: Sequence[str] | Tokenizer,
    lexicon: AnyLexicon | None = None,
    lm: LanguageModel | str | Path | None = None,
    lm_weight: float = 0.7,
    word_bonus: float = 0.0,
    beam_width: int = 50,
) -> list[Hypothesis]:
    """Find the most probable texts of one utterance, by CTC prefix beam search.

    The score of a hypothesis is its acoustic log-probability + lm_weight * the language model's
    log-probability + word_bonus * words. In each frame, tokens with a probability below e^-8 and
    below that of blank extend no prefix, and extensions more than 15 nats below the best prefix are
    dropped.

    >>> nbest = asr.beam_search(log_probs, recognizer.symbols, lm="4gram.arpa", lm_weight=0.7)
    >>> nbest[0].text, nbest[0].log_prob, nbest[0].frames

    Args:
        log_probs: (T, C), natural logs, on any device.
        symbols: (C,), the text of each token, with CTC's blank first: characters, with " "
            between words, or units such as phones; or a model's tokenizer, `recognizer.tokenizer`.
        lexicon: the words that can be recognised: a list, a dictionary with their phones, or the
            path of either. None for anything that the symbols can spell or, with a language model
            of words, for its words. Words are converted to the case of the symbols.
        lm: a language model, on any device, or the path of one. Its units are words
            or the symbols.
        lm_weight: scale of the language model's log-probability.
        word_bonus: nats added per word.
        beam_width: number of prefixes kept after every frame.

    Returns:
        nbest: at most `beam_width` hypotheses, best first. Each has `text`, `words` with their
            `first_frames` and `last_frames`, `tokens` with their `frames`, the acoustic `log_prob`,
            `lm_log_prob` and `score`. If the lexicon allows nothing that fits the frames, the list
            is one hypothesis without words, with log_prob -inf. If the beam is so narrow that no
            hypothesis ends with a whole word, the last tokens are of no word.

    Raises:
        InputError: a file can't be used, the symbols spell no word of the lexicon, the language
            model has no unit for a symbol, or a number is out of range.
        ValueError: `log_probs` is not (T, C), is sparse or has NaN, or there are not C symbols.

    Source: Hannun et al. 2014, arXiv:1408.2873, algorithm 1.
    """
    from asr.search import beam  # takes time to import

    log_probs = checked_log_probs(log_probs)
    tokenizer, words = _with_words(symbols, lexicon)
    check_symbols(tokenizer, log_probs.shape[1])
    if isinstance(lm, str | Path):
        lm = load_language_model(lm, log_probs.device, words, tokenizer.case)
    if lm is not None:
        if not isinstance(getattr(lm, "vocabulary", None), Vocabulary):
            raise ValueError(f"lm is {lm!r}; expected a language model or the path of one")
        if lm.vocabulary.unit == "word" and not words:
            words = list(lm.vocabulary.symbols[2:])  # without <unk> and <eos>
        lm = with_words(lm, words)
    settings = BeamSettings(
        beam_width=beam_width,
        n_best=beam_width,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
    )
    tree = make_lexicon_tree(words, tokenizer) if words else None
    space = SearchSpace(tokenizer, settings, tree, lm)
    (nbest,) = beam.ctc_beam_search([log_probs], space)
    return spelled(nbest or [Hypothesis((), -math.inf)], tokenizer)


def _with_words(
    symbols: Sequence[str] | Tokenizer, lexicon: AnyLexicon | None
) -> tuple[Tokenizer, list[str]]:
    """The tokenizer, and the words that can be recognised; none if there is no lexicon."""
    tokenizer = tokenizer_of(symbols)
    if lexicon is None:
        return tokenizer, list(tokenizer.words)
    if tokenizer.kind in ("unit", "phone"):
        spoken = as_lexicon(lexicon)
        return PhoneTokenizer(tokenizer.symbols, spoken), list(spoken.pronunciations)
    return tokenizer, [in_case(word, tokenizer.case) for word in as_words(lexicon)]
