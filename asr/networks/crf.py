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

    After each frame, `in_token[v, n, u]` is the probability of all alignments whose last two tokens
    are u and v and whose last frame is v, and `in_blank[v, n, u]` of those whose last frame is
    blank, both divided by their sum, `scales[t, n]`.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, lengths: Tensor, trigram: TokenTrigram) -> Tensor:
        T, N, C = log_probs.shape
        probs, shortest = log_probs.exp(), int(lengths.min()) if N else 0
        after, again = trigram.after.transpose(0, 1).contiguous(), _repeats(trigram)
        in_token, in_blank = (log_probs.new_zeros(C, N, C) for _ in range(2))
        in_blank[BLANK, :, BLANK] = 1.0
        scales, states = log_probs.new_ones(T, N), log_probs.new_empty(T, 2, C, N, C)
        for t in range(T):
            either = in_token + in_blank
            entering = torch.bmm(either, after)  # [v, n, w]
            # a repeated token needs a blank before it
            entering.diagonal(dim1=0, dim2=2).sub_((in_token * again).sum(2).T)
            # contiguous arrays, or the next product would copy each of its matrices
            new_token, new_blank = states[t]
            torch.add(entering.permute(2, 1, 0), in_token, out=new_token)
            new_token.mul_(probs[t].T[:, :, None])
            torch.mul(either, probs[t, :, BLANK, None], out=new_blank)
            scale = new_token.sum((0, 2)) + new_blank.sum((0, 2))
            new_token.div_(scale[:, None])
            new_blank.div_(scale[:, None])
            if t >= shortest:
                inside = t < lengths
                scale = torch.where(inside, scale, 1.0)
                torch.where(inside[:, None], new_token, in_token, out=new_token)
                torch.where(inside[:, None], new_blank, in_blank, out=new_blank)
            scales[t], in_token, in_blank = scale, new_token, new_blank
        ends = trigram.ends.T[:, None]  # [v, 1, u]
        last = ((in_token + in_blank) * ends).sum((0, 2))
        ctx.save_for_backward(probs, lengths, scales, states, last, *trigram)
        return scales.log().sum(0) + last.log()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        probs, lengths, scales, states, last, *tables = ctx.saved_tensors
        trigram, shortest = TokenTrigram(*tables), int(lengths.min()) if len(lengths) else 0
        before, again = trigram.after.permute(1, 2, 0).contiguous(), _repeats(trigram)
        posteriors = torch.zeros_like(probs)
        # what follows after in_token and in_blank, divided by the scales of the later frames
        ends = trigram.ends.T[:, None] / last[:, None]
        token = blank = ends
        for t in range(len(probs) - 1, -1, -1):
            found = (states[t, 0] * token).sum(2).T
            found[:, BLANK] = (states[t, 1] * blank).sum((0, 2))
            scaled = probs[t] / scales[t, :, None]
            through_token = token * scaled.T[:, :, None]
            new_blank = torch.bmm(through_token.permute(2, 1, 0).contiguous(), before)  # [v, n, u]
            new_blank += blank * scaled[:, BLANK, None]
            repeated = through_token.diagonal(dim1=0, dim2=2).T[:, :, None] * again
            new_token = through_token.add_(new_blank).sub_(repeated)
            if t >= shortest:
                inside = t < lengths
                found = torch.where(inside[:, None], found, 0.0)
                new_token = torch.where(inside[:, None], new_token, ends)
                new_blank = torch.where(inside[:, None], new_blank, ends)
            posteriors[t], token, blank = found, new_token, new_blank
        return posteriors * grads[0][:, None], None, None


def _repeats(trigram: TokenTrigram) -> Tensor:
    """(V, 1, U): P(v | u, v)."""
    return trigram.after.diagonal(dim1=1, dim2=2).T[:, None].contiguous()


def _trigram_log_probs(targets: Tensor, lengths: Tensor, trigram: TokenTrigram) -> Tensor:
    """(N,): log-probabilities of the targets in the trigram."""
    after, ends = trigram.after.cpu().log(), trigram.ends.cpu().log()
    found = torch.zeros(len(targets), dtype=after.dtype)
    for n, length in enumerate(lengths.tolist()):
        tokens = torch.tensor([BLANK, BLANK, *targets[n, :length].tolist()])
        found[n] = after[tokens[:-2], tokens[1:-1], tokens[2:]].sum() + ends[tokens[-2], tokens[-1]]
    return found
