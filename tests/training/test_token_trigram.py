import pytest
import torch

import asr
from asr.errors import InputError
from asr.training.token_trigram import token_trigram

TEXTS = ["aab", "ab", "ba", "abba", "b", "", "cab"]
TOKENS = {"a": 1, "b": 2, "c": 3}


def test_probabilities_are_those_of_the_ngram_model():
    found = token_trigram([[TOKENS[c] for c in text] for text in TEXTS], 4)
    lm = asr.train_ngram([text for text in TEXTS if text], order=3, unit="char")
    number = {symbol: unit for unit, symbol in enumerate(lm.vocabulary.symbols)}
    for text in ("", "a", "c", "ab", "ca", "cc", "abcab"):
        state = lm.start(1)
        for character in text:
            _, state = lm.score(state, torch.tensor([number[character]]))
        expected = lm.log_probs(state)[0].exp()
        u, v = [0, 0, *(TOKENS[c] for c in text)][-2:]
        for character, token in TOKENS.items():
            assert found.after[u, v, token] == pytest.approx(expected[number[character]].item())
        assert found.ends[u, v] == pytest.approx(expected[number["<eos>"]].item())
    assert (found.after[:, :, 0] == 0).all()


def test_too_many_tokens_are_refused():
    with pytest.raises(InputError, match="ctc-crf, for up to 200 tokens; the model has 201"):
        token_trigram([[1]], 201)
