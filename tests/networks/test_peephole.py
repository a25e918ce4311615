import pytest
import torch

from asr.networks.peephole import PeepholeLSTM


def layer_and_inputs(T=7, N=2, H=5):
    torch.manual_seed(0)
    layer = PeepholeLSTM(3, H).double()
    inputs = torch.randn(T, N, 3, dtype=torch.double, requires_grad=True)
    state = [torch.randn(1, N, H, dtype=torch.double, requires_grad=True) for _ in range(2)]
    return layer, inputs, state


def test_gradients_equal_finite_differences():
    layer, inputs, state = layer_and_inputs()

    def outputs(inputs, output, cell, *weights):
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        found, after = torch.func.functional_call(layer, named, (inputs, (output, cell)))
        return found, *after

    assert torch.autograd.gradcheck(outputs, (inputs, *state, *layer.parameters()))


def test_the_state_is_that_after_each_sequences_own_end():
    layer, inputs, state = layer_and_inputs(N=3)
    lengths = [7, 1, 4]
    outputs, (output, cell) = layer(inputs, state, torch.tensor(lengths))
    for n, length in enumerate(lengths):
        alone = inputs[:length, n : n + 1]
        expected, (last, last_cell) = layer(alone, [part[:, n : n + 1] for part in state])
        torch.testing.assert_close(outputs[:length, n], expected[:, 0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(output[0, n], last[0, 0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(cell[0, n], last_cell[0, 0], rtol=1e-12, atol=1e-14)


@pytest.mark.bfloat16
def test_half_precision_training_keeps_the_recurrence_in_full_precision():
    layer, inputs, _ = layer_and_inputs()
    layer, inputs = layer.float(), inputs.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        outputs, (_, cell) = layer(inputs)
    assert outputs.dtype == cell.dtype == torch.float32
    torch.testing.assert_close(outputs, layer(inputs)[0], rtol=0, atol=0.02)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_numbers_and_gradients():
    layer, inputs, state = layer_and_inputs(T=40, N=19, H=45)
    found = []
    for device, dtype in (("cpu", torch.double), ("cuda", torch.float32)):
        layer = layer.to(device, dtype)
        given = [part.detach().to(device, dtype).requires_grad_() for part in (inputs, *state)]
        outputs, _ = layer(given[0], given[1:])
        gradients = torch.autograd.grad(outputs.square().sum(), [*given, *layer.parameters()])
        found.append([part.cpu().double() for part in (outputs, *gradients)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)
