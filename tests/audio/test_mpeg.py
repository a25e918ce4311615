import struct

import numpy as np
import pytest
import soundfile
from audio_files import assert_refused, changed, encoded, noise, saved

from asr.audio.load import read_audio, read_info

RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def mp3(samples=30000, channels=1, sample_rate=44100, seed=0, **form):
    form = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} | form
    waveform = noise(samples, channels, seed)
    return encoded(waveform, "MP3", "MPEG_LAYER_III", sample_rate, **form)


def frames_of(data):
    """Every frame, found by a search for the first two bytes; headers are not parsed."""
    starts = []
    position = data.find(data[:2])
    while position >= 0:
        starts.append(position)
        position = data.find(data[:2], position + 24)
    return [data[start:stop] for start, stop in zip(starts, [*starts[1:], None], strict=True)]


def without_header(data):
    """The frames without a Xing header, as `ffmpeg -f mp3 - | cat` writes them."""
    first = frames_of(data)[0]
    assert b"Info" in first or b"Xing" in first
    return data[len(first) :]


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_without_a_count_are_all_read(tmp_path, sample_rate, channels):
    data = mp3(channels=channels, sample_rate=sample_rate)
    (count,) = struct.unpack(">I", data[data.index(b"Info") + 8 :][:4])
    path = saved(tmp_path / "a.mp3", without_header(data))
    per_frame = 1152 if sample_rate >= 32000 else 576
    assert read_info(path).samples == count * per_frame
    assert len(read_audio(path, sample_rate)) == count * per_frame


def test_frames_give_the_same_samples_with_and_without_a_count(tmp_path):
    data = mp3(48000)
    expected, _ = soundfile.read(saved(tmp_path / "a.mp3", data), dtype="float32")
    waveform = read_audio(saved(tmp_path / "b.mp3", without_header(data)), 44100)
    delay = 1105  # of encoder and decoder; with a LAME header it is cut off
    found = waveform[delay : delay + 48000]
    np.testing.assert_allclose(found[1152:], expected[1152 : len(found)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", ["zero", "no count", "one too many", "too few"])
def test_a_wrong_count_in_the_header_is_corrected(tmp_path, wrong):
    data = mp3(40000)
    count = data.index(b"Info") + 8
    (right,) = struct.unpack(">I", data[count : count + 4])
    changes = {
        "zero": (count, 0),
        "no count": (count - 4, 0),
        "one too many": (count, right + 1),
        "too few": (count, right // 2),
    }
    path = saved(tmp_path / "a.mp3", changed(data, changes[wrong][0], ">I", changes[wrong][1]))
    samples = read_info(path).samples
    assert samples == (40000 if wrong == "one too many" else right * 1152)
    assert len(read_audio(path, 44100)) == samples


def test_varying_bit_rates_without_a_count_are_read_by_ffmpeg(tmp_path):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    quiet_end = noise(6 * 44100) * np.repeat([1.0, 1e-4], 3 * 44100)
    data = encoded(quiet_end, "MP3", "MPEG_LAYER_III", 44100, bitrate_mode="VARIABLE")
    (count,) = struct.unpack(">I", data[data.index(b"Xing") + 8 :][:4])
    path = saved(tmp_path / "a.mp3", without_header(data))
    assert read_info(path).samples == count * 1152


ID3V2 = b"ID3\x04\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0"
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 32 + 40, 1, 0x80000000 | 0x20000000) + bytes(40)
APE += b"APETAGEX" + struct.pack("<IIII8x", 2000, 32 + 40, 1, 0x80000000)
TAGS = [
    b"TAG" + b"x" * 125,
    ID3V2,
    APE,
    APE + b"TAG" + bytes(125),
    b"LYRICSBEGINla la000006LYRICS200" + b"TAG" + bytes(125),
    bytes(3000),
    b"\n",
    b"junk that is no tag",
]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("has_header", [True, False])
def test_tags_and_padding_are_ignored(tmp_path, tag, has_header):
    data = mp3() if has_header else without_header(mp3())
    alone = read_info(saved(tmp_path / "a.mp3", data)).samples
    assert read_info(saved(tmp_path / "a.mp3", ID3V2, data, tag)).samples == alone
    assert len(read_audio(tmp_path / "a.mp3", 44100)) == alone


@pytest.mark.parametrize("between", [b"", ID3V2, b"TAG" + bytes(125), APE, bytes(100)])
def test_joined_files_are_all_read(tmp_path, between):
    parts = [mp3(30000), mp3(50000, seed=1)]
    expected = np.concatenate(
        [soundfile.read(saved(tmp_path / "a", part), dtype="float32")[0] for part in parts]
    )
    path = saved(tmp_path / "a.mp3", parts[0], between, parts[1])
    assert read_info(path).samples == 80000
    np.testing.assert_allclose(read_audio(path, 44100), expected, rtol=0, atol=1e-6)
    path = saved(tmp_path / "a.mp3", without_header(parts[0]), between, without_header(parts[1]))
    assert read_info(path).samples % 1152 == 0
    assert read_info(path).samples > 80000


OTHER_BYTES = [b"\n", b"\xff\xfb\x90\x64abcdef", bytes(1000) + b"text", b"a" * 60000]


@pytest.mark.parametrize("before", OTHER_BYTES)
def test_other_bytes_before_the_first_frame_are_skipped(tmp_path, before):
    data = mp3(60000)
    path = saved(tmp_path / "a.mp3", before, data)
    np.testing.assert_array_equal(
        read_audio(path, 44100), read_audio(saved(tmp_path / "b.mp3", data), 44100)
    )
    assert read_info(saved(path, before, data, data)).samples == 120000
    count = data.index(b"Info") + 8
    (n_frames,) = struct.unpack(">I", data[count : count + 4])
    half = changed(data, count, ">I", n_frames // 2)
    assert read_info(saved(path, before, half)).samples == n_frames * 1152
    assert read_info(saved(path, before, without_header(data))).samples == n_frames * 1152
    assert_refused(saved(path, before, data[:-50]), r"is cut short: its last MP3 frame is not")


def test_a_tag_may_be_longer_than_it_says(tmp_path):
    path = saved(tmp_path / "a.mp3", ID3V2, b"a rest of it", mp3())
    assert read_info(path).samples == 30000
    path = saved(path, *2 * [ID3V2, b"a rest of it", mp3()])
    assert read_info(path).samples == 60000


def test_a_few_headers_of_frames_are_not_mp3(tmp_path):
    frames = frames_of(without_header(mp3(60000)))
    for content in ([b"\xff\xfb\x90\x64" * 5000], [frames[3], b"text" * 100] * 9):
        assert_refused(
            saved(tmp_path / "a.bin", b"text", *content), "can't be read as audio|is cut"
        )


def test_joined_files_of_two_rates_are_refused(tmp_path):
    path = saved(tmp_path / "a.mp3", mp3(), mp3(sample_rate=22050))
    assert_refused(path, r"is 2 recordings joined: number 2 has 22050 Hz and 1 channel")
    path = saved(tmp_path / "a.mp3", mp3(), mp3(channels=2))
    assert_refused(path, r"number 2 has 44100 Hz and 2 channels")


def test_ffmpeg_reads_frames_without_a_count_once(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")

    def no_soundfile(_):
        raise soundfile.LibsndfileError(1)

    monkeypatch.setattr("asr.audio.decoders._open_soundfile", no_soundfile)
    data = without_header(mp3(30000))
    path = saved(tmp_path / "a.mp3", data)
    assert read_info(path).samples == len(read_audio(path, 44100)) == len(frames_of(data)) * 1152


def test_missing_frames_are_refused(tmp_path):
    data = without_header(mp3(60000))
    frames = frames_of(data)
    cut = saved(tmp_path / "a.mp3", data[:-50])
    assert_refused(cut, r"is cut short: its last MP3 frame is not complete")
    hole = saved(tmp_path / "a.mp3", data[: len(frames[0]) * 5], b"#" * 500, data[2000:])
    assert_refused(hole, r"is damaged at byte \d+: expected an MP3 frame")


def test_a_stream_cut_from_a_longer_one_is_read(tmp_path):
    frames = frames_of(without_header(mp3(60000)))
    path = saved(tmp_path / "a.mp3", *frames[20:])
    assert read_info(path).samples == len(frames[20:]) * 1152
    after_id3 = saved(tmp_path / "a.mp3", ID3V2, frames[19][100:], *frames[20:])
    assert read_info(after_id3).samples == len(frames[20:]) * 1152


def test_layer_2_is_read_whole(tmp_path):
    av = pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    samples = 50 * 1152
    with av.open(str(tmp_path / "a.mp2"), "w", format="mp2") as out:
        stream = out.add_stream("mp2", rate=44100)
        stream.layout = "mono"
        block = (noise(samples) * 2**15).astype(np.int16)[None]
        for start in range(0, samples, 1152):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block[:, start : start + 1152]), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = 44100, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert read_info(tmp_path / "a.mp2").samples == samples
    assert len(read_audio(tmp_path / "a.mp2", 44100)) == samples


def test_mp3_in_wav_is_read_whole(tmp_path):
    frames = without_header(mp3(60000))
    size = struct.pack("<I", len(frames))
    form = struct.pack("<HHIIHHH12s", 0x55, 1, 44100, 8000, 1, 0, 12, bytes(12))
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + size + frames
    head = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE"
    path = saved(tmp_path / "a.wav", head, chunks)
    alone = saved(tmp_path / "a.mp3", frames)
    assert read_info(path).samples == read_info(alone).samples
    np.testing.assert_array_equal(read_audio(path, 44100), read_audio(alone, 44100))
