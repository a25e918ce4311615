"""The traces of a search -> its n-best lists."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.decoder import Decoder
from asr.nbest import Hypothesis
from asr.tokenizer import BLANK
from asr.trie import NONE
from asr.ways import Ways


class Trace(NamedTuple):
    """Where the prefixes after an event come from, (N, K)."""

    slot: Tensor  # in the beam before
    token: Tensor  # what was added to the prefix there; BLANK for nothing
    word: Tensor | None  # the word that ended with it; NONE for none


def read_back(
    ends: Ways, traces: Sequence[Trace], order: Tensor, frames: Tensor, decoder: Decoder
) -> list[list[Hypothesis]]:
    """The n-best lists of a search, in the order of `log_probs`.

    Args:
        ends: what the utterances' ends made of the prefixes.
        traces: of all events.
        order: (N,), the number in `log_probs` of each row's utterance.
        frames: (E, N), where each event of a row lies in `log_probs`.
        decoder: what it went by.
    """
    N, K = len(order), decoder.settings.beam_width
    ends = ends.or_impossible()
    table, first = ends.table(N, K)
    score, place = table.sort(dim=1, descending=True, stable=True)
    n_best = min(decoder.settings.n_best, K)
    score, place = score[:, :n_best], place[:, :n_best]
    end = torch.where(score > -math.inf, first[:, None] + place, 0)
    lm = torch.zeros_like(ends.mass) if ends.lm is None else ends.lm
    tokens, words = _follow(ends.slot[end] % K, traces)
    if ends.word is not None:
        words = torch.cat((words, ends.word[end][None]))
    found = (tokens, words, frames[:, :, None].expand_as(tokens))
    rows = zip(*(array.cpu().numpy().transpose(1, 2, 0) for array in found), strict=True)
    numbers = zip(score.tolist(), ends.mass[end].tolist(), lm[end].tolist(), strict=True)
    lists: list[list[Hypothesis]] = [[] for _ in range(N)]
    for n, row, number in zip(order.tolist(), rows, numbers, strict=True):
        lists[n] = _hypotheses(row, list(zip(*number, strict=True)), decoder)
    return lists


def _follow(slots: Tensor, traces: Sequence[Trace]) -> tuple[Tensor, Tensor]:
    """Follow prefixes, (N, n), back from the last event.

    Returns:
        tokens: (E, N, n), what was added at each event, or BLANK.
        words: (E, N, n), the words that ended with it, or NONE.
    """
    tokens = torch.full((len(traces), *slots.shape), BLANK, device=slots.device)
    words = torch.full_like(tokens, NONE)
    slots = slots.clone()
    for event in range(len(traces) - 1, -1, -1):
        trace = traces[event]
        N = len(trace.slot)
        tokens[event, :N] = trace.token.gather(1, slots[:N])
        if trace.word is not None:
            words[event, :N] = trace.word.gather(1, slots[:N])
        slots[:N] = trace.slot.gather(1, slots[:N])
    return tokens, words


def _hypotheses(
    row: Sequence[np.ndarray], numbers: Sequence[tuple[float, ...]], decoder: Decoder
) -> list[Hypothesis]:
    """Those of an utterance, from tokens, words and frames, (n, E) each, and three numbers each."""
    informed = decoder.informed
    tokens, words, frames = row
    added = tokens != BLANK
    parts = _split(tokens, added), _split(frames, added), _split(words, words != NONE)
    nbest = []
    for said, begun, ended, (score, log_prob, lm) in zip(*parts, numbers, strict=True):
        if score == -math.inf:
            break
        spelled = None if decoder.lexicon is None else _spelled(said, ended, decoder)
        total = score if informed else None
        nbest.append(Hypothesis(said, log_prob, begun, spelled, lm, total))
    return nbest


def _split(values: np.ndarray, where: np.ndarray) -> list[tuple[int, ...]]:
    """Of each row the values where it is true."""
    flat, ends = values[where].tolist(), where.sum(1).cumsum().tolist()
    return [tuple(flat[begin:end]) for begin, end in pairwise([0, *ends])]


def _spelled(tokens: tuple[int, ...], words: tuple[int, ...], decoder: Decoder) -> tuple[str, ...]:
    """The words of a lexicon by their numbers; others as the tokens have them."""
    assert decoder.lexicon is not None
    known = decoder.lexicon.words
    if len(known) not in words:
        return tuple(known[word] for word in words)
    spelled = decoder.tokenizer.decode(tokens).split()
    return tuple(
        known[word] if word < len(known) else text
        for word, text in zip(words, spelled, strict=False)
    )
