import contextlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.corpus.manifest import Utterance
from asr.corpus.recordings import check_durations, load_utterance
from asr.errors import InputError

SAMPLE_RATE = 8000


@pytest.fixture
def recording(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    soundfile.write(tmp_path / "a.wav", noise, SAMPLE_RATE, subtype="PCM_16")
    return str(tmp_path / "a.wav")


def utterance(audio, duration, offset=None, id="a1"):
    return Utterance(id, audio, duration, "yes", offset=offset)


def test_an_utterance_with_an_offset_has_that_part_of_the_file(recording):
    whole, _ = soundfile.read(recording, dtype="float32")
    np.testing.assert_array_equal(load_utterance(utterance(recording, 2.0), SAMPLE_RATE), whole)
    part = load_utterance(utterance(recording, 0.5, 0.25), SAMPLE_RATE)
    np.testing.assert_array_equal(part, whole[2000:6000])
    first = load_utterance(utterance(recording, 0.5, 0.0), SAMPLE_RATE)
    np.testing.assert_array_equal(first, whole[:4000])


def test_right_durations_pass(recording):
    right = [(2.0, None), (2.01, None), (0.5, 0.0), (0.5, 1.5), (2.0, 0.0)]
    check_durations("a.jsonl", [utterance(recording, *one) for one in right])


def test_all_wrong_durations_are_named_at_once(tmp_path, recording):
    (tmp_path / "none.wav").write_bytes(b"no\0audio")
    utterances = [
        utterance(recording, 2.0, id="right"),
        utterance(recording, 1.9, id="short"),
        utterance(recording, 0.5, 1.6, id="beyond"),
        utterance(str(tmp_path / "none.wav"), 1.0, id="none"),
    ]
    with pytest.raises(InputError) as caught:
        check_durations("a.jsonl", utterances)
    line = str(caught.value)
    assert line.startswith("a.jsonl: 3 of 4 utterances have audio that can't be used: none (")
    assert "; and other audio than their duration says: short (" in line
    assert "short (2.00 s of audio, 1.90 s in the manifest)" in line
    assert "beyond (2.00 s of audio, 2.10 s with offset and duration in the manifest)" in line
    assert re.search(r"none \(\S+none.wav: can't be read as audio", line)


def test_a_wrong_header_is_not_reported_as_a_wrong_duration(monkeypatch, recording):
    header = contextlib.nullcontext(SimpleNamespace(frames=4000, samplerate=SAMPLE_RATE))
    monkeypatch.setattr("asr.corpus.recordings.soundfile.SoundFile", lambda path: header)
    read = SimpleNamespace(duration=2.0)
    monkeypatch.setattr("asr.corpus.recordings.read_info", lambda path: read)
    check_durations("a.jsonl", [utterance(recording, 2.0), utterance(recording, 1.0, 1.0)])
