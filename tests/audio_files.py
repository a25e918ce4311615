"""Audio files for tests, written by libsndfile and then modified."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asr.audio.load import read_audio
from asr.errors import InputError

RATE = 16000
FORMS = {
    "wavpack": "s16p",
    **dict.fromkeys(("flac", "tta", "g722", "adpcm_yamaha", "pcm_s16le", "mp2"), "s16"),
}
"""Of samples, for the encoders of FFmpeg that do not take floats."""


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
    waveform = read_audio(path, RATE)
    assert len(waveform) == len(expected)
    np.testing.assert_allclose(waveform, mono(expected), rtol=0, atol=atol)


def assert_refused(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        read_audio(path, RATE, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def write_av(path, waveform, sample_rate, codec, container, is_live=False, **options):
    """Write a file of one channel, encoded by FFmpeg; a live one as into a pipe."""
    av = pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    with (
        path.open("wb") as file,
        av.open(_Pipe(file) if is_live else file, "w", format=container, options=options) as out,
    ):
        stream = out.add_stream(codec, rate=sample_rate)
        # at lower bit rates FFmpeg's AAC has audible noise
        stream.layout, stream.bit_rate = "mono", 128_000
        form = FORMS.get(codec, "fltp")
        stream.codec_context.format = form
        stream.codec_context.open()
        n = stream.codec_context.frame_size or 1024
        if form.startswith("s16"):
            waveform = np.round(waveform * 2**15)
        for start in range(0, len(waveform), n):
            block = waveform[None, start : start + n]
            block = block.astype(np.int16 if form.startswith("s16") else np.float32)
            frame = av.AudioFrame.from_ndarray(block, format=form, layout="mono")
            frame.sample_rate, frame.pts = sample_rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


class _Pipe(io.RawIOBase):
    """A file in which the writer can't go back to fill in sizes."""

    def __init__(self, file):
        self._file = file

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, content):
        return self._file.write(content)
