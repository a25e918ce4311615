"""units -> log-probabilities of the next units, from a recurrent language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.errors import InputError, check_size
from asr.lm.protocol import text_log_prob
from asr.lm.vocabulary import EOS, Vocabulary
from asr.networks.cells import Cell, Initialisation, initialise
from asr.networks.recurrent import (
    MAX_HIDDEN,
    MAX_LAYERS,
    MAX_WEIGHTS,
    Dropout,
    RecurrentStack,
    StackSettings,
    drop,
)

SoftmaxKind = Literal["full", "adaptive"]

TOGETHER = 4096
"""Maximum number of sentences in a batch of `sentence_log_probs`. Larger batches take more memory
and are hardly faster."""

LOGITS = 2**23
"""Maximum number of logits that `sentence_log_probs` computes at once, for the same reason."""


@dataclass(frozen=True)
class RNNLMSettings:
    """Settings of the recurrent language model.

    Args:
        cell: the kind of recurrent units.
        embedding_size: size of a unit's embedding.
        hidden_size: number of recurrent units of a layer.
        n_layers: number of recurrent layers.
        tied: whether the output's weights are the embeddings; if `hidden_size` differs from
            `embedding_size`, there is a linear projection in between.
        softmax: "full", or "adaptive" for vocabularies of thousands of words.
        dropout_input: share of the embeddings' values that is set to 0 in training.
        dropout_hidden: the same for the output of each layer except the last.
        dropout_output: the same for the last layer's output.
        variational: whether all units of a chunk share one dropout mask, instead of one per unit.
        weight_drop: share of the recurrent weights that is set to 0 in training, drawn for each
            chunk.
        initialisation: initial values of the matrices.

    Source: tied: Press and Wolf 2017, arXiv:1608.05859; Inan, Khosravi and Socher 2017,
    arXiv:1611.01462.
    """

    cell: Cell = "lstm"
    embedding_size: int = 512
    hidden_size: int = 512
    n_layers: int = 1
    tied: bool = True
    softmax: SoftmaxKind = "full"
    dropout_input: float = 0.0
    dropout_hidden: float = 0.0
    dropout_output: float = 0.0
    variational: bool = False
    weight_drop: float = 0.0
    initialisation: Initialisation = "uniform"

    def __post_init__(self) -> None:
        check_size("model.embedding_size", self.embedding_size, 1, MAX_HIDDEN)
        check_size("model.hidden_size", self.hidden_size, 1, MAX_HIDDEN)
        check_size("model.n_layers", self.n_layers, 1, MAX_LAYERS)
        for name in ("dropout_input", "dropout_hidden", "dropout_output", "weight_drop"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise InputError(f"model.{name} is {value}; expected from 0 to below 1")


class Softmax(nn.Module):
    """A softmax over units, exactly normalised.

    "full" is the plain softmax over all units. "adaptive" has a first softmax over the most
    frequent tenth of the units and two groups: the next three tenths, and the rest. The probability
    of a unit in a group is the group's probability times the unit's probability within the group.
    So frequent units need no computation for the rare ones: with 20,000 English words, an average
    word needs a seventh of all logits.

    Args:
        input_size: E, size of the network's output, which is the softmax's input.
        n_units: V; for "adaptive", sorted by falling frequency.
        kind: "full" or "adaptive".

    Source: Grave et al. 2017, arXiv:1609.04309, where rare units have shorter vectors. Here all
    vectors have E values, so that they can also be used as embeddings.
    """

    def __init__(self, input_size: int, n_units: int, kind: SoftmaxKind = "full") -> None:
        super().__init__()
        ends = [n_units] if kind == "full" else [n_units // 10, 4 * n_units // 10, n_units]
        self.n_frequent = ends[0]
        self.groups = [(begin, end) for begin, end in pairwise(ends) if begin < end]
        bound = input_size**-0.5
        self.weight = nn.Parameter(torch.empty(n_units, input_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_units))
        if self.groups:
            self.group_weight = nn.Parameter(torch.zeros(len(self.groups), input_size))
            self.group_bias = nn.Parameter(torch.zeros(len(self.groups)))

    def log_probs(self, outputs: Tensor) -> Tensor:
        """Log-probabilities of all units: (N, E) -> (N, V), at least float32."""
        first = self._first(outputs)
        parts = [first[:, : self.n_frequent]]
        for number, group in enumerate(self.groups):
            parts.append(first[:, self.n_frequent + number, None] + self._within(outputs, group))
        return torch.cat(parts, 1)

    def score(self, outputs: Tensor, units: Tensor, rows: Tensor | None = None) -> Tensor:
        """Log-probabilities of single units.

        Args:
            outputs: (N, E).
            units: (M,), int64.
            rows: (M,), int64, index of the output that scores each unit; with None, output n
                scores unit n.

        Returns:
            scores: (M,), at least float32.
        """
        if rows is None:
            rows = torch.arange(len(outputs), device=outputs.device)
        inside = [(begin <= units) & (units < end) for begin, end in self.groups]
        first = units
        for number, here in enumerate(inside):
            first = first.masked_fill(here, self.n_frequent + number)
        scores = self._first(outputs)[rows, first]
        for (begin, end), here in zip(self.groups, inside, strict=True):
            asked, row = rows[here].unique(return_inverse=True)
            within = self._within(outputs[asked], (begin, end))[row, units[here] - begin]
            scores = scores.index_add(0, here.nonzero()[:, 0], within)
        return scores

    def _first(self, outputs: Tensor) -> Tensor:
        """(N, n_frequent + groups): log-probs of the frequent units and of each group."""
        weight, bias = self.weight[: self.n_frequent], self.bias[: self.n_frequent]
        if self.groups:
            weight = torch.cat([weight, self.group_weight])
            bias = torch.cat([bias, self.group_bias])
        return _log_softmax(F.linear(outputs, weight, bias))

    def _within(self, outputs: Tensor, group: tuple[int, int]) -> Tensor:
        """(N, units of the group): log-probs of the units, given their group."""
        begin, end = group
        return _log_softmax(F.linear(outputs, self.weight[begin:end], self.bias[begin:end]))


class RNNLM(nn.Module):
    """A recurrent language model.

    The state is the state of the recurrent layers after all units so far. Every sentence starts
    with `EOS`.

    Args:
        vocabulary: the units.
        settings: size and kind of the network.
    """

    def __init__(self, vocabulary: Vocabulary, settings: RNNLMSettings) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.settings = settings
        V, hidden_size = len(vocabulary.symbols), settings.hidden_size
        output_size = settings.embedding_size if settings.tied else hidden_size
        largest = max(output_size, settings.embedding_size)
        check_size("number of weights of the units", V * largest, 1, MAX_WEIGHTS)
        self.output = Softmax(output_size, V, settings.softmax)
        self.embedding = None if settings.tied else nn.Embedding(V, settings.embedding_size)
        self.stack = RecurrentStack(
            settings.embedding_size,
            StackSettings(
                settings.cell,
                hidden_size,
                settings.n_layers,
                bidirectional=False,
                dropout=Dropout(
                    settings.dropout_hidden,
                    settings.dropout_output,
                    settings.weight_drop,
                    settings.variational,
                ),
            ),
        )
        self.projection = (
            None if output_size == hidden_size else nn.Linear(hidden_size, output_size)
        )
        initialise(self, settings.initialisation)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of a chunk.

        Args:
            inputs: (T, N), int64.
            state: (N, S), from `zero_state` or from the previous chunk.

        Returns:
            outputs: (T, N, E), the softmax's inputs.
            state: (N, S), after the chunk.
        """
        settings = self.settings
        embedded = F.embedding(inputs, self.embeddings)
        embedded = drop(embedded, settings.dropout_input, settings.variational, self.training)
        outputs, state = self.stack.carry(embedded, state)
        return self._projected(outputs), state

    @property
    def embeddings(self) -> Tensor:
        """(V, embedding_size), the embeddings of all units."""
        return self.output.weight if self.embedding is None else self.embedding.weight

    def zero_state(self, rows: int) -> Tensor:
        """(rows, S): the state before any unit, even `EOS`, at the start of a text stream."""
        return self.stack.zero_state(rows)

    def losses(self, inputs: Tensor, targets: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-probabilities of a chunk's units.

        Args:
            inputs: (T, N), int64.
            targets: (T, N), int64: the unit after each input.
            state: (N, S), from `zero_state` or from the previous chunk.

        Returns:
            losses: (T, N), float32, nats.
            state: (N, S), after the chunk.
        """
        outputs, state = self(inputs, state)
        scores = self.output.score(outputs.flatten(0, 1), targets.flatten())
        return -scores.view_as(targets), state

    @torch.no_grad()
    def start(self, rows: int) -> Tensor:
        """(rows, S): the state at the start of a sentence, for each hypothesis."""
        return self._after(self.zero_state(1), self._units([EOS])).repeat(rows, 1)

    @torch.no_grad()
    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,): natural log-probabilities of the next units, (rows,); and the new states."""
        units = units.to(state.device)
        return self.output.score(self._outputs(state), units), self._after(state, units)

    @torch.no_grad()
    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V), float32: natural log-probabilities of all next units."""
        return self.output.log_probs(self._outputs(state))

    def log_prob(self, text: str) -> float:
        """The natural log-probability of a sentence with its end; see `text_log_prob`."""
        return text_log_prob(self, text)

    @torch.no_grad()
    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence, (U + 1,): natural log-probabilities of its units and of its end.

        A prefix that several sentences share, as in an n-best list, is computed only once. So it is
        fastest to pass many sentences at once.

        Raises:
            ValueError: a unit is not one of the V units.
        """
        V = len(self.vocabulary.symbols)
        wrong = [unit for sentence in sentences for unit in sentence if not 0 <= unit < V]
        if wrong:
            raise ValueError(f"sentences have the unit {wrong[0]}; expected 0 to {V - 1}")
        order = sorted(range(len(sentences)), key=lambda n: tuple(sentences[n]))
        found: dict[int, np.ndarray] = {}
        for begin in range(0, len(order), TOGETHER):
            numbers = order[begin : begin + TOGETHER]
            found |= zip(numbers, self._of_sorted([sentences[n] for n in numbers]), strict=True)
        return [found[n] for n in range(len(sentences))]

    @torch.no_grad()
    def activations(self, units: Sequence[int]) -> Tensor:
        """(U, n_layers, hidden_size): every layer's output after each unit of a sentence."""
        state, found = self.start(1), []
        for unit in units:
            state = self._after(state, self._units([unit]))
            found.append(state)
        states = torch.cat([state[:0], *found])
        outputs = states[:, : self.settings.n_layers * self.settings.hidden_size]
        return outputs.unflatten(1, (self.settings.n_layers, self.settings.hidden_size))

    def _of_sorted(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """`sentence_log_probs` of sentences in lexicographic order."""
        device = self.embeddings.device
        lengths = np.array([len(sentence) for sentence in sentences])
        units = np.full((len(sentences), lengths.max() + 1), EOS)
        for row, sentence in zip(units, sentences, strict=True):
            row[: len(sentence)] = sentence
        # length of the prefix that each sentence shares with the previous one in sorted order
        alike = (units[1:] == units[:-1]).cumprod(1).sum(1)
        alike = np.concatenate([[-1], np.minimum(alike, lengths[:-1])])

        found = np.empty(units.shape, dtype=np.float32)
        distinct, numbers = np.unique(units, return_inverse=True)
        numbers = numbers.reshape(units.shape)  # NumPy 1 returns it flat
        from_input = self.stack.input_product(
            self.embeddings[torch.from_numpy(distinct).to(device)]
        )
        states = self.start(1)
        at = np.zeros(len(sentences), dtype=int)  # index of each sentence's state in `states`
        for t in range(units.shape[1]):
            going = np.flatnonzero(lengths >= t)
            if t:
                parts = alike[going] < t  # sentences with a new prefix of length t
                new = going[parts]
                states = self.stack.step(from_input[numbers[new, t - 1]], states[at[new]])
                at[going] = parts.cumsum() - 1
            found[going, t] = self._score_each(states, at[going], units[going, t])
        return [found[n, : length + 1] for n, length in enumerate(lengths)]

    def _score_each(self, states: Tensor, at: np.ndarray, units: np.ndarray) -> np.ndarray:
        """(M,): log-probabilities of units, (M,), in the states with the ascending indices `at`."""
        outputs = self._outputs(states)
        rows = max(1, LOGITS // len(self.vocabulary.symbols))
        scores = []
        for begin in range(0, len(states), rows):
            first, end = at.searchsorted([begin, begin + rows])
            where, asked = (torch.from_numpy(values[first:end]) for values in (at, units))
            device = states.device
            part = outputs[begin : begin + rows]
            scores.append(self.output.score(part, asked.to(device), where.to(device) - begin))
        return torch.cat(scores).cpu().numpy()

    def _after(self, state: Tensor, units: Tensor) -> Tensor:
        """The states, (N, S), after one more unit each, (N,)."""
        distinct, numbers = units.unique(return_inverse=True)  # one product for each unit
        from_input = self.stack.input_product(F.embedding(distinct, self.embeddings))
        return self.stack.step(from_input.index_select(0, numbers), state)

    def _units(self, units: Sequence[int]) -> Tensor:
        return torch.tensor(units, device=self.embeddings.device)

    def _outputs(self, state: Tensor) -> Tensor:
        """(N, E): the softmax's inputs, from the last layer's output in the state."""
        end = self.settings.n_layers * self.settings.hidden_size
        return self._projected(state[:, end - self.settings.hidden_size : end])

    def _projected(self, outputs: Tensor) -> Tensor:
        return outputs if self.projection is None else self.projection(outputs)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, torch.promote_types(logits.dtype, torch.float32))
