"""log_probs, tokens and a trigram of the tokens -> CTC-CRF loss.

CTC's probability of a text takes its tokens to be independent of each other, given the audio. A
CTC-CRF multiplies it by the probability of the tokens in a language model, and divides by the sum
of these products over all texts. So training lowers the probability of the wrong texts that are
likely, and the network need not learn the language model, which the search has anyway.

Source: Xiang and Ou 2019, "CRF-based single-stage acoustic modeling with CTC topology"; the sum
    over all texts is the denominator of Povey et al. 2016, "Purely sequence-trained neural networks
    for ASR based on lattice-free MMI".
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.networks.ctc import ctc_loss
from asr.text.tokenizer import BLANK

MAX_TOKENS = 200
"""The tables of the trigram have the cube of the number of tokens."""


class TokenTrigram(NamedTuple):
    """A trigram of the C tokens as tables of probabilities.

    In a history, BLANK stands for the start of the text.

    Args:
        after: (C, C, C), floats: P(w | u, v), 0 for w = BLANK.
        ends: (C, C), floats: P(end | u, v).
    """

    after: Tensor
    ends: Tensor

    def to(self, like: Tensor) -> "TokenTrigram":
        """The same tables with the type and on the device of a tensor."""
        return TokenTrigram(self.after.to(like), self.ends.to(like))


def crf_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    trigram: TokenTrigram,
    ctc_weight: float = 0.0,
) -> Tensor:
    """-log of the posterior of each utterance's targets among all texts.

    Args:
        log_probs: (T, N, C), natural logs.
        targets: (N, U), int64.
        input_lengths: (N,), int64.
        target_lengths: (N,), int64.
        trigram: of the tokens.
        ctc_weight: scale of the CTC loss, which is added to keep the alignments.

    Returns:
        losses: (N,), nats, on the CPU; infinite where no alignment is possible.
    """
    ctc = ctc_loss(log_probs, targets, input_lengths, target_lengths)
    texts = _trigram_log_probs(targets.cpu(), target_lengths.cpu(), trigram)
    every = log_sum_of_texts(log_probs, input_lengths, trigram)
    return (1 + ctc_weight) * ctc - texts.to(ctc) + every.to(ctc)


def log_sum_of_texts(log_probs: Tensor, input_lengths: Tensor, trigram: TokenTrigram) -> Tensor:
    """Log of the sum, over all texts, of CTC's probability times that of the trigram.

    Args:
        log_probs: (T, N, C), natural logs; half precision is converted to float32.
        input_lengths: (N,), int64.
        trigram: of the tokens.

    Returns:
        log_sums: (N,), nats.
    """
    dtype = torch.promote_types(log_probs.dtype, torch.float32)
    log_probs = log_probs.to(dtype)
    tables = trigram.to(log_probs)
    return _LogSum.apply(log_probs, input_lengths.to(log_probs.device), tables)


class _LogSum(torch.autograd.Function):
    """The forward-backward algorithm over histories of two tokens.

    After each frame, `in_token[n, u, v]` is the probability of all alignments whose last two tokens
    are u and v and whose last frame is v, and `in_blank[n, u, v]` of those whose last frame is
    blank, both divided by their sum, `scales[t, n]`.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, lengths: Tensor, trigram: TokenTrigram) -> Tensor:
        T, N, C = log_probs.shape
        probs = log_probs.exp()
        again = _repeats(trigram)
        in_token, in_blank = (log_probs.new_zeros(N, C, C) for _ in range(2))
        in_blank[:, BLANK, BLANK] = 1.0
        scales = log_probs.new_ones(T, N)
        states = log_probs.new_zeros(T, 2, N, C, C)
        for t in range(T):
            either = in_token + in_blank
            entering = _enter(either, trigram.after) - torch.diag_embed(
                (in_token * again).sum(1)  # a repeated token needs a blank before it
            )
            new_token = probs[t, :, None, :] * (in_token + entering)
            new_blank = probs[t, :, BLANK, None, None] * either
            scale = (new_token + new_blank).sum((1, 2))
            is_inside = t < lengths
            scales[t] = torch.where(is_inside, scale, 1.0)
            inside = is_inside[:, None, None]
            in_token = torch.where(inside, new_token / scale[:, None, None], in_token)
            in_blank = torch.where(inside, new_blank / scale[:, None, None], in_blank)
            states[t, 0], states[t, 1] = in_token, in_blank
        last = ((in_token + in_blank) * trigram.ends).sum((1, 2))
        ctx.save_for_backward(probs, lengths, scales, states, last, *trigram)
        return scales.log().sum(0) + last.log()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        probs, lengths, scales, states, last, *tables = ctx.saved_tensors
        trigram = TokenTrigram(*tables)
        again = _repeats(trigram)
        posteriors = torch.zeros_like(probs)
        # what follows after in_token and in_blank, divided by the scales of the later frames
        ends = trigram.ends / last[:, None, None]
        token, blank = ends, ends
        for t in range(len(probs) - 1, -1, -1):
            is_inside = (t < lengths)[:, None]
            found = (states[t, 0] * token).sum(1)
            found[:, BLANK] = (states[t, 1] * blank).sum((1, 2))
            posteriors[t] = torch.where(is_inside, found, 0.0)
            scaled = probs[t] / scales[t, :, None]
            through_token = scaled[:, None, :] * token
            through_blank = scaled[:, BLANK, None, None] * blank
            leaving = _leave(through_token, trigram.after)
            repeated = again * through_token.diagonal(dim1=1, dim2=2)[:, None, :]
            inside = is_inside[:, :, None]
            token = torch.where(inside, through_blank + through_token + leaving - repeated, ends)
            blank = torch.where(inside, through_blank + leaving, ends)
        return posteriors * grads[0][:, None], None, None


def _repeats(trigram: TokenTrigram) -> Tensor:
    """(C, C): P(v | u, v)."""
    return trigram.after.diagonal(dim1=1, dim2=2)


def _enter(states: Tensor, after: Tensor) -> Tensor:
    """(N, V, W): sum over u of states[n, u, v] P(w | u, v)."""
    return torch.bmm(states.permute(2, 0, 1), after.transpose(0, 1)).transpose(0, 1)


def _leave(following: Tensor, after: Tensor) -> Tensor:
    """(N, U, V): sum over w of following[n, v, w] P(w | u, v)."""
    return torch.bmm(following.transpose(0, 1), after.permute(1, 2, 0)).permute(1, 2, 0)


def _trigram_log_probs(targets: Tensor, lengths: Tensor, trigram: TokenTrigram) -> Tensor:
    """(N,): log-probabilities of the targets in the trigram."""
    after, ends = trigram.after.cpu().log(), trigram.ends.cpu().log()
    found = torch.zeros(len(targets), dtype=after.dtype)
    for n, length in enumerate(lengths.tolist()):
        tokens = torch.tensor([BLANK, BLANK, *targets[n, :length].tolist()])
        found[n] = after[tokens[:-2], tokens[1:-1], tokens[2:]].sum() + ends[tokens[-2], tokens[-1]]
    return found
