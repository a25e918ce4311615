"""A language model defined by a table of probabilities, for tests of code that uses models."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from asr.lm.vocabulary import EOS, Vocabulary


class TableModel:
    """A model in which the next unit depends only on the last one.

    Args:
        vocabulary: the units.
        table: (V, V), the probability of each unit (column) after each unit (row). The row of `EOS`
            has the probabilities of the first unit of a sentence.
    """

    def __init__(self, vocabulary: Vocabulary, table: np.ndarray) -> None:
        self.vocabulary = vocabulary
        with np.errstate(divide="ignore"):
            self.table = torch.from_numpy(np.log(table))

    def start(self, rows: int) -> Tensor:
        return torch.full((rows, 1), EOS)

    def score(self, state: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_probs(state).gather(1, units[:, None])[:, 0], units[:, None]

    def log_probs(self, state: Tensor) -> Tensor:
        return self.table[state[:, 0]]

    def sentence_log_probs(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        return [
            self.table[torch.tensor([EOS, *units]), torch.tensor([*units, EOS])].numpy()
            for units in sentences
        ]


def uniform_model(vocabulary: Vocabulary) -> TableModel:
    V = len(vocabulary.symbols)
    return TableModel(vocabulary, np.full((V, V), 1 / V))


def random_model(vocabulary: Vocabulary, seed: int) -> TableModel:
    V = len(vocabulary.symbols)
    return TableModel(vocabulary, np.random.default_rng(seed).dirichlet(np.ones(V), size=V))
