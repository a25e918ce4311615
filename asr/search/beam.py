"""log_probs of a batch -> n-best lists, by CTC prefix beam search."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from asr.networks.ctc import frames_needed
from asr.search.backtrace import Trace, read_back
from asr.search.candidates import Event, find_events
from asr.search.extensions import Choice, Extensions, at
from asr.search.fusion import Fusion
from asr.search.nbest import Hypothesis, refuse_nan
from asr.search.prefixes import Prefixes, choose, end, join, least_mass, mass_of_new_prefixes, trace
from asr.search.space import SearchSpace
from asr.search.threads import threads


class Beam(NamedTuple):
    """The kept prefixes with the log-probabilities of their alignments so far, (N, K), float64."""

    blank: Tensor  # alignments that end in blank
    token: Tensor  # alignments that end in the prefix's last token
    total: Tensor  # all alignments
    prefixes: Prefixes


class Stay(NamedTuple):
    """The prefixes of a beam after an event, without extensions, (N, K)."""

    blank: Tensor  # as in `Beam`, like the next two
    token: Tensor
    total: Tensor
    parent: Tensor  # slot of the parent: the prefix without the last token
    known: Tensor  # bool, whether the parent is in the beam
    arrives: Tensor  # float64, the part of `token` that comes from extending the parent


@torch.inference_mode()
def beam_search(
    log_probs: Tensor, input_lengths: Tensor, space: SearchSpace
) -> list[list[Hypothesis]]:
    """Find the most probable token sequences, each summed over its alignments.

    On the CPU the search uses one thread; with a neural language model, it uses as many as torch
    is set to.

    Args:
        log_probs: (T, N, C), natural logs, on any device; padding is not used.
        input_lengths: (N,), int64.
        space: settings, lexicon, language model and boosts.

    Returns:
        nbest: for each utterance at most `n_best` hypotheses, best first; an empty list if no
            hypothesis is possible. Acoustic log-probabilities are exact if nothing was pruned, and
            lower bounds otherwise; those of recombined prefixes are estimates.

    Raises:
        ValueError: `log_probs` is not (T, N, C) with the tokenizer's C, or a length is not from 0
            to T, or a log-probability is NaN.

    Source: Hannun et al. 2014, arXiv:1408.2873, algorithm 1; here in log space and in batches.
    """
    _check(log_probs, input_lengths, len(space.tokenizer.symbols))
    N, device = log_probs.shape[1], log_probs.device
    if not N:
        return []
    with threads(space.n_threads):
        fusion = Fusion(space, N, device) if space.informed else None
        return _search(log_probs, input_lengths.to(device), space, fusion)


def _check(log_probs: Tensor, input_lengths: Tensor, C: int) -> None:
    shape = tuple(log_probs.shape)
    if log_probs.ndim != 3 or shape[2] != C:
        raise ValueError(f"log_probs has shape {shape}; expected (T, N, {C})")
    if input_lengths.shape != shape[1:2]:
        found = tuple(input_lengths.shape)
        raise ValueError(f"input_lengths has shape {found}; expected ({shape[1]},)")
    if shape[1] and not 0 <= int(input_lengths.min()) <= int(input_lengths.max()) <= shape[0]:
        raise ValueError(f"input_lengths is {input_lengths.tolist()}; expected 0 to {shape[0]}")
    refuse_nan("log_probs", log_probs, input_lengths)


def _search(
    log_probs: Tensor, input_lengths: Tensor, space: SearchSpace, fusion: Fusion | None
) -> list[list[Hypothesis]]:
    N, settings = log_probs.shape[1], space.settings
    events = find_events(log_probs, input_lengths, settings.token_floor, settings.blank_skip)
    beam = _start(N, settings.beam_width, fusion, log_probs.device)
    ended: list[Beam] = []
    traces: list[Trace] = []
    for number, active in enumerate(events.n_active):
        if active < beam.total.shape[0]:
            ended.append(_rows(beam, slice(active, None)))
            beam = _rows(beam, slice(active))
        if fusion:
            contexts = (some.prefixes.context for some in (beam, *ended))
            fusion.make_room(beam.total.numel(), contexts)
        beam, trace = _step(beam, events.at(number), log_probs, settings.score_floor, fusion)
        traces.append(trace)
    beams = [beam, *reversed(ended)]
    log_prob = torch.cat([some.total for some in beams]) + events.tail
    ends = end(join([some.prefixes for some in beams]), log_prob, fusion)
    nbests = read_back(ends, traces, events.order, events.frames, space)
    if not space.recombines:
        return nbests
    # a recombined prefix may end too late to be continued like its twin
    lengths = zip(nbests, input_lengths.tolist(), strict=True)
    return [[h for h in nbest if frames_needed(h.tokens) <= T] for nbest, T in lengths]


def _start(N: int, K: int, fusion: Fusion | None, device: torch.device) -> Beam:
    """Beams with only the empty prefix."""
    never = torch.full((N, K), -math.inf, dtype=torch.float64, device=device)
    blank = never.clone()
    blank[:, 0] = 0.0
    return Beam(blank, never, blank, Prefixes.start(N, K, device, fusion))


def _step(
    beam: Beam, event: Event, log_probs: Tensor, score_floor: float, fusion: Fusion | None
) -> tuple[Beam, Trace]:
    """Advance the beams through the quiet frames before an event, and through the event."""
    beam = _after_quiet_frames(beam, event)
    stay = _stay(beam, event, log_probs)
    before = beam.prefixes
    score = stay.total + before.context["score"] if fusion else stay.total
    # the prefixes alone fill the beam, so an extension must reach the worst of their scores
    least = torch.maximum(score.amin(1), score.amax(1) + score_floor)
    extensions = _extensions(beam, stay, event, least, fusion)
    if fusion:
        extensions = fusion.with_lm(before.context, before.last, extensions, least)
    extensions = extensions.or_impossible()
    choice = choose(score, extensions)
    context = fusion.advance(before.context, extensions, choice) if fusion else {}
    prefixes = before.keep(extensions, choice, context)
    arrived = stay.arrives - stay.total > math.log(0.5)
    traced = trace(before, stay.parent, arrived, extensions, choice, prefixes)
    return _recombined(_keep(stay, extensions, choice, prefixes), traced, fusion)


def _after_quiet_frames(beam: Beam, event: Event) -> Beam:
    """Extend all alignments by blanks in the quiet frames before an event."""
    if event.quiet is None or event.blank_is_over is None:
        return beam
    total = beam.total + event.quiet
    blank = torch.where(event.blank_is_over < 0, total, beam.blank)
    return beam._replace(blank=blank, token=beam.token + event.blank_is_over, total=total)


def _stay(beam: Beam, event: Event, log_probs: Tensor) -> Stay:
    """The prefixes after an event, without extensions.

    An alignment of a prefix continues with blank or with the last token. If the parent, the prefix
    without the last token, is in the beam too, its alignments that are extended by that token are
    added here.
    """
    last = beam.prefixes.last
    goes_on = log_probs[event.frames, event.rows, last].double()
    parent, known = beam.prefixes.parents()
    repeats = last.gather(1, parent) == last
    arrives = torch.where(repeats, beam.blank.gather(1, parent), beam.total.gather(1, parent))
    arrives = torch.where(known, arrives + goes_on, -math.inf)
    blank = beam.total + event.blank
    token = torch.logaddexp(beam.token + goes_on, arrives)
    return Stay(blank, token, torch.logaddexp(blank, token), parent, known, arrives)


def _extensions(
    beam: Beam, stay: Stay, event: Event, least: Tensor, fusion: Fusion | None
) -> Extensions:
    """The extensions that may be kept, scored without the language model.

    An extension that gives a prefix of the beam is counted in `stay`, so it has log-probability
    -inf here.

    Args:
        beam: the beam before the event.
        stay: the beam's prefixes after the event.
        event: the event, with the tokens to try.
        least: (N,), the score that an extension must reach.
        fusion: lexicon, language model and boosts; None without any.
    """
    last, context = beam.prefixes.last, beam.prefixes.context
    repeats = last[:, :, None] == event.tokens[:, None]  # (N, K, M)
    grow = torch.where(repeats, beam.blank[:, :, None], beam.total[:, :, None])
    grow = grow + event.token_log_probs[:, None]
    min_mass = least_mass(least, context, fusion)
    place = (grow >= min_mass[:, :, None]).flatten().nonzero()[:, 0]
    token = event.tokens[:, None].expand_as(grow)
    extensions = Extensions(place // grow.shape[2], at(token, place), at(grow, place))
    if fusion:
        extensions = fusion.extensions(context, last, extensions)
    return extensions._replace(
        mass=mass_of_new_prefixes(beam.prefixes, stay.parent, stay.known, extensions)
    )


def _keep(stay: Stay, extensions: Extensions, choice: Choice, prefixes: Prefixes) -> Beam:
    """The beam of the chosen prefixes."""
    slot, new = choice.slot, choice.new
    old = choice.possible & ~new
    mass = torch.where(new, extensions.mass.take(choice.extension), -math.inf)
    return Beam(
        blank=torch.where(old, stay.blank.gather(1, slot), -math.inf),
        token=torch.where(old, stay.token.gather(1, slot), mass),
        total=torch.where(old, stay.total.gather(1, slot), mass),
        prefixes=prefixes,
    )


def _recombined(beam: Beam, traced: Trace, fusion: Fusion | None) -> tuple[Beam, Trace]:
    """Keep only the best of the prefixes that any continuation changes in the same way."""
    if fusion is None or not fusion.recombines:
        return beam, traced
    context = beam.prefixes.context
    numbers = torch.stack((beam.total + context["score"], beam.total, context["lm"]), 2)
    future = fusion.future(context, beam.prefixes.last)
    prefixes, recombined = beam.prefixes.recombine(future, numbers)
    place = recombined.row, recombined.slot
    never = beam.total.new_tensor(-math.inf)
    blank, token, total = (mass.index_put(place, never) for mass in beam[:3])
    return Beam(blank, token, total, prefixes), traced._replace(recombined=recombined)


def _rows(beam: Beam, rows: slice) -> Beam:
    return Beam(beam.blank[rows], beam.token[rows], beam.total[rows], beam.prefixes.rows(rows))
