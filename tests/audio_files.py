"""Audio files for tests, written by libsndfile and then modified."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asr.audio.load import load_audio
from asr.errors import InputError

RATE = 16000


def noise(samples, channels=1, seed=0):
    """White noise at -20 dB, (samples,) or (samples, channels), exact in 16 bits."""
    shape = (samples, channels) if channels > 1 else samples
    values = 0.1 * np.random.default_rng(seed).standard_normal(shape)
    return np.round(values * 2**15) / 2**15


def encoded(waveform, container, subtype="PCM_16", sample_rate=RATE, **form):
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate, format=container, subtype=subtype, **form)
    return file.getvalue()


def changed(data, position, form, *values):
    """A copy of bytes with packed numbers written at a position."""
    data = bytearray(data)
    struct.pack_into(form, data, position, *values)
    return bytes(data)


def saved(path, *contents):
    path.write_bytes(b"".join(contents))
    return path


def mono(samples):
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def assert_read(path, expected, atol=1e-7):
    """Assert that exactly the expected samples are read."""
    waveform = load_audio(path, RATE)
    assert len(waveform) == len(expected)
    np.testing.assert_allclose(waveform, mono(expected), rtol=0, atol=atol)


def assert_refused(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        load_audio(path, RATE, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def write_av(path, waveform, sample_rate, codec, container, **options):
    """Write a file of one channel, encoded by FFmpeg."""
    av = pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=sample_rate)
        # at lower bit rates FFmpeg's AAC has audible noise
        stream.layout, stream.bit_rate = "mono", 128_000
        n = {"aac": 1024, "libopus": 960, "libmp3lame": 1152}[codec]  # samples of a packet
        for start in range(0, len(waveform), n):
            block = np.asarray(waveform[None, start : start + n], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = sample_rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
