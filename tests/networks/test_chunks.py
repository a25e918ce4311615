import pytest
import torch

from asr.networks.chunks import read_chunks
from asr.networks.recurrent import RecurrentStack, StackSettings

LENGTHS = torch.tensor([23, 9, 1, 16])


def stack_of(**settings):
    torch.manual_seed(0)
    sizes = {"hidden_size": 5, "n_layers": 2, "layer_norm": True}
    return RecurrentStack(3, StackSettings(**sizes | settings)).double()


def padded(padding=1e3):
    generator = torch.Generator().manual_seed(1)
    alone = [torch.randn(n, 3, generator=generator).double() for n in LENGTHS.tolist()]
    return torch.nn.utils.rnn.pad_sequence(alone, padding_value=padding)


def outputs_and_gradients(stack, outputs, lengths):
    inside = [outputs[:length, n] for n, length in enumerate(lengths.tolist())]
    sum(some.square().sum() for some in inside).backward()
    found = [weight.grad.clone() for weight in stack.parameters()]
    stack.zero_grad()
    return inside, found


@pytest.mark.parametrize("pyramid", [(), (2,)])
@pytest.mark.parametrize("n_right", [0, 3])
def test_a_huge_chunk_equals_the_ordinary_reading(pyramid, n_right):
    stack, inputs = stack_of(pyramid=pyramid), padded(0.0)
    found, lengths = read_chunks(stack, inputs, LENGTHS, 100, n_right)
    found = outputs_and_gradients(stack, found, lengths)
    expected, expected_lengths = stack(inputs, LENGTHS)
    assert torch.equal(lengths, expected_lengths)
    torch.testing.assert_close(found, outputs_and_gradients(stack, expected, lengths))


def test_company_and_padding_change_nothing():
    stack = stack_of(pyramid=(2,))
    together, lengths = read_chunks(stack, padded(), LENGTHS, 4, 2)
    for n, length in enumerate(LENGTHS.tolist()):
        alone, own = read_chunks(stack, padded()[:length, n : n + 1], LENGTHS[n : n + 1], 4, 2)
        assert own == lengths[n]
        torch.testing.assert_close(together[: lengths[n], n], alone[:, 0])


def test_outputs_depend_on_the_past_and_the_context_only():
    stack = stack_of(n_layers=1)
    inputs = padded()[:, :1].requires_grad_()
    outputs, _ = read_chunks(stack, inputs, LENGTHS[:1], 6, 2)
    outputs[6:12].square().sum().backward()
    used = inputs.grad[:, 0].abs().sum(1) > 0
    assert used.tolist() == [True] * 14 + [False] * 9  # also the first chunk, through the state
