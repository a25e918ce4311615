"""log_probs and tokens -> CTC loss, exact log-probability, forced alignment, frames needed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from asr.compatibility import torchaudio_functional
from asr.errors import check_dense, counted, expecting
from asr.text.tokenizer import BLANK


def ctc_loss(
    log_probs: Tensor | np.ndarray,
    targets: Tensor | np.ndarray,
    input_lengths: Tensor | Sequence[int] | int | None = None,
    target_lengths: Tensor | Sequence[int] | int | None = None,
) -> Tensor:
    """Negative log-probability of each utterance's targets, summed over all their alignments.

    Torch's CUDA kernel adds gradients in an order that changes from run to run. The loss takes
    little time beside the network, so it is always computed on the CPU, where the order is fixed.
    The gradient returns to the device of `log_probs`. Half precision is converted to float32.

    >>> loss = asr.ctc_loss(log_probs, targets, input_lengths, target_lengths).mean()

    Args:
        log_probs: (T, N, C), natural logs; or (T, C) of one utterance.
        targets: (N, U), int64; or (U,) of one utterance.
        input_lengths: (N,), int64; None where all utterances have T frames.
        target_lengths: (N,), int64; None where all have U targets.

    Returns:
        losses: (N,), nats, on the CPU; infinite where no alignment is possible. For one utterance
            a scalar.

    Raises:
        ValueError: shapes do not fit each other, a length is out of range, a target is the blank
            or not among the C tokens (torch would read outside its memory), a length or target is
            not whole, or `log_probs` are not floats or have a number above 0. NaN gives NaN.

    Source: Graves et al. 2006, "Connectionist temporal classification".
    """
    log_probs, targets = _as_tensor("log_probs", log_probs), _as_tensor("targets", targets)
    if log_probs.ndim == 2 and (targets.ndim == 1 or targets.shape[:-1] == (1,)):
        batch = log_probs[:, None], targets.reshape(1, -1)
        input_lengths = _batch_of_one("input_lengths", input_lengths)
        return ctc_loss(*batch, input_lengths, _batch_of_one("target_lengths", target_lengths))[0]
    targets = targets.cpu()
    if log_probs.ndim != 3 or targets.ndim != 2 or len(targets) != log_probs.shape[1]:
        shapes = f"{tuple(log_probs.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(
            f"log_probs has shape {shapes}; expected (T, N, C) and (N, U), or (T, C) and (U,)"
        )
    if targets.numel():
        _check_whole("targets", targets)
    T, N, C = log_probs.shape
    input_lengths = _checked_lengths("input_lengths", input_lengths, N, T)
    target_lengths = _checked_lengths("target_lengths", target_lengths, N, targets.shape[1])
    _check_range(targets, C)
    inside = torch.arange(targets.shape[1]) < target_lengths[:, None]
    if (targets[inside] == BLANK).any():
        raise ValueError(f"targets has {BLANK}, the blank; expected it only as padding")
    _check_floats(log_probs)
    log_probs = log_probs.to("cpu", torch.promote_types(log_probs.dtype, torch.float32))
    is_padding = torch.arange(T)[:, None] >= input_lengths
    _check_at_most_0(log_probs.detach().masked_fill(is_padding[:, :, None], 0.0))
    if not N or not T:  # torch refuses empty batches
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
    """Exact natural log-probability of a token sequence in one utterance.

    Args:
        log_probs: (T, C), natural logs.
        tokens: token ids without blanks; may be empty.

    Returns:
        log_prob: nats; -inf if there are too few frames.

    Raises:
        ValueError: `log_probs` is not (T, C), the tokens are not whole numbers in one row, or one
            is the blank or not one of the C tokens.
    """
    tokens = _checked_tokens(tokens)
    _check(log_probs, tokens)
    return -ctc_loss(log_probs, torch.tensor(tokens, dtype=torch.int64)).item()


def ctc_align(log_probs: Tensor | np.ndarray, tokens: Sequence[int] | Tensor) -> Tensor:
    """Forced alignment of one utterance: the most probable alignment of its tokens.

    >>> alignment = asr.ctc_align(log_probs, tokens)
    >>> scores = log_probs.gather(1, alignment[:, None])[:, 0]  # (T,), one for each frame

    Args:
        log_probs: (T, C), natural logs.
        tokens: (U,), token ids without blanks.

    Returns:
        alignment: (T,), int64, the token or blank in each frame, on the CPU.

    Raises:
        ValueError: `log_probs` is not (T, C), has NaN or too few frames for the tokens; the tokens
            are not whole numbers in one row, or one is the blank or not one of the C tokens.
    """
    tokens = _checked_tokens(tokens)
    log_probs = checked_log_probs(log_probs).float().cpu().contiguous()
    _check(log_probs, tokens)
    if len(log_probs) < frames_needed(tokens):
        raise ValueError(
            f"log_probs has {counted(len(log_probs), 'frame')};"
            f" the tokens need {frames_needed(tokens)}"
        )
    if not tokens:
        return torch.full((len(log_probs),), BLANK)
    alignment, _ = torchaudio_functional().forced_align(
        log_probs[None], torch.tensor([tokens]), blank=BLANK
    )
    return alignment[0].long()


def checked_log_probs(log_probs: Tensor | np.ndarray) -> Tensor:
    """Check the log-probabilities of one utterance, and convert them to a tensor without gradient.

    Raises:
        ValueError: they are not (T, C), not dense or not floats, or have NaN or a number above 0.
    """
    found = _as_tensor("log_probs", log_probs).detach()
    if found.ndim != 2 or found.shape[1] == 0:
        shape = tuple(found.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    _check_floats(found)
    _check_at_most_0(found)
    if found.isnan().any():
        place = tuple(found.isnan().nonzero()[0].tolist())
        raise ValueError(f"log_probs has NaN at {place}; expected natural logarithms")
    return found


def frames_needed(tokens: Sequence[int]) -> int:
    """Length of the shortest CTC alignment: one frame per token, and a blank between repeats."""
    return len(tokens) + sum(before == after for before, after in pairwise(tokens))


def _as_tensor(name: str, values: object) -> Tensor:
    check_dense(name, values)
    with expecting(name, values, "numbers in a tensor or an array"):
        if isinstance(values, np.ndarray):  # torch takes no other byte order and no steps below 0
            values = np.require(values, values.dtype.newbyteorder("="), ["C", "W"])
        return torch.as_tensor(values)


def _check_floats(log_probs: Tensor) -> None:
    if not log_probs.is_floating_point():
        raise ValueError(f"log_probs is of {log_probs.dtype}; expected floats, natural logarithms")


def _check_at_most_0(log_probs: Tensor) -> None:
    """Refuse probabilities, and scores without log_softmax; rounding may exceed 0 a little."""
    if (high := log_probs > _ROUNDING).any():
        place = tuple(high.nonzero()[0].tolist())
        raise ValueError(
            f"log_probs has {log_probs[place].item():.3g} at {place}; expected natural logarithms"
            " of probabilities, at most 0"
        )


_ROUNDING = 1e-3


def _check(log_probs: Tensor, tokens: Sequence[int]) -> None:
    if log_probs.ndim != 2 or not len(log_probs):
        shape = tuple(log_probs.shape)
        raise ValueError(f"log_probs has shape {shape}; expected (T, C) of one utterance")
    if BLANK in tokens:
        raise ValueError(f"tokens has {BLANK}, the blank; expected none")
    _check_range(torch.tensor(tokens, dtype=torch.int64), log_probs.shape[1])


def _checked_tokens(tokens: Sequence[int] | Tensor) -> list[int]:
    found = _as_tensor("tokens", tokens)
    if found.ndim != 1:
        raise ValueError(f"tokens has shape {tuple(found.shape)}; expected (U,)")
    if len(found):  # torch takes an empty list for floats
        _check_whole("tokens", found)
    return [int(token) for token in found.tolist()]


def _check_whole(name: str, numbers: Tensor) -> None:
    if numbers.dtype == torch.bool or numbers.is_floating_point() or numbers.is_complex():
        raise ValueError(f"{name} is of {numbers.dtype}; expected whole numbers")


def _check_range(targets: Tensor, C: int) -> None:
    bad = targets[(targets < 0) | (targets >= C)]
    if len(bad):
        raise ValueError(f"targets has {int(bad[0])}; expected from 0 to {C - 1}")


def _batch_of_one(name: str, length: Tensor | Sequence[int] | int | None) -> Tensor | None:
    return None if length is None else _as_tensor(name, length).reshape(-1)


def _checked_lengths(
    name: str, lengths: Tensor | Sequence[int] | int | None, N: int, longest: int
) -> Tensor:
    """(N,), int64, on the CPU."""
    if lengths is None:
        return torch.full((N,), longest)
    lengths = _as_tensor(name, lengths).cpu()
    if lengths.numel():
        _check_whole(name, lengths)
    if lengths.shape != (N,):
        raise ValueError(f"{name} has shape {tuple(lengths.shape)}; expected ({N},)")
    wrong = lengths[(lengths < 0) | (lengths > longest)]
    if len(wrong):
        raise ValueError(f"{name} has {int(wrong[0])}; expected from 0 to {longest}")
    return lengths
