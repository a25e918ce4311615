import itertools
import math

import numpy as np
import pytest
import torch
import torchaudio

from asr.audio.augment import (
    SPEED_OF_SOUND,
    AugmentSettings,
    WaveformAugmenter,
    add_noise,
    babble,
    change_speed,
    coloured_noise,
    reverberate,
    room_impulse_response,
    simulate_room,
    spec_augment,
    through_telephone,
)
from asr.errors import InputError

SAMPLE_RATE = 16000


def white(samples, seed):
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def sine(hz, samples):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def power(waveform):
    return np.mean(waveform.astype(float) ** 2)


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speeds": (1.0, 0.0)}, r"speeds is \(1.0, 0.0\); expected factors from 0.1 to 10"),
        ({"speeds": ()}, r"speeds is \(\); expected factors from 0.1 to 10"),
        ({"noise_probability": 1.5}, "noise_probability is 1.5; expected 0 to 1"),
        ({"telephone_probability": -1}, "telephone_probability is -1; expected 0 to 1"),
        ({"reverb_probability": math.nan}, "reverb_probability is nan; expected 0 to 1"),
        ({"snr_db": (25.0, 5.0)}, r"snr_db is \(25.0, 5.0\); expected the lowest and the highest"),
        ({"time_mask_share": -0.1}, "time_mask_share is -0.1; expected 0 to 1"),
        ({"n_freq_masks": -1}, "n_freq_masks is -1; expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(values, message):
    with pytest.raises(InputError, match=message):
        AugmentSettings(**values)


# --- features ---------------------------------------------------------------------------------


def masked(settings, lengths, T, F, seed=0):
    """(T, N, F), bool: where ones became zeros."""
    features = torch.ones(T, len(lengths), F)
    generator = torch.Generator().manual_seed(seed)
    return spec_augment(features, torch.tensor(lengths), settings, generator) == 0


def test_no_masks_change_nothing():
    features = torch.randn(30, 4, 8, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([30, 20, 10, 1])
    augmented = spec_augment(features, lengths, AugmentSettings(), torch.Generator())
    torch.testing.assert_close(augmented, features, rtol=0, atol=0)


def test_unmasked_values_and_padding_stay_exactly():
    features = torch.randn(50, 64, 20, generator=torch.Generator().manual_seed(0))
    lengths = torch.randint(1, 51, (64,), generator=torch.Generator().manual_seed(1))
    settings = AugmentSettings(n_time_masks=2, n_freq_masks=2, freq_mask_bins=9)
    before = features.clone()
    augmented = spec_augment(features, lengths, settings, torch.Generator().manual_seed(2))
    assert torch.equal(features, before)
    padding = torch.arange(50)[:, None] >= lengths
    assert torch.equal(augmented[padding], features[padding])
    assert torch.all((augmented == features) | (augmented == 0))


def test_a_mask_is_one_span_no_wider_than_allowed():
    lengths = list(range(1, 101))
    settings = AugmentSettings(n_time_masks=1, time_mask_frames=15, time_mask_share=0.25)
    widths = masked(settings, lengths, T=100, F=4).all(dim=2).sum(dim=0)
    edges = masked(settings, lengths, T=100, F=4).all(dim=2).int().diff(dim=0).abs().sum(dim=0)
    assert torch.all(widths <= torch.tensor(lengths).div(4, rounding_mode="floor").clamp(max=15))
    assert torch.all(edges <= 2)

    settings = AugmentSettings(n_freq_masks=1, freq_mask_bins=5)
    columns = masked(settings, [10] * 500, T=10, F=8).all(dim=0)
    assert torch.all(columns.int().diff(dim=1).abs().sum(dim=1) <= 2)
    assert sorted(set(columns.sum(dim=1).tolist())) == [0, 1, 2, 3, 4, 5]
    assert torch.all(columns.any(dim=0))


def expected_share(length, widest, n_masks):
    """Expected share of masked places: width uniform in 0..widest, start in 0..length - width."""
    hit = np.zeros(length)
    for width in range(widest + 1):
        for start in range(length - width + 1):
            hit[start : start + width] += 1 / (widest + 1) / (length - width + 1)
    return np.mean(1 - (1 - hit) ** n_masks)


@pytest.mark.parametrize(("length", "widest"), [(40, 8), (12, 3), (60, 8)])
def test_masks_cover_the_share_found_by_enumeration(length, widest):
    settings = AugmentSettings(
        n_time_masks=2, time_mask_frames=8, time_mask_share=0.25, n_freq_masks=3, freq_mask_bins=4
    )
    F = 13  # more than three masks of 4 can cover, so that a whole row is a time mask
    hidden = masked(settings, [length] * 4000, T=60, F=F)[:length]
    time = hidden.all(dim=2).double().mean(dim=0)
    freq = hidden.all(dim=0).double().mean(dim=1)
    for shares, expected in (
        (time, expected_share(length, widest, n_masks=2)),
        (freq, expected_share(F, 4, n_masks=3)),
    ):
        error = shares.std().item() / math.sqrt(len(shares))
        assert shares.mean().item() == pytest.approx(expected, abs=4 * error)


def test_masks_depend_on_the_generator_alone():
    settings = AugmentSettings(n_time_masks=2, n_freq_masks=2, freq_mask_bins=5)
    first = masked(settings, [80, 50], T=80, F=20, seed=3)
    torch.manual_seed(123)
    assert torch.equal(first, masked(settings, [80, 50], T=80, F=20, seed=3))
    assert not torch.equal(first, masked(settings, [80, 50], T=80, F=20, seed=4))


@pytest.mark.gpu
def test_a_generator_on_the_cpu_draws_the_same_masks_on_the_gpu():
    features = torch.randn(50, 6, 20, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([50, 40, 30, 20, 10, 1])
    settings = AugmentSettings(n_time_masks=2, n_freq_masks=2, freq_mask_bins=5)
    on_cpu = spec_augment(features, lengths, settings, torch.Generator().manual_seed(2))
    on_gpu = spec_augment(features.cuda(), lengths, settings, torch.Generator().manual_seed(2))
    assert torch.equal(on_cpu, on_gpu.cpu())


def test_features_of_wrong_shapes_are_refused():
    settings = AugmentSettings(n_freq_masks=1)
    generator = torch.Generator()
    with pytest.raises(ValueError, match=r"features have shape \(5, 8\); expected \(T, N, F\)"):
        spec_augment(torch.ones(5, 8), torch.tensor([5]), settings, generator)
    with pytest.raises(ValueError, match=r"input_lengths have shape \(1,\); expected \(2,\)"):
        spec_augment(torch.ones(5, 2, 80), torch.tensor([5]), settings, generator)
    with pytest.raises(InputError, match="freq_mask_bins is 27; the features have 13"):
        spec_augment(torch.ones(5, 1, 13), torch.tensor([5]), settings, generator)


# --- speed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_speed_divides_the_length_and_multiplies_frequencies(factor):
    fast = change_speed(sine(1000, 32000), factor)
    assert fast.dtype == np.float32
    assert len(fast) == round(32000 / factor)
    middle = slice(1000, len(fast) - 1000)  # away from the filter's edges
    np.testing.assert_allclose(fast[middle], sine(1000 * factor, len(fast))[middle], atol=1e-3)


def test_speed_lets_no_alias_through():
    assert power(change_speed(sine(7800, 32000), 1.1)[1000:-1000]) < 1e-6


def test_speed_1_changes_nothing():
    waveform = white(1000, seed=0)
    assert np.array_equal(change_speed(waveform, 1.0), waveform)


# --- noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_is_added_at_the_given_snr(snr_db):
    waveform, noise = sine(440, 8000), 7 * white(8000, seed=0)
    noisy = add_noise(waveform, noise, snr_db)
    assert noisy.dtype == np.float32
    achieved = 10 * np.log10(power(waveform) / power(noisy - waveform))
    assert achieved == pytest.approx(snr_db, abs=1e-3)
    expected = torchaudio.functional.add_noise(
        torch.from_numpy(waveform), torch.from_numpy(noise), torch.tensor(snr_db)
    )
    np.testing.assert_allclose(noisy, expected.numpy(), atol=1e-5)


def test_silence_stays_silent_and_silent_noise_adds_nothing():
    silence, noise = np.zeros(100, np.float32), white(100, seed=0)
    assert np.array_equal(add_noise(silence, noise, 10.0), silence)
    assert np.array_equal(add_noise(noise, silence, 10.0), noise)
    assert np.array_equal(reverberate(silence, noise), silence)


def test_a_telephone_keeps_the_band_below_4_khz_and_nothing_above():
    generator = np.random.default_rng(0)
    waveform = generator.standard_normal(16001).astype(np.float32)
    found = through_telephone(waveform, 16000)
    assert (found.shape, found.dtype) == (waveform.shape, np.float32)
    power = np.abs(np.fft.rfft([waveform, found])) ** 2
    hz = np.fft.rfftfreq(len(waveform), 1 / 16000)
    before, after = (power[:, (hz > 300) & (hz < 3400)].sum(1), power[:, hz > 4200].sum(1))
    np.testing.assert_allclose(before[1] / before[0], 1.0, rtol=0.01)
    assert after[1] < 1e-4 * after[0]


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_a_telephones_codes_have_the_noise_of_8_bits_at_any_level(level):
    time = np.arange(80000) / 8000
    waveform = (level * np.sin(2 * np.pi * 441.7 * time)).astype(np.float32)
    noise = through_telephone(waveform, 8000) - waveform
    snr_db = 10 * np.log10(np.mean(waveform**2) / np.mean(noise**2))
    assert 36 < snr_db < 40  # 38 dB, as for mu-law with a full sine (G.711)


def test_a_silent_telephone_stays_silent():
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(through_telephone(silence, 16000), silence)


@pytest.mark.parametrize("samples", [1, 2, 3, 999])
def test_a_telephone_keeps_any_length(samples):
    waveform = np.ones(samples, np.float32)
    assert through_telephone(waveform, 44100).shape == (samples,)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise_falls_by_its_exponent(exponent):
    noise = coloured_noise(1 << 16, exponent, np.random.default_rng(0), lowest=1 / 400)
    assert noise.dtype == np.float32
    assert power(noise) == pytest.approx(1, rel=1e-6)
    frequencies = np.fft.rfftfreq(len(noise))[1:-1]
    periodogram = np.abs(np.fft.rfft(noise.astype(float)))[1:-1] ** 2
    heard = frequencies >= 1 / 400
    assert periodogram[~heard].sum() < 1e-6 * periodogram.sum()
    x, y = np.log(frequencies[heard]), np.log(periodogram[heard])
    slope = np.polyfit(x, y, 1)[0]
    # the logarithm of a periodogram has variance pi^2 / 6 around that of the density
    error = math.pi / math.sqrt(6 * np.sum((x - x.mean()) ** 2))
    assert slope == pytest.approx(-exponent, abs=4 * error)


@pytest.mark.parametrize("samples", [1, 2, 777])
def test_coloured_noise_has_any_length(samples):
    assert len(coloured_noise(samples, 1.0, np.random.default_rng(0))) == samples


def test_babble_has_every_talker_equally_loud():
    # whole periods, so that repetition is seamless: 100, 200 and 300 Hz
    talkers = [0.1 * sine(100, 800), 0.5 * sine(200, 16000), 0.9 * sine(300, 40000)]
    noise = babble(talkers, 16000, np.random.default_rng(0))
    assert noise.dtype == np.float32
    assert power(noise) == pytest.approx(1, rel=1e-5)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    np.testing.assert_allclose(spectrum[[100, 200, 300]] / spectrum.sum(), 1 / 3, rtol=1e-3)


# --- rooms ------------------------------------------------------------------------------------


def test_an_impulse_becomes_the_response_without_its_delay():
    response = np.array([0.0, 0.1, 0.0, 2.0, 0.0, -1.0, 0.5], np.float32)
    impulse = np.zeros(20, np.float32)
    impulse[8] = 0.5
    heard = reverberate(impulse, response)
    expected = np.zeros(20)
    expected[5:12] = 0.5 * response / np.linalg.norm(response)
    np.testing.assert_allclose(heard, expected, atol=1e-7)


@pytest.mark.parametrize("samples", [1, 300, 5000])
def test_reverberation_is_a_convolution_of_the_same_power(samples):
    waveform, response = white(samples, seed=0), white(700, seed=1)
    heard = reverberate(waveform, response)
    direct = np.argmax(np.abs(response))
    expected = np.convolve(waveform.astype(float), response)[direct:][:samples]
    expected = np.pad(expected, (0, samples - len(expected)))
    expected *= math.sqrt(power(waveform) / power(expected))
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, expected, atol=1e-6)


ROOM, TALKER, MICROPHONE = (3.1, 2.7, 2.5), (1.0, 0.8, 1.2), (2.2, 1.9, 1.6)


def allen_berkley(room, talker, microphone, reflection, seconds, n_rooms):
    """Equations 9 and 10 of the paper as loops; (samples,) at SAMPLE_RATE."""
    response = np.zeros(math.ceil(seconds * SAMPLE_RATE))
    rooms = range(-n_rooms, n_rooms + 1)
    for mirror in itertools.product((0, 1), repeat=3):
        for shift in itertools.product(rooms, repeat=3):
            square, reflections = 0.0, 0
            for axis in range(3):
                image = (1 - 2 * mirror[axis]) * talker[axis] + 2 * shift[axis] * room[axis]
                square += (image - microphone[axis]) ** 2
                reflections += abs(shift[axis] - mirror[axis]) + abs(shift[axis])
            distance = math.sqrt(square)
            delay = round(distance / SPEED_OF_SOUND * SAMPLE_RATE)
            if delay < len(response):
                response[delay] += reflection**reflections / (4 * math.pi * distance)
    return response


def test_echoes_equal_an_enumeration_of_the_images():
    rt60_s = 0.05  # sound travels 17 m
    volume, surface = 20.925, 2 * (3.1 * 2.7 + 2.7 * 2.5 + 2.5 * 3.1)
    # Eyring: rt60 = 24 ln 10 / c * volume / (-surface ln(1 - absorption))
    absorbed = 1 - math.exp(-24 * math.log(10) / SPEED_OF_SOUND * volume / (surface * rt60_s))
    expected = allen_berkley(ROOM, TALKER, MICROPHONE, -math.sqrt(1 - absorbed), rt60_s, n_rooms=5)
    response = room_impulse_response(ROOM, TALKER, MICROPHONE, rt60_s, SAMPLE_RATE)
    assert response.dtype == np.float32
    np.testing.assert_allclose(response, expected, rtol=1e-5, atol=1e-9)


def test_the_direct_sound_has_the_right_delay_and_amplitude():
    distance = math.dist(TALKER, MICROPHONE)
    response = room_impulse_response(ROOM, TALKER, MICROPHONE, 0.2, SAMPLE_RATE)
    first = np.flatnonzero(response)[0]
    assert first == round(distance / SPEED_OF_SOUND * SAMPLE_RATE)
    assert response[first] == pytest.approx(1 / (4 * math.pi * distance), rel=1e-6)
    assert first == np.argmax(np.abs(response))


@pytest.mark.parametrize("rt60_s", [0.2, 0.4])
def test_sound_decays_about_as_fast_as_eyring_says(rt60_s):
    response = room_impulse_response((5, 4, 3), (1.1, 1.3, 1.2), (3.7, 2.9, 1.7), rt60_s, 16000)
    left = np.cumsum(response[::-1].astype(float) ** 2)[::-1]  # Schroeder's integral
    decibels = 10 * np.log10(left / left[0])
    times = np.arange(len(response)) / SAMPLE_RATE
    straight = (decibels < -5) & (decibels > -25)
    slope = np.polyfit(times[straight], decibels[straight], 1)[0]
    # Eyring assumes diffuse sound; in an empty room it decays somewhat more slowly
    assert -60 / slope == pytest.approx(rt60_s, rel=0.25)


def test_simulated_rooms_depend_on_the_generator_and_differ():
    first, again, other = (simulate_room(8000, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:400], other[:400])
    for seed in range(30):
        response = simulate_room(8000, np.random.default_rng(seed))
        assert np.all(np.isfinite(response))
        assert 800 <= len(response) <= 4000


# --- all of it --------------------------------------------------------------------------------


def test_settings_that_are_off_change_nothing():
    assert not AugmentSettings(n_time_masks=2, speeds=(0.9, 1.1)).changes_waveforms
    waveform = white(1000, seed=0)
    augment = WaveformAugmenter(AugmentSettings(), SAMPLE_RATE)
    assert np.array_equal(augment(waveform, np.random.default_rng(0)), waveform)


def test_the_same_generator_gives_the_same_waveforms():
    settings = AugmentSettings(reverb_probability=0.5, noise_probability=0.5)
    speech = [white(n, seed=n) for n in (3000, 9000, 20000)]
    augment = WaveformAugmenter(settings, SAMPLE_RATE, speech=speech)

    def five(seed):
        generator = np.random.default_rng(seed)
        return [augment(speech[1], generator) for _ in range(5)]

    first, again, other = five(0), five(0), five(1)
    assert all(one.dtype == np.float32 for one in first)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


@pytest.mark.parametrize(
    "name", ["reverb_probability", "noise_probability", "telephone_probability"]
)
def test_the_probability_is_the_share_of_changed_waveforms(name):
    waveform = white(500, seed=0)
    augment = WaveformAugmenter(AugmentSettings(**{name: 0.3}), SAMPLE_RATE)
    generator = np.random.default_rng(0)
    assert augment.settings.changes_waveforms
    changed = sum(not np.array_equal(augment(waveform, generator), waveform) for _ in range(1000))
    assert changed == pytest.approx(300, abs=4 * math.sqrt(1000 * 0.3 * 0.7))


def test_given_noises_are_added_within_the_snr_range():
    waveform = white(4000, seed=0)
    settings = AugmentSettings(noise_probability=1.0, noise_dir="street", snr_db=(3.0, 9.0))
    augment = WaveformAugmenter(settings, SAMPLE_RATE, noises=[sine(1000, 16000)])
    generator = np.random.default_rng(0)
    added = [augment(waveform, generator) - waveform for _ in range(50)]
    snr_db = [10 * np.log10(power(waveform) / power(noise)) for noise in added]
    assert 2.99 < min(snr_db) < 4 < 8 < max(snr_db) < 9.01
    for noise in added:
        assert np.argmax(np.abs(np.fft.rfft(noise))) == 1000 * 4000 / SAMPLE_RATE


def test_given_impulse_responses_are_used():
    waveform, echo = white(4000, seed=0), np.array([1.0, 0.0, 0.5], np.float32)
    settings = AugmentSettings(reverb_probability=1.0, reverb_dir="rooms")
    augment = WaveformAugmenter(settings, SAMPLE_RATE, impulse_responses=[echo])
    heard = augment(waveform, np.random.default_rng(0))
    assert np.array_equal(heard, reverberate(waveform, echo))


def test_a_folder_without_given_recordings_is_refused():
    with pytest.raises(ValueError, match="noises is empty; expected those in noise_dir 'street'"):
        WaveformAugmenter(AugmentSettings(noise_dir="street"), SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"impulse_responses is empty; .* reverb_dir 'rooms'"):
        WaveformAugmenter(AugmentSettings(reverb_dir="rooms"), SAMPLE_RATE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda w: change_speed(w[None], 1.1),
            r"waveform has shape \(1, 9\); expected \(samples,\)",
        ),
        (lambda w: change_speed(w, -1.0), r"factor is -1.0; expected above 0"),
        (lambda w: add_noise(w, w[:5], 3.0), r"noise has shape \(5,\); expected \(9,\)"),
        (lambda w: add_noise(w[:0], w[:0], 3.0), r"waveform has shape \(0,\); .* not empty"),
        (lambda w: reverberate(w, w[None]), r"impulse_response has shape \(1, 9\)"),
        (lambda w: coloured_noise(0, 1.0, np.random.default_rng(0)), "samples is 0; expected 1"),
        (lambda w: babble([], 9, np.random.default_rng(0)), "waveforms is empty"),
        (
            lambda w: room_impulse_response(ROOM, (4, 1, 1), MICROPHONE, 0.2, 8000),
            r"talker is at \[4. 1. 1.\]; expected inside the room",
        ),
        (
            lambda w: room_impulse_response(ROOM, TALKER, TALKER, 0.2, 8000),
            r"talker and microphone are 0.0 m apart; expected 0 to 68.6",
        ),
        (
            lambda w: room_impulse_response(ROOM, TALKER, MICROPHONE, 0.0, 8000),
            "rt60_s is 0.0, sample_rate 8000; expected above 0",
        ),
    ],
)
def test_invalid_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones(9, np.float32))
