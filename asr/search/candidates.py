"""log_probs -> the frames in which tokens are tried, and the quiet frames between them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from asr.text.tokenizer import BLANK


class Event(NamedTuple):
    """One event of each of N utterances."""

    frames: Tensor  # (N, 1), the event's frame in `log_probs`
    rows: Tensor  # (N, 1), the utterance's index in `log_probs`
    tokens: Tensor  # (N, M), the tokens to try, padded with BLANK
    token_log_probs: Tensor  # (N, M), float64, padded with -inf
    blank: Tensor  # (N, 1), float64, log-probability of blank
    quiet: Tensor | None  # (N, 1), float64, log-prob of only blanks in the quiet frames before
    blank_is_over: Tensor | None  # (N, 1), float64, 0; -inf if there are quiet frames before


class Events(NamedTuple):
    """The events of a batch: the frames of each utterance in which tokens are tried.

    All other frames are quiet: only blank is possible there, so one sum of log-probabilities stands
    for several frames. The search goes from event to event. Utterances with more events come first,
    so that the first rows are those that still have an event.

    Args:
        order: (N,), index in `log_probs` of each row's utterance.
        n_active: number of rows that have each of the E events.
        n_tokens: largest number of tokens that a row tries in each event.
        has_quiet: whether any row has quiet frames right before each event.
        frames: (E, N), as in `Event`, like the fields below.
        tokens: (E, N, M).
        token_log_probs: (E, N, M).
        blank: (E, N).
        quiet: (E + 1, N).
        blank_is_over: (E + 1, N).
        tail: (N, 1), float64, the log-probability of blank in all frames after the last event.
    """

    order: Tensor
    n_active: list[int]
    n_tokens: list[int]
    has_quiet: list[bool]
    frames: Tensor
    tokens: Tensor
    token_log_probs: Tensor
    blank: Tensor
    quiet: Tensor
    blank_is_over: Tensor
    tail: Tensor

    def at(self, number: int) -> Event:
        """The event with the given number, for the rows that have it."""
        N, M = self.n_active[number], self.n_tokens[number]
        has_quiet = self.has_quiet[number]
        return Event(
            frames=self.frames[number, :N, None],
            rows=self.order[:N, None],
            tokens=self.tokens[number, :N, :M],
            token_log_probs=self.token_log_probs[number, :N, :M],
            blank=self.blank[number, :N, None],
            quiet=self.quiet[number, :N, None] if has_quiet else None,
            blank_is_over=self.blank_is_over[number, :N, None] if has_quiet else None,
        )


def find_events(
    log_probs: Tensor, input_lengths: Tensor, token_floor: float, blank_skip: float
) -> Events:
    """Find the events of a batch.

    Args:
        log_probs: (T, N, C), natural logs; padding is not used.
        input_lengths: (N,), int64.
        token_floor: in nats; a token is tried in frames where its log-probability is at least this,
            or at least that of blank.
        blank_skip: no token is tried in frames where blank has at least this probability; 1 for
            off.
    """
    T, N, _ = log_probs.shape
    tried, blank = _tried(log_probs, input_lengths, token_floor, blank_skip)
    n_tried = tried.sum(2)  # (T, N)
    is_event = n_tried > 0
    before = is_event.cumsum(0) - is_event.long()  # number of events before each frame
    n_events, order = is_event.sum(0).sort(stable=True, descending=True)
    E = int(n_events[0]) if N else 0
    row = torch.empty_like(order).scatter_(0, order, torch.arange(N, device=order.device))

    inside = torch.arange(T, device=order.device)[:, None] < input_lengths
    is_quiet = inside & ~is_event
    zeros = blank.new_zeros(E + 1, N)
    quiet = zeros.scatter_add(0, before, torch.where(is_quiet, blank, 0.0))[:, order]
    blank_is_over = zeros.scatter_add(0, before, is_quiet.double())[:, order] > 0

    t, n, token = tried.nonzero(as_tuple=True)  # sorted by frame, then by utterance
    first = (n_tried.flatten().cumsum(0) - n_tried.flatten()).view_as(n_tried)
    column = torch.arange(len(t), device=order.device) - first[t, n]
    M = int(n_tried.max()) if E else 0
    place = before[t, n], row[n], column
    tokens = torch.full((E, N, M), BLANK, device=order.device).index_put(place, token)
    frames = torch.zeros_like(tokens[:, :, 0] if M else tokens.sum(2)).index_put(place[:2], t)
    found = blank.new_full((E, N, M), -math.inf).index_put(place, log_probs[t, n, token].double())
    return Events(
        order=order,
        n_active=(torch.arange(E, device=order.device)[:, None] < n_events).sum(1).tolist(),
        n_tokens=(tokens != BLANK).sum(2).amax(1).tolist() if M else [],
        has_quiet=blank_is_over.any(1).tolist(),
        frames=frames,
        tokens=tokens,
        token_log_probs=found,
        blank=blank[frames, order],
        quiet=quiet,
        blank_is_over=torch.where(blank_is_over, -math.inf, 0.0).double(),
        tail=quiet.gather(0, n_events[None]).T,
    )


def _tried(
    log_probs: Tensor, input_lengths: Tensor, token_floor: float, blank_skip: float
) -> tuple[Tensor, Tensor]:
    """(T, N, C), bool: where each token is tried; and (T, N), float64: blank's log-probability."""
    inside = torch.arange(len(log_probs), device=log_probs.device)[:, None] < input_lengths
    blank = log_probs[:, :, BLANK]
    tried = log_probs >= blank.clamp(max=token_floor)[:, :, None]
    some = inside if blank_skip >= 1 else inside & (blank < math.log(blank_skip))
    tried &= some[:, :, None]
    tried[:, :, BLANK] = False
    return tried, torch.where(inside, blank, 0.0).double()
