"""tokens -> HMM states: of which each token and the silence between words are built."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.hmm.trees import middle_phone
from asr.text.tokenizer import BLANK

ENTER_SILENCE = math.log(0.5)
"""Log-probability that there is silence before the first word, between two, or behind the last."""

PASS_SILENCE = math.log(0.5)
"""Log-probability that there is none."""

MAX_STATES = 100
"""States of a token or of silence, at most."""

MAX_PDFS = 2**20
"""Pdfs of all states together, at most."""


@dataclass(frozen=True, eq=False)
class Topology:
    """How tokens and silence are built of states, one after the other, none of them skipped.

    Args:
        pdfs: (C, J), int64, for each token the number of the pdf of each of its states; -1 for the
            blank. Tokens may share pdfs.
        silence: likewise of the optional silence's states; none where there is no such silence.
        self_loops: (S,), for each pdf the log-probability that a state with it is stayed in.

    Raises:
        ValueError: a pdf's number is not from 0 to S - 1, or the blank has one.
    """

    pdfs: Tensor
    silence: tuple[int, ...]
    self_loops: Tensor

    def __post_init__(self) -> None:
        if self.pdfs.ndim != 2 or self.pdfs.dtype != torch.int64 or self.self_loops.ndim != 1:
            shapes = f"{tuple(self.pdfs.shape)} and {tuple(self.self_loops.shape)}"
            raise ValueError(
                f"pdfs and self_loops have shapes {shapes}; expected (C, J), int64, and (S,)"
            )
        if not (self.pdfs[BLANK] == -1).all():
            raise ValueError(
                f"pdfs[{BLANK}] is {self.pdfs[BLANK].tolist()}; expected -1: the blank"
            )
        S = len(self.self_loops)
        numbers = [*self.pdfs[BLANK + 1 :].flatten().tolist(), *self.silence]
        if wrong := [number for number in numbers if not 0 <= number < S]:
            raise ValueError(f"pdfs or silence has {wrong[0]}; expected from 0 to {S - 1}")

    @property
    def summary(self) -> str:
        """Its sizes, in a line."""
        J, Z, S = self.pdfs.shape[1], len(self.silence), len(self.self_loops)
        return f"{J} a token, {Z} of silence, {S} pdfs"


def left_to_right(
    n_tokens: int, n_states: int, n_silence_states: int, stay: float = 0.5
) -> Topology:
    """Every state of every token has a pdf of its own, and so has every state of the silence.

    Args:
        n_tokens: C, blank among them.
        n_states: of each token.
        n_silence_states: of the silence; 0: no silence.
        stay: probability of staying in a state.
    """
    n_pdfs = (n_tokens - 1) * n_states
    own = torch.arange(n_pdfs).view(-1, n_states)
    blank = torch.full((1, n_states), -1)
    self_loops = torch.full((n_pdfs + n_silence_states,), math.log(stay), dtype=torch.float64)
    silence = tuple(range(n_pdfs, n_pdfs + n_silence_states))
    return Topology(torch.cat([blank, own]), silence, self_loops)


def update_self_loops(
    self_loops: Tensor, stays: Tensor, leaves: Tensor, min_count: float = 10.0, lowest: float = 0.01
) -> Tensor:
    """The M-step: log-probabilities of staying in a state, by its pdf, of the highest likelihood.

    Args:
        self_loops: (S,), so far; they stay for pdfs with fewer than `min_count` frames, or none.
        stays: (S,), how often a state with that pdf was stayed in.
        leaves: (S,), how often it was left.
        min_count: frames.
        lowest: neither staying nor leaving becomes less probable.

    Returns:
        self_loops: (S,), float64.
    """
    total = stays + leaves
    enough = (total >= min_count) & (total > 0)
    probabilities = (stays / torch.where(enough, total, 1.0)).clamp(lowest, 1 - lowest)
    return torch.where(enough, probabilities.log(), self_loops.double())


def pdf_names(topology: Topology, symbols: Sequence[str]) -> list[str]:
    """(S,), what each pdf is of, such as "AH[0]": the first state of AH.

    Where units in context share the states of AH, "AH[0]" is the first of those for its first
    state, and "AH[0]2" the second. "unused" is one that neither a token nor the silence has.
    """
    owner = {pdf: f"silence[{state}]" for state, pdf in enumerate(topology.silence)}
    for symbol, pdfs in zip(symbols[1:], topology.pdfs[1:].tolist(), strict=True):
        owner |= {pdf: f"{middle_phone(symbol)}[{state}]" for state, pdf in enumerate(pdfs)}
    seen: Counter[str] = Counter()
    names = []
    for pdf in range(len(topology.self_loops)):
        name = owner.get(pdf, "unused")
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}{seen[name]}")
    return names
