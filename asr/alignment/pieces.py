"""waveform of any length -> log_probs, computed piece by piece."""

import torch
from torch import Tensor

from asr.model import Model, check_log_probs

PIECE_S = 30.0
"""Length of the pieces, in seconds."""

CONTEXT_S = 4.0
"""Audio before and after a piece that the model hears too, in seconds."""


@torch.no_grad()
def log_probs_in_pieces(
    model: Model,
    waveform: Tensor,
    place: str,
    piece_s: float = PIECE_S,
    context_s: float = CONTEXT_S,
) -> Tensor:
    """Log-probabilities of a recording of any length, with the memory of a piece.

    The model hears each piece with some context on both sides, whose frames are left out of the
    result. So the result is close to that for the whole recording, but not the same: networks
    look further back and ahead than the context, and features that are normalised over an
    utterance are normalised over a piece. A recording that is not longer than a piece gives the
    same as `asr.recognizer.Recognizer.log_probs`.

    Args:
        model: a model of any kind, on any device.
        waveform: (samples,), floats in [-1, 1) at the model's sample rate; at least one window.
        place: the recording; error messages start with it.
        piece_s: length of the pieces, in seconds.
        context_s: length of the context on either side, in seconds.

    Returns:
        log_probs: (T, C), float32, natural logs, on the CPU; for an HMM its emissions, (T, S).

    Raises:
        InputError: the model gives NaN.
        ValueError: the waveform is shorter than a window.
    """
    settings, network = model.features.settings, model.acoustic.settings
    reduction = network.frames_per_output if network else 1
    hop = settings.hop_length * reduction  # samples from one output frame to the next
    per_piece, context = (
        max(1, round(seconds * settings.sample_rate / hop)) for seconds in (piece_s, context_s)
    )
    T = -(-settings.n_frames(len(waveform)) // reduction)
    if network and network.pooling:
        T = 1  # the model hears the whole recording at once
    # the samples after the start of a part's last frame that its features need
    rest = settings.win_length - settings.hop_length
    found = []
    for begin in range(0, max(1, T), per_piece):
        first, stop = max(0, begin - context), begin + per_piece + context
        part = waveform[first * hop : None if stop >= T else stop * hop + rest]
        part = part.to(model.features.mean.device)
        lengths = torch.tensor([len(part)], device=part.device)
        log_probs, _ = model.acoustic(*model.features(part[None], lengths))
        rows = log_probs[begin - first : begin - first + per_piece, 0].float().cpu()
        check_log_probs(rows, place)
        found.append(rows)
    return torch.cat(found)
