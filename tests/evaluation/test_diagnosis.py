import numpy as np
import pytest
import torch

from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.evaluation.diagnosis import Histogram, diagnose, network_of
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm
from asr.model import Model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.tokenizer import CharTokenizer


def test_a_histogram_counts_values_outside_in_its_outermost_bins():
    histogram = Histogram(0.0, 1.0)
    histogram.add(torch.tensor([-1.0, 0.05, 0.5, 0.95, 0.97, 7.0]))
    assert histogram.counts.sum() == 6
    assert histogram.edges == (pytest.approx(2 / 6), pytest.approx(3 / 6))


def model_of(cell="lstm", **more):
    torch.manual_seed(0)
    settings = FeatureSettings(sample_rate=8000, n_mels=10)
    sizes = AcousticSettings(cell=cell, hidden_size=4, n_layers=2, **more)
    network = AcousticModel(10, 3, sizes).eval()
    return Model(Features(settings), network, CharTokenizer(("<blank>", "a", "b")))


def waveforms():
    generator = np.random.default_rng(0)
    return [torch.from_numpy(generator.normal(0, 0.1, n).astype(np.float32)) for n in (8000, 4000)]


def test_every_layer_is_measured_over_all_recordings():
    found = diagnose(model_of(), waveforms())
    assert (found.n_utterances, found.seconds, found.frame_s) == (2, 1.5, 0.01)
    assert [layer.name for layer in found.layers][:2] == ["layer 1 forward", "layer 1 backward"]
    n_frames = 33 + 16  # of both recordings: 98 and 48 frames of features, three as one
    for layer in found.layers:
        assert list(layer.histograms) == ["input", "forget", "output", "cells", "outputs"]
        assert all(one.counts.sum() == 4 * n_frames for one in layer.histograms.values())
        assert layer.memory.norms.nan_to_num(0.0).max() > 0


def test_a_network_trained_on_chunks_is_measured_as_it_reads():
    found = diagnose(model_of(chunk_frames=5, right_frames=2), waveforms())
    assert [layer.frame_s for layer in found.layers] == pytest.approx([0.03] * 4)
    forward, backward, *_ = found.layers
    assert forward.histograms["input"].counts.sum() == 4 * (33 + 16)
    contexts = 2 * 6 + 2 * 2 + 1  # seven chunks of 33 frames, four of 16
    assert backward.histograms["input"].counts.sum() == 4 * (33 + 16 + contexts)
    # an output sees at most its chunk and its right context, from the middle of three frames on
    assert 0 < found.memory.reach(1) <= 3 * (5 + 2) - 2
    assert backward.memory.norms[backward.memory.distances < -6].isnan().all()


def test_the_same_seed_gives_the_same_numbers():
    first, again, other = (diagnose(model_of("gru"), waveforms(), seed) for seed in (0, 0, 1))
    assert first.memory.norms.nan_to_num().equal(again.memory.norms.nan_to_num())
    assert not first.memory.norms.nan_to_num().equal(other.memory.norms.nan_to_num())


def test_an_hmm_of_gaussians_has_no_network():
    gmm = Gmm(torch.zeros(2, 1), torch.zeros(2, 1, 10), torch.ones(2, 1, 10))
    model = Model(model_of().features, GmmEmissions(gmm), model_of().tokenizer)
    with pytest.raises(InputError, match="is an HMM of Gaussians; expected a model with a rec"):
        network_of(model)
