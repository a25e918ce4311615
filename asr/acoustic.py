"""features -> log_probs."""

from dataclasses import dataclass

from torch import Tensor, nn

from asr.errors import InputError
from asr.features import stack_frames
from asr.recurrent import Cell, RecurrentStack


@dataclass(frozen=True)
class AcousticSettings:
    """The acoustic model.

    Args:
        time_reduction: frames of the features that make one of the model's.
        cell: the kind of recurrent units.
        hidden_size: units of one layer in one direction.
        n_layers: recurrent layers.
        bidirectional: every layer reads both ways.
        dropout: share of each layer's output that training sets to 0.
    """

    time_reduction: int = 3
    cell: Cell = "lstm"
    hidden_size: int = 256
    n_layers: int = 3
    bidirectional: bool = True
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for name in ("time_reduction", "hidden_size", "n_layers"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; expected from 0 to below 1")


class AcousticModel(nn.Module):
    """Log-probabilities of CTC's tokens in every frame, by a deep (bidirectional) recurrent net.

    Args:
        n_features: values in a frame of features.
        n_tokens: tokens, blank included.
        settings: size and kind.
    """

    def __init__(self, n_features: int, n_tokens: int, settings: AcousticSettings) -> None:
        super().__init__()
        self.settings = settings
        self.stack = RecurrentStack(
            n_features * settings.time_reduction,
            settings.cell,
            settings.hidden_size,
            settings.n_layers,
            settings.bidirectional,
            settings.dropout,
        )
        self.output = nn.Linear(self.stack.output_size, n_tokens)

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Read a batch.

        Args:
            features: (T, N, F); what lies behind each utterance's end is ignored.
            input_lengths: (N,), int64.

        Returns:
            log_probs: (T', N, C), natural logarithms, each row's probabilities sum to 1.
            input_lengths: (N,), in the frames of `log_probs`: `n_frames` of the ones given.
        """
        reduced, lengths = stack_frames(features, input_lengths, self.settings.time_reduction)
        logits = self.output(self.stack(reduced, lengths))
        return logits.float().log_softmax(dim=2), lengths

    def n_frames(self, input_length: int) -> int:
        """Frames of `log_probs` for that many frames of features."""
        return -(-input_length // self.settings.time_reduction)
