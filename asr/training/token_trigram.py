"""token sequences -> the trigram of the CTC-CRF loss."""

from collections.abc import Sequence

import torch

from asr.errors import InputError
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.vocabulary import EOS
from asr.networks.crf import MAX_TOKENS, TokenTrigram
from asr.text.tokenizer import BLANK


def token_trigram(texts: Sequence[Sequence[int]], n_tokens: int) -> TokenTrigram:
    """Estimate a trigram with modified Kneser-Ney smoothing.

    Args:
        texts: the tokens of each text, without blanks.
        n_tokens: C, blank included.

    Raises:
        InputError: there are no tokens, or more than `MAX_TOKENS` different ones.
    """
    if n_tokens > MAX_TOKENS:
        raise InputError(
            f"loss.name is ctc-crf, for up to {MAX_TOKENS} tokens; the model has {n_tokens}"
        )
    # the units of the n-gram are <unk>, <eos>, then the tokens without blank
    sentences = [tuple(token + 1 for token in tokens) for tokens in texts if len(tokens)]
    settings = EstimateSettings(order=3, discount_fallback=True)
    trie = estimate(sentences, n_tokens + 1, settings)
    states = trie.start(1)
    every = torch.arange(2, n_tokens + 1)
    one = trie.score(states.expand(len(every)), every)[1]  # after each first token
    two = trie.score(one.repeat_interleave(len(every)), every.repeat(len(every)))[1]

    after, ends = torch.zeros(n_tokens, n_tokens, n_tokens), torch.zeros(n_tokens, n_tokens)
    rest = slice(BLANK + 1, None)
    for u, v, found in ((BLANK, BLANK, states), (BLANK, rest, one), (rest, rest, two)):
        probabilities = trie.distribution(found).exp()
        after[u, v, rest] = probabilities[:, 2:].reshape(after[u, v, rest].shape)
        ends[u, v] = probabilities[:, EOS].reshape(ends[u, v].shape)
    return TokenTrigram(after, ends)
