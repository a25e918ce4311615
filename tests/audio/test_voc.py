import struct

import numpy as np
import pytest
import soundfile
from audio_files import assert_read, assert_refused, encoded, noise, saved, write_av

from asr.audio.load import read_audio, read_info

MAGIC = b"Creative Voice File\x1a"
HEADER = MAGIC + struct.pack("<HHH", 26, 0x0114, 0x111F)
SAMPLES = noise(3000)
PCM = (SAMPLES * 2**15).astype("<i2").tobytes()


def block(kind, *contents):
    content = b"".join(contents)
    return bytes([kind]) + len(content).to_bytes(3, "little") + content


def sound(content, rate=16000, channels=1):
    return block(9, struct.pack("<IBBHI", rate, 16, channels, 4, 0), content)


def test_all_blocks_of_samples_are_read_without_their_headers(tmp_path):
    blocks = [sound(PCM[:2000]), block(5, b"text\0"), block(2, PCM[2000:4000]), sound(PCM[4000:])]
    path = saved(tmp_path / "a.voc", HEADER, *blocks, b"\0")
    assert_read(path, SAMPLES)
    assert read_info(path).samples == 3000
    assert_read(saved(path, HEADER, *blocks), SAMPLES)  # the last byte is optional
    assert_read(saved(path, HEADER, *blocks, b"\0", bytes(500)), SAMPLES)
    assert_read(saved(path, 2 * (HEADER + b"".join(blocks) + b"\0")), np.tile(SAMPLES, 2))
    assert_read(saved(path, HEADER, *blocks, HEADER, *blocks), np.tile(SAMPLES, 2))


def test_silence_is_read_as_zeros(tmp_path):
    silence = block(3, struct.pack("<HB", 499, 6))  # 500 samples of 250 microseconds
    path = saved(tmp_path / "a.voc", HEADER, silence, sound(PCM), silence, b"\0")
    assert_read(path, np.concatenate([np.zeros(2000), SAMPLES, np.zeros(2000)]))
    path = saved(path, HEADER, sound(PCM), 3000 * block(3, struct.pack("<HB", 65535, 6)))
    assert_refused(path, r"has more than 256 MB of silence")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "ULAW", "ALAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_of_libsndfile_are_read(tmp_path, subtype, channels):
    samples = noise(3000, channels)
    path = saved(tmp_path / "a.voc", encoded(samples, "VOC", subtype, sample_rate=8000))
    expected = soundfile.read(
        saved(tmp_path / "a.wav", encoded(samples, "WAV", subtype)), always_2d=True
    )[0]
    assert read_info(path).sample_rate == 8000
    waveform = read_audio(path, 8000)
    np.testing.assert_allclose(waveform, expected.mean(axis=1), rtol=0, atol=1e-6)


def test_a_file_of_ffmpeg_is_read(tmp_path):
    path = write_av(tmp_path / "a.voc", SAMPLES, 16000, "pcm_s16le", "voc")
    assert path.read_bytes().count(PCM[:100]) == 1
    assert_read(path, SAMPLES)


def test_the_wrong_size_in_files_of_sox_is_corrected(tmp_path):
    header = MAGIC + struct.pack("<HHH", 26, 0x010A, 0x1129)
    samples = np.append(SAMPLES, np.zeros(100))
    content = (samples * 2**15).astype("<i2").tobytes()
    sizes = (len(content) + 4).to_bytes(3, "little")
    data = header + b"\x09" + sizes + sound(content)[4:] + b"\0"
    assert_read(saved(tmp_path / "a.voc", data), samples)
    assert_read(saved(tmp_path / "a.voc", data, data), np.tile(samples, 2))


def test_cut_damaged_and_changing_files_are_refused(tmp_path):
    path = saved(tmp_path / "a.voc", HEADER, sound(PCM)[:-1000])
    assert_refused(path, r"is cut short: its header declares 6012 bytes of samples; found 5012")
    path = saved(path, HEADER, sound(PCM), b"\x0a" + bytes(20))
    assert_refused(path, r"is damaged at byte 6042: expected a VOC block")
    path = saved(path, HEADER, sound(PCM), sound(PCM, rate=8000), b"\0")
    assert_refused(path, r"changes to another format at byte 6042; expected one")
    assert_refused(saved(path, HEADER, b"\0"), r"holds 0 samples: it has no block of samples")
