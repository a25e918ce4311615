import librosa
import numpy as np
import pytest
import scipy
import soundfile
import torch

import asr
from asr.audio import load
from asr.audio.features import FeatureSettings
from asr.audio.waveform import as_waveform, load_audio, resample


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_load_audio_equals_read_audio(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([noise(9000), noise(9000, 1)], 1), 8000)
    options = {"sample_rate": 16000, "channel": 1, "offset_s": 0.25, "duration_s": 0.5}
    waveform = load_audio(path, **options)
    assert waveform.dtype == torch.float32
    assert waveform.shape == (8000,)
    np.testing.assert_array_equal(waveform, load.read_audio(path, **options))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_and_tensors_give_the_same_waveform(dtype):
    samples = noise(50).astype(dtype)
    for given in (samples, torch.from_numpy(samples), torch.from_numpy(samples).requires_grad_()):
        waveform = as_waveform(given)
        assert waveform.dtype == torch.float32
        assert not waveform.requires_grad
        np.testing.assert_array_equal(waveform, samples.astype(np.float32))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((5, 2)), r"waveform has shape \(5, 2\); expected \(samples,\) of one channel"),
        (np.zeros((1, 5, 2)), r"waveform has shape \(1, 5, 2\); expected \(samples,\)$"),
        (np.zeros(0), r"waveform has shape \(0,\); expected at least one sample"),
        (np.zeros(5, np.int16), r"waveform is of torch.int16; expected floats in \[-1, 1\)"),
        (np.array([0, 0.5, 300.0]), "waveform has 300 as sample 2"),
        (np.array([0, np.nan]), "waveform has nan as sample 1"),
        (np.array([-np.inf, 0]), "waveform has -inf as sample 0"),
        ("a.wav", "waveform is of type str; expected samples in a tensor or an array"),
        (None, "waveform is None; expected samples"),
    ],
)
def test_invalid_samples_are_refused(samples, message):
    for function in (as_waveform, lambda given: asr.log_mel(given, 16000)):
        with pytest.raises(ValueError, match=message):
            function(samples)


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 16000), (8000, 16000), (16000, 16000)])
def test_resample_equals_resampling_while_reading(rate, new_rate, tmp_path):
    samples = noise(rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    found = resample(torch.from_numpy(samples), rate, new_rate)
    expected = load.read_audio(tmp_path / "a.wav", new_rate)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_an_implausible_rate_and_channels_are_refused_by_resample():
    with pytest.raises(ValueError, match=r"waveform has shape \(2, 9\); expected \(samples,\)"):
        resample(torch.zeros(2, 9), 8000, 16000)
    for rate in (0, 999, 1_000_001):
        message = f"_rate is {rate}; expected 1000 to 1000000 Hz"
        with pytest.raises(ValueError, match=f"sample{message}"):
            resample(torch.zeros(5), rate, 16000)
        with pytest.raises(ValueError, match=f"new{message}"):
            resample(torch.zeros(5), 16000, rate)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_log_mel_equals_numpys_spectrum_through_librosas_filters(sample_rate):
    waveform = noise(sample_rate)
    features = asr.log_mel(waveform, sample_rate, n_mels=30, window_ms=32, hop_ms=8, low_hz=40)
    window, hop = round(0.032 * sample_rate), round(0.008 * sample_rate)  # a power of 2
    filters = librosa.filters.mel(
        sr=sample_rate, n_fft=window, n_mels=30, fmin=40, htk=True, norm=None
    )
    # not by librosa.feature, which first compiles all of librosa's pitch tracking, for a minute
    frames = np.lib.stride_tricks.sliding_window_view(waveform, window)[::hop]
    energies = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2 @ filters.T
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features, np.log(np.maximum(energies, 1e-10)), atol=2e-4)
    torch.testing.assert_close(
        features,
        asr.log_mel(torch.from_numpy(waveform), sample_rate, 30, 32, 8, 40),
        rtol=0,
        atol=0,
    )


def test_mfcc_equals_scipys_transform_and_its_slopes():
    waveform = noise(16000)
    energies = asr.log_mel(waveform, 16000, n_mels=26)
    expected = scipy.fft.dct(energies.numpy(), type=2, norm="ortho")[:, :13]
    np.testing.assert_allclose(asr.mfcc(waveform, 16000), expected, atol=1e-4)
    with_deltas = asr.mfcc(waveform, 16000, n_deltas=2)
    assert with_deltas.shape == (98, 39)
    deltas = scipy.signal.savgol_filter(expected, 5, 1, deriv=1, axis=0, mode="nearest")
    np.testing.assert_allclose(with_deltas[:, 13:26], deltas, atol=1e-4)
    assert asr.mfcc(waveform, 16000, n_mfcc=40).shape == (98, 40)


def test_invalid_features_are_refused_by_name():
    with pytest.raises(ValueError, match="waveform has 399 samples; one window takes 400"):
        asr.log_mel(np.zeros(399), 16000)
    with pytest.raises(ValueError, match="n_mels is 0; expected 1 or more"):
        asr.log_mel(np.zeros(400), 16000, n_mels=0)
    assert asr.log_mel(np.zeros(400), 16000).shape == (1, FeatureSettings().n_mels)
