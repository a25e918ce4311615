import itertools
import math

import numpy as np
import pytest
import torch

from asr.networks.ctc import ctc_align, ctc_loss, frames_needed, log_probability

# all sequences of up to 3 of the tokens 1 and 2: also empty, repeats, and too long for 4 frames
TEXTS = [text for U in range(4) for text in itertools.product((1, 2), repeat=U)]


def random_log_probs(T=4, C=3, seed=0):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(C), size=T)
    return torch.from_numpy(np.log(probabilities))


def alignments(T, C, tokens):
    """All of the C ** T alignments that collapse to the tokens: slow, and obviously correct."""
    for alignment in itertools.product(range(C), repeat=T):
        if tuple(token for token, _ in itertools.groupby(alignment) if token) == tokens:
            yield alignment


def scores(log_probs, tokens):
    """The log-probability of each alignment."""
    T, C = log_probs.shape
    return {a: log_probs[range(T), a].sum().item() for a in alignments(T, C, tokens)}


def padded(texts):
    targets = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.int64)
    for row, text in zip(targets, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return targets, torch.tensor([len(text) for text in texts])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("T", [1, 2, 4])
def test_loss_and_log_probability_equal_the_sum_over_all_alignments(T, seed):
    rows = [random_log_probs(T, seed=100 * seed + n) for n in range(len(TEXTS))]
    targets, target_lengths = padded(TEXTS)
    input_lengths = torch.full((len(TEXTS),), T)
    padding = torch.full((2, len(TEXTS), 3), 1e3)
    log_probs = torch.cat([torch.stack(rows, dim=1), padding])
    losses = ctc_loss(log_probs, targets, input_lengths, target_lengths)
    for text, log_probs, loss in zip(TEXTS, rows, losses.tolist(), strict=True):
        expected = np.logaddexp.reduce([-np.inf, *scores(log_probs, text).values()])
        assert loss == pytest.approx(-expected, rel=1e-12)
        assert log_probability(log_probs, text) == pytest.approx(expected, rel=1e-12)
        assert np.isinf(loss) == (frames_needed(text) > T)


def test_all_texts_together_have_probability_1():
    log_probs = random_log_probs()
    texts = [text for U in range(5) for text in itertools.product((1, 2), repeat=U)]
    total = np.logaddexp.reduce([log_probability(log_probs, text) for text in texts])
    assert total == pytest.approx(0, abs=1e-12)


def test_gradient_equals_finite_differences():
    # with respect to logits: torch's CTC gradient leaves the softmax's part to log_softmax
    logits = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    targets, target_lengths = padded([(1, 1), (2,), ()])
    input_lengths = torch.tensor([4, 3, 2])

    def loss(logits):
        log_probs = logits.log_softmax(2)
        return ctc_loss(log_probs, targets, input_lengths, target_lengths).sum()

    gradient = torch.autograd.functional.jacobian(loss, logits)
    expected = torch.zeros_like(gradient)
    for place in itertools.product(*map(range, logits.shape)):
        step = torch.zeros_like(logits)
        step[place] = 1e-6
        expected[place] = (loss(logits + step) - loss(logits - step)) / 2e-6
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("C", [3, 4])
def test_frames_needed_is_the_length_of_the_shortest_alignment(C):
    for U in range(4):
        for text in itertools.product(range(1, C), repeat=U):
            shortest = next(T for T in range(6) if list(alignments(T, C, text)))
            assert frames_needed(text) == shortest


@pytest.mark.parametrize("seed", range(3))
def test_alignment_is_the_best_of_all(seed):
    for T, text in itertools.product([1, 2, 5], TEXTS):
        if frames_needed(text) > T:
            continue
        log_probs = random_log_probs(T, seed=seed)
        found = ctc_align(log_probs, text)
        expected = scores(log_probs, text)
        assert tuple(found.tolist()) == max(expected, key=expected.get)
        assert found.dtype == torch.int64
        assert torch.equal(found, ctc_align(log_probs.numpy(), torch.tensor(text)))


def test_alignment_avoids_impossible_frames():
    log_probs = torch.log(torch.tensor([[0.5, 0.5, 0.0], [0.9, 0.0, 0.1], [1.0, 0.0, 0.0]]))
    assert ctc_align(log_probs, (1, 2)).tolist() == [1, 2, 0]


def test_a_row_of_a_batch_is_aligned_like_a_copy_of_it():
    batch = torch.stack([random_log_probs(seed=seed) for seed in range(3)], dim=1)  # (T, N, C)
    for n in range(3):
        assert torch.equal(ctc_align(batch[:, n], [1, 2]), ctc_align(batch[:, n].clone(), [1, 2]))


def test_half_precision_is_converted_to_float32():
    log_probs = random_log_probs().to(torch.bfloat16)
    assert log_probability(log_probs, (1,)) == log_probability(log_probs.float(), (1,))


def big_batch(device):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 16, 30, generator=generator).to(device).requires_grad_()
    targets = torch.randint(1, 30, (16, 60), generator=generator).to(device)
    input_lengths = torch.randint(150, 201, (16,), generator=generator).to(device)
    target_lengths = torch.randint(0, 61, (16,), generator=generator).to(device)
    losses = ctc_loss(logits.log_softmax(2), targets, input_lengths, target_lengths)
    losses.sum().backward()
    return losses, logits.grad


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.gpu,
        ),
    ],
)
def test_loss_and_gradient_are_reproducible_bit_for_bit(device):
    (losses, gradient), (again, gradient_again) = big_batch(device), big_batch(device)
    assert losses.device.type == "cpu"
    assert gradient.device.type == device
    assert torch.equal(losses, again)
    assert torch.equal(gradient, gradient_again)


@pytest.mark.parametrize("function", [log_probability, ctc_align])
def test_invalid_log_probs_and_tokens_are_refused(function):
    with pytest.raises(ValueError, match=r"log_probs has shape \(4, 1, 3\); expected \(T, C\)"):
        function(random_log_probs()[:, None], (1,))
    with pytest.raises(ValueError, match=r"log_probs has shape \(0, 3\); expected \(T, C\)"):
        function(random_log_probs()[:0], ())
    with pytest.raises(ValueError, match="tokens has 0, the blank; expected none"):
        function(random_log_probs(), (1, 0))
    with pytest.raises(ValueError, match="targets has 3; expected from 0 to 2"):
        function(random_log_probs(), (1, 3))


@pytest.mark.parametrize("function", [log_probability, ctc_align])
def test_tokens_that_are_no_row_of_whole_numbers_are_refused(function):
    with pytest.raises(ValueError, match=r"tokens is of torch.float32; expected whole numbers"):
        function(random_log_probs(), [1.5])
    with pytest.raises(ValueError, match=r"tokens is of torch.bool; expected whole numbers"):
        function(random_log_probs(), [True])
    with pytest.raises(ValueError, match=r"tokens has shape \(1, 2\); expected \(U,\)"):
        function(random_log_probs(), [[1, 2]])
    with pytest.raises(ValueError, match=r"tokens has shape \(\); expected \(U,\)"):
        function(random_log_probs(), 1)


def test_targets_of_floats_are_refused():
    with pytest.raises(ValueError, match=r"targets is of torch.float32; expected whole numbers"):
        ctc_loss(random_log_probs(), torch.tensor([1.5]))
    with pytest.raises(ValueError, match=r"input_lengths is of torch.float32; expected whole"):
        ctc_loss(random_log_probs(), torch.tensor([1]), 3.5)


def test_numbers_that_are_no_log_probabilities_are_refused():
    log_probs, token = random_log_probs(), torch.tensor([1])
    positive = (
        r"log_probs has [\d.]+ at \(\d, (0, )?\d\); expected natural logarithms .*, at most 0"
    )
    for numbers, message in [
        (log_probs.exp(), positive),
        (log_probs + 3.0, positive),
        (log_probs.int(), r"log_probs is of torch.int32; expected floats"),
        (log_probs.cfloat(), r"log_probs is of torch.complex64; expected floats"),
        ("a", r"log_probs is of type str; expected numbers in a tensor or an array"),
    ]:
        with pytest.raises(ValueError, match=message):
            ctc_loss(numbers, token)
        with pytest.raises(ValueError, match=message):
            ctc_align(numbers, [1])
    with pytest.raises(ValueError, match="input_lengths is of type str; expected numbers"):
        ctc_loss(log_probs[:, None], token[None], "a")
    assert ctc_loss(log_probs.masked_fill(log_probs > -1, torch.nan), token).isnan()


def test_the_blank_is_a_target_only_as_padding():
    log_probs = random_log_probs()[:, None]
    with pytest.raises(ValueError, match="targets has 0, the blank; expected it only as padding"):
        ctc_loss(log_probs, torch.tensor([[1, 0]]))
    padded = ctc_loss(log_probs, torch.tensor([[1, 0]]), target_lengths=[1])
    assert padded == ctc_loss(log_probs, torch.tensor([[1]]))


def test_a_target_out_of_range_is_refused():
    lengths = torch.tensor([4]), torch.tensor([1])
    with pytest.raises(ValueError, match="targets has 3; expected from 0 to 2"):
        ctc_loss(random_log_probs()[:, None], torch.tensor([[3]]), *lengths)


def test_an_alignment_with_too_few_frames_is_refused():
    with pytest.raises(ValueError, match="log_probs has 4 frames; the tokens need 5"):
        ctc_align(random_log_probs(), (1, 1, 1))


def test_one_utterance_is_a_batch_of_one():
    log_probs, text = random_log_probs(T=5), (1, 2)
    expected = -np.logaddexp.reduce(list(scores(log_probs, text).values()))
    for lengths in [(), (torch.tensor(5), torch.tensor(2)), (5, 2), ([5], torch.tensor([2]))]:
        loss = ctc_loss(log_probs, torch.tensor(text), *lengths)
        assert torch.equal(loss, ctc_loss(log_probs, torch.tensor([text]), *lengths))
        assert loss.shape == ()
        assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert ctc_loss(log_probs.numpy(), np.array(text)).item() == pytest.approx(expected, rel=1e-6)


def test_missing_lengths_mean_whole_sequences():
    log_probs = torch.randn(9, 3, 5).log_softmax(2)
    targets = torch.randint(1, 5, (3, 2))
    expected = torch.nn.functional.ctc_loss(
        log_probs, targets, torch.full((3,), 9), torch.full((3,), 2), reduction="none"
    )
    torch.testing.assert_close(ctc_loss(log_probs, targets), expected)


def test_losses_without_utterances_or_frames_are_defined():
    log_probs = torch.zeros(4, 0, 3, requires_grad=True)
    losses = ctc_loss(log_probs, torch.zeros(0, 2, dtype=torch.int64))
    losses.sum().backward()
    assert losses.shape == (0,)
    targets, lengths = torch.tensor([[1], [1]]), torch.tensor([0, 1])
    assert ctc_loss(torch.zeros(0, 2, 3), targets, None, lengths).tolist() == [0, math.inf]


@pytest.mark.parametrize(
    ("shape", "targets", "lengths", "message"),
    [
        ((4, 3), (2, 2), (), r"log_probs has shape \(4, 3\) and targets \(2, 2\); expected \(T, N"),
        ((4, 3), (2,), ([4, 4],), r"input_lengths has shape \(2,\); expected \(1,\)"),
        ((4, 2, 3), (1, 2), (), r"log_probs has shape \(4, 2, 3\) and targets \(1, 2\)"),
        ((4, 2, 3, 1), (2, 2), (), r"log_probs has shape \(4, 2, 3, 1\)"),
        ((4, 2, 3), (2, 2), ([4], [1, 1]), r"input_lengths has shape \(1,\); expected \(2,\)"),
        ((4, 2, 3), (2, 2), ([4, 5], [1, 1]), "input_lengths has 5; expected from 0 to 4"),
        ((4, 2, 3), (2, 2), ([4, 4], [1, -1]), "target_lengths has -1; expected from 0 to 2"),
    ],
)
def test_shapes_and_lengths_that_do_not_fit_are_refused(shape, targets, lengths, message):
    with pytest.raises(ValueError, match=message):
        ctc_loss(
            torch.zeros(shape), torch.ones(targets, dtype=torch.int64), *map(torch.tensor, lengths)
        )


def test_invalid_log_probs_are_not_aligned():
    log_probs = random_log_probs()
    log_probs[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"log_probs has NaN at \(2, 1\)"):
        ctc_align(log_probs, (1,))
