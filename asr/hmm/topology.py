"""tokens -> HMM states: the states of each token and of the silence between words."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.hmm.trees import middle_phone
from asr.text.tokenizer import BLANK

ENTER_SILENCE = math.log(0.5)
"""Log-probability of silence before the first word, between two words, or after the last."""

PASS_SILENCE = math.log(0.5)
"""Log-probability of no silence at one of these places."""

MAX_STATES = 100
"""Maximum number of states of a token or of the silence."""

MAX_PDFS = 2**20
"""Maximum number of pdfs of all states together."""


@dataclass(frozen=True, eq=False)
class Topology:
    """The left-to-right states of tokens and silence, without skips.

    Args:
        pdfs: (C, J), int64, index of the pdf of each state of each token; -1 for the blank.
            Tokens may share pdfs (state tying).
        silence: the pdfs of the optional silence's states; empty for no silence.
        self_loops: (S,), log-probability of each pdf's self-loop.

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
        """The numbers of states and pdfs, in one line for people to read."""
        J, Z, S = self.pdfs.shape[1], len(self.silence), len(self.self_loops)
        return f"{J} a token, {Z} of silence, {S} pdfs"


def left_to_right(
    n_tokens: int, n_states: int, n_silence_states: int, stay: float = 0.5
) -> Topology:
    """A topology without tying: each state of each token and of the silence has its own pdf.

    Args:
        n_tokens: C, number of tokens, blank included.
        n_states: number of states of each token.
        n_silence_states: number of states of the silence; 0 for no silence.
        stay: probability of each self-loop.
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
    """The M-step: maximum-likelihood log-probabilities of the self-loops.

    Args:
        self_loops: (S,), current values; kept for pdfs with fewer than `min_count` frames, or none.
        stays: (S,), number of self-loops taken in states with that pdf.
        leaves: (S,), number of times that such a state was left.
        min_count: smallest number of frames for an update.
        lowest: lower bound of the probability of staying in a state, and of leaving it.

    Returns:
        self_loops: (S,), float64.
    """
    total = stays + leaves
    enough = (total >= min_count) & (total > 0)
    probabilities = (stays / torch.where(enough, total, 1.0)).clamp(lowest, 1 - lowest)
    return torch.where(enough, probabilities.log(), self_loops.double())


def pdf_names(topology: Topology, symbols: Sequence[str]) -> list[str]:
    """(S,), readable names of the pdfs, such as "AH[0]": the first state of AH.

    Where the triphones of AH have several pdfs for their first state, these are "AH[0]", "AH[0]2"
    and so on. A pdf that belongs to no token and not to the silence is "unused".
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
