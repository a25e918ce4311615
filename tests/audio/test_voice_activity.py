import os
from pathlib import Path

import numpy as np
import pytest
from corpora import needs_corpora
from planted_speech import RATE, joined_digits, joined_timit, noise

from asr.audio import voice_activity
from asr.audio.load import read_audio
from asr.audio.segments import SegmentSettings, speech_segments
from asr.audio.silero import FRAME_LENGTH, SileroDetector, has_silero
from asr.audio.voice_activity import EnergyDetector, make_detector
from asr.errors import InputError

SILERO = pytest.param(
    "silero",
    marks=pytest.mark.skipif(
        not has_silero(), reason="silero-vad, of the extra [vad], is not installed"
    ),
)


def in_segments(waveform, detector):
    """(samples,), true where a segment is."""
    found = np.zeros(len(waveform), bool)
    for segment in speech_segments([waveform], RATE, SegmentSettings(detector)):
        found[segment.start : segment.end] = True
    return found


def misses_and_false_alarms(found, speech):
    """Share of the speech that is in no segment; share of what is far from speech that is in one.

    Far is more than 0.4 s: twice the padding.
    """
    ends = np.flatnonzero(np.diff(speech.astype(int)))
    near = np.zeros(len(speech), bool)
    for end in ends:
        near[max(0, end - int(0.4 * RATE)) : end + int(0.4 * RATE)] = True
    far = ~near & ~speech
    return (speech & ~found).sum() / speech.sum(), (far & found).sum() / far.sum()


# silero-vad takes some of the synthetic voices for noise; of real ones it misses less than 1 %
@pytest.mark.parametrize(
    ("kind", "snr_db", "by_energy", "by_silero"),
    [
        ("white", 90, 0.01, 0.08),
        ("white", 10, 0.13, 0.08),
        ("hum", 20, 0.01, 0.16),
        ("hum", 0, 0.06, 0.16),
        ("chord", 10, 0.13, 0.10),
    ],
)
@pytest.mark.parametrize("detector", ["energy", SILERO])
def test_planted_speech_is_found_in_noise(kind, snr_db, by_energy, by_silero, detector):
    waveform, speech = joined_digits(n_recordings=8)
    noisy = waveform + np.float32(0.05 * 10 ** (-snr_db / 20)) * noise(kind, len(waveform))
    missed, false = misses_and_false_alarms(in_segments(noisy, detector), speech)
    assert missed <= (by_energy if detector == "energy" else by_silero)
    # digits fade for some time, which is heard where there is little noise in the band of speech
    assert false <= (0.11 if snr_db >= 20 else 0.03)


@needs_corpora
@pytest.mark.parametrize(
    ("kind", "snr_db", "by_energy", "by_silero"),
    [
        ("white", 90, 0.01, 0.01),
        ("white", 10, 0.03, 0.01),
        ("hum", 0, 0.02, 0.01),
        ("chord", 10, 0.05, 0.01),
    ],
)
@pytest.mark.parametrize("detector", ["energy", SILERO])
def test_speech_with_times_by_hand_is_found(kind, snr_db, by_energy, by_silero, detector):
    waveform, speech = joined_timit()
    noisy = waveform + np.float32(0.05 * 10 ** (-snr_db / 20)) * noise(kind, len(waveform))
    missed, false = misses_and_false_alarms(in_segments(noisy, detector), speech)
    assert missed <= (by_energy if detector == "energy" else by_silero)
    assert false <= 0.04


@pytest.mark.parametrize("level_db", [-60, -40, -20])
@pytest.mark.parametrize("kind", ["silence", "white", "hum", "chord", "notes"])
@pytest.mark.parametrize("detector", ["energy", SILERO])
def test_noise_alone_is_no_speech(kind, level_db, detector):
    waveform = np.zeros(20 * RATE, np.float32)
    if kind != "silence":
        waveform += np.float32(10 ** (level_db / 20)) * noise(kind, len(waveform))
    # some notes are like a voice
    assert in_segments(waveform, detector).mean() <= (0.1 if kind == "notes" else 0)


@pytest.mark.parametrize("detector", ["energy", SILERO])
def test_speech_over_notes_is_found(detector):
    waveform, speech = joined_digits(n_recordings=6)
    noisy = waveform + np.float32(0.016) * noise("notes", len(waveform))
    missed, false = misses_and_false_alarms(in_segments(noisy, detector), speech)
    assert missed <= (0 if detector == "energy" else 0.15)
    if detector == "silero":
        assert false < 0.1


def test_the_noise_is_the_quietest_fifth_of_a_second_within_three_seconds():
    generator = np.random.default_rng(0)
    gains = np.repeat(generator.uniform(0.01, 1, 50), 10)[:, None]
    frames = np.float32(gains * generator.normal(0, 0.1, (500, FRAME_LENGTH)))
    detector = EnergyDetector()
    found = np.concatenate([detector.add(frames[:7]), detector.add(frames[7:]), detector.finish()])
    hz = np.fft.rfftfreq(FRAME_LENGTH, 1 / RATE)
    power = [np.abs(np.fft.rfft(frame * np.hanning(FRAME_LENGTH))) ** 2 for frame in frames]
    levels = [10 * np.log10(p[(hz >= 200) & (hz <= 4000)].sum()) for p in power]
    for t, score in enumerate(found):
        near = sorted(levels[max(0, t - 94) : t + 95])
        assert score == pytest.approx(levels[t] - near[6] - 6, abs=1e-4)


def vibrato(semitones, length):
    """A tone of ten partials around 330 Hz, whose pitch rises and falls five times a second."""
    time = np.arange(length) / RATE
    hz = 330 * 2 ** (semitones * np.sin(2 * np.pi * 5 * time) / 12)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    return np.float32(sum(np.sin(n * phase) / n for n in range(1, 11)) * 0.05)


def kept_of_loud(parts):
    """Share of the loud frames that are speech, with silence around the parts."""
    silence = np.zeros(FRAME_LENGTH * 32, np.float32)
    waveform = np.concatenate([silence, *(x for part in parts for x in (part, silence))])
    frames = np.pad(waveform, (0, -len(waveform) % FRAME_LENGTH)).reshape(-1, FRAME_LENGTH)
    detector = EnergyDetector()
    found = np.concatenate([detector.add(frames), detector.finish()]) > 0
    return found.sum() / ((frames**2).mean(axis=1) > 1e-6).sum()


def test_notes_are_no_speech_up_to_a_light_vibrato():
    assert kept_of_loud([vibrato(0.2, 2 * RATE) for _ in range(4)]) == 0
    # a limit of what the spectra of neighbouring frames tell
    assert kept_of_loud([vibrato(1.0, 2 * RATE) for _ in range(4)]) == pytest.approx(1, abs=0.05)


def test_short_sounds_are_kept_as_they_may_be_words():
    assert kept_of_loud([vibrato(0, 14 * FRAME_LENGTH)] * 4) == 1
    assert kept_of_loud([vibrato(0, 20 * FRAME_LENGTH)] * 4) == 0


def scores_by_definition(frames):
    """By the words of `EnergyDetector`, one frame after the other, with all of them at hand."""
    hz = np.fft.rfftfreq(FRAME_LENGTH, 1 / RATE)
    in_band = (hz >= 200) & (hz <= 4000)
    spectra = [np.abs(np.fft.rfft(frame * np.hanning(FRAME_LENGTH)))[in_band] for frame in frames]
    window = (np.hanning(FRAME_LENGTH) ** 2).sum() * FRAME_LENGTH
    levels = [10 * np.log10(max(2 * (s**2).sum() / window, 1e-8)) for s in spectra]
    T = len(frames)
    scores = [levels[t] - sorted(levels[max(0, t - 94) : t + 95])[6] - 6 for t in range(T)]
    loud = [t for t in range(T) if scores[t] > 0]
    steady, speech = set(), set()
    for t in range(1, T):
        now, before = spectra[t] / spectra[t].sum(), spectra[t - 1] / spectra[t - 1].sum()
        if np.sqrt(now * before).sum() >= 0.965:
            steady.add(t)
    for t in loud:
        near = [u for u in loud if abs(t - u) <= 31]
        if len(near) < 16 or len(steady & set(near)) <= len(near) / 2:
            speech.add(t)
    return [s if any(abs(t - u) <= 47 for u in speech) else min(s, 0) for t, s in enumerate(scores)]


def test_scores_are_those_of_the_definition_in_any_blocks():
    generator = np.random.default_rng(0)
    words, _ = joined_digits(n_recordings=3, pauses_s=(0.5, 4.0))
    parts = [words, vibrato(0, 5 * RATE), np.zeros(RATE), vibrato(0.2, 3 * RATE), words]
    waveform = np.concatenate(parts)
    waveform = waveform[: len(waveform) // FRAME_LENGTH * FRAME_LENGTH]
    frames = (waveform + generator.normal(0, 1e-4, len(waveform))).reshape(-1, FRAME_LENGTH)
    detector = EnergyDetector()
    cuts = np.sort(generator.integers(0, len(frames), 20))
    found = [detector.add(part) for part in np.split(frames, cuts)] + [detector.finish()]
    expected = scores_by_definition(frames)
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-9)
    assert 0 in expected  # there were notes


@needs_corpora
@pytest.mark.parametrize(("corpus", "names"), [("fsdd", "*_jackson_1*.flac"), ("yesno", "*.wav")])
def test_no_word_of_few_sounds_is_taken_for_notes(corpus, names, monkeypatch):
    paths = sorted((Path(os.environ["ASR_DATA"]) / corpus).rglob(names))[:20]
    waveform = np.concatenate([np.pad(read_audio(path, RATE), RATE // 2) for path in paths])
    found = in_segments(waveform, "energy")
    monkeypatch.setattr(voice_activity, "_STEADY", np.inf)  # nothing is a note
    np.testing.assert_array_equal(found, in_segments(waveform, "energy"))


def test_the_detector_is_chosen_by_name(monkeypatch):
    assert isinstance(make_detector("energy"), EnergyDetector)
    if has_silero():
        assert isinstance(make_detector("auto"), SileroDetector)
    monkeypatch.setattr(voice_activity, "has_silero", lambda: False)
    assert isinstance(make_detector("auto"), EnergyDetector)
    with pytest.raises(InputError, match=r"detector is 'vad'; expected auto, silero, energy"):
        make_detector("vad")
