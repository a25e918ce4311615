"""features -> log_probs."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from asr.audio.features import mask, stack_frames
from asr.errors import InputError, check_size
from asr.networks.cells import Cell, Initialisation
from asr.networks.chunks import read_chunks
from asr.networks.recurrent import (
    MAX_HIDDEN,
    MAX_LAYERS,
    Dropout,
    RecurrentStack,
    StackSettings,
)

MAX_CHUNK = 2**16
"""Maximum number of output frames in a chunk, and after it."""


@dataclass(frozen=True)
class AcousticSettings:
    """Settings of the acoustic model.

    Args:
        time_reduction: number of feature frames for each output frame.
        conv_channels: channels of the two convolutions over time and frequency before the
            recurrent layers; with 0 there are none, and `time_reduction` frames are concatenated.
        cell: the kind of recurrent units.
        hidden_size: units of one layer in one direction.
        n_layers: number of recurrent layers.
        bidirectional: whether every layer reads in both directions.
        projection_size: size of an LSTM's output after a learned projection; 0 for none.
        pyramid: for each layer but the first, the number of frames of the layer below that it
            reads as one; empty for one each. It reduces time further than `time_reduction`.
        residual: whether a layer's input is added to its output, where both have the same size.
        dropout: share of each layer's output that is set to 0 in training.
        layer_norm: whether each recurrent layer's output is normalised frame by frame.
        initialisation: initial values of the recurrent layers' matrices.
        forget_bias: initial bias of an LSTM's forget gates.
        pooling: whether the network classifies whole utterances: the softmax reads the mean of the
            recurrent layers' outputs over all frames, and there is one output frame.
        output_sizes: sizes of the layers of rectified linear units between the recurrent layers and
            the softmax; empty for none.
        chunk_frames: number of output frames in a chunk, if a bidirectional network is to read
            utterances chunk by chunk, in training and later, so that it fits streams; 0 to read
            whole utterances.
        right_frames: number of output frames after a chunk that the backward direction sees.
    """

    time_reduction: int = 3
    conv_channels: int = 0
    cell: Cell = "lstm"
    hidden_size: int = 256
    n_layers: int = 3
    bidirectional: bool = True
    projection_size: int = 0
    pyramid: tuple[int, ...] = ()
    residual: bool = False
    dropout: float = 0.3
    layer_norm: bool = True
    initialisation: Initialisation = "torch"
    forget_bias: float = 1.0
    pooling: bool = False
    output_sizes: tuple[int, ...] = ()
    chunk_frames: int = 0
    right_frames: int = 0

    def __post_init__(self) -> None:
        check_size("model.time_reduction", self.time_reduction, 1, 100)
        check_size("model.conv_channels", self.conv_channels, 0, 4096)
        check_size("model.hidden_size", self.hidden_size, 1, MAX_HIDDEN)
        check_size("model.n_layers", self.n_layers, 1, MAX_LAYERS)
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is {self.dropout}; expected from 0 to below 1")
        for number, size in enumerate(self.output_sizes):
            check_size(f"model.output_sizes[{number}]", size, 1, MAX_HIDDEN)
        check_size("model.chunk_frames", self.chunk_frames, 0, MAX_CHUNK)
        check_size("model.right_frames", self.right_frames, 0, MAX_CHUNK)
        if self.chunk_frames and not self.bidirectional:
            raise InputError(
                f"model.chunk_frames is {self.chunk_frames}; expected 0 for a network of one"
                " direction, which needs no chunks"
            )
        if self.right_frames and not self.chunk_frames:
            raise InputError(
                f"model.right_frames is {self.right_frames}; expected 0 without chunk_frames"
            )
        try:
            _ = self.stack
        except ValueError as error:
            raise InputError(f"model.{error}") from None

    @property
    def stack(self) -> StackSettings:
        """Settings of the recurrent layers."""
        return StackSettings(
            self.cell,
            self.hidden_size,
            self.n_layers,
            self.bidirectional,
            self.projection_size,
            self.pyramid,
            self.residual,
            self.layer_norm,
            self.initialisation,
            self.forget_bias,
            Dropout(self.dropout, self.dropout),
        )

    @property
    def frames_per_output(self) -> int:
        """Number of feature frames for each output frame, by all reductions together."""
        return self.time_reduction * self.stack.time_reduction

    @property
    def layers(self) -> str:
        """The layers in words, such as "3 x 256 bidirectional lstm"."""
        parts = [f"2 convolutions of {self.conv_channels} channels"] if self.conv_channels else []
        size = f"{self.hidden_size}"
        if self.projection_size:
            size += f" projected to {self.projection_size}"
        directions = "bidirectional" if self.bidirectional else "forward"
        parts.append(f"{self.n_layers} x {size} {directions} {self.cell}")
        parts += ["residual links"] if self.residual else []
        parts += [f"pyramid of {' x '.join(map(str, self.pyramid))}"] if self.pyramid else []
        parts += [f"{size} rectified linear units" for size in self.output_sizes]
        if self.chunk_frames:
            parts.append(f"chunks of {self.chunk_frames} and {self.right_frames} frames")
        return ", ".join(parts)


class AcousticModel(nn.Module):
    """Deep (bidirectional) recurrent network: features -> log-probabilities of the tokens.

    Attributes:
        kind: the value of `kind` in `model.json`; None for CTC.
        settings: size and kind of the network.

    Args:
        n_features: F, number of values in a frame of features.
        n_tokens: C, number of tokens, blank included.
        settings: size and kind of the network.
    """

    kind: ClassVar[None] = None

    def __init__(self, n_features: int, n_tokens: int, settings: AcousticSettings) -> None:
        super().__init__()
        self.settings = settings
        self.convolutions = None
        input_size = n_features * settings.time_reduction
        if settings.conv_channels:
            self.convolutions = Convolutions(
                n_features, settings.conv_channels, settings.time_reduction
            )
            input_size = self.convolutions.output_size
        self.stack = RecurrentStack(input_size, settings.stack)
        self.hidden = nn.Sequential()
        top_size = self.stack.output_size
        for size in settings.output_sizes:
            self.hidden.extend([nn.Linear(top_size, size), nn.ReLU(), nn.Dropout(settings.dropout)])
            top_size = size
        self.output = nn.Linear(top_size, n_tokens)

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of a padded batch.

        Args:
            features: (T, N, F); padding is ignored.
            input_lengths: (N,), int64.

        Returns:
            log_probs: (T', N, C), natural logarithms; each row's probabilities sum to 1.
            input_lengths: (N,), in frames of `log_probs`; see `n_frames`.
        """
        outputs, lengths = self.recurrent(*self.reduced(features, input_lengths))
        if self.settings.pooling:
            inside = mask(lengths, len(outputs))[:, :, None]
            outputs = outputs.masked_fill(~inside, 0.0).sum(0, keepdim=True) / lengths[:, None]
            lengths = torch.ones_like(lengths)
        return self.log_probs(outputs), lengths

    def reduced(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The recurrent layers' input, (T', N, F'), and its lengths; arguments as `forward`."""
        if self.convolutions is None:
            return stack_frames(features, input_lengths, self.settings.time_reduction)
        reduced, lengths = self.convolutions(features, input_lengths)
        return reduced, lengths

    def recurrent(self, reduced: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The recurrent layers' output, (T'', N, H), and its lengths; arguments from `reduced`.

        The layers read chunk by chunk if `chunk_frames` is not 0.
        """
        if n_chunk := self.settings.chunk_frames:
            return read_chunks(self.stack, reduced, lengths, n_chunk, self.settings.right_frames)
        outputs, lengths = self.stack(reduced, lengths)
        return outputs, lengths

    def log_probs(self, outputs: Tensor) -> Tensor:
        """(T, N, C), natural logarithms: of the recurrent layers' output, (T, N, H)."""
        return self.output(self.hidden(outputs)).float().log_softmax(dim=2)

    @property
    def margin(self) -> int:
        """Number of frames of `reduced` at an edge that depend on features beyond the edge."""
        return self.convolutions.margin if self.convolutions else 0

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def sizes(self) -> dict[str, Any]:
        """The settings as plain values, for `model.json`."""
        return asdict(self.settings)

    def log_posteriors(self, log_probs: Tensor) -> Tensor:
        """(..., C): log-probabilities of the tokens given the features, here `log_probs` itself."""
        return log_probs

    def summary(self, hop_ms: float) -> tuple[str, str]:
        """A title and a line that describe the layers; features have a frame every `hop_ms` ms."""
        settings = self.settings
        if settings.pooling:
            return "layers", f"{settings.layers}, one output for an utterance"
        return (
            "layers",
            f"{settings.layers}, a frame every {hop_ms * settings.frames_per_output:g} ms",
        )

    def check(self, place: str) -> None:
        """Check the weights read from the file `place`; here any finite weights are valid."""

    def n_frames(self, input_length: int) -> int:
        """Number of frames of `log_probs` for `input_length` frames of features."""
        return 1 if self.settings.pooling else -(-input_length // self.settings.frames_per_output)


class Convolutions(nn.Module):
    """Two convolutions over time and frequency, exact under padding.

    They find a pattern at any frequency, so that higher or lower voices than those of training
    do less harm. The first has a stride of `time_reduction` frames; each halves the number of
    frequencies.

    Args:
        n_features: number of values in a frame of features, in order of frequency.
        n_channels: number of channels of each convolution.
        time_reduction: number of feature frames for each output frame.

    Source: Amodei et al. 2016, arXiv:1512.02595, section 3.5, there larger and with clipped units.
    """

    def __init__(self, n_features: int, n_channels: int, time_reduction: int) -> None:
        super().__init__()
        self.time_reduction = time_reduction
        self.first = nn.Conv2d(1, n_channels, 5, stride=(time_reduction, 2), padding=2)
        self.second = nn.Conv2d(n_channels, n_channels, 3, stride=(1, 2), padding=1)
        self.output_size = n_channels * -(-n_features // 4)
        self.margin = 1 + -(-2 // time_reduction)  # of the second convolution, and of the first

    def forward(self, features: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of a padded batch.

        Args:
            features: (T, N, F); padding is ignored.
            input_lengths: (N,).

        Returns:
            outputs: (ceil(T / time_reduction), N, output_size).
            input_lengths: (N,), divided by `time_reduction` and rounded up.
        """
        # a convolution pads a single utterance with zeros, so a batch's padding is set to 0 too
        picture = features.masked_fill(~mask(input_lengths, len(features))[:, :, None], 0.0)
        picture = self.first(picture.transpose(0, 1)[:, None]).relu()  # (N, channels, T', F / 2)
        lengths = (input_lengths + self.time_reduction - 1) // self.time_reduction
        inside = mask(lengths, picture.shape[2]).T[:, None, :, None]
        picture = self.second(picture.masked_fill(~inside, 0.0)).relu()
        return picture.permute(2, 0, 1, 3).flatten(2), lengths
