"""log_probs and a text -> loss, exact log-probability, alignment; and whether the text fits."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torchaudio
from torch import Tensor

from asr.text import BLANK


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor
) -> Tensor:
    """Negative log-probability of each utterance's targets, summed over their alignments.

    Torch's CUDA kernel adds gradients up in an order that changes from run to run. The loss is
    small beside the network, so it is always computed on the CPU, where the order is fixed; the
    gradient returns to the device of `log_probs`. Half precision is raised to float32.

    Args:
        log_probs: (T, N, C), natural logs.
        targets: (N, U), int64.
        input_lengths: (N,), int64.
        target_lengths: (N,), int64.

    Returns:
        losses: (N,), nats, on the CPU; infinite where no alignment is possible.

    Source: Graves et al. 2006, "Connectionist temporal classification".
    """
    return torch.nn.functional.ctc_loss(
        log_probs.to("cpu", torch.promote_types(log_probs.dtype, torch.float32)),
        targets.cpu(),
        input_lengths.cpu(),
        target_lengths.cpu(),
        blank=BLANK,
        reduction="none",
    )


def log_probability(log_probs: Tensor, tokens: Sequence[int]) -> float:
    """Exact natural log-probability that one utterance says exactly these tokens.

    Args:
        log_probs: (T, C), natural logs.
        tokens: without blanks; none at all stands for silence.

    Returns:
        log_prob: -inf where there are too few frames.

    Raises:
        ValueError: `log_probs` is not (T, C).
    """
    _check(log_probs)
    losses = ctc_loss(
        log_probs[:, None],
        torch.tensor([list(tokens)], dtype=torch.int64),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(tokens)]),
    )
    return -losses.item()


def align(log_probs: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The most probable alignment of a text.

    Args:
        log_probs: (T, C), natural logs.
        tokens: without blanks.

    Returns:
        alignment: (T,), int64, the token or blank in each frame.
        scores: (T,), its log-probability in each frame.

    Raises:
        ValueError: `log_probs` is not (T, C), or has too few frames for the tokens.
    """
    _check(log_probs)
    if len(log_probs) < frames_needed(tokens):
        raise ValueError(
            f"log_probs has {len(log_probs)} frames; the tokens take {frames_needed(tokens)}"
        )
    if not tokens:
        return torch.full((len(log_probs),), BLANK), log_probs[:, BLANK]
    alignment, scores = torchaudio.functional.forced_align(
        log_probs.float().cpu()[None], torch.tensor([list(tokens)]), blank=BLANK
    )
    return alignment[0].long(), scores[0]


def frames_needed(tokens: Sequence[int]) -> int:
    """The fewest frames in which CTC can say the tokens: a repeat takes a blank in between."""
    return len(tokens) + sum(before == after for before, after in pairwise(tokens))


def _check(log_probs: Tensor) -> None:
    if log_probs.ndim != 2:
        shape = tuple(log_probs.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
