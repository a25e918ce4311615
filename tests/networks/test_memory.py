import pytest
import torch

from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.cells import N_GATES, new_layer, read
from asr.networks.memory import (
    N_PROBES,
    LayerRun,
    MemoryCurve,
    gates,
    layer_runs,
    network_gradients,
    squared_gradients,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_linear_layer_forgets_by_its_recurrent_weight():
    # positive inputs and weights keep the rectified unit linear: dh_t / dx_(t - k) = 0.8 ** k
    layer = new_layer("rnn-relu", 1, 1).double()
    for name, value in layer.named_parameters():
        torch.nn.init.constant_(value, {"weight_ih_l0": 1.0, "weight_hh_l0": 0.8}.get(name, 0.0))
    inputs = torch.rand(60, 1, 1).double() + 0.1
    curve = MemoryCurve(20)
    for seed in range(200):
        curve.add(*squared_gradients(lambda rows: read(layer, rows)[0], inputs, generator(seed)))
    expected = [0.8**k for k in range(21)]
    assert curve.norms[:21].flip(0).tolist() == pytest.approx(expected, rel=0.05)
    assert curve.norms[21:].tolist() == [0.0] * 20  # nothing after the output
    assert curve.reach(-1) == 10  # 0.8 ** 10 = 0.107
    assert curve.reach(1) == 0
    assert curve.factor() == pytest.approx(0.8, rel=0.01)


def test_squared_gradients_are_those_of_the_whole_jacobian():
    torch.manual_seed(0)
    layer = new_layer("lstm", 3, 4).double()
    inputs = torch.randn(6, 1, 3).double()
    jacobian = torch.func.jacrev(lambda x: read(layer, x)[0])(inputs)  # (6, 1, 4, 6, 1, 3)
    exact = jacobian[:, 0, :, :, 0].square().sum((1, 3))
    total = torch.zeros(N_PROBES, 6).double()
    for seed in range(2000):
        frames, squares = squared_gradients(
            lambda rows: read(layer, rows)[0], inputs, generator(seed)
        )
        total += squares
    torch.testing.assert_close(total / 2000, exact[frames], rtol=0.2, atol=1e-5)


@pytest.mark.parametrize("cell", N_GATES)
def test_gates_explain_the_outputs(cell):
    torch.manual_seed(0)
    layer = new_layer(cell, 3, 4).double()
    run = LayerRun("layer 1 forward", layer, torch.randn(9, 1, 3).double(), 0.01)
    values = gates(run)
    outputs = read(layer, run.inputs)[0][:, 0]
    torch.testing.assert_close(values["outputs"], outputs, rtol=0, atol=0)
    if "lstm" in cell:
        found = values["output"] * values["cells"].tanh()
        torch.testing.assert_close(found, outputs, rtol=1e-12, atol=1e-14)
        assert list(values) == ["input", "forget", "output", "cells", "outputs"]
    elif cell == "gru":  # the update gate weighs the output before against the new value
        before = torch.cat([torch.zeros(1, 4).double(), outputs[:-1]])
        new = (outputs - values["update"] * before) / (1 - values["update"])
        assert (new.abs() < 1).all()
        assert list(values) == ["reset", "update", "outputs"]


def network(**settings):
    torch.manual_seed(0)
    settings = AcousticSettings(hidden_size=4, n_layers=2, **settings)
    return AcousticModel(5, 3, settings).double().eval()


def test_every_layer_is_seen_with_its_inputs_and_its_rate():
    acoustic = network(time_reduction=2, pyramid=(3,), layer_norm=False)
    features = torch.randn(24, 5).double()
    runs = layer_runs(acoustic, features, hop_s=0.01)
    assert [run.name for run in runs] == [
        f"layer {depth} {direction}" for depth in (1, 2) for direction in ("forward", "backward")
    ]
    assert [run.inputs.shape for run in runs] == [(12, 1, 10)] * 2 + [(4, 1, 24)] * 2
    assert [round(run.frame_s, 9) for run in runs] == [0.02, 0.02, 0.06, 0.06]
    stacked = features.reshape(12, 1, 10)
    torch.testing.assert_close(runs[0].inputs, stacked)
    torch.testing.assert_close(runs[1].inputs, stacked.flip(0))


def test_gradients_of_a_one_way_network_come_from_before_the_output():
    features = torch.randn(60, 1, 5).double()
    centres, squares = network_gradients(
        network(time_reduction=3, bidirectional=False), features, generator()
    )
    assert centres.min() == 1
    assert centres.max() == 58  # the middle of the last three frames
    for centre, row in zip(centres, squares, strict=True):
        assert (row[centre + 2 :] == 0).all()
        assert (row[: centre + 2] > 0).all()


def test_layers_of_a_network_in_chunks_are_seen_chunk_by_chunk():
    acoustic = network(
        time_reduction=2, pyramid=(2,), layer_norm=False, chunk_frames=3, right_frames=1
    )
    features = torch.randn(31, 5).double()  # 16 frames of the lowest layer, 8 of the output
    runs = layer_runs(acoustic, features, hop_s=0.01)
    names = [
        f"layer {depth} {direction}"
        for depth in (1, 2)
        for direction in ("forward",) + 3 * ("backward",)
    ]
    assert [run.name for run in runs] == names
    assert [len(run.inputs) for run in runs] == [16, 8, 8, 4, 8, 4, 4, 2]
    assert [round(run.frame_s, 9) for run in runs] == [0.02] * 4 + [0.04] * 4
    lowest, _ = acoustic.reduced(features[:, None], torch.tensor([31]))
    torch.testing.assert_close(runs[0].inputs, lowest)
    torch.testing.assert_close(runs[2].inputs, lowest[6:14].flip(0))


def test_a_network_in_chunks_sees_no_further_than_its_right_context():
    acoustic = network(time_reduction=1, chunk_frames=10, right_frames=4)
    features = torch.randn(64, 1, 5).double()
    centres, squares = network_gradients(acoustic, features, generator())
    for centre, row in zip(centres.tolist(), squares, strict=True):
        end = centre // 10 * 10 + 14
        assert (row[end:] == 0).all()
        assert (row[:end] > 0).all()


def test_a_curve_has_no_value_where_no_utterance_reaches():
    curve = MemoryCurve(3)
    curve.add(torch.tensor([0]), torch.tensor([[4.0, 1.0]]))
    assert curve.norms.tolist()[3:5] == [2.0, 1.0]
    assert curve.norms[[0, 1, 2, 5, 6]].isnan().all()
