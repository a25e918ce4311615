"""log_probs and a text -> loss, exact log-probability, alignment; and whether the text fits."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from asr.compatibility import torchaudio_functional
from asr.text.tokenizer import BLANK


def ctc_loss(
    log_probs: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    input_lengths: Tensor | Sequence[int] | int | None = None,
    target_lengths: Tensor | Sequence[int] | int | None = None,
) -> Tensor:
    """Negative log-probability of each utterance's targets, summed over their alignments.

    Torch's CUDA kernel adds gradients up in an order that changes from run to run. The loss is
    small beside the network, so it is always computed on the CPU, where the order is fixed; the
    gradient returns to the device of `log_probs`. Half precision is raised to float32.

    >>> loss = asr.ctc_loss(log_probs, targets, input_lengths, target_lengths).mean()

    Args:
        log_probs: (T, N, C), natural logs; or (T, C) of one utterance.
        targets: (N, U), int64; or (U,) of one utterance.
        input_lengths: (N,), int64; None where all utterances have T frames.
        target_lengths: (N,), int64; None where all have U targets.

    Returns:
        losses: (N,), nats, on the CPU; infinite where no alignment is possible. Of one utterance
            (), a scalar.

    Raises:
        ValueError: shapes do not fit each other, a length is out of range, or a target is not among
            the C tokens; torch would read beyond its memory.

    Source: Graves et al. 2006, "Connectionist temporal classification".
    """
    log_probs, targets = torch.as_tensor(log_probs), torch.as_tensor(targets)
    if log_probs.ndim == 2 and (targets.ndim == 1 or targets.shape[:-1] == (1,)):
        batch = log_probs[:, None], targets.reshape(1, -1)
        return ctc_loss(*batch, *map(_of_one, (input_lengths, target_lengths)))[0]
    targets = targets.cpu()
    if log_probs.ndim != 3 or targets.ndim != 2 or len(targets) != log_probs.shape[1]:
        shapes = f"{tuple(log_probs.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(
            f"log_probs has shape {shapes}; expected (T, N, C) and (N, U), or (T, C) and (U,)"
        )
    T, N, C = log_probs.shape
    input_lengths = _lengths("input_lengths", input_lengths, N, T)
    target_lengths = _lengths("target_lengths", target_lengths, N, targets.shape[1])
    _check_range(targets, C)
    log_probs = log_probs.to("cpu", torch.promote_types(log_probs.dtype, torch.float32))
    if not N or not T:  # which torch refuses
        return log_probs.sum((0, 2)).masked_fill(target_lengths > 0, torch.inf)
    return torch.nn.functional.ctc_loss(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
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
    return -ctc_loss(log_probs, torch.tensor(list(tokens), dtype=torch.int64)).item()


def ctc_align(log_probs: Tensor | np.ndarray, tokens: Sequence[int] | Tensor) -> Tensor:
    """The most probable alignment of one utterance's text.

    >>> alignment = asr.ctc_align(log_probs, tokens)
    >>> scores = log_probs.gather(1, alignment[:, None])[:, 0]  # of each frame

    Args:
        log_probs: (T, C), natural logs.
        tokens: (U,), without blanks.

    Returns:
        alignment: (T,), int64, the token or blank in each frame, on the CPU.

    Raises:
        ValueError: `log_probs` is not (T, C), has NaN or too few frames for the tokens, or a token
            is the blank or not among the C.
    """
    tokens = torch.as_tensor(tokens, dtype=torch.int64).tolist()
    log_probs = checked_log_probs(log_probs).float().cpu()
    _check(log_probs, tokens)
    if len(log_probs) < frames_needed(tokens):
        raise ValueError(
            f"log_probs has {len(log_probs)} frames; the tokens take {frames_needed(tokens)}"
        )
    if not tokens:
        return torch.full((len(log_probs),), BLANK)
    alignment, _ = torchaudio_functional().forced_align(
        log_probs[None], torch.tensor([tokens]), blank=BLANK
    )
    return alignment[0].long()


def checked_log_probs(log_probs: Tensor | np.ndarray) -> Tensor:
    """The log-probabilities of one utterance as a tensor, without their gradient.

    Raises:
        ValueError: they are not (T, C), are no floats, or NaN is among them.
    """
    found = torch.as_tensor(log_probs).detach()
    if found.ndim != 2:
        shape = tuple(found.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    if not found.is_floating_point():
        raise ValueError(f"log_probs is of {found.dtype}; expected floats, natural logarithms")
    if found.isnan().any():
        place = tuple(found.isnan().nonzero()[0].tolist())
        raise ValueError(f"log_probs has NaN at {place}; expected natural logarithms")
    return found


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


def _of_one(length: Tensor | Sequence[int] | int | None) -> Tensor | None:
    return None if length is None else torch.as_tensor(length).reshape(-1)


def _lengths(
    name: str, lengths: Tensor | Sequence[int] | int | None, N: int, longest: int
) -> Tensor:
    """(N,), int64, on the CPU."""
    if lengths is None:
        return torch.full((N,), longest)
    lengths = torch.as_tensor(lengths).cpu()
    if lengths.shape != (N,):
        raise ValueError(f"{name} has shape {tuple(lengths.shape)}; expected ({N},)")
    wrong = lengths[(lengths < 0) | (lengths > longest)]
    if len(wrong):
        raise ValueError(f"{name} has {int(wrong[0])}; expected from 0 to {longest}")
    return lengths
