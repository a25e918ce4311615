"""A cache of decoded waveforms in memory, with 16 bits per sample where that is lossless."""

import math
import os
import threading
from collections.abc import Hashable

import numpy as np

from asr.audio.memory import free_memory
from asr.errors import InputError


class WaveformCache:
    """Decoded recordings in memory, up to a limit; threads may share it.

    A waveform of 16-bit samples (mostly FLAC and WAV at their own rate) is kept as int16, any other
    (MP3, Opus, 24 bits, resampled, the mean of channels) as float32. Both are lossless, so no
    result depends on the cache.

    Args:
        limit: in bytes; with 0 nothing is kept.
    """

    def __init__(self, limit: float) -> None:
        self._room = limit
        self._kept: dict[Hashable, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The waveform of a key, (samples,) float32; None if it is not in the cache."""
        kept = self._kept.get(key)
        if kept is None or kept.dtype == np.float32:
            return kept
        return _as_float(kept)

    def put(self, key: Hashable, waveform: np.ndarray) -> None:
        """Keep a waveform if there is room.

        Args:
            key: for `get`.
            waveform: (samples,), float32; must not be changed afterwards.
        """
        if self._room <= 0:
            return
        kept = _as_16_bits(waveform)
        with self._lock:
            if key not in self._kept and kept.nbytes <= self._room:
                self._room -= kept.nbytes
                self._kept[key] = kept


def cache_of(cache_gb: float | None, n_processes: int = 1) -> WaveformCache:
    """The cache for one process of a training.

    Args:
        cache_gb: size in GB for all processes on this machine; None: half of the memory that is
            free now.
        n_processes: number of processes on this machine.
    """
    if cache_gb is None:
        all_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = min(free_memory(), all_memory) / 2
    else:
        limit = cache_gb * 1e9
    return WaveformCache(limit / n_processes)


def check_cache_gb(cache_gb: float | None) -> None:
    """Raise InputError if the setting `data.cache_gb` is negative or not finite."""
    if cache_gb is not None and not 0 <= cache_gb < math.inf:
        raise InputError(f"data.cache_gb is {cache_gb}; expected 0 or more, or null")


def _as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) * np.float32(1 / 32768)


def _as_16_bits(waveform: np.ndarray) -> np.ndarray:
    """The samples as int16 if that is lossless, even for the sign of a zero; else unchanged."""
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity, which then differ
        samples = (waveform * 32768).astype(np.int16)
    same = np.array_equal(_as_float(samples).view(np.int32), waveform.view(np.int32))
    return samples if same else waveform
