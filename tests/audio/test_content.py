import os
import re
import subprocess
import sys
import threading
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from audio_files import assert_refused, encoded, noise, saved

from asr.audio import content
from asr.audio.content import View, opened
from asr.audio.load import read_audio, read_info
from asr.errors import InputError


def fed(path, data):
    """A named pipe, and a thread that writes into it."""

    def feed():
        with suppress(BrokenPipeError):
            path.write_bytes(data)

    os.mkfifo(path)
    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def test_a_view_joins_ranges_of_a_file_and_bytes(tmp_path):
    data = np.random.default_rng(0).bytes(1 << 20)
    path = saved(tmp_path / "a", data)
    with path.open("rb") as file:
        view = View(file, path, [range(100, 700_000), b"between", range(5)])
        expected = data[100:700_000] + b"between" + data[:5]
        assert view.size == len(expected)
        assert view.read() == expected
        rng = np.random.default_rng(1)
        for start, count in rng.integers(0, len(expected), (200, 2)):
            assert view.bytes_at(start, count) == expected[start : start + count]
        for start, stop in np.sort(rng.integers(0, len(expected), (20, 2))):
            assert view.part(start, stop).read() == expected[start:stop]
        assert view.find(b"between", 0) == 699_900
        assert view.find(b"nowhere to be found", 0) == -1
        twice = view.parts([range(10), range(5, 20)])
        assert twice.read() == expected[:10] + expected[5:20]
        assert view.replaced(3, b"xy").bytes_at(0, 8) == expected[:3] + b"xy" + expected[5:8]


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_a_search_finds_what_re_finds(tmp_path, monkeypatch, block):
    monkeypatch.setattr(content, "_BLOCK", block)
    data = bytes(np.random.default_rng(block).integers(97, 100, 300, dtype=np.uint8))
    pattern = re.compile(b"aab?a|cc")
    with opened(saved(tmp_path / "a", data)) as view:
        for start in range(len(data) + 2):
            found = pattern.search(data, start)
            assert view.search(pattern, 4, start) == (found.start() if found else -1)


def test_holes_count_as_zeros_in_a_run_of_equal_bytes(tmp_path):
    path = saved(tmp_path / "a", b"ab" + bytes(5))
    with path.open("r+b") as file:
        file.seek(1 << 32)
        file.write(b"c\xff\xff")
    with opened(path) as view:
        assert view.run_end(2) == 1 << 32
        assert view.run_end(0) == 1
        assert view.run_end(view.size - 2) == view.size
        assert view.find(b"c", 0) == 1 << 32


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_pipe_is_read(tmp_path, container):
    subtype = "VORBIS" if container == "OGG" else "PCM_16"
    data = encoded(noise(50000), container, subtype)
    expected = read_audio(saved(tmp_path / "a", data), 16000)
    writer = fed(tmp_path / "pipe", data)
    np.testing.assert_array_equal(read_audio(tmp_path / "pipe", 16000), expected)
    writer.join()


def test_a_pipe_is_read_in_bounded_memory(tmp_path):
    data = encoded(np.zeros(40 << 20, np.int16), "WAV")  # 80 MB
    writer = fed(tmp_path / "pipe", data)
    tracemalloc.start()
    assert read_info(tmp_path / "pipe").samples == 40 << 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.join()
    assert peak < 8e6


def test_an_endless_pipe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MAX_PIPED", 1 << 20)
    writer = fed(tmp_path / "pipe", encoded(noise(1 << 20), "WAV"))
    assert_refused(tmp_path / "pipe", r"gives more than .*; expected a file instead of a pipe")
    writer.join()


CODE = """
import sys
from asr.audio.load import read_audio
try:
    print(len(read_audio(sys.argv[1], 16000)))
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_read(tmp_path, name):
    path = saved(tmp_path / "a.wav", encoded(noise(5000), "WAV"))
    command = [sys.executable, "-c", CODE, name]
    piped = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=True)
    assert piped.stdout == b"5000\n"
    with path.open("rb") as file:
        redirected = subprocess.run(command, stdin=file, capture_output=True, check=True)
    assert redirected.stdout == b"5000\n"
    nothing = subprocess.run(command, input=b"", capture_output=True, check=True)
    assert nothing.stdout.startswith(f"{name}: is empty (0 bytes)".encode())


def test_devices_are_refused():
    assert_refused("/dev/zero", r"is not a regular file or a pipe")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = saved(tmp_path / "a.wav", encoded(noise(5000), "WAV"))
    for change in (-100, 100):
        size = path.stat().st_size
        changes = pytest.raises(InputError, match=r"a.wav: has changed while it was read")
        with changes, opened(path):
            os.truncate(path, size + change)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_that_shrinks_while_it_is_decoded_is_refused(tmp_path, container, monkeypatch):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    path = saved(tmp_path / "a", encoded(noise(400_000), container, subtype))
    monkeypatch.setattr("asr.audio.decoders._BLOCK", 5000)
    # `_check_memory` is called before and between the blocks
    monkeypatch.setattr("asr.audio.load._check_memory", lambda *_: os.truncate(path, 1000))
    assert_refused(path, r"is cut short or damaged|has changed while it was read")
