import struct

import pytest
from audio_files import assert_refused, encoded, noise, saved, write_av

from asr.audio.load import read_audio, read_info

LAST = 4  # flag of a page
SUBTYPES = ["VORBIS", "OPUS"]


def pages_of(data):
    pages = []
    while data:
        size = 27 + data[26] + sum(data[27 : 27 + data[26]])
        pages.append(bytearray(data[:size]))
        data = data[size:]
    return pages


def checked(page):
    """The page with a right checksum, computed bit by bit."""
    page[22:26] = bytes(4)
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value & 1 << 31 else 0)
    page[22:26] = value.to_bytes(4, "little")
    return page


def granule_of(page):
    return struct.unpack_from("<q", page, 6)[0]


def with_granule(page, granule):
    page = bytearray(page)
    page[6:14] = struct.pack("<q", granule)
    return checked(page)


def with_empty_last_page(pages, granule):
    """The same pages, but the end of the stream is marked by one more, without content."""
    last = bytearray(pages[-1])
    last[5] &= ~LAST
    number = struct.unpack_from("<I", last, 18)[0] + 1
    empty = bytearray(struct.pack("<4s2Bq", b"OggS", 0, LAST, granule))
    empty += last[14:18] + struct.pack("<I", number) + bytes(5)
    return [*pages[:-1], checked(last), checked(empty)]


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("share", [0.5, 0, -1])
def test_an_end_before_the_last_page_is_refused(tmp_path, subtype, share):
    *pages, last = pages_of(encoded(noise(80000), "OGG", subtype))
    granule = -1 if share < 0 else round(granule_of(last) * share)
    path = saved(tmp_path / "a.ogg", *pages, with_granule(last, granule))
    assert_refused(path, rf"is damaged: its last Ogg page ends at sample {granule}, as it says")


def test_opus_packets_beyond_the_declared_end_are_refused(tmp_path):
    pages = pages_of(encoded(noise(80000), "OGG", "OPUS"))
    halved = [with_granule(page, granule_of(page) // 2) for page in pages]
    path = saved(tmp_path / "a.opus", *halved)
    assert_refused(path, r"its Ogg pages declare 12\d+ samples at 48 kHz; its packets hold 24\d+")


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("samples", [1, 100, 15999, 16000, 80000])
def test_padding_of_the_last_packet_is_cut_off(tmp_path, subtype, samples):
    path = saved(tmp_path / "a.ogg", encoded(noise(samples), "OGG", subtype))
    assert read_info(path).samples == len(read_audio(path, 16000)) == samples


def test_opus_cut_from_a_longer_stream_is_read(tmp_path):
    pages = pages_of(encoded(noise(80000), "OGG", "OPUS"))
    later = [with_granule(page, granule_of(page) + 10**9) for page in pages[2:]]
    path = saved(tmp_path / "a.opus", *pages[:2], *later)
    assert read_info(path).samples == 80000


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("granule", ["right", 0, -1])
def test_an_empty_page_may_end_a_stream(tmp_path, subtype, granule):
    data = encoded(noise(80000), "OGG", subtype)
    pages = pages_of(data)
    granule = granule_of(pages[-1]) if granule == "right" else granule
    path = saved(tmp_path / "a.ogg", *with_empty_last_page(pages, granule))
    expected = read_audio(saved(tmp_path / "b.ogg", data), 16000)
    assert read_audio(path, 16000).tolist() == expected.tolist()
    assert read_info(saved(path, path.read_bytes(), data)).samples == 160000


def test_ogg_files_of_ffmpeg_are_read(tmp_path):
    for codec in ("flac", "libopus"):
        path = write_av(tmp_path / f"{codec}.ogg", noise(48000), 48000, codec, "ogg")
        assert read_info(path).samples == len(read_audio(path, 48000)) == 48000
