import numpy as np
import pytest
from audio_files import assert_read, assert_refused, encoded, noise, saved

from asr.audio.load import read_info

SAMPLES = noise(20000, channels=2)


def declared(data, samples):
    """The same file with another number of samples in its header."""
    at = data.index(b"fLaC") + 18
    content = int.from_bytes(data[at : at + 8], "big") >> 36 << 36 | samples
    return data[:at] + content.to_bytes(8, "big") + data[at + 8 :]


@pytest.mark.parametrize("count", [0, 1, 4096, 10000, 19999])
def test_frames_beyond_the_declared_length_are_read(tmp_path, count):
    path = saved(tmp_path / "a.flac", declared(encoded(SAMPLES, "FLAC"), count))
    assert_read(path, SAMPLES)
    assert read_info(path).samples == 20000


@pytest.mark.parametrize(
    "trailing", [b"TAG" + b"x" * 125, bytes(100000), b"\n", b"ID3\x04" + bytes(6)]
)
def test_bytes_after_the_last_frame_are_ignored(tmp_path, trailing):
    data = encoded(SAMPLES, "FLAC")
    assert_read(saved(tmp_path / "a.flac", data, trailing), SAMPLES)
    assert_read(saved(tmp_path / "a.flac", declared(data, 5000), trailing), SAMPLES)


def test_flac_after_an_id3_tag_is_read(tmp_path):
    tag = b"ID3\x04\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0"
    for data in (encoded(SAMPLES, "FLAC"), declared(encoded(SAMPLES, "FLAC"), 0)):
        assert_read(saved(tmp_path / "a.flac", tag, data), SAMPLES)


def test_joined_files_are_all_read(tmp_path):
    first, second = encoded(SAMPLES[:12000], "FLAC"), encoded(SAMPLES[12000:], "FLAC")
    assert_read(saved(tmp_path / "a.flac", first, second), SAMPLES)
    assert_read(saved(tmp_path / "a.flac", declared(first, 0), declared(second, 100)), SAMPLES)
    tag = b"ID3\x04\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0"
    assert_read(saved(tmp_path / "a.flac", tag, first, tag, second), SAMPLES)
    assert_read(saved(tmp_path / "a.flac", first, first), np.tile(SAMPLES[:12000], (2, 1)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("sample_rate", [16000, 44100, 12345])
def test_the_last_frame_gives_the_length(tmp_path, channels, subtype, sample_rate):
    for samples in (20, 4095, 4096, 4097, 600000):
        data = encoded(noise(samples, channels), "FLAC", subtype, sample_rate)
        assert read_info(saved(tmp_path / "a.flac", declared(data, 0))).samples == samples


def test_fewer_samples_than_declared_are_refused(tmp_path):
    data = encoded(SAMPLES, "FLAC")
    path = saved(tmp_path / "a.flac", declared(data, 30000))
    assert_refused(path, r"is cut short or damaged: its header declares 30000 samples; its last")
    assert_refused(saved(path, data[: len(data) // 2]), r"is cut short or damaged")
    assert_refused(saved(path, declared(data, 0)[: len(data) // 2]), r"is cut short or damaged")


def frames_of(data):
    """The bytes before the first frame, and each of up to 128 frames of one channel."""
    start = data.index(b"\xff\xf8", 42)
    starts = [start]
    while (start := data.find(data[starts[0] :][:3], start + 1)) >= 0:
        if data[start + 4] == len(starts):  # number of the frame
            starts.append(start)
    frames = [data[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    return data[: starts[0]], frames


@pytest.mark.parametrize("n_lost", [1, 2])
@pytest.mark.parametrize("first", [1, 5, 7])
def test_missing_frames_are_refused(tmp_path, first, n_lost):
    head, frames = frames_of(encoded(noise(10 * 4096), "FLAC"))
    assert len(frames) == 10
    assert_read(saved(tmp_path / "a.flac", head, *frames), noise(10 * 4096))
    path = saved(tmp_path / "a.flac", head, *frames[:first], *frames[first + n_lost :])
    assert_refused(path, rf"is damaged.*: FLAC frame {first} is missing")


def test_frames_that_begin_anew_are_refused(tmp_path):
    head, frames = frames_of(encoded(noise(10 * 4096), "FLAC"))
    path = saved(tmp_path / "a.flac", head, *frames, *frames)
    assert_refused(path, r"is damaged before byte \d+: FLAC frame 10 is missing there")


def test_frames_of_a_longer_recording_are_read(tmp_path):
    samples = noise(10 * 4096)
    head, frames = frames_of(encoded(samples, "FLAC"))
    path = saved(tmp_path / "a.flac", declared(head, 0), *frames[3:])
    assert_read(path, samples[3 * 4096 :])
