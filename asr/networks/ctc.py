"""log_probs and a text -> loss, exact log-probability, alignment; and whether the text fits."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from asr.compatibility import torchaudio_functional
from asr.text.tokenizer import BLANK


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

    Raises:
        ValueError: a target is not among the C tokens; torch would read beyond its memory.

    Source: Graves et al. 2006, "Connectionist temporal classification".
    """
    targets = targets.cpu()
    _check_range(targets, log_probs.shape[-1])
    return torch.nn.functional.ctc_loss(
        log_probs.to("cpu", torch.promote_types(log_probs.dtype, torch.float32)),
        targets,
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
        ValueError: `log_probs` is not (T, C), or a token is the blank or not among the C.
    """
    _check(log_probs, tokens)
    losses = ctc_loss(
        log_probs[:, None],
        torch.tensor([list(tokens)], dtype=torch.int64),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(tokens)]),
    )
    return -losses.item()


def ctc_align(log_probs: Tensor, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The most probable alignment of a text.

    Args:
        log_probs: (T, C), natural logs.
        tokens: without blanks.

    Returns:
        alignment: (T,), int64, the token or blank in each frame.
        scores: (T,), float32, its log-probability in each frame; both are on the CPU.

    Raises:
        ValueError: `log_probs` is not (T, C) or has too few frames for the tokens, or a token is
            the blank or not among the C.
    """
    _check(log_probs, tokens)
    log_probs = log_probs.float().cpu()
    if len(log_probs) < frames_needed(tokens):
        raise ValueError(
            f"log_probs has {len(log_probs)} frames; the tokens take {frames_needed(tokens)}"
        )
    if not tokens:
        return torch.full((len(log_probs),), BLANK), log_probs[:, BLANK]
    alignment, scores = torchaudio_functional().forced_align(
        log_probs[None], torch.tensor([list(tokens)]), blank=BLANK
    )
    return alignment[0].long(), scores[0]


def frames_needed(tokens: Sequence[int]) -> int:
    """The fewest frames in which CTC can say the tokens: a repeat takes a blank in between."""
    return len(tokens) + sum(before == after for before, after in pairwise(tokens))


def _check(log_probs: Tensor, tokens: Sequence[int]) -> None:
    if log_probs.ndim != 2 or not len(log_probs):
        shape = tuple(log_probs.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    if BLANK in tokens:
        raise ValueError(f"tokens has {BLANK}, the blank; expected none")
    _check_range(torch.tensor(tokens, dtype=torch.int64), log_probs.shape[1])


def _check_range(targets: Tensor, C: int) -> None:
    bad = targets[(targets < 0) | (targets >= C)]
    if len(bad):
        raise ValueError(f"targets has {int(bad[0])}; expected from 0 to {C - 1}")
