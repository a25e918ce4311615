import pytest
import torch
from torch import nn

from asr.networks.cells import N_GATES, initialise, input_product, new_layer, read, step

EACH_CELL = pytest.mark.parametrize("cell", N_GATES)


@EACH_CELL
def test_a_step_equals_a_sequence_of_one_frame(cell):
    torch.manual_seed(0)
    layer = new_layer(cell, 3, 4).double()
    inputs = torch.randn(6, 2, 3).double()
    _, before = read(layer, inputs[:5])
    _, expected = read(layer, inputs[5:], before)
    for found, after in zip(
        step(layer, input_product(layer, inputs[5]), before), expected, strict=True
    ):
        torch.testing.assert_close(found, after, rtol=1e-12, atol=1e-14)


@EACH_CELL
def test_the_state_is_that_after_each_sequences_own_end(cell):
    torch.manual_seed(0)
    layer = new_layer(cell, 3, 4).double()
    inputs = torch.randn(6, 3, 3).double()
    lengths = [2, 6, 1]
    outputs, state = read(layer, inputs, lengths=torch.tensor(lengths))
    for n, length in enumerate(lengths):
        expected, after = read(layer, inputs[:length, n : n + 1])
        torch.testing.assert_close(outputs[:length, n], expected[:, 0], rtol=1e-12, atol=1e-14)
        for found, last in zip(state, after, strict=True):
            torch.testing.assert_close(found[n], last[0], rtol=1e-12, atol=1e-14)


def test_weights_of_torch_keep_their_values():
    torch.manual_seed(0)
    layer = new_layer("lstm", 3, 4)
    before = [weights.clone() for weights in layer.parameters()]
    initialise(layer, "torch")
    assert all(a.equal(b) for a, b in zip(before, layer.parameters(), strict=True))


@EACH_CELL
def test_each_gate_is_initialised_by_its_own_size(cell):
    torch.manual_seed(0)
    module = nn.ModuleList([new_layer(cell, 200, 50), nn.Linear(100, 30)])
    recurrent = {name: part for name, part in module[0].named_parameters() if part.ndim == 2}
    recurrent.pop("weight_peephole_l0", None)
    for kind, of_input, of_output, of_linear in (
        ("uniform", 200**-0.5, 50**-0.5, 100**-0.5),
        ("xavier", (6 / 250) ** 0.5, (6 / 100) ** 0.5, (6 / 130) ** 0.5),
    ):
        initialise(module, kind)
        for weights, bound in (
            (recurrent["weight_ih_l0"], of_input),
            (recurrent["weight_hh_l0"], of_output),
            (module[1].weight, of_linear),
        ):
            assert 0.98 * bound < weights.abs().max() <= bound


@EACH_CELL
def test_orthogonal_recurrent_matrices_keep_the_length_of_vectors(cell):
    torch.manual_seed(0)
    layer = new_layer(cell, 7, 5)
    initialise(layer, "orthogonal")
    vector = torch.randn(5)
    for matrix in layer.weight_hh_l0.split(5):
        assert (matrix @ vector).norm().item() == pytest.approx(vector.norm().item(), rel=1e-5)


def test_initialisation_leaves_peepholes_and_biases():
    torch.manual_seed(0)
    layer = new_layer("lstm-peephole", 7, 5)
    names = ("weight_peephole_l0", "bias_ih_l0", "bias_hh_l0")
    before = [layer.get_parameter(name).clone() for name in names]
    initialise(layer, "xavier")
    assert all(layer.get_parameter(n).equal(b) for n, b in zip(names, before, strict=True))
