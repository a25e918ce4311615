import struct

import numpy as np
import pytest
from audio_files import assert_refused, changed, encoded, noise, saved, write_av

from asr.audio.load import read_audio, read_info

RATE = 48000
FRAGMENTS = {"movflags": "empty_moov", "frag_duration": "300000"}


def write(path, codec, container, **options):
    return write_av(path, noise(2 * RATE), RATE, codec, container, **options)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("codec", "container", "options"),
    [
        ("aac", "mp4", {}),
        ("aac", "mp4", {"movflags": "faststart"}),
        ("aac", "mp4", FRAGMENTS),
        ("libmp3lame", "avi", {}),
        ("libmp3lame", "avi", {"is_live": True}),
        ("aac", "mpegts", {}),
        ("aac", "adts", {}),
        ("ac3", "ac3", {}),
        ("tta", "tta", {}),
        ("wavpack", "wv", {}),
    ],
)
def test_a_media_file_cut_short_is_refused(tmp_path, codec, container, options, kept):
    data = write(tmp_path / "whole", codec, container, **options).read_bytes()
    assert read_info(tmp_path / "whole").duration == pytest.approx(2, abs=0.1)
    assert_refused(saved(tmp_path / "cut", data[: int(kept * len(data))]), r"is cut short")


@pytest.mark.parametrize("is_live", [True, False])
def test_an_flv_cut_short_is_refused(tmp_path, is_live):
    options = {"is_live": is_live}
    path = write_av(tmp_path / "a", noise(88200), 44100, "libmp3lame", "flv", **options)
    assert read_info(path).duration == pytest.approx(2, abs=0.1)
    data = path.read_bytes()
    for kept in (0.3, 0.6, 0.9):
        cut = saved(tmp_path / "cut", data[: int(kept * len(data))])
        assert_refused(cut, r"is cut short: its last FLV tag is not complete")
    damaged = bytearray(data)
    damaged[13:13] = bytes(200)
    assert_refused(saved(tmp_path / "damaged", damaged), r"is damaged at byte 13: expected an FLV")


def test_a_fragmented_mp4_is_read_whole(tmp_path):
    path = write(tmp_path / "a.mp4", "aac", "mp4", is_live=True, **FRAGMENTS)
    expected = write(tmp_path / "b.mp4", "aac", "mp4")
    waveform = read_audio(path, RATE)
    assert len(waveform) >= 2 * RATE
    # the fragmented file does not declare the encoder delay
    start = len(waveform) - len(read_audio(expected, RATE))
    np.testing.assert_allclose(waveform[start:], read_audio(expected, RATE), rtol=0, atol=1e-6)


def test_an_mp4_without_its_index_is_refused(tmp_path):
    data = write(tmp_path / "a.mp4", "aac", "mp4").read_bytes()
    path = saved(tmp_path / "b.mp4", data[: data.index(b"moov") - 4])
    assert_refused(path, r"is cut short: it has no box moov")


@pytest.mark.parametrize(
    ("codec", "container"), [("tta", "tta"), ("wavpack", "wv"), ("flac", "mp4"), ("ac3", "ac3")]
)
def test_a_flipped_bit_breaks_the_checksum_of_a_frame(tmp_path, codec, container):
    data = write(tmp_path / "a", codec, container).read_bytes()
    for place in np.random.default_rng(0).integers(len(data) // 4, len(data) // 2, 5):
        path = saved(tmp_path / "b", changed(data, place, "B", data[place] ^ 4))
        assert_refused(path, r"is cut short or damaged: invalid data")


def amr(n_frames):
    """Frames of 160 samples, of 12.2 kbit/s."""
    content = np.random.default_rng(0).bytes(31 * n_frames)
    frames = [b"\x3c" + content[31 * n : 31 * (n + 1)] for n in range(n_frames)]
    return b"#!AMR\n" + b"".join(frames)


def stream(path, container):
    if container == "amr":
        return 8000, amr(100)
    return RATE, write(path, "ac3" if container == "ac3" else "mp2", container).read_bytes()


@pytest.mark.parametrize("container", ["amr", "ac3", "mpegts", "mpeg"])
def test_what_follows_a_stream_of_frames_is_recognised(tmp_path, container):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    rate, data = stream(tmp_path / "whole", container)
    n_samples = read_info(saved(tmp_path / "alone", data)).samples
    assert n_samples >= 2 * rate
    path = saved(tmp_path / "padded", data, bytes(3000))
    assert read_info(path).samples == n_samples
    wav = encoded(noise(rate), "WAV", sample_rate=rate)
    assert read_info(saved(path, data, wav)).samples == n_samples + rate
    assert read_info(saved(path, wav, data)).samples == n_samples + rate
    if container != "mpeg":
        assert_refused(
            saved(path, data, b"junk" * 50, data), r"is damaged at byte \d+: expected an"
        )


def test_amr_files_are_joined_and_cut_ones_refused(tmp_path):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    path = saved(tmp_path / "a.amr", amr(100), amr(50))
    assert read_info(path).samples == 150 * 160
    assert_refused(saved(path, amr(100)[:-5]), r"is cut short: its last AMR frame is not complete")


@pytest.mark.parametrize(("codec", "container"), [("ac3", "ac3"), ("mp2", "mpeg")])
def test_a_wrong_suffix_does_not_matter(tmp_path, codec, container):
    expected = read_audio(write(tmp_path / "a", codec, container), RATE)
    path = saved(tmp_path / "a.g722", (tmp_path / "a").read_bytes())
    np.testing.assert_array_equal(read_audio(path, RATE), expected)


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mp3_in_wav_from_a_pipe_is_read(tmp_path, codec):
    data = write(tmp_path / "a.wav", codec, "wav").read_bytes()
    size = data.index(b"data") + 4
    samples = [
        read_info(saved(tmp_path / "b.wav", changed(data, size, "<I", n))).samples
        for n in (0, 0xFFFFFFFF, struct.unpack_from("<I", data, size)[0])
    ]
    assert samples[0] == samples[1] >= 2 * RATE
    assert samples[0] == samples[2]
