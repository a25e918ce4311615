"""log_probs -> n-best lists: CTC prefix beam search of a batch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from asr.contexts import Context
from asr.decoder import Decoder
from asr.events import Event, find_events
from asr.fusion import Fusion
from asr.hypotheses import Trace, read_back
from asr.nbest import Hypothesis
from asr.threads import threads
from asr.tokenizer import BLANK
from asr.trie import NONE
from asr.ways import Choice, Ways, at

NOBODY, ORPHAN, EMPTY = 0, 1, 2
"""Names of a slot without a prefix, of what the empty prefix extends, and of the empty prefix."""


class Beam(NamedTuple):
    """The prefixes that are kept, (N, K)."""

    blank: Tensor  # float64, log-probability of the alignments so far that end in blank
    token: Tensor  # float64, of those that end in the prefix's last token
    total: Tensor  # float64, of both
    last: Tensor  # the last token; BLANK where the prefix is empty
    name: Tensor  # a hash that stands for tokens and words
    parent: Tensor  # the name of the prefix without the last token
    context: Context


class Stay(NamedTuple):
    """The prefixes of a beam after an event, (N, K)."""

    blank: Tensor
    token: Tensor
    total: Tensor
    parent: Tensor  # the slot of the prefix without the last token
    known: Tensor  # bool, whether there is one
    arrives: Tensor  # float64, what that prefix gave: a part of `token`


@torch.inference_mode()
def beam_search(
    log_probs: Tensor, input_lengths: Tensor, decoder: Decoder
) -> list[list[Hypothesis]]:
    """The most probable token sequences, each summed over its alignments.

    On the CPU it computes with one thread, whatever torch is set to.

    Args:
        log_probs: (T, N, C), natural logs, on any device; padding is not used.
        input_lengths: (N,), int64.
        decoder: how far to look, and what to go by besides.

    Returns:
        nbest: of each utterance at most `n_best` hypotheses, best first; none where none is
            possible. Acoustic log-probabilities are exact where nothing was pruned, and lower
            bounds elsewhere.

    Raises:
        ValueError: `log_probs` is not (T, N, C) with the tokenizer's C, or a length is not from 0
            to T.

    Source: Hannun et al. 2014, arXiv:1408.2873, algorithm 1; here in log space and in batches.
    """
    _check(log_probs, input_lengths, len(decoder.tokenizer.symbols))
    N, device = log_probs.shape[1], log_probs.device
    if not N:
        return []
    with threads(1):
        fusion = Fusion(decoder, N, device) if decoder.informed else None
        return _search(log_probs, input_lengths.to(device), decoder, fusion)


def _check(log_probs: Tensor, input_lengths: Tensor, C: int) -> None:
    shape = tuple(log_probs.shape)
    if log_probs.ndim != 3 or shape[2] != C:
        raise ValueError(f"log_probs has shape {shape}; expected (T, N, {C})")
    if input_lengths.shape != shape[1:2]:
        found = tuple(input_lengths.shape)
        raise ValueError(f"input_lengths has shape {found}; expected ({shape[1]},)")
    if shape[1] and not 0 <= int(input_lengths.min()) <= int(input_lengths.max()) <= shape[0]:
        raise ValueError(f"input_lengths is {input_lengths.tolist()}; expected 0 to {shape[0]}")


def _search(
    log_probs: Tensor, input_lengths: Tensor, decoder: Decoder, fusion: Fusion | None
) -> list[list[Hypothesis]]:
    N, settings = log_probs.shape[1], decoder.settings
    events = find_events(log_probs, input_lengths, settings.token_floor, settings.blank_skip)
    beam = _start(N, settings.beam_width, fusion, log_probs.device)
    ended: list[Beam] = []
    traces: list[Trace] = []
    for number, active in enumerate(events.n_active):
        if active < beam.last.shape[0]:
            ended.append(_rows(beam, slice(active, None)))
            beam = _rows(beam, slice(active))
        if fusion:
            fusion.make_room(beam.last.numel(), (some.context for some in (beam, *ended)))
        beam, trace = _step(beam, events.at(number), log_probs, settings.score_floor, fusion)
        traces.append(trace)
    ends = _end(_join([beam, *reversed(ended)]), events.tail, fusion)
    return read_back(ends, traces, events, decoder)


def _start(N: int, K: int, fusion: Fusion | None, device: torch.device) -> Beam:
    """Beams of the empty prefix alone."""
    never = torch.full((N, K), -math.inf, dtype=torch.float64, device=device)
    name = torch.full((N, K), NOBODY, device=device)
    blank = never.clone()
    blank[:, 0], name[:, 0] = 0.0, EMPTY
    last, parent = torch.full_like(name, BLANK), torch.full_like(name, ORPHAN)
    return Beam(blank, never, blank, last, name, parent, fusion.start(name) if fusion else {})


def _step(
    beam: Beam, event: Event, log_probs: Tensor, score_floor: float, fusion: Fusion | None
) -> tuple[Beam, Trace]:
    """Take the beams through the quiet before an event and through the event."""
    beam = _after_quiet(beam, event)
    stay = _stay(beam, event, log_probs)
    score = stay.total + beam.context["score"] if fusion else stay.total
    # the prefixes alone fill the beam: what is to be kept must reach the worst of them
    least = torch.maximum(score.amin(1), score.amax(1) + score_floor)
    ways = _ways(beam, stay, event, least, fusion)
    if fusion:
        ways = fusion.with_lm(beam.context, beam.last, ways, least)
    ways = ways.or_impossible()
    choice = _choose(score, ways)
    context = fusion.advance(beam.context, ways, choice) if fusion else {}
    return _keep(beam, stay, ways, choice, context), _trace(beam, stay, ways, choice, context)


def _after_quiet(beam: Beam, event: Event) -> Beam:
    """Blanks all over the quiet frames before an event."""
    if event.quiet is None or event.hushed is None:
        return beam
    total = beam.total + event.quiet
    blank = torch.where(event.hushed < 0, total, beam.blank)
    return beam._replace(blank=blank, token=beam.token + event.hushed, total=total)


def _stay(beam: Beam, event: Event, log_probs: Tensor) -> Stay:
    """The prefixes as they are after an event.

    They go on with blank or with their last token. And where the prefix without that token is in
    the beam as well, its extension arrives here.
    """
    goes_on = log_probs[event.frames, event.rows, beam.last].double()
    names, order = beam.name.sort(1)
    found = torch.searchsorted(names, beam.parent).clamp(max=names.shape[1] - 1)
    parent, known = order.gather(1, found), names.gather(1, found) == beam.parent
    repeats = beam.last.gather(1, parent) == beam.last
    arrives = torch.where(repeats, beam.blank.gather(1, parent), beam.total.gather(1, parent))
    arrives = torch.where(known, arrives + goes_on, -math.inf)
    blank = beam.total + event.blank
    token = torch.logaddexp(beam.token + goes_on, arrives)
    return Stay(blank, token, torch.logaddexp(blank, token), parent, known, arrives)


def _ways(beam: Beam, stay: Stay, event: Event, least: Tensor, fusion: Fusion | None) -> Ways:
    """The extensions that may be kept, as far as can be told without the language model.

    One that is in the beam has arrived there, and is impossible here.

    Args:
        beam: before the event.
        stay: its prefixes after the event.
        event: what is tried.
        least: (N,), the score that an extension must reach.
        fusion: what there is besides the acoustic model.
    """
    repeats = beam.last[:, :, None] == event.tokens[:, None]  # (N, K, M)
    grow = torch.where(repeats, beam.blank[:, :, None], beam.total[:, :, None])
    grow = grow + event.token_log_probs[:, None]
    short = least[:, None] - fusion.highest(beam.context) if fusion else least[:, None]
    short = short.clamp(min=torch.finfo(short.dtype).min)  # what is impossible is short of all
    place = (grow >= short[:, :, None]).flatten().nonzero()[:, 0]
    token = event.tokens[:, None].expand_as(grow)
    ways = Ways(place // grow.shape[2], at(token, place), at(grow, place))
    if fusion:
        ways = fusion.ways(beam.context, beam.last, ways)
    return ways._replace(mass=_but_arrived(beam, stay, ways))


def _but_arrived(beam: Beam, stay: Stay, ways: Ways) -> Tensor:
    """(F,), the mass of ways, -inf of those to prefixes that are in the beam."""
    if not ways.slot.shape[0]:
        return ways.mass
    N, K = beam.last.shape
    parent = torch.arange(0, N * K, K, device=stay.parent.device)[:, None] + stay.parent
    arrived = _number(parent, beam.last, beam.context.get("outcome"))
    numbers = _number(ways.slot, ways.token, ways.outcome)
    found = torch.searchsorted(numbers, arrived).clamp(max=numbers.shape[0] - 1)
    found = found[stay.known & (numbers.take(found) == arrived)]
    return ways.mass.index_fill(0, found, -math.inf)


def _number(slot: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """Numbers of ways, rising in their order."""
    number = (slot << 24) + token
    return number if outcome is None else (number << 16) + outcome


def _choose(score: Tensor, ways: Ways) -> Choice:
    """The K prefixes and ways of the highest score, in no order.

    Args:
        score: (N, K), of the prefixes.
        ways: one or more.
    """
    N, K = score.shape
    table, first = ways.table(N, K)
    best, place = torch.cat((score, table), 1).topk(K, 1, sorted=False)
    possible = best > -math.inf
    new = possible & (place >= K)
    way = torch.where(new, first[:, None] + place - K, 0)
    return Choice(torch.where(place < K, place, ways.slot.take(way) % K), way, new, possible)


def _keep(beam: Beam, stay: Stay, ways: Ways, choice: Choice, context: Context) -> Beam:
    """The prefixes chosen."""
    slot, new = choice.slot, choice.new
    old = choice.possible & ~new
    mass = torch.where(new, ways.mass.take(choice.way), -math.inf)
    last = ways.token.take(choice.way)
    name = beam.name.gather(1, slot)
    named = _name(name, last, context.get("outcome"))
    parent = torch.where(old, beam.parent.gather(1, slot), ORPHAN)
    return Beam(
        blank=torch.where(old, stay.blank.gather(1, slot), -math.inf),
        token=torch.where(old, stay.token.gather(1, slot), mass),
        total=torch.where(old, stay.total.gather(1, slot), mass),
        last=torch.where(new, last, beam.last.gather(1, slot)),
        name=torch.where(new, named, torch.where(old, name, NOBODY)),
        parent=torch.where(new, name, parent),
        context=context,
    )


def _trace(beam: Beam, stay: Stay, ways: Ways, choice: Choice, context: Context) -> Trace:
    """Where the chosen come from.

    Where most of a prefix's alignments have just arrived, it comes from the prefix without its last
    token as if it were new, so that this token begins here.
    """
    arrived = stay.arrives - stay.total > math.log(0.5)
    here = torch.arange(beam.last.shape[1], device=beam.last.device)
    slot = torch.where(arrived, stay.parent, here).gather(1, choice.slot)
    token = torch.where(arrived, beam.last, BLANK).gather(1, choice.slot)
    token = torch.where(choice.new, ways.token.take(choice.way), token)
    word = torch.where(token == BLANK, NONE, context["word"]) if "word" in context else None
    return Trace(torch.where(choice.new, choice.slot, slot), token, word)


def _name(parent: Tensor, token: Tensor, outcome: Tensor | None) -> Tensor:
    """64 bits that tell a prefix from all others."""
    label = token if outcome is None else token + (outcome << 32)
    mixed = (parent ^ (label * -7046029254386353131)) * -4417276706812531889
    return mixed ^ (mixed >> 29)


def _rows(beam: Beam, rows: slice) -> Beam:
    *fields, context = beam
    some = {name: known[rows] for name, known in context.items()}
    return Beam._make([*(field[rows] for field in fields), some])


def _join(beams: list[Beam]) -> Beam:
    *fields, contexts = zip(*beams, strict=True)
    joined = {name: torch.cat([some[name] for some in contexts]) for name in contexts[0]}
    return Beam._make([*(torch.cat(field) for field in fields), joined])


def _end(beam: Beam, tail: Tensor, fusion: Fusion | None) -> Ways:
    """What the utterances' ends make of the prefixes."""
    log_prob = beam.total + tail
    if fusion:
        fusion.make_room(log_prob.numel(), [beam.context])
        return fusion.end(beam.context, beam.last, log_prob)
    slot = (log_prob.flatten() > -math.inf).nonzero()[:, 0]
    return Ways(slot, torch.full_like(slot, BLANK), at(log_prob, slot))
