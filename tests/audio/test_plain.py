import struct
import warnings

import numpy as np
import pytest
import soundfile
from audio_files import assert_read, assert_refused, changed, encoded, noise, saved, write_av

from asr.audio.load import AudioWarning, read_audio, read_info

SAMPLES = noise(5000, channels=2)
HALF = 5000 * 2  # bytes of 2500 samples of 2 channels


def declare(data, container, n_bytes):
    """Write a number of bytes of samples into a header."""
    if container in ("WAV", "WAVEX"):
        return changed(data, data.index(b"data") + 4, "<I", n_bytes)
    if container == "RF64":
        data = changed(data, data.index(b"data") + 4, "<I", 0xFFFFFFFF)
        return changed(data, data.index(b"ds64") + 16, "<Q", n_bytes)
    if container == "W64":
        return changed(data, data.index(b"data\xf3") + 16, "<Q", n_bytes + 24)
    if container == "AIFF":
        data = changed(data, data.index(b"COMM") + 10, ">I", n_bytes // 4)
        return changed(data, data.index(b"SSND") + 4, ">I", n_bytes + 8)
    if container == "CAF":
        return changed(data, data.index(b"data") + 4, ">q", n_bytes + 4)
    if container == "AU":
        return changed(data, 8, ">I", n_bytes)
    count = data.index(b"sample_count -i ") + 16
    end = data.index(b"\n", count)
    return data[:count] + str(n_bytes // 4).ljust(end - count).encode() + data[end:]


CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "NIST")


@pytest.mark.parametrize("container", CONTAINERS)
def test_samples_beyond_the_declared_length_are_read(tmp_path, container):
    data = encoded(SAMPLES, container)
    assert_read(saved(tmp_path / "a", declare(data, container, HALF)), SAMPLES)
    assert read_info(tmp_path / "a").samples == 5000
    assert_read(saved(tmp_path / "a", declare(data, container, 0)), SAMPLES)
    assert read_info(tmp_path / "a").samples == 5000


@pytest.mark.parametrize("container", CONTAINERS)
def test_files_joined_end_to_end_are_both_read(tmp_path, container):
    first, second = SAMPLES[:3000], noise(2000, channels=2, seed=1)
    both = [encoded(samples, container) for samples in (first, second)]
    expected = np.concatenate([first, second])
    assert_read(saved(tmp_path / "a", *both), expected)
    assert read_info(tmp_path / "a").samples == 5000
    too_little = declare(both[0], container, HALF)
    assert_read(saved(tmp_path / "a", too_little, both[1]), expected)


def test_little_endian_au_files_are_joined(tmp_path):
    data = encoded(SAMPLES, "AU", endian="LITTLE")
    assert data.startswith(b"dns.")
    assert_read(saved(tmp_path / "a", data, data), np.tile(SAMPLES, (2, 1)))


def test_gsm_in_aiff_is_read_to_its_end(tmp_path):
    data = encoded(noise(9600), "AIFF", "GSM610")
    count = data.index(b"COMM") + 10
    expected = read_audio(saved(tmp_path / "whole", data), 16000)
    assert len(expected) == 9600
    for declared in (0, 4800, 0xFFFFFFFF):
        assert_read(saved(tmp_path / "a", changed(data, count, ">I", declared)), expected)
    padded = saved(tmp_path / "b", changed(data, count, ">I", 9500))  # within the last packet
    assert_read(padded, expected[:9500])
    too_many = saved(tmp_path / "c", changed(data, count, ">I", 19200))
    assert_refused(too_many, r"is cut short: its header declares 19200 samples; found 9600")


@pytest.mark.parametrize("container", CONTAINERS)
def test_padding_after_the_samples_is_ignored(tmp_path, container):
    data = encoded(SAMPLES, container)
    for padding in (b"\0", bytes(512), b"\xff" * 100, b"TAG" + b"x" * 125, b"\0\0TAG" + bytes(125)):
        assert_read(saved(tmp_path / "a", data, padding), SAMPLES)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_second_file_of_another_kind_is_refused(tmp_path, container):
    first = encoded(SAMPLES, container)
    saved(tmp_path / "a", first, encoded(noise(500), container))
    assert_refused(tmp_path / "a", r"is 2 recordings joined: number 2 has 16000 Hz and 1 channel")
    saved(tmp_path / "a", first, encoded(SAMPLES, container, sample_rate=8000))
    assert_refused(tmp_path / "a", r"number 2 has 8000 Hz and 2 channels; expected 16000 Hz and 2")
    saved(tmp_path / "a", first, first[:-1000])
    assert_refused(tmp_path / "a", r"is cut short")


@pytest.mark.parametrize(
    ("container", "subtype", "endian"),
    [
        *[("WAV", form, "FILE") for form in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
        *[("WAV", "ULAW", "FILE"), ("WAV", "ALAW", "FILE"), ("WAV", "PCM_16", "BIG")],
        *[("WAVEX", "PCM_24", "FILE"), ("W64", "PCM_24", "FILE"), ("RF64", "FLOAT", "FILE")],
        *[("AIFF", form, "FILE") for form in ("PCM_S8", "PCM_U8", "PCM_24", "FLOAT", "ULAW")],
        *[("AIFF", "PCM_16", "LITTLE"), ("AIFF", "PCM_24", "LITTLE"), ("CAF", "PCM_16", "LITTLE")],
        *[("CAF", "PCM_24", "FILE"), ("CAF", "ALAW", "FILE"), ("AU", "PCM_16", "LITTLE")],
        *[("AU", "ULAW", "FILE"), ("NIST", "PCM_16", "BIG"), ("NIST", "ULAW", "FILE")],
    ],
)
def test_samples_beyond_the_header_are_read_in_every_coding(tmp_path, container, subtype, endian):
    data = encoded(SAMPLES, container, subtype, endian=endian)
    whole = saved(tmp_path / "whole", data)
    expected = soundfile.read(whole, dtype="float64")[0]
    assert_read(whole, expected, atol=1e-6)
    width = {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "PCM_16": 2}.get(subtype, 1)
    half = saved(tmp_path / "half", _halved(data, container, width, endian))
    assert_read(half, expected, atol=1e-6)


def _halved(data, container, width, endian):
    n_bytes = 2500 * 2 * width
    if container == "WAV" and endian == "BIG":
        return changed(data, data.index(b"data") + 4, ">I", n_bytes)
    if container == "AU" and endian == "LITTLE":
        return changed(data, 8, "<I", n_bytes)
    if container == "AIFF":
        data = changed(data, data.index(b"COMM") + 10, ">I", 2500)
        return changed(data, data.index(b"SSND") + 4, ">I", n_bytes + 8)
    if container == "NIST":
        return declare(data, container, 2500 * 4)
    return declare(data, container, n_bytes)


def test_a_second_data_chunk_is_read(tmp_path):
    data = encoded(SAMPLES, "WAV")
    start = data.index(b"data") + 8
    chunks = [data[:start][:-4], struct.pack("<I", HALF), data[start : start + HALF], b"LIST"]
    chunks += [struct.pack("<I", 6), b"INFO\0\0", b"data", struct.pack("<I", HALF)]
    assert_read(saved(tmp_path / "a.wav", *chunks, data[start + HALF :]), SAMPLES)


@pytest.mark.parametrize(
    "trailing",
    [
        b"LIST\x04\0\0\0INFO",
        b"LIST\0\x10\0\0" + bytes(4096),
        b"LIST\xff\xff\0\0INFO",  # cut off within
        b"id3 \x0a\0\0\0ID3\x04\0\0\0\0\0\0",
        b"abcd\x01\0\0\0x\0",
        b"abcd\x01\0\0\0x",  # without the padding to an even size
        b"LIST\x04\0\0\0INFO" + bytes(700),
    ],
)
def test_chunks_after_the_samples_are_ignored(tmp_path, trailing):
    assert_read(saved(tmp_path / "a.wav", encoded(SAMPLES, "WAV"), trailing), SAMPLES)


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_an_odd_number_of_bytes_may_be_padded_or_not(tmp_path, pad):
    samples = noise(4999)
    data = encoded(samples, "WAV", "PCM_U8")[: 44 + 4999]
    expected = np.round(samples * 128) / 128
    path = saved(tmp_path / "a.wav", data, pad, b"LIST\x04\0\0\0INFO")
    assert read_info(path).samples == 4999
    assert_read(path, expected, atol=1 / 128)


def test_a_chunk_after_the_samples_of_w64_is_ignored(tmp_path):
    for samples in (4997, 5000):
        data = encoded(noise(samples), "W64", "PCM_U8")
        data = data[: data.index(b"data\xf3") + 24 + samples]
        data += bytes(-samples % 8)
        chunk = data[data.index(b"fmt ") :][:16].replace(b"fmt ", b"bext") + struct.pack("<Q", 40)
        path = saved(tmp_path / "a.w64", data, chunk, bytes(range(1, 17)))
        assert read_info(path).samples == samples


@pytest.mark.parametrize(
    ("container", "chunk"),
    [
        ("WAV", b"LIST\x04\0\0\0INFO"),
        ("CAF", b"info" + struct.pack(">qI", 14, 1) + b"artist\0me\0"),
    ],
)
def test_chunks_after_undeclared_samples_are_ignored(tmp_path, container, chunk):
    data = declare(encoded(SAMPLES, container), container, HALF)
    assert_read(saved(tmp_path / "a", data, chunk), SAMPLES)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "DOUBLE"])
def test_text_after_the_end_of_all_chunks_is_not_sound(tmp_path, container, subtype):
    data, text = encoded(SAMPLES, container, subtype), b"--boundary text line\r\n" * 20
    path = saved(tmp_path / "a", data, text)
    with pytest.warns(AudioWarning, match=r"a: its last 440 bytes are ignored: they are in no"):
        assert_read(path, SAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_read(saved(path, data, b"\r\n--boundary--\r\n"), SAMPLES)


def test_samples_after_the_end_of_all_chunks_are_read(tmp_path):
    data = declare(encoded(SAMPLES, "WAV"), "WAV", HALF)
    assert_read(saved(tmp_path / "a", changed(data, 4, "<I", 36 + HALF)), SAMPLES)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_placeholder_sizes_of_wav_from_a_pipe_are_ignored(tmp_path, size):
    data = changed(encoded(SAMPLES, "WAV"), 40, "<I", size)
    path = saved(tmp_path / "a.wav", changed(data, 4, "<I", min(size + 36, 0xFFFFFFFF)))
    assert_read(path, SAMPLES)
    assert_read(saved(path, path.read_bytes(), path.read_bytes()), np.tile(SAMPLES, (2, 1)))


def test_placeholder_sizes_of_other_containers_are_ignored(tmp_path):
    w64 = encoded(SAMPLES, "W64")
    w64 = changed(w64, w64.index(b"data\xf3") + 16, "<Q", 2**63 - 1)
    caf = encoded(SAMPLES, "CAF")
    caf = changed(caf, caf.index(b"data") + 4, ">q", -1)
    aiff = encoded(SAMPLES, "AIFF")
    aiff = changed(aiff, aiff.index(b"COMM") + 10, ">I", 0)
    aiff = changed(aiff, aiff.index(b"SSND") + 4, ">I", 0)
    au = changed(encoded(SAMPLES, "AU"), 8, ">I", 0xFFFFFFFF)
    for data in (w64, caf, aiff, au):
        assert_read(saved(tmp_path / "a", data), SAMPLES)


def test_rf64_takes_its_size_from_the_ds64_chunk(tmp_path):
    data = encoded(SAMPLES, "RF64")
    size = data.index(b"data") + 4
    assert_read(saved(tmp_path / "a", changed(data, size, "<I", 0xFFFFFFFF)), SAMPLES)
    without = changed(data, data.index(b"ds64") + 8, "<QQQ", 0, 0, 0)
    assert_read(saved(tmp_path / "a", changed(without, size, "<I", 0xFFFFFFFF)), SAMPLES)


def test_undeclared_compressed_samples_are_refused(tmp_path):
    data = encoded(SAMPLES, "WAV", "IMA_ADPCM")
    start = data.index(b"data") + 8
    more = data[start:]
    path = saved(tmp_path / "a.wav", data, b"data", struct.pack("<I", len(more)), more)
    assert_refused(path, rf"has {len(more)} bytes of IMA ADPCM that its header does not declare")


def test_bw64_is_read_like_rf64(tmp_path):
    data = b"BW64" + encoded(SAMPLES, "RF64")[4:]
    half = declare(data, "RF64", HALF)
    start = data.index(b"data") + 8
    second = b"data" + struct.pack("<I", HALF) + data[start : start + HALF]
    assert_read(saved(tmp_path / "a", data), SAMPLES)
    assert_read(saved(tmp_path / "b", half), SAMPLES)
    assert_read(saved(tmp_path / "c", data, second), np.concatenate([SAMPLES, SAMPLES[:2500]]))


@pytest.mark.parametrize("codec", ["g722", "adpcm_yamaha"])
def test_wav_that_only_ffmpeg_decodes_is_read_whole(tmp_path, codec):
    data = write_av(tmp_path / "a", noise(16384), 16000, codec, "wav").read_bytes()
    expected = read_audio(tmp_path / "a", 16000)
    assert len(expected) == 16384
    size = data.index(b"data") + 4
    n_bytes = struct.unpack_from("<I", data, size)[0]
    half = saved(tmp_path / "b", changed(data, size, "<I", n_bytes // 2))
    assert_read(half, expected)
    joined = saved(tmp_path / "c", data[: size + 4 + n_bytes], data[size - 4 : size + 4 + n_bytes])
    assert len(read_audio(joined, 16000)) == 2 * 16384


@pytest.mark.parametrize("name", ["shorten", "wavpack", "shortpack"])
def test_compressed_sphere_is_refused_with_the_name_of_the_codec(tmp_path, name):
    for coding in (f"pcm,embedded-{name}-v2.00", name):
        header = f"NIST_1A\n   1024\nsample_coding -s30 {coding}\nend_head\n"
        path = saved(tmp_path / "SA1.WAV", header.encode().ljust(1024), bytes(1000))
        assert_refused(path, rf"is packed with {name}; expected plain samples")


def test_sphere_with_a_count_over_both_channels_is_read(tmp_path):
    data = encoded(SAMPLES, "NIST", "ULAW")
    count = data.index(b"sample_count -i 5000")
    both = data[:count] + b"sample_count -i 10000" + data[count + 20 : 1023] + data[1024:]
    expected = soundfile.read(saved(tmp_path / "a", data))[0]
    assert len(both) == len(data)
    assert_read(saved(tmp_path / "b", both), expected)
    assert_refused(saved(tmp_path / "c", both[:-500]), r"is cut short: its header declares 20000")
    assert_read(saved(tmp_path / "d", both, both), np.tile(expected, (2, 1)))


def test_sphere_without_channels_or_with_a_byte_order_of_one_byte_is_read(tmp_path):
    mono = SAMPLES[:, 0]
    pcm, ulaw = encoded(mono, "NIST"), encoded(mono, "NIST", "ULAW")
    without = pcm.replace(b"channel_count -i 1\n", b"")
    assert len(without) == len(pcm) - 19
    path = saved(tmp_path / "a", without[:1005], bytes(19), without[1005:])
    assert_read(path, mono)
    expected = soundfile.read(saved(tmp_path / "b", ulaw))[0]
    line = b"sample_byte_format -s2 01\n"
    ordered = ulaw.replace(b"sample_coding", line + b"sample_coding")
    path = saved(tmp_path / "b", ordered[:1024], ordered[1024 + len(line) :])
    assert_read(path, expected)


def test_a_header_without_samples_is_refused(tmp_path):
    data = encoded(SAMPLES, "WAV")
    path = saved(tmp_path / "a.wav", changed(data, 40, "<I", 0)[:44])
    assert_refused(path, r"holds 0 samples; expected at least one")
    assert_refused(
        saved(path, data[:36], bytes(50)), r"holds 0 samples: it has no chunk of samples"
    )
    path = saved(path, changed(data, 40, "<I", 0)[:44], b"LIST\x04\0\0\0INFO")
    assert_refused(path, r"holds 0 samples; expected at least one")
