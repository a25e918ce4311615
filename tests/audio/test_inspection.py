import struct
import sys

import numpy as np
import pytest
from audio_files import assert_read, assert_refused, encoded, noise, saved, write_av

from asr.audio.load import AudioWarning, read_audio, read_info


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_joined_ogg_files_are_all_read_without_ffmpeg(tmp_path, subtype, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    parts = [encoded(noise(16000, seed=n), "OGG", subtype) for n in range(3)]
    alone = [read_audio(saved(tmp_path / "a", part), 16000) for part in parts]
    path = saved(tmp_path / "a.ogg", *parts)
    np.testing.assert_array_equal(read_audio(path, 16000), np.concatenate(alone))
    assert read_info(path).samples == 48000
    part = read_audio(path, 16000, offset_s=0.9, duration_s=0.2)
    np.testing.assert_array_equal(part, np.concatenate(alone)[14400:17600])


def test_bytes_after_the_last_ogg_page_are_ignored(tmp_path):
    data = encoded(noise(16000), "OGG", "VORBIS")
    for trailing in (b"TAG" + bytes(125), b"\n", bytes(5000), b"junk"):
        assert read_info(saved(tmp_path / "a.ogg", data, trailing)).samples == 16000
    path = saved(tmp_path / "a.ogg", data, b"junk", data)
    assert_refused(path, rf"is damaged at byte {len(data)}: expected an Ogg page")


@pytest.mark.parametrize(
    ("codec", "container"),
    [("aac", "mp4"), ("libopus", "webm"), ("aac", "flv"), ("libmp3lame", "asf")],
)
def test_joined_media_files_are_all_read(tmp_path, codec, container):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    parts = []
    for n in range(2):
        path = write_av(tmp_path / str(n), noise(48000, seed=n), 48000, codec, container)
        parts.append(path.read_bytes())
    alone = [read_audio(tmp_path / str(n), 48000) for n in range(2)]
    path = saved(tmp_path / "both", *parts)
    np.testing.assert_array_equal(read_audio(path, 48000), np.concatenate(alone))
    assert read_info(path).samples == sum(map(len, alone))


def test_a_second_sound_track_causes_a_warning(tmp_path):
    two = write_tracks(tmp_path / "two.mp4", 2)
    with pytest.warns(AudioWarning, match=r"two.mp4: has 2 sound tracks; the first is read"):
        n_samples = len(read_audio(two, 48000))
    assert n_samples >= 48 * 1024
    one = write_tracks(tmp_path / "one.mp4", 1)
    joined = saved(tmp_path / "joined.mp4", one.read_bytes(), two.read_bytes())
    with pytest.warns(AudioWarning, match=r"joined.mp4: has 2 sound tracks; the first is read"):
        assert len(read_audio(joined, 48000)) == 2 * n_samples


def write_tracks(path, n_tracks):
    av = pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    with av.open(str(path), "w", format="mp4") as out:
        streams = [out.add_stream("aac", rate=48000) for _ in range(n_tracks)]
        for stream in streams:
            stream.layout = "mono"
        for stream in streams:
            for start in range(0, 48 * 1024, 1024):
                block = noise(1024, seed=start).astype(np.float32)[None]
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, start
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def test_files_of_different_formats_may_be_joined(tmp_path):
    samples = noise(9000)
    parts = [
        encoded(samples[3000 * n : 3000 * (n + 1)], container)
        for n, container in enumerate(("WAV", "AIFF", "FLAC"))
    ]
    assert_read(saved(tmp_path / "a", *parts), samples)


def test_a_hole_in_a_sparse_file_is_refused(tmp_path):
    data = encoded(noise(48000), "FLAC")
    path = tmp_path / "a.flac"
    with path.open("wb") as file:
        file.write(data[:20000])
        file.seek(1 << 33)
        file.write(data[20000:])
    assert_refused(path, r"is damaged: \d+ bytes from byte \d+ on were never written|is cut short")


@pytest.mark.parametrize("container", ["WAV", "AIFF", "NIST", "FLAC", "OGG", "MP3"])
def test_gigabytes_of_zeros_after_a_file_take_no_time(tmp_path, container):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    path = saved(tmp_path / "a", encoded(noise(48000), container, subtype))
    with path.open("r+b") as file:
        file.truncate(1 << 34)
    assert len(read_audio(path, 16000)) == 48000


@pytest.mark.parametrize(
    "header",
    [
        b"",
        encoded(noise(100), "WAV")[:36],
        b"caff\0\1\0\0",
        b"ID3\x04\0\0\0\0\0\0",
        b"fLaC\x80\0\0\x22" + bytes(34),
        b"\0\0\0\x20ftypM4A ",
        b"#!AMR\n",
        b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 3, 16000, 1),
    ],
)
def test_a_header_with_gigabytes_of_zeros_is_refused_at_once(tmp_path, header):
    path = saved(tmp_path / "a.wav", header)
    with path.open("r+b") as file:
        file.truncate(1 << 38)
    assert_refused(path, r"can't be read|is cut short|holds 0 samples|s of audio or more; expected")
