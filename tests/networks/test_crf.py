import itertools

import numpy as np
import pytest
import torch

from asr.networks.crf import TokenTrigram, crf_loss, log_sum_of_texts

C = 3


def random_trigram(seed=0, C=C):
    """Random probabilities; the start of the text is never followed by a history with it inside."""
    generator = np.random.default_rng(seed)
    every = torch.from_numpy(generator.dirichlet(np.ones(C), size=(C, C)))  # the first is the end
    after = every.clone()
    after[:, :, 0] = 0.0
    return TokenTrigram(after, every[:, :, 0].clone())


def random_log_probs(T, N, seed=0, C=C):
    rows = np.random.default_rng(seed).dirichlet(np.ones(C), size=(T, N))
    return torch.from_numpy(rows).log()


def text_probability(tokens, trigram):
    history = (0, 0, *tokens)
    found = float(trigram.ends[history[-2], history[-1]])
    for u, v, w in zip(history, history[1:], tokens, strict=False):
        found *= float(trigram.after[u, v, w])
    return found


def enumerate_all(log_probs):
    """CTC's probability of each text, by adding up all alignments."""
    T, C = log_probs.shape
    found = {}
    for path in itertools.product(range(C), repeat=T):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token)
        probability = float(log_probs[range(T), path].sum().exp())
        found[tokens] = found.get(tokens, 0.0) + probability
    return found


@pytest.mark.parametrize("seed", range(3))
def test_sum_of_all_texts_equals_the_enumeration(seed):
    trigram, log_probs = random_trigram(seed), random_log_probs(6, 3, seed)
    lengths = torch.tensor([6, 4, 1])
    found = log_sum_of_texts(log_probs, lengths, trigram)
    for n, length in enumerate(lengths):
        texts = enumerate_all(log_probs[:length, n])
        expected = sum(p * text_probability(tokens, trigram) for tokens, p in texts.items())
        assert found[n].item() == pytest.approx(np.log(expected), rel=1e-12)


def test_loss_is_the_posterior_among_all_texts():
    trigram, log_probs = random_trigram(4), random_log_probs(5, 2, 4)
    targets = torch.tensor([[1, 1, 2], [2, 0, 0]])
    lengths, target_lengths = torch.tensor([5, 3]), torch.tensor([3, 1])
    found = crf_loss(log_probs, targets, lengths, target_lengths, trigram)
    more = crf_loss(log_probs, targets, lengths, target_lengths, trigram, ctc_weight=0.5)
    for n, tokens in enumerate([(1, 1, 2), (2,)]):
        texts = enumerate_all(log_probs[: lengths[n], n])
        weighted = {one: p * text_probability(one, trigram) for one, p in texts.items()}
        expected = -np.log(weighted[tokens] / sum(weighted.values()))
        assert found[n].item() == pytest.approx(expected, rel=1e-12)
        assert more[n].item() == pytest.approx(expected - 0.5 * np.log(texts[tokens]), rel=1e-12)


def test_gradient_is_that_of_finite_differences():
    trigram, log_probs = random_trigram(5), random_log_probs(5, 3, 5).requires_grad_()
    lengths = torch.tensor([5, 2, 4])

    def of_rows(rows):
        return log_sum_of_texts(rows, lengths, trigram)

    assert torch.autograd.gradcheck(of_rows, (log_probs,))


def test_gradient_in_each_frame_sums_to_one_and_padding_has_none():
    trigram, log_probs = random_trigram(6), random_log_probs(40, 2, 6).requires_grad_()
    log_sum_of_texts(log_probs, torch.tensor([40, 25]), trigram).sum().backward()
    sums = log_probs.grad.sum(2)
    torch.testing.assert_close(sums[:, 0], torch.ones(40).double())
    torch.testing.assert_close(sums[:25, 1], torch.ones(25).double())
    assert (log_probs.grad[25:, 1] == 0).all()


def test_long_utterances_of_confident_networks_are_finite():
    generator = torch.Generator().manual_seed(0)
    scores = 30 * torch.randn(1000, 2, 20, generator=generator)
    log_probs = scores.log_softmax(2).requires_grad_()
    found = log_sum_of_texts(log_probs, torch.tensor([1000, 999]), random_trigram(7, 20))
    found.sum().backward()
    assert found.isfinite().all()
    assert log_probs.grad.isfinite().all()
    twice = log_sum_of_texts(log_probs.double(), torch.tensor([1000, 999]), random_trigram(7, 20))
    torch.testing.assert_close(found.double(), twice, rtol=1e-5, atol=0.0)
