import re

import numpy as np
import pytest
import soundfile

from asr.audio.load import read_audio
from asr.corpus.cache import WaveformCache, cache_of, check_cache_gb
from asr.errors import InputError


def kept(waveform):
    """The waveform after it was in a cache, and its number of bytes there."""
    cache = WaveformCache(1e9)
    cache.put("key", waveform)
    return cache.get("key"), 1e9 - cache._room


def test_16_bit_samples_are_kept_without_loss_in_half_the_bytes():
    samples = np.arange(-32768, 32768)
    waveform = (samples / 32768).astype(np.float32)
    found, size = kept(waveform)
    assert found.dtype == np.float32
    assert found.tobytes() == waveform.tobytes()
    assert size == 2 * len(samples)


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1 / 65536],  # the mean of two channels
        [0.5, 1.0],
        [0.5, -1.0001],
        [0.5, np.float32(0.1)],
        [0.5, -0.0],
        [0.5, np.nan],
        [0.5, np.inf],
        [0.5, 1e38],
    ],
)
def test_other_samples_are_kept_without_loss_too(values):
    waveform = np.array(values, np.float32)
    found, size = kept(waveform)
    assert found.tobytes() == waveform.tobytes()
    assert size == 4 * len(values)


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "n_bytes"),
    [
        ("a.flac", "PCM_16", 8000, 2),
        ("a.wav", "PCM_16", 8000, 2),
        ("a.wav", "PCM_U8", 8000, 2),
        ("a.wav", "ULAW", 8000, 2),
        ("a.wav", "PCM_16", 16000, 4),
        ("a.flac", "PCM_24", 8000, 4),
        ("a.wav", "FLOAT", 8000, 4),
        ("a.ogg", "VORBIS", 8000, 4),
    ],
)
def test_files_are_kept_as_16_bits_only_if_that_is_lossless(tmp_path, name, subtype, rate, n_bytes):
    path = tmp_path / name
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate)
    soundfile.write(path, noise, rate, subtype=subtype)
    waveform = read_audio(path, 8000)
    found, size = kept(waveform)
    assert found.tobytes() == waveform.tobytes()
    assert size == n_bytes * len(waveform)


def test_waveforms_are_kept_up_to_the_limit_and_counted_once():
    cache = WaveformCache(20)
    for key, length in (("a", 6), ("b", 5), ("a", 6), ("c", 4)):
        cache.put(key, np.zeros(length, np.float32))
    found = {key: cache.get(key) for key in "abcd"}
    assert {key for key, waveform in found.items() if waveform is not None} == {"a", "c"}
    nothing = WaveformCache(0)
    nothing.put("a", np.zeros(0, np.float32))
    assert nothing.get("a") is None


# --- size of the cache ------------------------------------------------------------------------


def test_processes_share_the_cache_or_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr("asr.corpus.cache.free_memory", lambda: 3 << 20)
    assert cache_of(None)._room == 3 << 19
    assert cache_of(None, 3)._room == 1 << 19
    assert cache_of(1.5, 3)._room == 0.5e9
    assert cache_of(0)._room == 0


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_negative_or_infinite_cache_sizes_are_refused(size):
    line = f"data.cache_gb is {size}; expected 0 or more, or null"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        check_cache_gb(size)


def test_the_cache_takes_at_most_half_of_the_machines_memory(monkeypatch):
    monkeypatch.setattr("asr.corpus.cache.free_memory", lambda: 1 << 62)
    assert cache_of(None)._room < 1 << 50
