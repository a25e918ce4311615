"""log_probs -> n-best lists, by flashlight-text's beam search instead of `asr.search.beam`."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asr.errors import InputError
from asr.lm.kenlm import KenlmModel
from asr.lm.ngram import NgramModel, arpa_words, write_ngram
from asr.lm.vocabulary import UNK
from asr.search.lexicon_tree import ROOT, Trie
from asr.search.nbest import FrameScores, Hypothesis, checked_frames
from asr.search.space import SearchSpace
from asr.text.tokenizer import BLANK

THRESHOLD = 50.0
"""Prefixes this many nats below the best are dropped; torchaudio's default."""

_LN10 = math.log(10)


class _Engine(NamedTuple):
    search: Any  # flashlight-text's decoder
    lm: Any  # kept alive here, because the decoder uses it without holding a reference


def flashlight_search(
    log_probs: Sequence[FrameScores], space: SearchSpace
) -> list[list[Hypothesis]]:
    """Search like `asr.search.beam.ctc_beam_search`, but by flashlight-text, one by one on the CPU.

    It tries every token in every frame and drops prefixes by `THRESHOLD`. It ignores `token_floor`,
    `score_floor` and `blank_skip`. Of hypotheses with the same text, only the best is returned.
    Acoustic log-probabilities are those of the best alignment. Without a lexicon, jamo may come in
    any order, and the text completes their syllables.

    Args:
        log_probs: (T, C) of each utterance, natural logs.
        space: settings, lexicon and language model.

    Returns:
        nbest: for each utterance at most `n_best` hypotheses, best first.

    Raises:
        InputError: flashlight-text is not installed, or doesn't support what `space` asks for.
    """
    separator, C = space.tokenizer.separator, len(space.tokenizer.symbols)
    utterances = [checked_frames("log_probs", some, C) for some in log_probs]
    engine = _engine(space)
    nbests = []
    for utterance in utterances:
        rows = torch.from_numpy(utterance).float()
        length = len(rows)
        if space.lexicon is not None and separator is not None:
            # flashlight-text ends words only at a separator, so add one
            end = torch.full((1, rows.shape[1]), -math.inf)
            end[0, separator] = 0.0
            rows = torch.cat((rows, end))
        rows = rows.contiguous()
        results = engine.search.decode(rows.data_ptr(), *rows.shape)
        nbests.append(_hypotheses(results, length, space))
    return nbests


def _hypotheses(results: list[Any], length: int, space: SearchSpace) -> list[Hypothesis]:
    """The hypotheses of an utterance of `length` frames."""
    found: dict[tuple[tuple[int, ...], tuple[str, ...] | None], Hypothesis] = {}
    for result in results:
        alignment = [BLANK, *result.tokens[1 : length + 1]]
        begins = [
            frame
            for frame, (before, token) in enumerate(pairwise(alignment))
            if token not in (BLANK, before)
        ]
        tokens = tuple(alignment[frame + 1] for frame in begins)
        words = None
        if space.lexicon is not None:
            known = space.lexicon.words
            words = tuple(known[word] for word in result.words if 0 <= word < len(known))
        hypothesis = Hypothesis(
            tokens=tokens,
            log_prob=result.emittingModelScore,
            frames=tuple(begins),
            words=words,
            lm_log_prob=result.lmScore * _LN10 if space.lm is not None else 0.0,
            score=result.score if space.has_other_scores else None,
        )
        found.setdefault((tokens, words), hypothesis)
    return list(found.values())[: space.settings.n_best]


def import_flashlight() -> Any:
    """The module of flashlight-text's decoders.

    Raises:
        InputError: flashlight-text is not installed.
    """
    try:
        from flashlight.lib.text import decoder
    except ImportError:
        raise InputError(
            "decoder is flashlight, whose package is not installed; expected it after:"
            " pip install flashlight-text"
        ) from None
    return decoder


@lru_cache(maxsize=1)
def _engine(space: SearchSpace) -> _Engine:
    """Build flashlight-text's decoder for a search space."""
    flashlight = import_flashlight()
    from flashlight.lib.text.dictionary import Dictionary

    check_supported(space)
    settings, separator = space.settings, space.tokenizer.separator
    silence = -1 if separator is None else separator
    lm: Any = flashlight.ZeroLM()
    if space.lm is not None:
        lm = _kenlm(space, Dictionary(_names(space)))
    options = {
        "beam_size": settings.beam_width,
        "beam_size_token": len(space.tokenizer.symbols),
        "beam_threshold": THRESHOLD,
        "lm_weight": settings.lm_weight * _LN10,
        "sil_score": 0.0,
        "log_add": True,
        "criterion_type": flashlight.CriterionType.CTC,
    }
    if space.lexicon is None:
        free = flashlight.LexiconFreeDecoderOptions(**options)
        return _Engine(flashlight.LexiconFreeDecoder(free, lm, silence, BLANK, []), lm)
    tree = flashlight.Trie(len(space.tokenizer.symbols), silence)
    start = lm.start(False)
    ending = [] if separator is None else [separator]
    for word, tokens in _spellings(space.lexicon):
        tree.insert([*tokens, *ending], word, lm.score(start, word)[1])
    tree.smear(flashlight.SmearingMode.MAX)
    bound = flashlight.LexiconDecoderOptions(
        **options, word_score=settings.word_bonus, unk_score=-math.inf
    )
    unk = len(space.lexicon.words)
    return _Engine(flashlight.LexiconDecoder(bound, tree, lm, silence, BLANK, unk, [], False), lm)


def check_supported(space: SearchSpace) -> None:
    """Raise InputError if flashlight-text doesn't support what a search space asks for."""
    wrong = None
    if space.boosts is not None:
        wrong = "supports no phrases"
    elif space.lexicon is None and space.settings.word_bonus:
        wrong = "supports no word_bonus without a lexicon"
    elif space.lexicon is not None and space.lm is not None and not space.scores_words:
        wrong = "supports language models of words only with a lexicon"
    elif not isinstance(space.lm, NgramModel | KenlmModel | None):
        wrong = "supports only n-gram language models"
    if wrong:
        raise InputError(f"decoder is flashlight, which {wrong}; expected decoder beam")
    if space.lm is not None:
        _import_kenlm()


def _names(space: SearchSpace) -> list[str]:
    """KenLM's spelling of each word of the lexicon and of the end; or of each token."""
    if isinstance(space.lm, KenlmModel):
        names = space.lm.spellings
    else:
        assert space.lm is not None
        names = arpa_words(space.lm.vocabulary, "language model")
    # KenLM maps any unknown name to UNK, but a dictionary must have each name once
    return [
        names[unit] if unit != UNK else f"unknown {number}"
        for number, unit in enumerate(space.units.tolist())
    ]


def _kenlm(space: SearchSpace, names: Any) -> Any:
    """The n-gram model, loaded by flashlight-text's KenLM."""
    KenLM = _import_kenlm()
    if isinstance(space.lm, KenlmModel):
        return KenLM(str(space.lm.path), names)
    assert isinstance(space.lm, NgramModel)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lm.arpa"
        write_ngram(path, space.lm)
        return KenLM(str(path), names)


def _import_kenlm() -> Any:
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
    except ImportError:
        raise InputError(
            "decoder is flashlight, whose package has no KenLM and so no language models;"
            " expected it after: pip install --force-reinstall flashlight-text"
        ) from None
    return KenLM


def _spellings(trie: Trie) -> Iterator[tuple[int, list[int]]]:
    """Each word of a lexicon, by number, with each of its spellings."""
    before, by = (trie.children > ROOT).nonzero()
    token = np.zeros_like(trie.parents)
    token[trie.children[before, by]] = by
    tokens, parents = token.tolist(), trie.parents.tolist()
    first_word, n_words = trie.first_word.tolist(), trie.n_words.tolist()
    endings = trie.ending_words.tolist()
    for end, (first, n) in enumerate(zip(first_word, n_words, strict=True)):
        spelling, node = [], end
        while n and node != ROOT:
            spelling.append(tokens[node])
            node = parents[node]
        for word in endings[first : first + n]:
            yield word, spelling[::-1]
