"""units -> log-probabilities of the next units, by a recurrent language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr.errors import InputError
from asr.recurrent import Cell, Dropout, RecurrentStack, drop
from asr.vocabulary import EOS, Vocabulary

Initialisation = Literal["uniform", "xavier", "orthogonal"]


@dataclass(frozen=True)
class RNNLMSettings:
    """The recurrent language model.

    Args:
        cell: the kind of recurrent units.
        embedding_size: values that stand for a unit.
        hidden_size: recurrent units of a layer.
        n_layers: recurrent layers.
        tied: the output's weights are the embeddings; where `hidden_size` is another than
            `embedding_size`, a linear map lies between.
        dropout_input: share of the embeddings' values that training sets to 0.
        dropout_hidden: the same of each layer's output but the last one's.
        dropout_output: the same of the last layer's output.
        variational: a mask is drawn once for all units of a chunk, not for each.
        weight_drop: share of the recurrent weights that training sets to 0, drawn once a chunk.
        initialisation: what training begins with. "uniform": all weights of a layer of n units
            within 1 / sqrt(n); "xavier": by the sizes of both sides; "orthogonal": like "xavier",
            but recurrent weights that keep lengths.

    Source: tied: Press and Wolf 2017, arXiv:1608.05859; Inan, Khosravi and Socher 2017,
    arXiv:1611.01462. Initialisations: Glorot and Bengio 2010; Saxe, McClelland and Ganguli 2014,
    arXiv:1312.6120.
    """

    cell: Cell = "lstm"
    embedding_size: int = 256
    hidden_size: int = 512
    n_layers: int = 1
    tied: bool = True
    dropout_input: float = 0.0
    dropout_hidden: float = 0.0
    dropout_output: float = 0.0
    variational: bool = False
    weight_drop: float = 0.0
    initialisation: Initialisation = "uniform"

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "n_layers"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("dropout_input", "dropout_hidden", "dropout_output", "weight_drop"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise InputError(f"model.{name} is {value}; expected from 0 to below 1")


class RNNLM(nn.Module):
    """A recurrent language model.

    Its state is that of the recurrent layers after all units so far, `EOS` first: that begins
    every sentence.

    Args:
        vocabulary: the units.
        settings: size and kind.
    """

    def __init__(self, vocabulary: Vocabulary, settings: RNNLMSettings) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.settings = settings
        size, hidden = settings.embedding_size, settings.hidden_size
        self.embedding = nn.Embedding(len(vocabulary.symbols), size)
        self.stack = RecurrentStack(
            size,
            settings.cell,
            hidden,
            settings.n_layers,
            bidirectional=False,
            dropout=Dropout(
                settings.dropout_hidden,
                settings.dropout_output,
                settings.weight_drop,
                settings.variational,
            ),
        )
        self.projection: nn.Module = nn.Identity()
        if settings.tied and hidden != size:
            self.projection = nn.Linear(hidden, size)
        if not settings.tied:
            self.output_weight = nn.Parameter(torch.empty(len(vocabulary.symbols), hidden))
        self.output_bias = nn.Parameter(torch.zeros(len(vocabulary.symbols)))
        self._initialise()

    def _initialise(self) -> None:
        if not self.settings.tied:
            bound = self.settings.hidden_size**-0.5
            nn.init.uniform_(self.output_weight, -bound, bound)

    def logits(self, outputs: Tensor) -> Tensor:
        """What the softmax turns into probabilities: (..., E) -> (..., V)."""
        weight = self.embedding.weight if self.settings.tied else self.output_weight
        return F.linear(outputs, weight, self.output_bias)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read a chunk.

        Args:
            inputs: (T, N), int64.
            state: (N, S), of `zero_state` or of the chunk before.

        Returns:
            outputs: (T, N, E), what the softmax layer reads.
            state: (N, S), after the chunk.
        """
        settings = self.settings
        embedded = self.embedding(inputs)
        embedded = drop(embedded, settings.dropout_input, settings.variational, self.training)
        outputs, state = self.stack.carry(embedded, state)
        return self.projection(outputs), state

    def zero_state(self, rows: int) -> Tensor:
        """(rows, S), before any unit, not even `EOS`: where a stream of sentences begins."""
        return self.stack.zero_state(rows)

    def losses(self, inputs: Tensor, targets: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-probabilities of a chunk's units.

        Args:
            inputs: (T, N), int64.
            targets: (T, N), int64: what should follow each input.
            state: (N, S), of `zero_state` or of the chunk before.

        Returns:
            losses: (T, N), float32, nats.
            state: (N, S), after the chunk.
        """
        outputs, state = self(inputs, state)
        logits = self.logits(outputs).float()
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view_as(targets), state

    @torch.no_grad()
    def start(self, rows: int) -> Tensor:
        """(rows, S): the state at a sentence's beginning, once for each hypothesis."""
        begin = torch.full((1, rows), EOS, device=self.embedding.weight.device)
        return self(begin, self.zero_state(rows))[1]

    @torch.no_grad()
    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """(rows,) natural log-probabilities of the next units, (rows,), and the states after."""
        units = units.to(self.embedding.weight.device)
        scores = self.log_probs(state).gather(1, units[:, None])[:, 0]
        return scores, self(units[None], state)[1]

    @torch.no_grad()
    def log_probs(self, state: Tensor) -> Tensor:
        """(rows, V), float32: the natural log-probability of every next unit."""
        hidden = self.settings.hidden_size
        end = self.settings.n_layers * hidden
        outputs = self.projection(state[:, end - hidden : end])
        return self.logits(outputs).float().log_softmax(1)

    @torch.no_grad()
    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """For each sentence (U + 1,) natural log-probabilities: of its units, then of its end."""
        found = []
        for sentence in sentences:
            units = torch.tensor([[EOS, *sentence, EOS]], device=self.embedding.weight.device).T
            losses, _ = self.losses(units[:-1], units[1:], self.zero_state(1))
            found.append(-losses[:, 0].cpu().numpy())
        return found

    @torch.no_grad()
    def activations(self, units: Sequence[int]) -> Tensor:
        """(U, n_layers, hidden_size): every layer's output after each unit of a sentence."""
        settings = self.settings
        shape = settings.n_layers, settings.hidden_size
        state = self.start(1)
        found = [state.new_empty(0, *shape)]
        for unit in units:
            _, state = self(torch.tensor([[unit]], device=state.device), state)
            found.append(state[:, : settings.n_layers * settings.hidden_size].view(1, *shape))
        return torch.cat(found)
