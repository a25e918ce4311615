"""sequences -> outputs of a recurrent stack that reads them chunk by chunk, as a stream does."""

import torch
from torch import Tensor

from asr.networks.recurrent import RecurrentStack


def read_chunks(
    stack: RecurrentStack, inputs: Tensor, lengths: Tensor, n_chunk: int, n_right: int
) -> tuple[Tensor, Tensor]:
    """Outputs of whole sequences, where the backward direction sees only a chunk and its context.

    Gradients flow from chunk to chunk through the state of the forward direction. The results are
    those of `stack` if the first chunk has all frames.

    Args:
        stack: the layers.
        inputs: (T, N, input_size); padding is ignored.
        lengths: (N,), int64, 1 or more.
        n_chunk: number of output frames in a chunk.
        n_right: number of output frames after a chunk that the backward direction sees.

    Returns:
        outputs: (T', N, output_size); undefined after the end of a sequence.
        lengths: (N,), of the outputs.

    Source: Zhang et al. 2016, arXiv:1510.08983, latency-controlled bidirectional LSTM.
    """
    factor = stack.settings.time_reduction
    chunk, right = n_chunk * factor, n_right * factor
    state = stack.zero_state(inputs.shape[1])
    outputs = []
    for first in range(0, len(inputs), chunk):
        seen = inputs[first : first + chunk + right]
        # rows that have ended are computed too, and ignored
        left = (lengths - first).clamp(1, len(seen))
        found, state = stack.carry_chunk(seen, state, left, chunk)
        outputs.append(found[:n_chunk])
    return torch.cat(outputs), (lengths + factor - 1) // factor
