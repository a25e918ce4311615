import numpy as np
import pytest
from audio_files import assert_refused, changed, noise, saved, write_av

from asr.audio.load import read_audio, read_info

RATE = 48000
CLUSTER = b"\x1f\x43\xb6\x75"


def write(path, codec="libopus", **options):
    return write_av(path, noise(2 * RATE), RATE, codec, "matroska", **options)


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_a_live_stream_is_read_whole(tmp_path, codec):
    # the header of Matroska contains that of FLAC, which must not count as a second file
    live = write(tmp_path / "live", codec, is_live=True)
    waveform = read_audio(live, RATE)
    np.testing.assert_array_equal(waveform, read_audio(write(tmp_path / "a", codec), RATE))
    twice = saved(tmp_path / "twice", live.read_bytes(), live.read_bytes())
    np.testing.assert_array_equal(read_audio(twice, RATE), np.concatenate([waveform] * 2))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("is_live", [True, False])
def test_a_file_cut_short_is_refused(tmp_path, is_live, kept):
    data = write(tmp_path / "whole", is_live=is_live).read_bytes()
    path = saved(tmp_path / "cut", data[: int(kept * len(data))])
    what = "its last Matroska element" if is_live else rf"its header declares {len(data)} bytes"
    assert_refused(path, rf"is cut short: {what}")


def test_bytes_after_a_live_stream_are_ignored(tmp_path):
    data = write(tmp_path / "live", is_live=True).read_bytes()
    expected = read_info(tmp_path / "live").samples
    for trailing in (b"\n", bytes(5000), b"TAG" + bytes(125)):
        assert read_info(saved(tmp_path / "a", data, trailing)).samples == expected


def test_a_damaged_element_is_refused(tmp_path):
    data = write(tmp_path / "whole", cluster_time_limit="500").read_bytes()
    second = data.index(CLUSTER, data.index(CLUSTER) + 1)
    assert_refused(
        saved(tmp_path / "a", changed(data, second, "B", 0)),
        rf"is damaged at byte {second}: expected a Matroska element",
    )
    live = write(tmp_path / "live", is_live=True, cluster_time_limit="500").read_bytes()
    second = live.index(CLUSTER, live.index(CLUSTER) + 1)
    third = live.index(CLUSTER, second + 1)
    assert third > 0
    assert_refused(
        saved(tmp_path / "a", changed(live, second, "B", 0)),
        rf"is damaged at byte {second}: expected a Matroska element",
    )


def test_a_flipped_bit_breaks_the_checksum_of_a_cluster(tmp_path):
    data = write(tmp_path / "whole").read_bytes()
    place = len(data) // 2
    path = saved(tmp_path / "a", changed(data, place, "B", data[place] ^ 1))
    assert_refused(path, r"is damaged: the Matroska cluster at byte \d+ has a wrong checksum")
