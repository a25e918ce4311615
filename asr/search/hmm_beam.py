"""emissions of a batch -> n-best lists, by prefix beam search over the states of an HMM."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from asr.hmm.topology import ENTER_SILENCE, PASS_SILENCE, Topology
from asr.search.backtrace import Trace, read_back
from asr.search.extensions import Choice, Extensions, at
from asr.search.fusion import Fusion
from asr.search.lexicon_tree import ROOT
from asr.search.lm_states import Context
from asr.search.nbest import Hypothesis, refuse_nan
from asr.search.prefixes import Prefixes, choose, end, join, least_mass, mass_of_new_prefixes, trace
from asr.search.space import SearchSpace
from asr.search.threads import threads
from asr.text.tokenizer import BLANK


class Beam(NamedTuple):
    """The kept prefixes with the log-probabilities of their states, float64.

    A prefix has J states of its last token, then Z states of the silence after it.
    """

    states: Tensor  # (N, K, J + Z), log-probability of the paths that end in each state
    prefixes: Prefixes


class States(NamedTuple):
    """The states of each token and of the silence after it, (C, J + Z)."""

    pdfs: Tensor  # int64
    loops: Tensor  # float64, log-probability of staying in the state
    moves: Tensor  # float64, log-probability of leaving the state
    n_silent: int  # Z


class Stay(NamedTuple):
    """The prefixes of a beam after a frame, without extensions."""

    states: Tensor  # (N, K, J + Z), as in `Beam`
    total: Tensor  # (N, K), log-probability summed over the states
    parent: Tensor  # (N, K), slot of the parent: the prefix without the last token
    known: Tensor  # (N, K), bool, whether the parent is in the beam
    arrives: Tensor  # (N, K), the part of the first state that comes from extending the parent


@torch.inference_mode()
def hmm_beam_search(
    emissions: Tensor, input_lengths: Tensor, space: SearchSpace, topology: Topology
) -> list[list[Hypothesis]]:
    """Find the most probable token sequences, each summed over its alignments.

    This is `asr.search.beam.beam_search` with HMM states in place of CTC's blank. A prefix is a
    sequence of tokens, with a log-probability for each state of its last token and of the silence
    after it. Silence may follow a complete word, or any token if there is no lexicon. Every frame
    is a step.

    On the CPU the search uses one thread; with a neural language model, it uses as many as torch
    is set to.

    Args:
        emissions: (T, N, S), log p(features | state), on any device; padding is not used.
        input_lengths: (N,), int64.
        space: settings, lexicon, language model and boosts. `token_floor`, `blank_skip` and
            `recombine` are for CTC only and have no effect. Other settings in nats need to be
            about ten times as large as for CTC, because emissions have a larger range.
        topology: the HMM states of the tokens.

    Returns:
        nbest: for each utterance at most `n_best` hypotheses, best first; an empty list if no
            hypothesis is possible. Acoustic log-probabilities are exact if nothing was pruned, and
            lower bounds otherwise.

    Raises:
        ValueError: `emissions` is not (T, N, S) with the topology's S, a length is not from 0 to
            T, an emission is NaN, or the tokenizer and the topology have different tokens.
    """
    _check(emissions, input_lengths, space, topology)
    N, device = emissions.shape[1], emissions.device
    if not N:
        return []
    with threads(space.n_threads):
        fusion = Fusion(space, N, device) if space.informed else None
        states = _states(topology, device)
        return _search(emissions, input_lengths.to(device), space, states, fusion)


def _check(
    emissions: Tensor, input_lengths: Tensor, space: SearchSpace, topology: Topology
) -> None:
    shape, S = tuple(emissions.shape), len(topology.self_loops)
    if emissions.ndim != 3 or shape[2] != S:
        raise ValueError(f"emissions has shape {shape}; expected (T, N, {S})")
    if input_lengths.shape != shape[1:2]:
        found = tuple(input_lengths.shape)
        raise ValueError(f"input_lengths has shape {found}; expected ({shape[1]},)")
    if shape[1] and not 0 <= int(input_lengths.min()) <= int(input_lengths.max()) <= shape[0]:
        raise ValueError(f"input_lengths is {input_lengths.tolist()}; expected 0 to {shape[0]}")
    refuse_nan("emissions", emissions, input_lengths)
    C = len(space.tokenizer.symbols)
    if len(topology.pdfs) != C:
        raise ValueError(f"topology has {len(topology.pdfs)} tokens; the tokenizer has {C}")


def _states(topology: Topology, device: torch.device) -> States:
    C, J = topology.pdfs.shape
    silence = torch.tensor(topology.silence, dtype=torch.int64)
    pdfs = torch.cat((topology.pdfs, silence.expand(C, -1)), 1).to(device)
    loops = topology.self_loops.to(device, torch.float64)[pdfs]
    moves = torch.log1p(-loops.exp())
    # the empty prefix is in its last state before the first frame, and must leave it at once
    loops[BLANK, :J], moves[BLANK, : J - 1], moves[BLANK, J - 1] = -math.inf, -math.inf, 0.0
    pdfs[BLANK, :J] = 0
    return States(pdfs, loops, moves, len(silence))


def _search(
    emissions: Tensor,
    input_lengths: Tensor,
    space: SearchSpace,
    states: States,
    fusion: Fusion | None,
) -> list[list[Hypothesis]]:
    N, settings = emissions.shape[1], space.settings
    lengths, order = input_lengths.sort(stable=True, descending=True)
    frames = torch.arange(int(lengths[0]), device=order.device)[:, None].expand(-1, N)
    n_active = (frames < lengths).sum(1).tolist()
    beam = _start(N, settings.beam_width, states, fusion)
    ended: list[Beam] = []
    traces: list[Trace] = []
    for frame, active in enumerate(n_active):
        if active < beam.states.shape[0]:
            ended.append(_rows(beam, slice(active, None)))
            beam = _rows(beam, slice(active))
        if fusion:
            contexts = (some.prefixes.context for some in (beam, *ended))
            fusion.make_room(beam.prefixes.last.numel(), contexts)
        emission = emissions[frame, order[:active]].double()  # (n, S)
        beam, step = _step(beam, emission, states, settings.score_floor, fusion)
        traces.append(step)
    beams = [beam, *reversed(ended)]
    log_prob = torch.cat([_leaving(some, states)[0] for some in beams])
    ends = end(join([some.prefixes for some in beams]), log_prob, fusion)
    return read_back(ends, traces, order, frames, space)


def _start(N: int, K: int, states: States, fusion: Fusion | None) -> Beam:
    """Beams with only the empty prefix."""
    device = states.pdfs.device
    J = states.pdfs.shape[1] - states.n_silent
    never = (N, K, states.pdfs.shape[1])
    masses = torch.full(never, -math.inf, dtype=torch.float64, device=device)
    masses[:, 0, J - 1] = 0.0
    return Beam(masses, Prefixes.start(N, K, device, fusion))


def _step(
    beam: Beam, emission: Tensor, states: States, score_floor: float, fusion: Fusion | None
) -> tuple[Beam, Trace]:
    """Advance the beams by one frame."""
    before = beam.prefixes
    leaves, enters_silence = _leaving(beam, states)
    stay = _stay(beam, emission, states, leaves, enters_silence)
    score = stay.total + before.context["score"] if fusion else stay.total
    # the prefixes alone fill the beam, so an extension must reach the worst of their scores
    least = torch.maximum(score.amin(1), score.amax(1) + score_floor)
    entry = emission[:, states.pdfs[:, 0]]  # (N, C)
    entry[:, BLANK] = -math.inf
    extensions = _extensions(
        leaves, entry, least_mass(least, before.context, fusion), before.context, fusion
    )
    if fusion:
        extensions = fusion.extensions(before.context, before.last, extensions)
    extensions = extensions._replace(
        mass=mass_of_new_prefixes(before, stay.parent, stay.known, extensions)
    )
    if fusion:
        extensions = fusion.with_lm(before.context, before.last, extensions, least)
    extensions = extensions.or_impossible()
    choice = choose(score, extensions)
    context = fusion.advance(before.context, extensions, choice) if fusion else {}
    prefixes = before.keep(extensions, choice, context)
    arrived = stay.arrives - stay.total > math.log(0.5)
    traced = trace(before, stay.parent, arrived, extensions, choice, prefixes)
    return _keep(stay, extensions, choice, prefixes), traced


def _leaving(beam: Beam, states: States) -> tuple[Tensor, Tensor]:
    """(N, K): log-probability of leaving for another token or the end; and of entering silence."""
    J, last = states.pdfs.shape[1] - states.n_silent, beam.prefixes.last
    leaves = beam.states[:, :, J - 1] + states.moves[:, J - 1][last]
    if not states.n_silent:
        return leaves, torch.full_like(leaves, -math.inf)
    behind = beam.states[:, :, -1] + states.moves[BLANK, -1]
    passing = torch.logaddexp(leaves + PASS_SILENCE, behind)
    enters_silence = leaves + ENTER_SILENCE
    if "node" not in beam.prefixes.context:
        return passing, enters_silence
    whole = beam.prefixes.context["node"] == ROOT
    return torch.where(whole, passing, leaves), enters_silence.masked_fill(~whole, -math.inf)


def _stay(
    beam: Beam, emission: Tensor, states: States, leaves: Tensor, enters_silence: Tensor
) -> Stay:
    """The prefixes after a frame, without extensions.

    A path stays in its state or moves to the next one. If the parent, the prefix without the last
    token, is in the beam too, its paths that are extended by that token are added here.
    """
    last = beam.prefixes.last
    J = states.pdfs.shape[1] - states.n_silent
    parent, known = beam.prefixes.parents()
    arrives = torch.where(known, leaves.gather(1, parent), -math.inf)
    moved = beam.states + states.moves[last]
    parts = [arrives[:, :, None], moved[:, :, : J - 1]]
    if states.n_silent:
        parts += [enters_silence[:, :, None], moved[:, :, J:-1]]
    pdfs = states.pdfs[last]  # (N, K, J + Z)
    emitted = emission.gather(1, pdfs.flatten(1)).view_as(moved)
    masses = torch.logaddexp(beam.states + states.loops[last], torch.cat(parts, 2)) + emitted
    return Stay(masses, masses.logsumexp(2), parent, known, arrives + emitted[:, :, 0])


def _extensions(
    leaves: Tensor, entry: Tensor, min_mass: Tensor, context: Context, fusion: Fusion | None
) -> Extensions:
    """The extensions that may be kept, scored without the language model.

    Args:
        leaves: (N, K), log-probability of leaving each prefix.
        entry: (N, C), the emissions of the tokens' first states.
        min_mass: (N, K) or (N, 1), the log-probability that an extension must reach.
        context: context of the prefixes.
        fusion: lexicon, language model and boosts; a lexicon allows only few tokens.
    """
    min_mass = min_mass.expand_as(leaves)
    K, C = leaves.shape[1], entry.shape[1]
    promising = (leaves + entry.amax(1, keepdim=True) >= min_mass).flatten().nonzero()[:, 0]
    if fusion and fusion.trie is not None:
        of, token = fusion.trie.tokens(at(context["node"], promising))
        slot = promising.index_select(0, of)
        mass = at(leaves, slot) + at(entry, slot // K * C + token)
        may_be = (mass >= at(min_mass, slot)).nonzero()[:, 0]
        return Extensions(*(some.index_select(0, may_be) for some in (slot, token, mass)))
    mass = at(leaves, promising)[:, None] + entry.index_select(0, promising // K)
    which, token = (mass >= at(min_mass, promising)[:, None]).nonzero(as_tuple=True)
    return Extensions(at(promising, which), token, mass[which, token])


def _keep(stay: Stay, extensions: Extensions, choice: Choice, prefixes: Prefixes) -> Beam:
    """The beam of the chosen prefixes."""
    slot, new = choice.slot[:, :, None], choice.new
    old = (choice.possible & ~new)[:, :, None]
    kept = stay.states.gather(1, slot.expand(-1, -1, stay.states.shape[2]))
    masses = torch.where(old, kept, -math.inf)
    masses[:, :, 0] = torch.where(new, extensions.mass.take(choice.extension), masses[:, :, 0])
    return Beam(masses, prefixes)


def _rows(beam: Beam, rows: slice) -> Beam:
    return Beam(beam.states[rows], beam.prefixes.rows(rows))
