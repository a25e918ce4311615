"""waveform -> waveform of another speed, room, noise or line; features -> masked features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch

from asr.errors import InputError, check_size

SPEED_OF_SOUND = 343.0  # m/s, in air at 20 °C
TELEPHONE_RATE = 8000  # Hz


@dataclass(frozen=True)
class AugmentSettings:
    """Settings of data augmentation; the defaults change nothing.

    Raises:
        InputError: a value is outside its range.
    """

    speeds: tuple[float, ...] = (1.0,)  # one is drawn per utterance; 1.1 is faster and higher
    reverb_probability: float = 0.0  # share of the utterances
    reverb_dir: str = ""  # folder of impulse responses; empty: simulated rooms
    noise_probability: float = 0.0  # share of the utterances
    noise_dir: str = ""  # folder of noise recordings; empty: coloured noise and babble
    snr_db: tuple[float, float] = (5.0, 25.0)  # lowest and highest, in dB
    telephone_probability: float = 0.0  # share of the utterances
    n_time_masks: int = 0  # per utterance
    time_mask_frames: int = 100  # largest width, in feature frames (before stacking)
    time_mask_share: float = 0.2  # largest width, as a share of the utterance's own frames
    n_freq_masks: int = 0  # per utterance
    freq_mask_bins: int = 27  # largest width, in columns of the features

    def __post_init__(self) -> None:
        if not self.speeds or not all(0.1 <= speed <= 10 for speed in self.speeds):
            raise InputError(f"augment.speeds is {self.speeds}; expected factors from 0.1 to 10")
        for name in ("reverb", "noise", "telephone"):
            check_share(f"augment.{name}_probability", getattr(self, f"{name}_probability"))
        check_share("augment.time_mask_share", self.time_mask_share)
        if len(self.snr_db) != 2 or not -math.inf < self.snr_db[0] <= self.snr_db[1] < math.inf:
            raise InputError(
                f"augment.snr_db is {self.snr_db}; expected the lowest and the highest, in dB"
            )
        for name in ("n_time_masks", "n_freq_masks"):
            check_size(f"augment.{name}", getattr(self, name), 0, 1000)
        for name in ("time_mask_frames", "freq_mask_bins"):
            check_size(f"augment.{name}", getattr(self, name), 0, 10**6)

    @property
    def changes_waveforms(self) -> bool:
        """Whether `WaveformAugmenter` changes any waveform."""
        return max(self.reverb_probability, self.noise_probability, self.telephone_probability) > 0


def check_share(name: str, value: float) -> None:
    """Raise InputError if a setting is not from 0 to 1."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value}; expected 0 to 1")


def spec_augment(
    features: torch.Tensor,
    input_lengths: torch.Tensor,
    settings: AugmentSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """SpecAugment: set random spans of frames and of bins to 0, the mean of the features.

    Every utterance has its own masks. Widths are uniform from 0 to the largest width, and positions
    uniform over all where the mask fits. Padding is not changed.

    Args:
        features: (T, N, F), mean-normalised.
        input_lengths: (N,), in frames.
        settings: number and largest width of the masks.
        generator: may be on another device than the features: a CPU generator draws the same masks
            for a model on the CPU and on the GPU.

    Returns:
        features: (T, N, F), a new tensor.

    Raises:
        ValueError: the shapes do not match.
        InputError: a mask could cover all bins.

    Source: Park et al. 2019, arXiv:1904.08779, without time warping, which they found to help
    least. Their LD policy is two masks of each kind with the default widths, and a share of 1.
    """
    if features.ndim != 3:
        raise ValueError(f"features have shape {tuple(features.shape)}; expected (T, N, F)")
    T, N, F = features.shape
    if input_lengths.shape != (N,):
        raise ValueError(f"input_lengths have shape {tuple(input_lengths.shape)}; expected ({N},)")
    widest_bins = settings.freq_mask_bins
    if settings.n_freq_masks and widest_bins >= F:
        raise InputError(f"freq_mask_bins is {widest_bins}; the features have {F}; expected fewer")
    lengths = input_lengths.to(features.device)
    widest = (lengths * settings.time_mask_share).long().clamp(max=settings.time_mask_frames)
    kept_frames = ~_random_spans(settings.n_time_masks, lengths, widest, T, generator)  # (N, T)
    bins, widest = torch.full_like(lengths, F), torch.full_like(lengths, widest_bins)
    kept_bins = ~_random_spans(settings.n_freq_masks, bins, widest, F, generator)  # (N, F)
    padding = torch.arange(T, device=features.device)[:, None] >= lengths  # (T, N)
    # on a CPU, in-place multiplication is several times as fast as masked_fill
    dtype = features.dtype
    augmented = torch.maximum(padding.to(dtype)[:, :, None], kept_bins.to(dtype))  # (T, N, F)
    augmented *= kept_frames.T.contiguous().to(dtype)[:, :, None]
    augmented *= features
    return augmented


def _random_spans(
    n_spans: int, lengths: torch.Tensor, widest: torch.Tensor, size: int, generator: torch.Generator
) -> torch.Tensor:
    """(N, size), true inside the spans; torchaudio's masks take neither lengths nor a generator."""
    shape = (2, len(lengths), n_spans)
    draws = torch.rand(shape, generator=generator, device=generator.device).to(lengths.device)
    widths = (draws[0] * (widest[:, None] + 1)).floor()  # (N, n_spans)
    starts = (draws[1] * (lengths[:, None] - widths + 1)).floor()
    places = torch.arange(size, device=lengths.device)
    after_start = places >= starts[:, :, None]  # (N, n_spans, size)
    return (after_start & (places < (starts + widths)[:, :, None])).any(dim=1)


@dataclass(frozen=True)
class WaveformAugmenter:
    """Adds a random room and then random noise to a waveform, which a telephone may transmit.

    It does not change the speed. The caller draws that from `settings.speeds` and uses
    `change_speed` first, since batching by length must know the speed before the audio is read.

    Args:
        settings: probabilities and ranges.
        sample_rate: sample rate of all waveforms, in Hz.
        noises: recordings of noise, each (samples,); empty: coloured noise and babble.
        impulse_responses: impulse responses of rooms, each (samples,); empty: a new simulated room
            each time.
        speech: training waveforms to mix babble from, each (samples,); may be a sequence that
            reads them on demand. Empty: no babble.

    Raises:
        ValueError: the settings name a folder, but its recordings are not given.
    """

    settings: AugmentSettings
    sample_rate: int
    noises: Sequence[np.ndarray] = ()
    impulse_responses: Sequence[np.ndarray] = ()
    speech: Sequence[np.ndarray] = ()

    def __post_init__(self) -> None:
        for folder, name in (("noise_dir", "noises"), ("reverb_dir", "impulse_responses")):
            if getattr(self.settings, folder) and not len(getattr(self, name)):
                path = getattr(self.settings, folder)
                raise ValueError(f"{name} is empty; expected those in {folder} {path!r}")

    def __call__(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A random variant of the waveform: (samples,) -> (samples,), float32.

        With noise it may exceed [-1, 1): nothing is clipped.
        """
        settings = self.settings
        if generator.random() < settings.reverb_probability:
            waveform = reverberate(waveform, self._impulse_response(generator))
        if generator.random() < settings.noise_probability:
            noise = self._noise(len(waveform), generator)
            waveform = add_noise(waveform, noise, generator.uniform(*settings.snr_db))
        # no number is drawn if it is off, so that other settings give the same as before
        if settings.telephone_probability and generator.random() < settings.telephone_probability:
            waveform = through_telephone(waveform, self.sample_rate)
        return waveform

    def _impulse_response(self, generator: np.random.Generator) -> np.ndarray:
        if len(self.impulse_responses):
            return _one_of(self.impulse_responses, generator)
        return simulate_room(self.sample_rate, generator)

    def _noise(self, samples: int, generator: np.random.Generator) -> np.ndarray:
        if len(self.noises):
            return _excerpt(_one_of(self.noises, generator), samples, generator)
        if len(self.speech) and generator.random() < 0.5:
            talkers = [_one_of(self.speech, generator) for _ in range(generator.integers(3, 8))]
            return babble(talkers, samples, generator)
        return coloured_noise(samples, generator.uniform(0, 2), generator)


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """The waveform played `factor` times as fast: shorter and higher for factors above 1.

    Args:
        waveform: (samples,), float32.
        factor: above 0.

    Returns:
        waveform: (samples / factor rounded,), float32.

    Raises:
        ValueError: the waveform is not (samples,), or the factor is not above 0.

    Source: Ko et al. 2015, Audio augmentation for speech recognition, with factors 0.9, 1, 1.1.
    """
    _check(waveform, "waveform")
    if not 0 < factor < math.inf:
        raise ValueError(f"factor is {factor}; expected above 0")
    if factor == 1:
        return waveform
    # lower qualities save no time at these lengths, and QQ has aliasing
    return soxr.resample(waveform, factor, 1.0, quality="HQ")


def add_noise(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Waveform plus noise at a signal-to-noise ratio, over their whole lengths.

    Args:
        waveform: (samples,), float32; it keeps its level.
        noise: (samples,), of any level; if it is all zeros, nothing is added.
        snr_db: 10 log10 of the ratio of the waveform's power to the noise's.

    Raises:
        ValueError: the waveform is not (samples,), or the noise has another shape.
    """
    _check(waveform, "waveform")
    if noise.shape != waveform.shape:
        raise ValueError(
            f"noise has shape {noise.shape}; expected {waveform.shape}, the waveform's"
        )
    scale = _rms(waveform) * 10 ** (-snr_db / 20)
    return (waveform + scale * _unit(noise)).astype(np.float32)


def through_telephone(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The waveform as a digital telephone line transmits it: 8,000 samples a second, 8 bits each.

    Args:
        waveform: (samples,), float32, of any level; its peak becomes the highest of the codes.
        sample_rate: sample rate of the waveform, in Hz; that of the result too.

    Returns:
        waveform: (samples,), float32.

    Raises:
        ValueError: the waveform is not (samples,).

    Source: ITU-T G.711, mu-law, here its continuous form with mu = 255.
    """
    _check(waveform, "waveform")
    rate = min(sample_rate, TELEPHONE_RATE)
    line = soxr.resample(waveform, sample_rate, rate)
    peak = np.abs(line).max(initial=0.0)
    if not peak:
        return np.zeros_like(waveform)
    codes = np.round(127 * np.log1p(255 * np.abs(line) / peak) / math.log(256))
    received = np.sign(line) * np.expm1(codes / 127 * math.log(256)) / 255 * peak
    result = soxr.resample(received.astype(np.float32), rate, sample_rate)[: len(waveform)]
    return np.pad(result, (0, len(waveform) - len(result)))


def coloured_noise(
    samples: int, exponent: float, generator: np.random.Generator, lowest: float = 1 / 400
) -> np.ndarray:
    """Gaussian noise with power density 1 / frequency ** exponent and power 1.

    Args:
        samples: length of the noise.
        exponent: 0 is white, 1 pink, 2 brown.
        generator: source of the random numbers.
        lowest: lowest frequency, as a share of the sample rate (40 Hz at 16 kHz). Without it, brown
            noise would have nearly all its power below speech, and an SNR would mean little.

    Returns:
        noise: (samples,), float32.

    Raises:
        ValueError: `samples` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected 1 or more")
    n_fft = max(1 << (samples - 1).bit_length(), math.ceil(2 / lowest))
    frequencies = np.fft.rfftfreq(n_fft)  # in shares of the sample rate
    spectrum = generator.standard_normal((len(frequencies), 2)) @ (1, 1j)
    heard = frequencies >= lowest
    spectrum[heard] *= frequencies[heard] ** (-exponent / 2)
    spectrum[~heard] = 0
    return _unit(np.fft.irfft(spectrum, n_fft)[:samples]).astype(np.float32)


def babble(
    waveforms: Sequence[np.ndarray], samples: int, generator: np.random.Generator
) -> np.ndarray:
    """Babble noise of power 1: several recordings at once, equally loud, from random positions.

    Args:
        waveforms: one per talker, each (samples,), of any length; short ones are repeated.
        samples: length of the noise.
        generator: source of the random positions.

    Returns:
        noise: (samples,), float32.

    Raises:
        ValueError: there is no waveform, or one is not (samples,).
    """
    if not len(waveforms):
        raise ValueError("waveforms is empty; expected one or more talkers")
    talkers = (_unit(_excerpt(waveform, samples, generator)) for waveform in waveforms)
    return _unit(np.sum(list(talkers), axis=0)).astype(np.float32)


def reverberate(waveform: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """The waveform with a room's reverberation, of the same length, power and timing.

    Args:
        waveform: (samples,), float32.
        impulse_response: (taps,); its largest value is taken as the direct sound.

    Returns:
        waveform: (samples,), float32, of the same power; echoes after its end are cut off.

    Raises:
        ValueError: either is not one-dimensional, or is empty.
    """
    _check(waveform, "waveform")
    _check(impulse_response, "impulse_response")
    n_fft = 1 << (len(waveform) + len(impulse_response) - 2).bit_length()
    spectrum = np.fft.rfft(waveform, n_fft) * np.fft.rfft(impulse_response, n_fft)
    direct = int(np.argmax(np.abs(impulse_response)))
    heard = np.fft.irfft(spectrum, n_fft)[direct : direct + len(waveform)]
    return (_rms(waveform) * _unit(heard)).astype(np.float32)


def simulate_room(sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """The impulse response, (taps,) float32, of a random room, talker and microphone.

    Rooms measure 3 to 10 m by 3 to 8 m by 2.4 to 4 m, with a reverberation time of 0.1 to 0.5 s.
    Talker and microphone are at random places at least 0.5 m from the walls.
    """
    room = generator.uniform((3.0, 3.0, 2.4), (10.0, 8.0, 4.0))
    talker, microphone = generator.uniform(0.5, room - 0.5, size=(2, 3))
    return room_impulse_response(room, talker, microphone, generator.uniform(0.1, 0.5), sample_rate)


def room_impulse_response(
    room: np.ndarray, talker: np.ndarray, microphone: np.ndarray, rt60_s: float, sample_rate: int
) -> np.ndarray:
    """The impulse response of an empty rectangular room, by the image method.

    Args:
        room: (3,), lengths of the sides, in m.
        talker: (3,), place in the room, in m from one corner.
        microphone: (3,), likewise.
        rt60_s: reverberation time, in which the sound decays by 60 dB, in seconds. It sets the
            absorption of the walls, by Eyring's formula. The formula assumes diffuse sound; in
            these empty rooms the early decay is slower, by a quarter in the median room of
            `simulate_room`.
        sample_rate: in Hz.

    Returns:
        impulse_response: (rt60_s * sample_rate rounded up,), float32, starting with the impulse.
            The direct sound is 1 / (4 pi distance) after `distance / SPEED_OF_SOUND` seconds.

    Raises:
        ValueError: a place is outside the room, a number is not above 0, or talker and microphone
            are in the same place or farther apart than sound travels in `rt60_s`.

    Source: Allen and Berkley 1979, Image method for efficiently simulating small-room acoustics,
    with delays rounded to samples as there. Here walls invert the sign (Lehmann and Johansson
    2008). In the original all echoes are positive and add up to a low rumble, which is filtered out
    afterwards.
    """
    room, talker, microphone = (np.asarray(place, float) for place in (room, talker, microphone))
    if not (rt60_s > 0 and sample_rate > 0):
        raise ValueError(f"rt60_s is {rt60_s}, sample_rate {sample_rate}; expected above 0")
    for name, place in (("talker", talker), ("microphone", microphone)):
        if not np.all((place > 0) & (place < room)):
            raise ValueError(f"{name} is at {place}; expected inside the room of {room} m")
    reach, distance = rt60_s * SPEED_OF_SOUND, np.linalg.norm(talker - microphone)
    if not 0 < distance < reach:
        raise ValueError(f"talker and microphone are {distance} m apart; expected 0 to {reach:.1f}")
    surface = 2 * (room[0] * room[1] + room[1] * room[2] + room[2] * room[0])
    # Eyring's formula, in nepers of pressure per reflection, which is half that of energy
    decay = 12 * math.log(10) / SPEED_OF_SOUND * room.prod() / (surface * rt60_s)
    squares, gains = [], []  # for each axis: (images,)
    for length, source, receiver in zip(room, talker, microphone, strict=True):
        order = np.arange(-math.ceil(reach / length) - 1, math.ceil(reach / length) + 2)
        # every mirrored room has one image; in rooms of odd order it is reflected
        images = order * length + np.where(order % 2, length - source, source)
        squares.append((images - receiver) ** 2)
        gains.append((-math.exp(-decay)) ** np.abs(order))
    squared = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    near = squared < reach**2
    distances = np.sqrt(squared[near])
    pressures = (gains[0][:, None, None] * gains[1][:, None] * gains[2])[near]
    pressures /= 4 * math.pi * distances
    delays = np.rint(distances * (sample_rate / SPEED_OF_SOUND)).astype(np.int64)
    taps = math.ceil(rt60_s * sample_rate)
    return np.bincount(delays, pressures, minlength=taps)[:taps].astype(np.float32)


def _one_of(recordings: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    return recordings[int(generator.integers(len(recordings)))]


def _excerpt(waveform: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """(samples,) from a random position; a shorter waveform is repeated."""
    _check(waveform, "waveform")
    spare = len(waveform) - samples
    start = generator.integers(spare + 1 if spare >= 0 else len(waveform))
    return np.take(waveform, np.arange(start, start + samples), mode="wrap")


def _rms(waveform: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(waveform, dtype=np.float64)))


def _unit(waveform: np.ndarray) -> np.ndarray:
    """The waveform scaled to power 1; silence is unchanged."""
    return waveform / (_rms(waveform) or 1.0)


def _check(waveform: np.ndarray, name: str) -> None:
    if waveform.ndim != 1 or not len(waveform):
        raise ValueError(f"{name} has shape {waveform.shape}; expected (samples,), not empty")
