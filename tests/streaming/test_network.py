import pytest
import torch
from stream_models import KINDS, recognizer_of

from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions
from asr.hmm.gmm import Gmm
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.streaming.features import FeatureStream
from asr.streaming.network import ChunkedNetwork


@pytest.mark.parametrize("kind", KINDS)
def test_ready_frames_do_not_depend_on_later_features(kind):
    network = recognizer_of(kind).model.acoustic
    F = recognizer_of(kind).model.features.settings.n_features
    chunked = ChunkedNetwork(network)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, F, generator=generator)
    for T in (1, 17, 24, 31):
        n_outputs = chunked.n_ready(T) - 2
        if n_outputs < 1:
            continue
        chunked.restart()
        with torch.no_grad():
            found = chunked.read(features[:T], n_outputs, 2, is_last=False)
            other = torch.cat([features[:T], torch.randn(9, F, generator=generator)])
            # the same context of the backward direction, with other features behind it
            reduced, _ = network.reduced(other[:, None], torch.tensor([len(other)]))
            factor = network.stack.settings.time_reduction
            inputs = reduced[: (n_outputs + 2) * factor]
            state, length = network.stack.zero_state(1), torch.tensor([len(inputs)])
            outputs, _ = network.stack.carry_chunk(inputs, state, length, n_outputs * factor)
            expected = network.log_probs(outputs[:n_outputs])[:, 0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_frames_are_needed_as_are_ready_then(kind):
    model = recognizer_of(kind).model
    for stage in (ChunkedNetwork(model.acoustic), FeatureStream(model.features)):
        for n in (1, 7, 30):
            assert stage.n_ready(stage.n_needed(n)) == n
            assert stage.n_ready(stage.n_needed(n) - 1) == n - 1


@pytest.mark.parametrize("time_reduction", [1, 2, 3, 4])
def test_the_margin_is_what_convolutions_need(time_reduction):
    torch.manual_seed(0)
    settings = AcousticSettings(time_reduction, 2, hidden_size=4, n_layers=1)
    network = AcousticModel(8, 3, settings).eval()
    for convolution in (network.convolutions.first, network.convolutions.second):
        torch.nn.init.constant_(convolution.bias, 5.0)  # so that no rectified unit is at 0
    features = torch.randn(48, 1, 8)
    first = 12 // time_reduction * time_reduction
    with torch.no_grad():
        whole, _ = network.reduced(features, torch.tensor([48]))
        part, _ = network.reduced(features[first:36], torch.tensor([36 - first]))
    same = torch.isclose(part, whole[first // time_reduction :][: len(part)], atol=1e-6)
    inside = same.flatten(1).all(1)[network.margin : len(part) - network.margin]
    assert inside.all()
    assert not same[0].all()


def test_mixtures_are_refused_in_one_line():
    gmm = Gmm(torch.zeros(2, 1), torch.zeros(2, 1, 3), torch.ones(2, 1, 3))
    line = "^the model is an HMM with Gaussian mixtures; expected a CTC model or a hybrid"
    with pytest.raises(InputError, match=line):
        ChunkedNetwork(GmmEmissions(gmm))
