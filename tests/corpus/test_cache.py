import re

import numpy as np
import pytest
import soundfile

from asr.audio.load import load_audio
from asr.corpus.cache import WaveformCache, available_memory, cache_of, check_cache_gb
from asr.errors import InputError

GIB = 1 << 30


def kept(waveform):
    """What a cache gives back, and how many bytes it took."""
    cache = WaveformCache(1e9)
    cache.put("key", waveform)
    return cache.get("key"), 1e9 - cache._room


def test_all_16_bit_samples_come_back_bit_for_bit_in_half_the_bytes():
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
def test_other_samples_come_back_bit_for_bit_too(values):
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
def test_a_file_is_kept_as_16_bits_only_where_that_is_exact(tmp_path, name, subtype, rate, n_bytes):
    path = tmp_path / name
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate)
    soundfile.write(path, noise, rate, subtype=subtype)
    waveform = load_audio(path, 8000)
    found, size = kept(waveform)
    assert found.tobytes() == waveform.tobytes()
    assert size == n_bytes * len(waveform)


def test_only_what_there_is_room_for_is_kept_and_nothing_is_counted_twice():
    cache = WaveformCache(20)
    for key, length in (("a", 6), ("b", 5), ("a", 6), ("c", 4)):
        cache.put(key, np.zeros(length, np.float32))
    found = {key: cache.get(key) for key in "abcd"}
    assert {key for key, waveform in found.items() if waveform is not None} == {"a", "c"}
    nothing = WaveformCache(0)
    nothing.put("a", np.zeros(0, np.float32))
    assert nothing.get("a") is None


# --- how much is free -------------------------------------------------------------------------


def machine(folder, free_gib, groups="", files=None):
    """Folders like /proc and /sys/fs/cgroup."""
    texts = {
        "proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {free_gib << 20} kB\nBuffers: 5 kB\n",
        "proc/self/cgroup": groups,
        **{f"cgroup/{name}": text for name, text in (files or {}).items()},
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


def limited(folder, limit_gib, used_gib, files_gib=0):
    """The files of a group of version 2."""
    return {
        f"{folder}memory.max": "max\n" if limit_gib is None else f"{limit_gib * GIB}\n",
        f"{folder}memory.current": f"{used_gib * GIB}\n",
        f"{folder}memory.stat": f"anon 5\ninactive_file {files_gib * GIB}\n",
    }


@pytest.mark.parametrize(
    ("groups", "files", "expected_gib"),
    [
        ("", {}, 40),
        ("0::/\n", {}, 40),
        ("0::/\n", limited("", 10, 3), 7),
        ("0::/\n", limited("", 10, 3, 1), 8),
        ("0::/\n", limited("", 100, 3), 40),
        ("0::/\n", limited("", 10, 11), 0),
        ("0::/job/step\n", {**limited("job/", 10, 3), **limited("job/step/", None, 2)}, 7),
        ("0::/job/step\n", {**limited("job/", 10, 3), **limited("job/step/", 5, 2)}, 3),
        ("0::/docker/4f2a\n", limited("", 10, 3), 7),  # the host's path, not there
        ("0::/../../other\n", limited("", 10, 3), 7),
        (
            "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.usage_in_bytes": f"{60 * GIB}\n",
                "memory/memory.stat": "total_inactive_file 0\n",
                "memory/job/memory.limit_in_bytes": f"{10 * GIB}\n",
                "memory/job/memory.usage_in_bytes": f"{4 * GIB}\n",
                "memory/job/memory.stat": f"total_inactive_file {GIB}\n",
            },
            7,
        ),
    ],
)
def test_the_machine_and_all_containers_around_the_process_limit_memory(
    tmp_path, groups, files, expected_gib
):
    assert available_memory(*machine(tmp_path, 40, groups, files)) == expected_gib * GIB


def test_a_system_that_does_not_tell_counts_half_of_its_memory(tmp_path):
    found = available_memory(tmp_path / "proc", tmp_path / "cgroup")
    assert found > 1 << 28
    assert found < available_memory() * 100


def test_processes_share_the_setting_or_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr("asr.corpus.cache.available_memory", lambda: 12e9)
    assert cache_of(None)._room == 6e9
    assert cache_of(None, 3)._room == 2e9
    assert cache_of(1.5, 3)._room == 0.5e9
    assert cache_of(0)._room == 0


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(size):
    line = f"data.cache_gb is {size}; expected 0 or more, or null"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        check_cache_gb(size)
