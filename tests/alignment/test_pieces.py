import numpy as np
import pytest
import torch

from asr.alignment.pieces import log_probs_in_pieces
from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.recognizer import Recognizer
from asr.text.tokenizer import CharTokenizer

LETTERS = CharTokenizer(("<blank>", "a", "b"))


def model_of(seed=0, normalisation="none", n_deltas=0, **settings):
    torch.manual_seed(seed)
    features = FeatureSettings(n_mels=10, n_deltas=n_deltas, normalisation=normalisation)
    settings = AcousticSettings(hidden_size=8, n_layers=1, **settings)
    network = AcousticModel(features.n_features, 3, settings).eval()
    for name, values in network.stack.named_parameters():
        if "norm" not in name:  # the gates by which the cells forget, within half a second
            values.data[8:16] = -1.0 if "bias" in name else 0.0
    return Model(Features(features), network, LETTERS)


def noise(seconds, seed=0):
    samples = np.random.default_rng(seed).normal(0, 0.1, round(16000 * seconds))
    return torch.from_numpy(samples.astype(np.float32))


@pytest.mark.parametrize("seconds", [0.025, 0.0349, 0.5, 1.0, 1.001, 2.0, 2.03, 3.337])
@pytest.mark.parametrize(
    ("time_reduction", "conv_channels", "n_deltas"), [(1, 0, 2), (3, 0, 0), (3, 4, 1)]
)
def test_pieces_have_the_frames_of_the_whole(seconds, time_reduction, conv_channels, n_deltas):
    sizes = {"time_reduction": time_reduction, "conv_channels": conv_channels}
    model = model_of(n_deltas=n_deltas, **sizes)
    waveform = noise(seconds)
    whole = Recognizer(model).log_probs(waveform)
    pieces = log_probs_in_pieces(model, waveform, "a.wav", piece_s=0.5, context_s=0.5)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)
    assert pieces.shape == whole.shape


def test_a_recording_of_one_piece_is_as_without_pieces():
    model = model_of(normalisation="utterance")
    waveform = noise(2.0)
    whole = Recognizer(model).log_probs(waveform)
    torch.testing.assert_close(log_probs_in_pieces(model, waveform, "a.wav"), whole, rtol=0, atol=0)


def test_a_piece_knows_only_its_context():
    model = model_of()
    waveform, other = noise(3.0), noise(3.0)
    other[: 16000 * 1] = noise(1.0, seed=1)
    both = [
        log_probs_in_pieces(model, some, "a.wav", piece_s=1.0, context_s=0.5)
        for some in (waveform, other)
    ]
    # the third piece starts at 1.98 s, whole frames of 30 ms, and its context at 1.5 s
    torch.testing.assert_close(both[0][66:], both[1][66:], rtol=0, atol=0)
    assert not torch.equal(both[0][:66], both[1][:66])


def test_nan_is_refused_by_the_name_of_the_recording():
    model = model_of()
    model.acoustic.output.bias.data[0] = torch.nan
    with pytest.raises(InputError, match=r"a\.wav: the model gives NaN"):
        log_probs_in_pieces(model, noise(1.0), "a.wav")
