import io
import struct
import subprocess
import sys
import tracemalloc
import warnings
import wave

import numpy as np
import pytest
import soundfile
import soxr
from audio_files import write_av

from asr.audio import load
from asr.audio.load import AudioInfo, AudioWarning, read_audio, read_blocks, read_info
from asr.errors import InputError

LOSSLESS = {".wav": "WAV", ".flac": "FLAC", ".sph": "NIST", ".aiff": "AIFF"}


def noise(samples, channels=1, seed=0):
    shape = (samples, channels) if channels > 1 else samples
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


def write(path, waveform, sample_rate=16000, **form):
    soundfile.write(path, waveform, sample_rate, **form)
    return path


def damage(path, edit):
    """Rewrite a file's bytes: `edit` changes them in place, or returns others."""
    data = bytearray(path.read_bytes())
    changed = edit(data)
    path.write_bytes(data if changed is None else changed)
    return path


def refused(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        read_audio(path, 16000, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


# Reading


def test_samples_equal_those_of_the_standard_library(tmp_path):
    write(tmp_path / "a.wav", noise(5000), subtype="PCM_16")
    with wave.open(str(tmp_path / "a.wav")) as file:
        expected = np.frombuffer(file.readframes(5000), "<i2") / 32768
    waveform = read_audio(tmp_path / "a.wav", 16000)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, expected.astype(np.float32))


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_give_the_same_samples(tmp_path, suffix):
    samples = np.int16(2**15 * noise(5000))
    path = write(tmp_path / f"a{suffix}", samples, format=LOSSLESS[suffix], subtype="PCM_16")
    np.testing.assert_array_equal(read_audio(path, 16000) * 2**15, samples)


def test_the_format_is_taken_from_the_content_not_the_suffix(tmp_path):
    # TIMIT's .WAV files are NIST sphere; a .raw suffix would make soundfile ask for a sample rate
    for name, form in (("SA1.WAV", "NIST"), ("b.raw", "FLAC"), ("c.flac", "WAV"), ("d", "WAV")):
        path = write(tmp_path / name, noise(5000), format=form, subtype="PCM_16")
        assert len(read_audio(path, 16000)) == 5000


@pytest.mark.parametrize("sample_rate", [8000, 11025, 44100, 48000])
def test_resampling_keeps_frequency_and_amplitude(tmp_path, sample_rate):
    seconds, hz, amplitude = 2, 440.0, 0.5
    t = np.arange(seconds * sample_rate) / sample_rate
    path = write(tmp_path / "a.wav", amplitude * np.sin(2 * np.pi * hz * t), sample_rate)
    waveform = read_audio(path, 16000)
    assert len(waveform) == seconds * 16000
    expected = amplitude * np.sin(2 * np.pi * hz * np.arange(len(waveform)) / 16000)
    inside = slice(800, -800)  # resampling rings at the edges
    np.testing.assert_allclose(waveform[inside], expected[inside], atol=1e-4)


def test_resampling_in_blocks_equals_resampling_at_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(44100, channels=2), 44100, subtype="FLOAT")
    samples, _ = soundfile.read(path, dtype="float32")
    expected = soxr.resample(samples.mean(axis=1), 44100, 16000, quality="HQ")
    monkeypatch.setattr("asr.audio.decoders._BLOCK", 1000)
    np.testing.assert_allclose(read_audio(path, 16000), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(".ogg", "OPUS"), (".ogg", "VORBIS"), (".mp3", "MPEG_LAYER_III"), (".flac", "PCM_16")],
)
def test_decoding_in_blocks_equals_decoding_at_once(tmp_path, monkeypatch, suffix, subtype):
    path = write(tmp_path / f"a{suffix}", noise(48000), 48000, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    monkeypatch.setattr("asr.audio.decoders._BLOCK", 5000)
    atol = 1e-7 if suffix == ".mp3" else 0  # its decoder restarts in each block
    np.testing.assert_allclose(read_audio(path, 48000), expected, rtol=0, atol=atol)


def test_channels_are_averaged_unless_one_is_chosen(tmp_path):
    samples = noise(3000, channels=3).astype(np.float32)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path, 16000), samples.mean(axis=1), rtol=0, atol=1e-7)
    for channel in range(3):
        np.testing.assert_array_equal(read_audio(path, 16000, channel), samples[:, channel])


def test_channels_that_cancel_in_their_mean_cause_a_warning(tmp_path):
    left, other = noise(16000), noise(16000, seed=1)
    for right, cancels in ((-left, True), (-0.95 * left, True), (left, False), (other, False)):
        path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_audio(path, 16000)
            read_audio(path, 8000, channel=0)
        assert [w.category for w in caught] == [AudioWarning] * cancels
        for warning in caught:
            assert str(warning.message).startswith(f"{path}: its 2 channels cancel each other")
            assert "--channel" in str(warning.message)
    quiet = write(tmp_path / "a.wav", np.zeros((1600, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_audio(quiet, 16000)


def test_channels_that_cancel_in_most_of_a_recording_cause_a_warning(tmp_path):
    left = noise(48000)
    turns = np.arange(48000) // 8000 % 2
    speech, answer = left * turns, noise(48000, seed=1) * (1 - turns)
    swapped = np.concatenate([-left[:28800], left[28800:]])
    loud = np.concatenate([5 * left[:4800], left[4800:] / 10])
    wide = left[:, None] * [0.6, -0.3] + 0.1 * noise(48000, channels=2, seed=1)
    telephone = np.stack([speech, answer], axis=1)
    for samples in (left[:, None] * [0.8, 0.5], wide, telephone, speech[:, None] * [1, 0]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_audio(write(tmp_path / "a.wav", samples), 16000)
    most = np.stack([left, swapped], axis=1)
    intro = np.stack([loud, np.concatenate([loud[:4800], -loud[4800:]])], axis=1)
    for samples, share in ((most, 60), (intro, 90), (np.stack([speech, -speech], axis=1), 100)):
        path = write(tmp_path / "a.wav", samples)
        with pytest.warns(AudioWarning, match=rf"all but silent in {share}% of its sound"):
            read_audio(path, 16000)
    less = np.stack([left, -swapped], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_audio(write(tmp_path / "a.wav", less), 16000)


def test_a_recording_that_fits_into_memory_is_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(1 << 20, np.float32), 16000)
    held = []  # samples that were read; the memory for them is no longer free
    needed = 8 << 20  # 4 bytes a sample, twice while blocks are joined
    monkeypatch.setattr(load, "_ALWAYS_FITS", 1000)
    monkeypatch.setattr(load, "free_memory", lambda: needed - 4 * sum(held))
    resample = load.resampled_blocks

    def counted(*arguments):
        for block in resample(*arguments):
            held.append(len(block))
            yield block

    monkeypatch.setattr(load, "resampled_blocks", counted)
    assert len(read_audio(path, 16000)) == 1 << 20
    held.clear()
    joined = tmp_path / "joined.wav"  # its length is not known before
    joined.write_bytes(2 * path.read_bytes())
    refused(joined, r"s of audio or more; expected at most 66 s, which fit")
    held.clear()
    needed *= 2
    assert len(read_audio(joined, 16000)) == 2 << 20
    monkeypatch.setattr("asr.audio.load.free_memory", lambda: 8 * 16000 * 9)
    monkeypatch.setattr("asr.audio.load._ALWAYS_FITS", 16000)
    refused(path, r"expected at most 9 s, which fit into memory")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize(("sample_rate", "atol"), [(48000, 0), (16000, 1e-6), (11025, 1e-6)])
def test_a_part_equals_that_part_of_the_whole(tmp_path, suffix, sample_rate, atol):
    path = write(tmp_path / f"a{suffix}", noise(3 * 48000), 48000)
    whole = read_audio(path, sample_rate)
    for offset_s, duration_s in ((0, 0.5), (0.3, 1.0), (1.23456, 0.7), (2.9, None), (2.5, 9.0)):
        part = read_audio(path, sample_rate, offset_s=offset_s, duration_s=duration_s)
        start = round(offset_s * sample_rate)
        stop = None if duration_s is None else start + round(duration_s * sample_rate)
        np.testing.assert_allclose(part, whole[start:stop], rtol=0, atol=atol)


def test_reading_a_part_takes_no_memory_for_the_rest(tmp_path):
    seconds, sample_rate = 120, 48000  # 46 MB as float32
    path = write(tmp_path / "a.wav", np.zeros((seconds * sample_rate, 2)), sample_rate)
    tracemalloc.start()
    read_audio(path, 16000, offset_s=100, duration_s=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("sample_rate", [44100, 16000, 48000])
def test_joined_blocks_equal_the_waveform(tmp_path, monkeypatch, suffix, sample_rate):
    path = write(tmp_path / f"a{suffix}", noise(2 * 44100, channels=2), 44100)
    monkeypatch.setattr("asr.audio.decoders._BLOCK", 10000)
    blocks = list(read_blocks(path, sample_rate))
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(path, sample_rate))
    one = np.concatenate(list(read_blocks(path, sample_rate, channel=1)))
    np.testing.assert_array_equal(one, read_audio(path, sample_rate, channel=1))


def test_blocks_take_no_memory_for_the_rest(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros((120 * 48000, 2)), 48000)
    tracemalloc.start()
    assert sum(map(len, read_blocks(path, 16000))) == 120 * 16000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_blocks_are_refused_and_warned_of_like_the_waveform(tmp_path):
    samples = noise(48000, channels=2)
    samples[:, 1] = -samples[:, 0]
    path = write(tmp_path / "a.wav", samples)
    with pytest.warns(AudioWarning, match="its 2 channels cancel each other"):
        list(read_blocks(path, 16000))
    with pytest.raises(InputError, match="has 2 channels; expected channel 2 among them"):
        list(read_blocks(path, 16000, channel=2))
    with pytest.raises(ValueError, match="sample_rate is 0"):
        read_blocks(path, 0)
    with pytest.raises(InputError, match="holds 0 samples"):
        list(read_blocks(write(tmp_path / "b.wav", np.zeros(0)), 16000))
    with pytest.raises(InputError, match="is cut short"):
        list(read_blocks(damage(path, lambda data: data[: len(data) // 2]), 16000))
    samples[40000] = np.nan
    write(path, samples, subtype="FLOAT")
    with pytest.raises(InputError, match="has NaN as sample 40000"):
        list(read_blocks(path, 16000))


def test_info_has_rate_channels_and_length(tmp_path):
    path = write(tmp_path / "a.flac", noise(5000, channels=2), 8000)
    assert read_info(path) == AudioInfo(sample_rate=8000, channels=2, samples=5000)
    assert read_info(path).duration == 0.625


def test_reading_audio_imports_no_torch():
    code = "import asr.audio.load, sys; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Formats that need PyAV


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("webm", "libopus")])
def test_pyav_reads_what_soundfile_cannot(tmp_path, suffix, codec):
    t = np.arange(2 * 48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    container = {"m4a": "mp4", "webm": "webm"}[suffix]
    path = write_av(tmp_path / f"a.{suffix}", tone, 48000, codec, container)
    waveform = read_audio(path, 16000)
    assert abs(len(waveform) - 32000) < 0.05 * 16000
    middle = waveform[8000:24000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440  # bins of 1 Hz
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)
    info = read_info(path)
    assert (info.sample_rate, info.channels) == (48000, 1)
    part = read_audio(path, 16000, offset_s=0.5, duration_s=0.25)
    np.testing.assert_allclose(part, waveform[8000:12000], rtol=0, atol=1e-6)


def test_without_pyav_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    boxes = b"\0\0\0\x20ftypM4A " + bytes(20) + b"\0\0\0\x08moov" + b"\0\0\0\x08mdat"
    (tmp_path / "a.m4a").write_bytes(boxes)
    refused(tmp_path / "a.m4a", r"soundfile can't read it; .*pip install 'av>=18,<19'")


@pytest.mark.parametrize("has_pyav", [False, True])
@pytest.mark.parametrize("text", ["a text\n", "Zürich\n" * 20000])
def test_a_text_is_called_one(tmp_path, monkeypatch, has_pyav, text):
    if not has_pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.wav").write_text(text, "utf-8")
    refused(tmp_path / "a.wav", r"is a text; expected audio$")


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_media_file_cut_short_is_refused(tmp_path, container):
    path = write_av(tmp_path / "a", noise(96000), 48000, "aac", container, movflags="faststart")
    damage(path, lambda data: data[: len(data) // 2])
    refused(path, r"is cut short: its (box mdat .*|header) declares \d+ bytes; found \d+")


def test_files_that_libsndfile_would_end_early_are_read_whole(tmp_path):
    # libsndfile guesses the MP3's length, can't read the FLAC, and reads one of two joined Oggs
    quiet_end = noise(6 * 48000) * np.repeat([1.0, 1e-4], 3 * 48000)
    mp3 = write_av(tmp_path / "a.mp3", quiet_end, 48000, "libmp3lame", "mp3", write_xing="0")
    assert read_info(mp3).duration == pytest.approx(6, abs=0.1)
    flac = write(tmp_path / "a.flac", noise(48000), 48000)

    def forget_length(data):
        data[21] &= 0xF0
        data[22:26] = bytes(4)

    assert read_info(damage(flac, forget_length)).samples == 48000
    parts = [write(tmp_path / f"{n}.ogg", noise(48000), 48000).read_bytes() for n in range(2)]
    (tmp_path / "chain.ogg").write_bytes(b"".join(parts))
    assert read_info(tmp_path / "chain.ogg").duration == pytest.approx(2, abs=0.02)


def test_many_channels_through_pyav_do_not_crash(tmp_path):
    pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    samples = noise(4000, channels=18)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")

    def forget_sizes(data):  # as some programs write into a pipe; libsndfile reads none of it
        for position in (4, data.index(b"data") + 4):
            struct.pack_into("<I", data, position, 0)

    damage(path, forget_sizes)
    expected = samples.mean(axis=1)
    np.testing.assert_allclose(read_audio(path, 16000), expected, rtol=0, atol=1e-6)


# Refusals


def test_missing_and_empty_files_and_folders_are_refused(tmp_path):
    refused(tmp_path / "a.wav", r"no such file or directory; expected an audio file")
    refused(tmp_path, r"is a folder; expected an audio file")
    (tmp_path / "b.wav").touch()
    refused(tmp_path / "b.wav", r"is empty \(0 bytes\)")


@pytest.mark.parametrize(
    "suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a", ".sph", ".raw", ".gsm"]
)
@pytest.mark.parametrize(
    "content",
    [
        b"the quick brown fox\n" * 50,
        b"#EXTM3U\nhttp://localhost/a.mp3\n",
        b"R",
        np.random.default_rng(0).bytes(3000),
        bytes(3000),
    ],
    ids=["text", "playlist", "one byte", "garbage", "zeros"],
)
def test_files_that_are_not_audio_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refused(path, r"can't be read as audio|soundfile can't read it|is a text; expected audio")


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".ogg"])
def test_files_without_samples_are_refused(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", np.zeros(0), format=LOSSLESS.get(suffix, "OGG"))
    # soundfile writes such a FLAC empty, and refuses such a NIST file
    refused(path, r"holds 0 samples|is empty \(0 bytes\)|can't be read|soundfile can't read it")
    with pytest.raises(InputError):
        read_info(path)


@pytest.mark.parametrize(
    ("value", "found"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "inf"), (2e4, "2e")]
)
def test_samples_out_of_range_are_refused_with_their_position(tmp_path, value, found):
    samples = noise(2000, channels=2)
    samples[800, 1] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    refused(path, rf"has {found}.* as sample 800 \(0\.050 s\); expected samples in \[-1, 1\]")
    assert len(read_audio(path, 16000, channel=0)) == 2000


def test_a_missing_channel_and_a_late_offset_are_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(16000, channels=2))
    refused(path, r"has 2 channels; expected channel 2 among them", channel=2)
    refused(path, r"has 2 channels; expected channel -1 among them", channel=-1)
    refused(path, r"ends before 1 s; expected audio from there on", offset_s=1.0)
    refused(path, r"ends before 1e\+09 s", offset_s=1e9)
    resampled = write(tmp_path / "b.wav", noise(44100), 44100)
    refused(resampled, r"ends before 1 s", offset_s=1.0)


def test_arguments_out_of_range_are_value_errors(tmp_path):
    path = write(tmp_path / "a.wav", noise(1600))
    with pytest.raises(ValueError, match="sample_rate is 0; expected 1000 to 1000000 Hz"):
        read_audio(path, 0)
    with pytest.raises(ValueError, match="offset_s is -1"):
        read_audio(path, 16000, offset_s=-1)
    with pytest.raises(ValueError, match="duration_s is 0"):
        read_audio(path, 16000, duration_s=0)


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *[(name, "PCM_16") for name in ("WAV", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "FLAC")],
        *[("WAV", "FLOAT"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
    ],
)
def test_a_file_cut_short_is_refused(tmp_path, container, subtype, kept):
    path = write(tmp_path / "a", noise(48000, channels=2), format=container, subtype=subtype)
    assert len(read_audio(path, 16000)) == 48000
    damage(path, lambda data: data[: int(len(data) * kept)])
    refused(path, r"is cut short")


def test_an_ogg_cut_between_pages_is_refused(tmp_path):
    path = write(tmp_path / "a.ogg", noise(160000))
    damage(path, lambda data: data[: data.rindex(b"OggS")])
    refused(path, r"is cut short: no Ogg page is marked as the last")


def test_a_damaged_or_missing_ogg_page_is_refused(tmp_path):
    path = write(tmp_path / "a.ogg", noise(160000))
    whole = path.read_bytes()
    pages = [whole.index(b"OggS", 1)]
    while (position := whole.find(b"OggS", pages[-1] + 1)) > 0:
        pages.append(position)
    path.write_bytes(whole[: pages[2] + 300] + b"x" + whole[pages[2] + 301 :])
    refused(path, rf"the Ogg page at byte {pages[2]} has a wrong checksum")
    path.write_bytes(whole[: pages[2]] + whole[pages[3] :])
    refused(path, r"Ogg page 4; expected page 3")
    path.write_bytes(whole[: pages[2]] + b"junk" + whole[pages[2] :])
    refused(path, rf"is damaged at byte {pages[2]}: expected an Ogg page")


def test_an_mp3_with_frames_missing_or_damaged_is_refused(tmp_path):
    path = write(tmp_path / "a.mp3", noise(160000))
    whole = path.read_bytes()
    path.write_bytes(whole + b"TAG" + bytes(125))  # ID3v1: no damage
    assert len(read_audio(path, 16000)) == 160000
    frame = whole.index(whole[:2], len(whole) // 2)
    path.write_bytes(whole[:frame] + whole[frame + 20 :])
    refused(path, r"is damaged at byte \d+: expected an MP3 frame|is cut short")
    path.write_bytes(whole + whole)
    assert len(read_audio(path, 16000)) == 2 * 160000


def test_a_damaged_flac_frame_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", noise(48000))

    def flip(data):
        data[len(data) // 2] ^= 1

    refused(damage(path, flip), r"is cut short or damaged: ")


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, size):
    if size == 0:
        pytest.importorskip("av", reason="PyAV, of the extra [media], is not installed")
    path = write(tmp_path / "a.wav", noise(5000), subtype="PCM_16")
    expected = read_audio(path, 16000)

    def forget_sizes(data):
        struct.pack_into("<I", data, 4, min(size + 36, 0xFFFFFFFF))
        struct.pack_into("<I", data, 40, size)

    np.testing.assert_array_equal(read_audio(damage(path, forget_sizes), 16000), expected)


@pytest.mark.parametrize(
    ("form", "position", "value", "match"),
    [
        ("<I", 24, 0, r"0 Hz|can't be read|soundfile"),
        ("<I", 24, 1, r"its header says 1 Hz; expected 1000 to 1000000"),
        ("<I", 24, 3_000_000_000, r"Hz|can't be read|soundfile|damaged"),
        ("<H", 22, 0, r"channels|can't be read|soundfile"),
        ("<H", 22, 1000, r"1000 channels"),
        ("<I", 40, 0x7E000000, r"is cut short: its header declares 2113929216 bytes"),
    ],
)
def test_an_impossible_wav_header_is_refused(tmp_path, form, position, value, match):
    path = write(tmp_path / "a.wav", noise(5000), subtype="PCM_16")
    refused(damage(path, lambda data: struct.pack_into(form, data, position, value)), match)


def test_a_flac_that_declares_2_to_the_36_samples_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", noise(5000))

    def declare(data):
        data[21] |= 0x0F
        data[22:26] = b"\xff" * 4

    refused(damage(path, declare), r"is cut short or damaged")


def test_shorten_in_a_sphere_file_is_refused_with_advice(tmp_path):
    header = "NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path = tmp_path / "SA1.WAV"
    path.write_bytes(header.encode().ljust(1024) + bytes(1000))
    refused(path, r"is packed with shorten; expected plain samples \(sph2pipe unpacks them\)")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".sph"])
def test_files_cut_within_the_header_are_refused(tmp_path, suffix):
    whole = io.BytesIO()
    form = {**LOSSLESS, ".ogg": "OGG", ".mp3": "MP3"}[suffix]
    soundfile.write(whole, noise(2000), 16000, format=form)
    path = tmp_path / f"a{suffix}"
    for size in range(1, 120):
        path.write_bytes(whole.getvalue()[:size])
        refused(path, r": .")
