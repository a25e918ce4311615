"""waveforms -> kept in memory as far as there is room, in half the bytes where that is exact."""

import math
import os
import threading
from collections.abc import Hashable

import numpy as np

from asr.audio.memory import free_memory
from asr.errors import InputError


class WaveformCache:
    """Decoded recordings that stay in memory up to a limit; threads may share it.

    A waveform of 16-bit samples (FLAC and WAV at their own rate, mostly) is kept as such; any other
    (MP3, Opus, 24 bits, resampled, the mean of channels) as float32. Both come back bit for bit, so
    that no result depends on what is kept.

    Args:
        limit: in bytes; 0 keeps nothing.
    """

    def __init__(self, limit: float) -> None:
        self._room = limit
        self._kept: dict[Hashable, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """The waveform that was put there, (samples,) float32; None where it was not kept."""
        kept = self._kept.get(key)
        if kept is None or kept.dtype == np.float32:
            return kept
        return _as_float(kept)

    def put(self, key: Hashable, waveform: np.ndarray) -> None:
        """Keep a waveform if there is room; it must not be changed afterwards.

        Args:
            key: what `get` will ask for.
            waveform: (samples,), float32.
        """
        if self._room <= 0:
            return
        kept = _as_16_bits(waveform)
        with self._lock:
            if key not in self._kept and kept.nbytes <= self._room:
                self._room -= kept.nbytes
                self._kept[key] = kept


def cache_of(cache_gb: float | None, n_processes: int = 1) -> WaveformCache:
    """Where one process of a training keeps decoded audio.

    Args:
        cache_gb: of all its processes on this machine; None: half of the memory that is free now.
        n_processes: how many these are.
    """
    if cache_gb is None:
        all_memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = min(free_memory(), all_memory) / 2
    else:
        limit = cache_gb * 1e9
    return WaveformCache(limit / n_processes)


def check_cache_gb(cache_gb: float | None) -> None:
    """Raise InputError where the setting `data.cache_gb` is not a size."""
    if cache_gb is not None and not 0 <= cache_gb < math.inf:
        raise InputError(f"data.cache_gb is {cache_gb}; expected 0 or more, or null")


def _as_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) * np.float32(1 / 32768)


def _as_16_bits(waveform: np.ndarray) -> np.ndarray:
    """The samples as int16 where that loses nothing, not even the sign of a zero."""
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and the like, which then differ
        samples = (waveform * 32768).astype(np.int16)
    same = np.array_equal(_as_float(samples).view(np.int32), waveform.view(np.int32))
    return samples if same else waveform
