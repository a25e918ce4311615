"""features of a segment so far -> log_probs or emissions, chunk by chunk."""

import torch
from torch import Tensor

from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions, HybridEmissions
from asr.model import Acoustic
from asr.networks.acoustic import AcousticModel, AcousticSettings


class ChunkedNetwork:
    """A network that reads a segment chunk by chunk, each with the frames after it as context.

    The forward direction goes on where the last chunk ended; the backward direction starts anew at
    the end of the context, see `asr.networks.recurrent.RecurrentStack.carry_chunk`.

    Args:
        acoustic: the model's.

    Raises:
        InputError: the model is not a network.
    """

    def __init__(self, acoustic: Acoustic) -> None:
        if isinstance(acoustic, GmmEmissions):
            raise InputError(
                "the model is an HMM with Gaussian mixtures; expected a CTC model or a hybrid for"
                " a stream"
            )
        self._network: AcousticModel
        self._log_priors: Tensor | None
        if isinstance(acoustic, HybridEmissions):
            self._network, self._log_priors = acoustic.network, acoustic.log_priors
        else:
            self._network, self._log_priors = acoustic, None
        if self._network.settings.pooling:
            raise InputError("the model classifies whole recordings; expected one for a stream")
        self.restart()

    @property
    def settings(self) -> AcousticSettings:
        """Settings of the network."""
        return self._network.settings

    @property
    def frames_per_output(self) -> int:
        """Number of feature frames for each output frame."""
        return self._network.settings.frames_per_output

    @property
    def n_columns(self) -> int:
        """Number of values in an output frame."""
        return self._network.output.out_features

    def n_ready(self, n_frames: int) -> int:
        """Number of output frames that so many frames of a segment allow, without a right context.

        The segment goes on after them.
        """
        reduced = n_frames // self._network.settings.time_reduction - self._network.margin
        return max(0, reduced) // self._network.stack.settings.time_reduction

    def restart(self) -> None:
        """Begin another segment."""
        self._n_read = 0  # output frames of the segment
        self._state = self._network.stack.zero_state(1)

    def n_needed(self, n_outputs: int) -> int:
        """The least number of frames for which `n_ready` is `n_outputs`."""
        reduced = n_outputs * self._network.stack.settings.time_reduction + self._network.margin
        return reduced * self._network.settings.time_reduction

    def read(self, features: Tensor, n_outputs: int, n_right: int, is_last: bool) -> Tensor:
        """The log_probs or emissions, (n_outputs, C), of the next chunk.

        Args:
            features: (T, F), the segment from its start to the end of the chunk's right context, or
                further.
            n_outputs: number of output frames in the chunk; it ends at `n_ready(T)` at the latest,
                with `is_last` at the end of the segment.
            n_right: number of output frames after the chunk that the network sees, if there are so
                many.
            is_last: whether the segment ends with the features.
        """
        network, stack = self._network, self._network.stack
        factor = network.settings.time_reduction
        first = self._n_read * stack.settings.time_reduction
        margin = min(first, network.margin)
        window = features[(first - margin) * factor :]
        lengths = torch.tensor([len(window)], device=window.device)
        reduced, _ = network.reduced(window[:, None], lengths)
        end = len(reduced) if is_last else len(window) // factor - network.margin
        inputs = reduced[margin:end][: (n_outputs + n_right) * stack.settings.time_reduction]
        lengths = torch.tensor([len(inputs)], device=inputs.device)
        n_frames = min(len(inputs), n_outputs * stack.settings.time_reduction)
        outputs, self._state = stack.carry_chunk(inputs, self._state, lengths, n_frames)
        self._n_read += n_outputs
        log_probs = network.log_probs(outputs[:n_outputs])[:, 0]
        return log_probs if self._log_priors is None else log_probs - self._log_priors
