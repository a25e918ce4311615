"""The traces of a search -> n-best lists."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.search.alternatives import Recombined, Steps, with_alternatives
from asr.search.extensions import Extensions
from asr.search.lexicon_tree import NONE
from asr.search.nbest import Hypothesis
from asr.search.space import SearchSpace
from asr.text.tokenizer import BLANK


class Trace(NamedTuple):
    """The origin of each prefix of a beam after an event, (N, K)."""

    slot: Tensor  # slot in the beam before the event
    token: Tensor  # token added to the prefix; BLANK for none
    word: Tensor | None  # word that ended with the token; NONE for none
    recombined: Recombined | None = None  # the prefixes dropped by recombination


class _Row(NamedTuple):
    """The n hypotheses of an utterance with E events, best first."""

    tokens: np.ndarray  # (n, E), token added at each event, or BLANK
    words: np.ndarray  # (n, E + 1), word that ended at each event or at the end, or NONE
    numbers: np.ndarray  # (n, 3), score, acoustic and LM log-probability


def read_back(
    ends: Extensions, traces: Sequence[Trace], order: Tensor, frames: Tensor, space: SearchSpace
) -> list[list[Hypothesis]]:
    """The n-best lists of a search, in the order of the utterances in `log_probs`.

    Args:
        ends: the complete hypotheses: the prefixes with the scores of the utterances' ends.
        traces: traces of all events.
        order: (N,), index in `log_probs` of each row's utterance.
        frames: (E, N), frame of each event of a row in `log_probs`.
        space: the search space.
    """
    N, K = len(order), space.settings.beam_width
    ends = ends.or_impossible()
    table, first = ends.table(N, K)
    score, place = table.sort(dim=1, descending=True, stable=True)
    n_best = min(space.settings.n_best, K)
    score, place = score[:, :n_best], place[:, :n_best]
    end = torch.where(score > -math.inf, first[:, None] + place, 0)
    lm = torch.zeros_like(ends.mass) if ends.lm is None else ends.lm
    numbers = torch.stack((score, ends.mass[end], lm[end]), 2).cpu().numpy()
    word = torch.full_like(end, NONE) if ends.word is None else ends.word[end]
    recombined = bool(traces) and traces[0].recombined is not None
    found = ends.slot[end] % K, word, numbers, traces
    rows = _unfold(*found, n_best) if recombined else _follow(*found)
    lists: list[list[Hypothesis]] = [[] for _ in range(N)]
    for n, row, when in zip(order.tolist(), rows, frames.T.cpu().numpy(), strict=True):
        lists[n] = _hypotheses(row, when, space)
    return lists


def _follow(
    slots: Tensor, words: Tensor, numbers: np.ndarray, traces: Sequence[Trace]
) -> Iterator[_Row]:
    """Follow hypotheses back from the last event.

    Args:
        slots: (N, n), their slots after the last event.
        words: (N, n), the words that end with the utterances.
        numbers: (N, n, 3), score, acoustic and LM log-probability.
        traces: traces of all events.
    """
    tokens = torch.full((len(traces), *slots.shape), BLANK, device=slots.device)
    ended = torch.full((len(traces) + 1, *slots.shape), NONE, device=slots.device)
    ended[-1] = words
    slots = slots.clone()
    for event in range(len(traces) - 1, -1, -1):
        trace = traces[event]
        N = len(trace.slot)
        tokens[event, :N] = trace.token.gather(1, slots[:N])
        if trace.word is not None:
            ended[event, :N] = trace.word.gather(1, slots[:N])
        slots[:N] = trace.slot.gather(1, slots[:N])
    arrays = (array.cpu().numpy().transpose(1, 2, 0) for array in (tokens, ended))
    return map(_Row, *arrays, numbers)


def _unfold(
    slots: Tensor, words: Tensor, numbers: np.ndarray, traces: Sequence[Trace], n_best: int
) -> Iterator[_Row]:
    """Like `_follow`, for the hypotheses and those that recombination dropped on their paths."""
    ends = zip(slots.tolist(), words.tolist(), numbers.tolist(), strict=True)
    for steps, (slot, word, number) in zip(_steps(traces, len(slots)), ends, strict=True):
        found = with_alternatives(slot, word, number, steps, n_best)
        if not found:
            yield _Row(np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 3)))
            continue
        end, tokens, ended, of = zip(*found, strict=True)
        last = [word[n] for n in end]
        yield _Row(np.stack(tokens), np.column_stack((np.stack(ended), last)), np.array(of))


def _steps(traces: Sequence[Trace], N: int) -> Iterator[Steps]:
    """The traces of each utterance, without events that it doesn't have."""
    n_rows = np.array([len(trace.slot) for trace in traces], dtype=np.int64)
    fields = zip(*(trace[:3] for trace in traces), strict=True)
    slot, token, word = (pad_sequence(field).cpu().numpy() for field in fields)  # (rows, E, K)
    left = [trace.recombined for trace in traces if trace.recombined is not None]
    row, *columns = (torch.cat(field).cpu().numpy() for field in zip(*left, strict=True))
    event = np.repeat(np.arange(len(left)), [len(some.row) for some in left])
    by_row = np.argsort(row, kind="stable")
    splits = np.cumsum(np.bincount(row, minlength=N))[:-1]
    parts = [np.split(column[by_row], splits) for column in (event, *columns)]
    for n, of_row in enumerate(zip(*parts, strict=True)):
        E = int((n_rows > n).sum())
        its = (field[n if E else 0, :E] for field in (slot, token, word))
        yield Steps(*its, *of_row)


def _hypotheses(row: _Row, frames: np.ndarray, space: SearchSpace) -> list[Hypothesis]:
    """The hypotheses of an utterance; `frames`, (E,), are the frames of its events."""
    informed = space.informed
    added = row.tokens != BLANK
    when = np.broadcast_to(frames[: added.shape[1]], added.shape)
    parts = _split(row.tokens, added), _split(when, added), _split(row.words, row.words != NONE)
    nbest = []
    for said, begun, ended, numbers in zip(*parts, row.numbers.tolist(), strict=True):
        score, log_prob, lm = numbers
        if score == -math.inf:
            break
        spelled = None if space.lexicon is None else _spelled(said, ended, space)
        total = score if informed else None
        nbest.append(Hypothesis(said, log_prob, begun, spelled, lm, total))
    return nbest


def _split(values: np.ndarray, where: np.ndarray) -> list[tuple[int, ...]]:
    """For each row, the values where `where` is true."""
    flat, ends = values[where].tolist(), where.sum(1).cumsum().tolist()
    return [tuple(flat[begin:end]) for begin, end in pairwise([0, *ends])]


def _spelled(
    tokens: tuple[int, ...], words: tuple[int, ...], space: SearchSpace
) -> tuple[str, ...]:
    """The lexicon's words by their numbers; out-of-vocabulary words are spelled by the tokens."""
    assert space.lexicon is not None
    known = space.lexicon.words
    if len(known) not in words:
        return tuple(known[word] for word in words)
    spelled = space.tokenizer.decode(tokens).split()
    return tuple(
        known[word] if word < len(known) else text
        for word, text in zip(words, spelled, strict=False)
    )
