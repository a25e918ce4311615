from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from asr.networks.cells import N_GATES
from asr.networks.peephole import PeepholeLSTM
from asr.networks.recurrent import Dropout, RecurrentStack, StackSettings, drop

TORCHS = {"rnn": nn.RNN, "rnn-relu": partial(nn.RNN, nonlinearity="relu"), "gru": nn.GRU}
TORCHS["lstm"] = nn.LSTM
EACH_CELL = pytest.mark.parametrize("cell", N_GATES)
LENGTHS = [5, 9, 1, 9]


def stack_of(cell, bidirectional=True, n_layers=3, hidden_size=4, **settings):
    torch.manual_seed(0)
    settings = StackSettings(cell, hidden_size, n_layers, bidirectional, **settings)
    return RecurrentStack(3, settings).double()


def sequences(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, 3, generator=generator).double() for length in lengths]


def padded(inputs, value=1e3):
    lengths = torch.tensor([len(rows) for rows in inputs])
    return nn.utils.rnn.pad_sequence(inputs, padding_value=value), lengths


def packed_twin(stack, cell):
    """Torch's own module of all layers at once, with the same weights."""
    bidirectional = len(stack.backwards) > 0
    hidden_size, n_layers = stack.forwards[0].hidden_size, len(stack.forwards)
    sizes = {"proj_size": stack.settings.projection_size} if cell == "lstm" else {}
    twin = TORCHS[cell](3, hidden_size, n_layers, bidirectional=bidirectional, **sizes).double()
    weights = {}
    for layers, suffix in ((stack.forwards, ""), (stack.backwards, "_reverse")):
        for depth, layer in enumerate(layers):
            for name, value in layer.named_parameters():
                weights[name.replace("_l0", f"_l{depth}{suffix}")] = value.detach()
    twin.load_state_dict(weights)
    return twin


@pytest.mark.parametrize(
    ("cell", "projection_size"), [*((cell, 0) for cell in TORCHS), ("lstm", 3)]
)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_outputs_and_gradients_equal_torchs_on_packed_sequences(
    cell, projection_size, bidirectional, n_layers
):
    stack = stack_of(cell, bidirectional, n_layers, projection_size=projection_size)
    twin = packed_twin(stack, cell)
    inputs, lengths = padded(sequences())
    inputs.requires_grad_()
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(twin(packed)[0])
    found, _ = stack(inputs, lengths)
    inside = torch.arange(len(inputs))[:, None] < lengths
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-12, atol=1e-12)

    weights = torch.randn(found[inside].shape, dtype=torch.double)
    found_gradient, expected_gradient = (
        torch.autograd.grad((outputs[inside] * weights).sum(), inputs)[0]
        for outputs in (found, expected)
    )
    torch.testing.assert_close(found_gradient, expected_gradient, rtol=1e-11, atol=1e-12)
    assert (found_gradient[~inside] == 0).all()


@EACH_CELL
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_batch_equals_single_sequences(cell, training, layer_norm):
    stack = stack_of(cell, layer_norm=layer_norm).train(training)
    alone = sequences()
    together, _ = stack(*padded(alone))
    for n, inputs in enumerate(alone):
        expected = stack(inputs[:, None], torch.tensor([len(inputs)]))[0][:, 0]
        torch.testing.assert_close(together[: len(inputs), n], expected, rtol=1e-12, atol=1e-12)


def test_layer_norm_gives_mean_0_and_variance_1():
    plain, normalised = (stack_of("lstm", n_layers=1, layer_norm=on) for on in (False, True))
    inputs, lengths = padded(sequences())
    outputs, _ = plain(inputs, lengths)
    deviations = outputs - outputs.mean(2, keepdim=True)
    expected = deviations / (deviations.square().mean(2, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(normalised(inputs, lengths)[0], expected, rtol=1e-10, atol=1e-12)


def test_a_unidirectional_stack_does_not_depend_on_the_future():
    stack = stack_of("lstm", bidirectional=False)
    (inputs,) = sequences([9])
    whole, _ = stack(inputs[:, None], torch.tensor([9]))
    beginning, _ = stack(inputs[:5, None], torch.tensor([5]))
    torch.testing.assert_close(whole[:5], beginning, rtol=1e-12, atol=1e-12)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_in_numpy(x, h, c, w, u, b, d):
    return np.tanh(w @ x + b + u @ h + d), c


def gru_in_numpy(x, h, c, w, u, b, d):
    (wr, wz, wn), (ur, uz, un) = np.split(w, 3), np.split(u, 3)
    (br, bz, bn), (dr, dz, dn) = np.split(b, 3), np.split(d, 3)
    r = sigmoid(wr @ x + br + ur @ h + dr)
    z = sigmoid(wz @ x + bz + uz @ h + dz)
    n = np.tanh(wn @ x + bn + r * (un @ h + dn))
    return (1 - z) * n + z * h, c


def lstm_in_numpy(x, h, c, w, u, b, d):
    i, f, g, o = np.split(w @ x + b + u @ h + d, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def relu_in_numpy(x, h, c, w, u, b, d):
    return np.maximum(w @ x + b + u @ h + d, 0), c


def peephole_in_numpy(x, h, c, w, u, b, d, p):
    i, f, g, o = np.split(w @ x + b + u @ h + d, 4)
    before = c
    c = sigmoid(f + p[1] * before) * before + sigmoid(i + p[0] * before) * np.tanh(g)
    return sigmoid(o + p[2] * c) * np.tanh(c), c


STEPS = {"rnn": rnn_in_numpy, "rnn-relu": relu_in_numpy, "gru": gru_in_numpy}
STEPS |= {"lstm": lstm_in_numpy, "lstm-peephole": peephole_in_numpy}


def weights_of(layer):
    """As the functions above take them."""
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    names += ["weight_peephole_l0"] if isinstance(layer, PeepholeLSTM) else []
    return [getattr(layer, name).detach().numpy() for name in names]


@EACH_CELL
def test_one_layer_equals_the_equations_of_its_cell(cell):
    stack = stack_of(cell, n_layers=1)
    (inputs,) = sequences([6])
    found = stack(inputs[:, None], torch.tensor([6]))[0][:, 0].detach().numpy()
    for layer, order, columns in (
        (stack.forwards[0], range(6), slice(4)),
        (stack.backwards[0], range(5, -1, -1), slice(4, 8)),
    ):
        weights = weights_of(layer)
        h = c = np.zeros(4)
        for t in order:
            h, c = STEPS[cell](inputs[t].numpy(), h, c, *weights)
            np.testing.assert_allclose(found[t, columns], h, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ["lstm", "lstm-peephole"])
def test_forget_gates_are_initialised_open(cell):
    for bias, settings in ((1.0, {}), (2.0, {"forget_bias": 2.0})):
        stack = stack_of(cell, n_layers=2, **settings)
        for layer in [*stack.forwards, *stack.backwards]:
            assert (layer.bias_ih_l0 + layer.bias_hh_l0)[4:8].tolist() == [bias] * 4


def test_dropout_acts_in_training_only():
    stack = stack_of("gru", n_layers=1, dropout=Dropout(0.5, 0.5))
    batch = padded(sequences())
    outputs, _ = stack(*batch)
    assert 0.3 < (outputs == 0).double().mean() < 0.7
    torch.testing.assert_close(outputs[outputs != 0], 2 * stack.eval()(*batch)[0][outputs != 0])


def one_way(cell, **values):
    return stack_of(cell, bidirectional=False, **values)


@EACH_CELL
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("lengths", [[9], [4, 5], [1] * 9, [2, 6, 1]])
def test_chunk_by_chunk_equals_all_at_once(cell, layer_norm, lengths):
    stack = one_way(cell, layer_norm=layer_norm)
    inputs = torch.stack(sequences([9] * 4), 1)
    expected, _ = stack(inputs, torch.tensor([9] * 4))
    state, found = stack.zero_state(4), []
    for chunk in inputs.split(lengths):
        outputs, state = stack.carry(chunk, state)
        found.append(outputs)
    torch.testing.assert_close(torch.cat(found), expected, rtol=1e-12, atol=1e-12)


@EACH_CELL
@pytest.mark.parametrize("layer_norm", [False, True])
def test_frame_by_frame_equals_all_at_once(cell, layer_norm):
    stack = one_way(cell, layer_norm=layer_norm)
    inputs = torch.stack(sequences([9] * 4), 1)
    state = stack.zero_state(4)
    for frame in inputs:
        _, expected = stack.carry(frame[None], state)
        state = stack.step(stack.input_product(frame), state)
        torch.testing.assert_close(state, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        stack.carry(inputs, stack.zero_state(4))[1], state, rtol=1e-12, atol=1e-12
    )


@EACH_CELL
def test_a_state_is_outputs_then_cells_of_all_layers(cell):
    stack = one_way(cell, n_layers=2)
    (inputs,) = sequences([6])
    _, state = stack.carry(inputs[:, None], stack.zero_state(1))
    outputs, cells = inputs.numpy(), []
    ends = []
    for layer in stack.forwards:
        weights = weights_of(layer)
        h, c, rows = np.zeros(4), np.zeros(4), []
        for x in outputs:
            h, c = STEPS[cell](x, h, c, *weights)
            rows.append(h)
        outputs = np.array(rows)
        ends.append(h)
        cells.append(c)
    expected = np.concatenate([*ends, *(cells if "lstm" in cell else [])])
    np.testing.assert_allclose(state[0].detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@EACH_CELL
def test_rows_of_a_state_can_be_selected_and_repeated(cell):
    stack = one_way(cell)
    inputs = torch.stack(sequences([9] * 4), 1)
    _, state = stack.carry(inputs[:5], stack.zero_state(4))
    picked = torch.tensor([2, 0, 2])
    found, _ = stack.carry(inputs[5:, picked], state[picked])
    expected = stack(inputs, torch.tensor([9] * 4))[0][5:, picked]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@EACH_CELL
def test_gradients_flow_back_through_a_carried_state(cell):
    stack = one_way(cell)
    inputs = torch.stack(sequences([9] * 2), 1)
    weights = torch.randn(9, 2, 4, dtype=torch.double)
    gradients = []
    for lengths in ([9], [4, 5]):
        state, loss = stack.zero_state(2), 0.0
        for chunk, weight in zip(inputs.split(lengths), weights.split(lengths), strict=True):
            outputs, state = stack.carry(chunk, state)
            loss = loss + (outputs * weight).sum()
        gradients.append(torch.autograd.grad(loss, list(stack.parameters())))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@EACH_CELL
@pytest.mark.bfloat16
def test_a_state_is_kept_in_full_precision(cell):
    stack = one_way(cell).float()
    inputs = torch.stack(sequences([9] * 2), 1).float()
    _, expected = stack.carry(inputs, stack.zero_state(2))
    with torch.autocast("cpu", torch.bfloat16):
        _, state = stack.carry(inputs, stack.zero_state(2))
        stepped = stack.step(stack.input_product(inputs[0]), state)
    assert state.dtype == stepped.dtype == torch.float32
    torch.testing.assert_close(state, expected, rtol=0, atol=0.02)  # bfloat16 has 8 bits


def test_a_variational_mask_is_the_same_in_all_frames_of_a_row():
    ones = torch.ones(7, 300, 40)
    torch.manual_seed(0)
    once, anew = (drop(ones, 0.25, variational, training=True) for variational in (True, False))
    assert (once == once[:1]).all()
    assert (anew != anew[:1]).any()
    assert once[0, 0].tolist() != once[0, 1].tolist()
    for outputs in (once, anew):
        assert outputs.unique().tolist() == pytest.approx([0, 1 / 0.75])
        share = (outputs[0] == 0).float().mean()
        assert abs(share - 0.25) < 5 * (0.25 * 0.75 / 12_000) ** 0.5  # five standard deviations
    assert drop(ones, 0.25, variational=True, training=False).equal(ones)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("dropout", "dropped"),
    [(Dropout(hidden=0.5), False), (Dropout(output=0.5), True), (Dropout(0.5, 0.5), True)],
)
def test_dropout_acts_on_the_named_outputs_in_training(dropout, dropped, training):
    stack = one_way("lstm", n_layers=2, dropout=dropout).train(training)
    inputs = torch.stack(sequences([9] * 4), 1)
    outputs, state = stack.carry(inputs, stack.zero_state(4))
    assert (outputs == 0).any() == (training and dropped)
    assert (state != 0).all()
    whole = one_way("lstm", n_layers=2).carry(inputs, stack.zero_state(4))[1]
    # dropout never changes the first layer's own state, only what the second layer reads of it
    first = [slice(0, 4), slice(8, 12)]
    assert all(state[:, part].equal(whole[:, part]) for part in first)
    assert state.equal(whole) == (not training or dropout.hidden == 0)


@EACH_CELL
def test_recurrent_dropout_is_the_same_in_all_frames(cell):
    stack = one_way(cell, n_layers=2, dropout=Dropout(recurrent=0.5))
    inputs = torch.stack(sequences([9] * 2), 1)
    before = [parameter.clone() for parameter in stack.parameters()]
    torch.manual_seed(3)
    found, _ = stack.carry(inputs, stack.zero_state(2))
    assert all(a.equal(b) for a, b in zip(before, stack.parameters(), strict=True))

    plain = one_way(cell, n_layers=2)
    torch.testing.assert_close(
        stack.eval().carry(inputs, stack.zero_state(2)),
        plain.carry(inputs, plain.zero_state(2)),
        rtol=0,
        atol=0,
    )
    torch.manual_seed(3)
    with torch.no_grad():
        for layer in plain.forwards:
            layer.weight_hh_l0.copy_(nn.functional.dropout(layer.weight_hh_l0, 0.5))
            assert 0.2 < (layer.weight_hh_l0 == 0).float().mean() < 0.8
    expected, _ = plain.carry(inputs, plain.zero_state(2))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_dropped_weights_get_no_gradient():
    stack = one_way("lstm", n_layers=1, dropout=Dropout(recurrent=0.5))
    inputs = torch.stack(sequences([9] * 2), 1)
    torch.manual_seed(3)
    stack.carry(inputs, stack.zero_state(2))[0].square().sum().backward()
    weights = stack.forwards[0].weight_hh_l0
    torch.manual_seed(3)
    left_out = nn.functional.dropout(weights.detach(), 0.5) == 0
    assert (weights.grad == 0).equal(left_out)


@EACH_CELL
@pytest.mark.gpu
def test_the_gpu_gives_the_same_numbers_as_the_cpu(cell):
    stack = stack_of(cell).float()
    inputs, lengths = padded([rows.float() for rows in sequences()], value=0.0)
    expected, _ = stack(inputs, lengths)
    found = stack.cuda()(inputs.cuda(), lengths.cuda())[0].cpu()
    inside = torch.arange(len(inputs))[:, None] < lengths
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0; expected 1 or more"),
        ({"n_layers": 0}, "n_layers is 0; expected 1 or more"),
        ({"cell": "LSTM"}, "cell is 'LSTM'; expected one of rnn, rnn-relu, gru, lstm, lstm-peeph"),
        ({"projection_size": 320}, "projection_size is 320; expected from 0 to below hidden_size"),
        ({"cell": "gru", "projection_size": 3}, "projection_size is 3; expected 0 for gru"),
        ({"pyramid": (2,)}, r"pyramid is \(2,\); expected 2 numbers"),
        ({"pyramid": (2, 0)}, r"pyramid is \(2, 0\); expected numbers from 1 on"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        StackSettings(**values)


def test_an_input_without_values_is_refused():
    with pytest.raises(ValueError, match="input_size is 0; expected 1 or more"):
        RecurrentStack(0, StackSettings())


def test_invalid_dropout_shares_are_refused():
    for name in ("hidden", "output", "recurrent"):
        for share in (-0.1, 1.0):
            message = f"dropout.{name} is {share}; expected from 0 to below 1"
            with pytest.raises(ValueError, match=message):
                Dropout(**{name: share})


def test_a_bidirectional_stack_has_no_state_to_carry():
    stack = stack_of("lstm")
    message = "bidirectional is True; expected a stack of one direction"
    with pytest.raises(ValueError, match=message):
        stack.carry(torch.zeros(1, 1, 3), stack.zero_state(1))
    with pytest.raises(ValueError, match=message):
        stack.input_product(torch.zeros(1, 3))


def test_a_state_of_the_wrong_shape_is_refused():
    stack = one_way("lstm")
    with pytest.raises(ValueError, match=r"state has shape \(2, 24\); expected \(1, 24\)"):
        stack.carry(torch.zeros(5, 1, 3).double(), stack.zero_state(2))
    with pytest.raises(ValueError, match=r"state has shape \(1, 12\); expected \(1, 24\)"):
        stack.carry(torch.zeros(5, 1, 3).double(), one_way("gru").zero_state(1))


SETTINGS = {
    "peepholes": ("lstm-peephole", {}),
    "projection": ("lstm", {"projection_size": 3}),
    "residual": ("gru", {"residual": True}),
    "pyramid": ("lstm", {"pyramid": (2, 3)}),
    "all": ("lstm-peephole", {"pyramid": (1, 2), "residual": True, "layer_norm": True}),
}
EACH_SETTING = pytest.mark.parametrize(("cell", "settings"), SETTINGS.values(), ids=SETTINGS)


@EACH_SETTING
@pytest.mark.parametrize("bidirectional", [False, True])
def test_with_all_settings_a_batch_equals_single_sequences(cell, settings, bidirectional):
    stack = stack_of(cell, bidirectional, **settings)
    alone = sequences()
    together, lengths = stack(*padded(alone))
    factor = stack.settings.time_reduction
    assert lengths.tolist() == [-(-length // factor) for length in LENGTHS]
    for n, inputs in enumerate(alone):
        expected, length = stack(inputs[:, None], torch.tensor([len(inputs)]))
        torch.testing.assert_close(together[:length, n], expected[:, 0], rtol=1e-12, atol=1e-12)


@EACH_SETTING
def test_padded_chunks_with_a_state_equal_all_at_once(cell, settings):
    stack = one_way(cell, **settings)
    alone = sequences([6, 17, 12, 1])
    inputs, lengths = padded(alone)
    expected, reduced = stack(inputs, lengths)
    state, found = stack.zero_state(4), []
    for start in range(0, len(inputs), 6):
        chunk = inputs[start : start + 6]
        left = (lengths - start).clamp(0, len(chunk))
        before = state
        outputs, state = stack.carry(chunk, state, left)
        assert state[left == 0].equal(before[left == 0])
        found.append(outputs)
    for n, length in enumerate(reduced):
        torch.testing.assert_close(
            torch.cat(found)[:length, n], expected[:length, n], rtol=1e-12, atol=1e-12
        )
    for n, inputs in enumerate(alone):  # the state is that after the row's own last frame
        _, after = stack.carry(inputs[:, None], stack.zero_state(1))
        torch.testing.assert_close(state[n], after[0], rtol=1e-12, atol=1e-12)


def test_layers_of_a_pyramid_read_frames_side_by_side():
    stack = stack_of("lstm", n_layers=2, pyramid=(2,))
    inputs, lengths = padded(sequences([5]))
    outputs, reduced = stack(inputs, lengths)
    first = nn.LSTM(3, 4, bidirectional=True).double()
    second = nn.LSTM(16, 4, bidirectional=True).double()
    for depth, twin in enumerate((first, second)):
        weights = dict(stack.forwards[depth].named_parameters())
        reverse = stack.backwards[depth].named_parameters()
        twin.load_state_dict(weights | {f"{name}_reverse": value for name, value in reverse})
    below = nn.functional.pad(first(inputs)[0], (0, 0, 0, 0, 0, 1))
    expected, _ = second(torch.cat([below[0::2], below[1::2]], 2))
    assert reduced.tolist() == [3]
    torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_a_residual_link_adds_a_layers_input():
    plain, linked = (stack_of("gru", n_layers=2, residual=on) for on in (False, True))
    batch = padded(sequences([9]))
    with torch.no_grad():
        for name, weights in linked.named_parameters():
            if name.split(".")[1] == "1":  # the second layer gives zeros
                weights.zero_()
    first = stack_of("gru", n_layers=1)
    first.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(linked(*batch)[0], first(*batch)[0], rtol=1e-12, atol=1e-12)


def test_a_step_through_a_projection_equals_a_chunk():
    stack = one_way("lstm", projection_size=3)
    inputs = torch.stack(sequences([9] * 4), 1)
    state = stack.zero_state(4)
    assert state.shape == (4, 3 * (3 + 4))
    for frame in inputs:
        state = stack.step(stack.input_product(frame), state)
    _, expected = stack.carry(inputs, stack.zero_state(4))
    torch.testing.assert_close(state, expected, rtol=1e-12, atol=1e-12)


def test_a_step_needs_single_frames_and_no_residual_links():
    for settings in ({"pyramid": (2, 1)}, {"residual": True}):
        stack = one_way("lstm", **settings)
        state = stack.zero_state(1)
        with pytest.raises(ValueError, match="a pyramid or residual links; expected neither"):
            stack.step(stack.input_product(torch.zeros(1, 3).double()), state)


def chunk_by_chunk(stack, inputs, lengths, n_frames, right):
    """Outputs of chunks of a padded batch whose backward direction sees `right` frames more."""
    state, found = stack.zero_state(len(lengths)), []
    factor = stack.settings.time_reduction
    for start in range(0, len(inputs), n_frames):
        seen = inputs[start : start + n_frames + right]
        left = (lengths - start).clamp(1, len(seen))
        outputs, state = stack.carry_chunk(seen, state, left, n_frames)
        found.append(outputs[: -(-n_frames // factor)])
    return torch.cat(found)


@EACH_SETTING
def test_a_chunk_that_holds_all_is_the_whole_sequence(cell, settings):
    stack = stack_of(cell, **settings)
    inputs, lengths = padded(sequences())
    expected, reduced = stack(inputs, lengths)
    for found in (
        chunk_by_chunk(stack, inputs, lengths, n_frames=12, right=0),
        chunk_by_chunk(stack, inputs, lengths, n_frames=6, right=3),
    ):
        first = -(-6 // stack.settings.time_reduction)
        for n, length in enumerate(reduced):
            rows = slice(min(length, first))
            torch.testing.assert_close(found[rows, n], expected[rows, n], rtol=1e-12, atol=1e-12)


@EACH_SETTING
def test_a_chunk_depends_on_its_right_context_and_on_nothing_later(cell, settings):
    stack = stack_of(cell, **settings)
    (inputs,) = sequences([24])
    lengths = torch.tensor([24])
    before = chunk_by_chunk(stack, inputs[:, None], lengths, n_frames=6, right=6)
    per_chunk = 6 // stack.settings.time_reduction
    for changed, first in ((12, per_chunk), (11, 0), (23, 2 * per_chunk)):
        other = inputs.clone()
        other[changed] += 1
        after = chunk_by_chunk(stack, other[:, None], lengths, n_frames=6, right=6)
        differs = (after != before).any(2).any(1)
        assert not differs[:first].any()
        assert differs[first : first + per_chunk].any()


@EACH_SETTING
def test_chunks_of_a_one_way_stack_equal_all_at_once(cell, settings):
    stack = one_way(cell, **settings)
    inputs, lengths = padded(sequences())
    expected, reduced = stack(inputs, lengths)
    found = chunk_by_chunk(stack, inputs, lengths, n_frames=6, right=0)
    for n, length in enumerate(reduced):
        torch.testing.assert_close(found[:length, n], expected[:length, n], rtol=1e-12, atol=1e-12)


def test_chunks_of_one_layer_equal_a_loop_over_frames():
    stack = stack_of("lstm", n_layers=1)
    (inputs,) = sequences([8])
    found = chunk_by_chunk(stack, inputs[:, None], torch.tensor([8]), n_frames=3, right=2)[:, 0]
    ahead, behind = (weights_of(layer) for layer in (stack.forwards[0], stack.backwards[0]))
    h = c = np.zeros(4)
    for t in range(8):
        h, c = lstm_in_numpy(inputs[t].numpy(), h, c, *ahead)
        back = cell = np.zeros(4)
        for later in range(min(t // 3 * 3 + 3 + 2, 8) - 1, t - 1, -1):
            back, cell = lstm_in_numpy(inputs[later].numpy(), back, cell, *behind)
        expected = np.concatenate([h, back])
        np.testing.assert_allclose(found[t].detach().numpy(), expected, rtol=1e-12, atol=1e-14)
