"""Recordings of digits joined with pauses, and noises to put under them, for tests of speech."""

import os
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np

from asr.audio.load import read_audio

RATE = 16000
DIGITS = Path(__file__).parent.parent / "data" / "digits" / "audio"


def joined_digits(n_recordings=12, pauses_s=(1.5, 2.5, 4.0)):
    """Digits of real voices, joined by flite, with digital silence before, between and after them.

    Returns:
        waveform: (samples,), at 16 kHz; the speech has a root mean square of 0.05.
        speech: (samples,), true from a loud sample to the next one within 0.1 s.
    """
    paths = sorted(DIGITS.glob("flite-*/*-0[0-2].opus"))
    pauses = cycle(np.zeros(int(RATE * seconds), np.float32) for seconds in pauses_s)
    parts = [next(pauses)]
    for path in paths[:: len(paths) // n_recordings][:n_recordings]:
        recording = read_audio(path, RATE)
        parts += [recording * np.float32(0.05 / np.sqrt(np.mean(recording**2))), next(pauses)]
    waveform = np.concatenate(parts)
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    speech = np.zeros(len(waveform), bool)
    for start, end in pairwise(loud):
        speech[start:end] = end - start < 0.1 * RATE
    return waveform, speech


def joined_timit(n_recordings=12):
    """As `joined_digits`, of sentences of TIMIT, whose phones have times by hand."""
    folder = Path(os.environ["ASR_DATA"]) / "timit-sample"
    generator = np.random.default_rng(0)
    parts, speech = [], []
    for path in sorted(folder.rglob("SX*.PHN")):
        recording = read_audio(path.with_suffix(".flac"), RATE)
        if np.sqrt(np.mean(recording**2)) > 0.2:  # some are damaged: noise at full level
            continue
        pause = np.zeros(int(RATE * generator.uniform(0.3, 3)), np.float32)
        spoken = np.zeros(len(recording) + len(pause), bool)
        for line in path.read_text().splitlines():
            start, end, phone = line.split()
            spoken[int(start) : int(end)] = phone not in ("h#", "pau", "epi")
        parts += [recording * np.float32(0.05 / np.sqrt(np.mean(recording**2))), pause]
        speech.append(spoken)
        if len(speech) == n_recordings:
            break
    return np.concatenate(parts), np.concatenate(speech)


def noise(kind, samples, seed=0):
    """Noise with a root mean square of 1, (samples,), float32."""
    generator = np.random.default_rng(seed)
    time = np.arange(samples) / RATE
    if kind == "white":
        found = generator.standard_normal(samples)
    elif kind == "hum":
        found = sum(np.sin(2 * np.pi * 50 * n * time) / n for n in range(1, 12))
    elif kind == "chord":
        found = sum(np.sin(2 * np.pi * hz * time) for hz in (220, 277, 330, 440))
    else:  # notes of half a second, which fade
        length = RATE // 2
        within = np.arange(samples) % length / RATE
        pitches = 220 * 2 ** (generator.integers(0, 24, samples // length + 1) / 12)
        hz = np.repeat(pitches, length)[:samples]
        tones = sum(np.sin(2 * np.pi * n * hz * within) / n for n in (1, 2, 3, 4))
        found = tones * np.exp(-3 * within)
    return np.float32(found / np.sqrt(np.mean(found**2)))
