import pytest
import torch
from stream_models import FEATURES, RATE, changing_noise, random_pieces

from asr.audio.features import Features, FeatureSettings, moments
from asr.streaming.features import FeatureStream, Normaliser

SETTINGS = [
    {},
    {"kind": "mfcc", "n_deltas": 1},
    {"kind": "mfcc", "n_deltas": 3, "n_spliced": 2},
    {"n_spliced": 4, "window_ms": 10.0, "hop_ms": 16.0},
]


def features_of(**settings):
    return Features(FeatureSettings(**FEATURES | settings)).eval()


@pytest.mark.parametrize("settings", SETTINGS)
def test_frames_are_those_of_the_whole(settings):
    features, waveform = features_of(**settings), changing_noise(3)[:-13]
    expected, _ = features.unnormalised(waveform[None], torch.tensor([len(waveform)]))
    for seed in range(3):
        stream = FeatureStream(features)
        found = [stream.add(piece) for piece in random_pieces(waveform, seed)]
        found = torch.cat([*found, stream.add(torch.zeros(0), is_last=True)])
        torch.testing.assert_close(found, expected[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_as_many_frames_are_ready_as_no_later_sample_can_change(settings):
    features, waveform = features_of(**settings), changing_noise(1)
    n_samples = RATE // 2
    stream = FeatureStream(features)
    stream.add(waveform[:n_samples])
    other = waveform.clone()
    other[n_samples:] = changing_noise(1, seed=1)[n_samples:]
    both = torch.stack([waveform, other])
    found, _ = features.unnormalised(both, torch.tensor([RATE, RATE]))
    same = (found[:, 0] - found[:, 1]).abs().amax(1) < 1e-6
    assert stream.n_ready(n_samples) == int(same.long().cumprod(0).sum())


def test_moments_are_those_of_the_frames_so_far():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 50, 6, generator=generator) * 3 + 7
    normaliser = Normaliser(features_of(), memory=1000)
    expected = (first - first.mean(0)) / first.std(0, correction=0)
    torch.testing.assert_close(normaliser.normalised(first), expected)
    normaliser.keep(first)
    both = torch.cat([first, second])
    expected = (second - both.mean(0)) / both.std(0, correction=0)
    torch.testing.assert_close(normaliser.normalised(second), expected)


def test_earlier_segments_count_as_the_memory_at_most():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(40, 6, generator=generator), torch.randn(60, 6, generator=generator)
    normaliser = Normaliser(features_of(), memory=10)
    normaliser.keep(first)
    weights = torch.tensor([10 / 40] * 40 + [1.0] * 60)[:, None] / 70
    both = torch.cat([first, second])
    mean = (weights * both).sum(0)
    std = (weights * (both - mean).square()).sum(0).sqrt()
    torch.testing.assert_close(normaliser.normalised(second), (second - mean) / std)


def test_given_moments_and_those_of_a_model_do_not_change():
    frames = torch.randn(5, 6)
    given = torch.arange(6.0), torch.arange(1.0, 7.0)
    of_model = features_of(normalisation="global")
    of_model.mean, of_model.std = given
    for normaliser in (Normaliser(features_of(), 10, given), Normaliser(of_model, 10)):
        normaliser.keep(torch.randn(50, 6))
        torch.testing.assert_close(normaliser.normalised(frames), (frames - given[0]) / given[1])
    plain = Normaliser(features_of(normalisation="none"), 10)
    assert torch.equal(plain.normalised(frames), frames)


def test_the_moments_of_one_utterance_are_those_of_files():
    frames = torch.randn(30, 6)
    mean, std = moments(frames[:, None], torch.tensor([30]))
    found = Normaliser(features_of(), 0).normalised(frames)
    torch.testing.assert_close(found, (frames - mean) / std)


def test_moments_that_do_not_fit_are_refused():
    own = torch.zeros(6), torch.ones(6)
    with pytest.raises(ValueError, match="expected None, as the model's normalisation is global"):
        Normaliser(features_of(normalisation="global"), 10, own)
    with pytest.raises(ValueError, match=r"have a standard deviation of \(5,\); expected \(6,\)"):
        Normaliser(features_of(), 10, (own[0], own[1][:5]))
