from dataclasses import replace

import kaldi_native_fbank
import numpy as np
import pytest
import torch

from asr.audio.features import FLOOR, Features, FeatureSettings, mask, moments, stack_frames
from asr.errors import InputError

LOG_MEL = FeatureSettings(normalisation="none")
MFCC = FeatureSettings(kind="mfcc", n_mels=40, n_deltas=2, normalisation="none")
STATIC_MFCC = FeatureSettings(kind="mfcc", n_mels=23, normalisation="none")
NARROW = FeatureSettings(8000, n_mels=24, window_ms=32, hop_ms=16, low_hz=0, normalisation="none")
SPLICED = replace(NARROW, n_deltas=1, n_spliced=3)
EACH_KIND = pytest.mark.parametrize(
    "settings", [LOG_MEL, MFCC, NARROW, SPLICED], ids=["log_mel", "mfcc", "narrow", "spliced"]
)


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def one(settings, waveform):
    """Features of one waveform: (T, F)."""
    features, input_lengths = Features(settings)(
        torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
    )
    assert input_lengths.tolist() == [len(features)]
    return features[:, 0].numpy()


def padded(waveforms, value=0.0):
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    tensors = [torch.from_numpy(waveform) for waveform in waveforms]
    batch = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
    return batch, lengths


# --- the references ---------------------------------------------------------------------------


def log_mel_in_numpy(waveform, settings):
    """Windows, power spectra, triangles over Hz, logarithms: one loop per step, in float64."""
    win_length, hop_length = settings.win_length, settings.hop_length
    n_fft = 1
    while n_fft < win_length:
        n_fft *= 2
    bin_hz = np.arange(n_fft // 2 + 1) * settings.sample_rate / n_fft
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (settings.low_hz, bin_hz[-1]))
    mel = low + (high - low) * np.arange(settings.n_mels + 2) / (settings.n_mels + 1)
    edges = 700 * (10 ** (mel / 2595) - 1)
    rows = []
    for start in range(0, len(waveform) - win_length + 1, hop_length):
        window = waveform[start : start + win_length].astype(float) * np.hanning(win_length)
        power = np.abs(np.fft.rfft(window, n_fft)) ** 2
        row = []
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            triangle = np.minimum(
                (bin_hz - left) / (centre - left), (right - bin_hz) / (right - centre)
            )
            row.append(np.log(max(FLOOR, np.sum(power * np.maximum(0, triangle)))))
        rows.append(row)
    return np.array(rows)


def cosine_transform_in_numpy(log_mel, n_mfcc):
    n_mels = log_mel.shape[1]
    angles = np.pi / n_mels * (np.arange(n_mels) + 0.5) * np.arange(n_mfcc)[:, None]
    basis = np.sqrt(2 / n_mels) * np.cos(angles)
    basis[0] /= np.sqrt(2)
    return log_mel @ basis.T


def deltas_in_numpy(features):
    """The slope of a line through two frames on either side; edge frames are repeated."""
    last = len(features) - 1
    rows = []
    for t in range(len(features)):
        row = np.zeros(features.shape[1])
        for k in (1, 2):
            row += k * (features[min(t + k, last)] - features[max(t - k, 0)]) / 10
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("settings", [LOG_MEL, NARROW])
def test_log_mel_equals_a_plain_rewrite(settings):
    waveform = noise(settings.sample_rate // 2)
    expected = log_mel_in_numpy(waveform, settings)
    np.testing.assert_allclose(one(settings, waveform), expected, rtol=1e-5, atol=1e-4)


def test_mfcc_with_two_orders_of_deltas_equals_a_plain_rewrite():
    waveform = noise(4000)
    static = cosine_transform_in_numpy(log_mel_in_numpy(waveform, MFCC), MFCC.n_mfcc)
    deltas = deltas_in_numpy(static)
    expected = np.hstack([static, deltas, deltas_in_numpy(deltas)])
    np.testing.assert_allclose(one(MFCC, waveform), expected, rtol=1e-5, atol=1e-4)


def kaldi(waveform, settings, triangles_over="Hz"):
    """Kaldi's features with the same settings as ours."""
    if settings.kind == "log_mel":
        options, online = kaldi_native_fbank.FbankOptions(), kaldi_native_fbank.OnlineFbank
    else:
        options, online = kaldi_native_fbank.MfccOptions(), kaldi_native_fbank.OnlineMfcc
        options.num_ceps, options.cepstral_lifter = settings.n_mfcc, 0
    frame = options.frame_opts
    frame.samp_freq = settings.sample_rate
    frame.frame_length_ms, frame.frame_shift_ms = settings.window_ms, settings.hop_ms
    frame.dither = frame.preemph_coeff = 0
    frame.remove_dc_offset = False
    frame.window_type = "hanning"
    mel = options.mel_opts
    mel.num_bins, mel.low_freq, mel.high_freq = settings.n_mels, settings.low_hz, 0
    mel.is_librosa = triangles_over == "Hz"
    mel.use_slaney_mel_scale, mel.norm = False, ""
    options.use_energy = False
    computer = online(options)
    computer.accept_waveform(settings.sample_rate, waveform.tolist())
    computer.input_finished()
    return np.array([computer.get_frame(t) for t in range(computer.num_frames_ready)])


@pytest.mark.parametrize("settings", [LOG_MEL, NARROW, STATIC_MFCC])
@pytest.mark.parametrize(("triangles_over", "atol"), [("Hz", 1e-4), ("mel", 0.05)])
def test_features_equal_kaldis_except_for_the_shape_of_the_filters(settings, triangles_over, atol):
    waveform = noise(settings.sample_rate // 2)
    expected = kaldi(waveform, settings, triangles_over)
    np.testing.assert_allclose(one(settings, waveform), expected, rtol=0, atol=atol)


# --- batches ----------------------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize("normalisation", ["utterance", "global", "none"])
@pytest.mark.parametrize("garbage", [0.0, 1e3, np.nan, np.inf])
def test_batch_and_padding_change_nothing(settings, normalisation, garbage):
    settings = FeatureSettings(**{**vars(settings), "normalisation": normalisation})
    waveforms = [noise(samples, seed=samples) for samples in (settings.win_length, 3001, 4000)]
    together, input_lengths = Features(settings)(*padded(waveforms, garbage))
    for n, (waveform, length) in enumerate(zip(waveforms, input_lengths.tolist(), strict=True)):
        expected = one(settings, waveform)
        np.testing.assert_allclose(together[:length, n], expected, rtol=1e-4, atol=1e-4)
        assert (together[length:, n] == 0).all()


@EACH_KIND
def test_n_frames_is_the_number_of_frames(settings):
    first, hop = settings.win_length, settings.hop_length
    edges = [first, first + 1, first + hop - 1, first + hop, first + hop + 1, first + 7 * hop]
    for samples in [*edges, *np.random.default_rng(0).integers(first, 5000, 5).tolist()]:
        assert len(one(settings, noise(samples))) == settings.n_frames(samples)
    assert settings.n_frames(first - 1) == settings.n_frames(0) == 0
    assert one(settings, noise(first)).shape == (1, settings.n_features)


# --- normalisation ----------------------------------------------------------------------------


@EACH_KIND
def test_each_utterance_has_mean_0_and_variance_1(settings):
    features = Features(FeatureSettings(**{**vars(settings), "normalisation": "utterance"}))
    together, input_lengths = features(*padded([noise(3000), noise(8000, 1)], value=1e3))
    for n, length in enumerate(input_lengths.tolist()):
        own = together[:length, n].double()
        torch.testing.assert_close(own.mean(0), torch.zeros_like(own[0]), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            own.var(0, correction=0), torch.ones_like(own[0]), atol=1e-3, rtol=0
        )


def test_global_normalisation_uses_the_moments_of_the_module():
    plain = one(LOG_MEL, noise(3000))
    features = Features(FeatureSettings(normalisation="global"))
    features.mean.fill_(-3.0)
    features.std.fill_(2.0)
    found, _ = features(*padded([noise(3000)]))
    np.testing.assert_allclose(found[:, 0], (plain + 3) / 2, rtol=1e-5, atol=1e-6)


def test_moments_equal_numpys():
    rows = np.random.default_rng(0).normal(5, 3, (9, 2, 4))
    rows[6:, 1] = np.nan  # after the end of the second one
    mean, std = moments(torch.from_numpy(rows), torch.tensor([9, 6]))
    for n, length in enumerate([9, 6]):
        np.testing.assert_allclose(mean[n], rows[:length, n].mean(0), rtol=1e-12)
        np.testing.assert_allclose(std[n], rows[:length, n].std(0), rtol=1e-12)


@EACH_KIND
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_silence_and_a_constant_stay_finite_and_small(settings, level):
    settings = FeatureSettings(**{**vars(settings), "normalisation": "utterance"})
    features = one(settings, np.full(16000, level, np.float32))
    np.testing.assert_allclose(features, 0, atol=0.05)  # all frames are equal up to rounding


# --- precision and device ---------------------------------------------------------------------


@EACH_KIND
def test_autocast_does_not_reduce_precision(settings):
    batch = padded([noise(3000), noise(4000, 1)])
    features = Features(settings)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = features(*batch)
    torch.testing.assert_close(found, features(*batch)[0], rtol=0, atol=0)


@EACH_KIND
@pytest.mark.gpu
def test_the_gpu_gives_the_numbers_of_the_cpu(settings):
    batch, lengths = padded([noise(3000), noise(8000, 1)], value=np.nan)
    expected, _ = Features(settings)(batch, lengths)
    with torch.autocast("cuda", torch.bfloat16):
        found, input_lengths = Features(settings).cuda()(batch.cuda(), lengths.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)
    assert input_lengths.tolist() == [settings.n_frames(3000), settings.n_frames(8000)]


# --- stacking and splicing --------------------------------------------------------------------


@pytest.mark.parametrize("n_stacked", [1, 2, 3, 20])
def test_stacking_equals_a_plain_loop(n_stacked):
    lengths = [7, 4, 1]
    alone = [np.random.default_rng(length).normal(size=(length, 2)) for length in lengths]
    batch = torch.nn.utils.rnn.pad_sequence(map(torch.from_numpy, alone), padding_value=np.nan)
    stacked, stacked_lengths = stack_frames(batch, torch.tensor(lengths), n_stacked)
    for n, rows in enumerate(alone):
        expected = []
        for start in range(0, len(rows), n_stacked):
            group = list(rows[start : start + n_stacked].ravel())
            expected.append(group + [0.0] * (2 * n_stacked - len(group)))
        assert stacked[: stacked_lengths[n], n].tolist() == expected
        assert (stacked[stacked_lengths[n] :, n] == 0).all()


@pytest.mark.parametrize("n_frames", [1, 2, 9])
def test_splicing_concatenates_a_frame_with_its_neighbours(n_frames):
    waveform = noise(NARROW.win_length + (n_frames - 1) * NARROW.hop_length)
    alone, found = one(replace(NARROW, n_deltas=1), waveform), one(SPLICED, waveform)
    assert found.shape == (n_frames, SPLICED.n_features) == (n_frames, 24 * 2 * 7)
    ends = [alone[:1]] * 3, [alone[-1:]] * 3
    longer = np.concatenate([*ends[0], alone, *ends[1]])
    for t in range(n_frames):
        np.testing.assert_array_equal(found[t], longer[t : t + 7].ravel())


def test_mask_is_true_inside():
    assert mask(torch.tensor([2, 0, 3]), 3).T.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample_rate": 0}, "features.sample_rate is 0; expected 1000 or more"),
        ({"hop_ms": -1.0}, "features.hop_ms is -1.0; expected more than 0"),
        ({"hop_ms": 0.01}, "features.hop_ms is 0.01; expected at least one sample, 0.0625"),
        ({"kind": "mfcc", "n_mels": 10}, "features.n_mfcc is 13; expected at most n_mels, 10"),
        ({"n_spliced": -1}, "features.n_spliced is -1; expected 0 or more"),
        ({"n_deltas": -1}, "features.n_deltas is -1; expected 0 or more"),
        ({"low_hz": 8000.0}, "features.low_hz is 8000.0; expected from 0 to half the sample rate"),
    ],
)
def test_invalid_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        FeatureSettings(**values)


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((800,), [800], r"waveforms has shape \(800,\); expected \(N, samples\)"),
        ((2, 800), [800], r"sample_lengths has shape \(1,\); expected \(2,\)"),
        ((2, 800), [800, 399], "a waveform has 399 samples; one window needs 400"),
        ((2, 800), [801, 800], "a sample length is 801; waveforms has 800 samples"),
    ],
)
def test_invalid_batches_are_refused(shape, lengths, message):
    with pytest.raises(ValueError, match=message):
        Features(LOG_MEL)(torch.zeros(shape), torch.tensor(lengths))


def test_stacking_no_frames_is_refused():
    with pytest.raises(ValueError, match="n_stacked is 0; expected 1 or more"):
        stack_frames(torch.zeros(3, 1, 2), torch.tensor([3]), 0)
