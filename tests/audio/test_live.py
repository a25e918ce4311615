import io
import struct

import numpy as np
import pytest
import soundfile
from audio_files import RATE, encoded, noise

from asr.audio.live import read_live
from asr.errors import InputError


class Pipe(io.BytesIO):
    """Bytes that arrive a few at a time."""

    def read1(self, size=-1):
        return super().read1(min(size, 1001) if size >= 0 else 1001)


def read(data, sample_rate=RATE, channel=None):
    return np.concatenate(list(read_live(Pipe(data), "-", sample_rate, channel)))


def with_sizes(data, riff, size):
    """A WAV file with other sizes in its header."""
    data, position = bytearray(data), data.index(b"data")
    struct.pack_into("<I", data, 4, riff)
    struct.pack_into("<I", data, position + 4, size)
    return bytes(data)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_wav_is_read_as_soundfile_reads_it(container, subtype):
    data = encoded(noise(3000), container, subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(read(data), expected)


# as sox, ffmpeg, arecord without a duration, and a writer that never came back to the header
@pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF, 0x80000000, 0])
def test_an_unknown_size_reads_all_that_arrives(size):
    waveform = noise(3000)
    data = with_sizes(encoded(waveform, "WAV"), min(size + 36, 0xFFFFFFFF), size)
    np.testing.assert_allclose(read(data), waveform, rtol=0, atol=1e-7)


def test_chunks_after_the_declared_samples_are_not_audio():
    waveform = noise(3000)
    data = encoded(waveform, "WAV") + b"LIST" + struct.pack("<I", 400) + bytes(400)
    np.testing.assert_allclose(read(data), waveform, rtol=0, atol=1e-7)


@pytest.mark.parametrize("samples", [1, 2, 3, 3000])
def test_raw_samples_are_16_bit(samples):
    waveform = noise(samples)
    data = (waveform * 2**15).astype("<i2").tobytes()
    np.testing.assert_allclose(read(data), waveform, rtol=0, atol=1e-7)
    np.testing.assert_allclose(read(data + b"\1"), waveform, rtol=0, atol=1e-7)  # half a sample


def test_other_rates_and_channels_are_converted():
    waveform = noise(4000, 2)
    data = encoded(waveform, "WAV")
    np.testing.assert_allclose(read(data, channel=1), waveform[:, 1], rtol=0, atol=1e-7)
    np.testing.assert_allclose(read(data), waveform.mean(1), rtol=0, atol=1e-7)
    assert len(read(data, RATE // 2)) == 2000
    with pytest.raises(InputError, match=r"^-: has 2 channels; expected channel 2 among them"):
        read(data, channel=2)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (encoded(noise(900), "FLAC"), "is no WAV; expected WAV, or raw 16-bit samples"),
        (encoded(noise(900), "WAV", "ULAW"), "has 1 channel of 8 bits in WAV's format 7; expected"),
        (encoded(noise(900), "WAV")[:30], "has a damaged WAV header; expected chunks fmt and data"),
        (encoded(noise(900), "WAV")[:44], "holds 0 samples; expected at least one"),
        (b"", "holds 0 samples; expected at least one"),
    ],
)
def test_what_is_no_live_audio_is_refused_in_one_line(data, line):
    with pytest.raises(InputError, match=f"^-: {line}"):
        read(data)


def test_blocks_come_before_the_stream_ends():
    data = encoded(noise(3000), "WAV")
    pipe = Pipe(data)
    block = next(read_live(pipe, "-", RATE))
    assert 0 < len(block) < 1000
    assert pipe.tell() < len(data)
