import pytest
import torch

from asr.errors import InputError
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.networks.cells import N_GATES

LENGTHS = [13, 7, 1, 12]
SMALL = {"hidden_size": 8, "n_layers": 2, "dropout": 0.0}


def model_of(**settings):
    torch.manual_seed(0)
    return AcousticModel(4, 6, AcousticSettings(**{**SMALL, **settings})).eval()


def batch(padding=1e3):
    generator = torch.Generator().manual_seed(1)
    alone = [torch.randn(length, 4, generator=generator) for length in LENGTHS]
    features = torch.nn.utils.rnn.pad_sequence(alone, padding_value=padding)
    return alone, features, torch.tensor(LENGTHS)


@pytest.mark.parametrize("conv_channels", [0, 3])
@pytest.mark.parametrize("time_reduction", [1, 2, 3, 4])
def test_lengths_are_divided_and_rounded_up(time_reduction, conv_channels):
    model = model_of(time_reduction=time_reduction, conv_channels=conv_channels)
    _, features, input_lengths = batch()
    log_probs, lengths = model(features, input_lengths)
    assert lengths.tolist() == [len(range(0, length, time_reduction)) for length in LENGTHS]
    assert lengths.tolist() == [model.n_frames(length) for length in LENGTHS]
    assert log_probs.shape == (max(lengths), len(LENGTHS), 6)


@pytest.mark.parametrize("conv_channels", [0, 3])
@pytest.mark.parametrize("time_reduction", [1, 2, 3, 4])
def test_a_batch_equals_single_utterances(time_reduction, conv_channels):
    model = model_of(time_reduction=time_reduction, conv_channels=conv_channels)
    alone, features, input_lengths = batch()
    together, lengths = model(features, input_lengths)
    for n, rows in enumerate(alone):
        expected, _ = model(rows[:, None], input_lengths[n : n + 1])
        torch.testing.assert_close(together[: lengths[n], n], expected[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", N_GATES)
def test_each_row_is_a_distribution(cell):
    log_probs, _ = model_of(cell=cell)(*batch()[1:])
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(2), torch.ones(log_probs.shape[:2]))


def test_a_pyramid_reduces_time_further():
    model = model_of(time_reduction=2, pyramid=(3,))
    assert model.settings.frames_per_output == 6
    alone, features, input_lengths = batch()
    together, lengths = model(features, input_lengths)
    assert lengths.tolist() == [-(-length // 6) for length in LENGTHS]
    assert lengths.tolist() == [model.n_frames(length) for length in LENGTHS]
    for n, rows in enumerate(alone):
        expected, _ = model(rows[:, None], input_lengths[n : n + 1])
        torch.testing.assert_close(together[: lengths[n], n], expected[:, 0], rtol=1e-5, atol=1e-6)


def test_a_deep_output_network_is_a_stack_of_rectified_layers():
    model = model_of(output_sizes=(5, 7))
    _, features, input_lengths = batch()
    outputs, lengths = model.stack(*model.reduced(features, input_lengths))
    first, second = model.hidden[0], model.hidden[3]
    assert (first.out_features, second.in_features, second.out_features) == (5, 5, 7)
    hidden = second(first(outputs).relu()).relu()
    expected = model.output(hidden).log_softmax(2)
    found, found_lengths = model(features, input_lengths)
    torch.testing.assert_close(found, expected)
    assert found_lengths.equal(lengths)


def test_pooling_gives_one_output_from_the_mean_of_an_utterances_own_frames():
    model = model_of(pooling=True, time_reduction=2)
    alone, features, input_lengths = batch()
    found, lengths = model(features, input_lengths)
    assert found.shape == (1, 4, 6)
    assert lengths.tolist() == [1] * 4 == [model.n_frames(length) for length in LENGTHS]
    for n, rows in enumerate(alone):
        outputs, _ = model.stack(*model.reduced(rows[:, None], input_lengths[n : n + 1]))
        expected = model.output(outputs[:, 0].mean(0)).log_softmax(0)
        torch.testing.assert_close(found[0, n], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.bfloat16
def test_half_precision_stays_close_and_normalised():
    model = model_of()
    _, features, input_lengths = batch(padding=0.0)
    expected, _ = model(features, input_lengths)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = model(features, input_lengths)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(2), torch.ones(found.shape[:2]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)  # bfloat16 has 8 bits


def test_log_probs_depend_on_the_feature_frames_they_cover():
    model = model_of(time_reduction=3, bidirectional=False, n_layers=1)
    features = torch.zeros(12, 1, 4)
    before, _ = model(features, torch.tensor([12]))
    features[7] = 1.0  # in the group of frames 6, 7 and 8
    after, _ = model(features, torch.tensor([12]))
    assert (before != after).any(dim=2)[:, 0].tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"time_reduction": 0}, "model.time_reduction is 0; expected 1 or more"),
        ({"conv_channels": -1}, "model.conv_channels is -1; expected 0 or more"),
        ({"hidden_size": 0}, "model.hidden_size is 0; expected 1 or more"),
        ({"n_layers": -1}, "model.n_layers is -1; expected 1 or more"),
        ({"dropout": 1.0}, "model.dropout is 1.0; expected from 0 to below 1"),
        ({"pyramid": (2, 2, 2)}, r"model.pyramid is \(2, 2, 2\); expected 2 numbers"),
        ({"projection_size": 9000}, "model.projection_size is 9000; expected from 0 to below hid"),
        ({"output_sizes": (5, 0)}, r"model.output_sizes\[1\] is 0; expected 1 or more"),
    ],
)
def test_invalid_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        AcousticSettings(**values)


def test_chunks_of_the_settings_are_read_in_training_and_after_it():
    whole = model_of(conv_channels=3)
    features, input_lengths = batch()[1:]
    for chunk_frames, is_same in ((100, True), (2, False)):
        chunked = model_of(conv_channels=3, chunk_frames=chunk_frames, right_frames=1)
        for model in (whole, chunked):
            model.train(chunk_frames == 100)
        expected, lengths = whole(features, input_lengths)
        found, found_lengths = chunked(features, input_lengths)
        assert torch.equal(found_lengths, lengths)
        assert torch.allclose(found[: lengths[0], 0], expected[: lengths[0], 0]) == is_same


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"chunk_frames": 4, "bidirectional": False}, "chunk_frames is 4; expected 0 for a netw"),
        ({"right_frames": 4}, "right_frames is 4; expected 0 without chunk_frames"),
        ({"chunk_frames": -1}, "chunk_frames is -1; expected 0 or more"),
    ],
)
def test_impossible_chunks_are_refused(settings, line):
    with pytest.raises(InputError, match=line):
        AcousticSettings(**settings)
