import threading
import warnings

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, spoken

from asr.audio.load import AudioWarning
from asr.audio.segments import SegmentSettings
from asr.errors import InputError
from asr.recognizer import Recognizer, load
from asr.transcribing.files import transcribe_files


@pytest.fixture(scope="module")
def recognizer(tone_model):
    """With recordings of more than 1 s as long ones."""
    settings = SegmentSettings("energy", min_pause_s=0.1, padding_s=0.05, max_segment_s=1.0)
    model = load(tone_model, "cpu")
    return Recognizer(model.model, model.decoder, settings)


@pytest.fixture
def paths(tmp_path):
    """Recordings of 0.2 to 2 s in mixed order, four of them long."""
    texts = ["a b", "a b b", "b", "a b a b a b a b a b a b a", "b a a b", "a"] * 4
    paths = [tmp_path / f"{number:02d}.wav" for number in range(len(texts))]
    for number, (path, text) in enumerate(zip(paths, texts, strict=True)):
        soundfile.write(path, spoken(text, seed=number), SAMPLE_RATE)
    return paths


def assert_same(result, expected):
    assert result.text == expected.text
    assert result.duration == expected.duration
    assert result.log_prob == pytest.approx(expected.log_prob, abs=1e-4)
    for word, other in zip(result.words, expected.words, strict=True):
        assert (word.text, word.start, word.end) == (other.text, other.start, other.end)
        assert word.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert len(result.segments) == len(expected.segments)


@pytest.mark.parametrize("batch_s", [0, 0.7, 2, 1000])
def test_results_are_those_of_one_by_one(recognizer, paths, batch_s):
    results = list(transcribe_files(recognizer, paths, batch_s=batch_s))
    for result, path in zip(results, paths, strict=True):
        assert_same(result, recognizer.transcribe(path))
    assert list(transcribe_files(recognizer, [], batch_s=batch_s)) == []


def test_batches_are_of_similar_length_and_bounded(recognizer, paths, monkeypatch):
    original = Recognizer.transcribe_batches
    batches = []

    def spy(self, groups):
        batches.extend([len(one.waveform) / SAMPLE_RATE for one in group] for group in groups)
        return original(self, groups)

    monkeypatch.setattr(Recognizer, "transcribe_batches", spy)
    list(transcribe_files(recognizer, [path for path in paths if "3" not in path.stem], batch_s=2))
    assert max(map(len, batches)) > 1
    for batch in batches:
        assert max(batch) * len(batch) <= 2
    batches.clear()
    list(transcribe_files(recognizer, paths[:3], batch_s=0))
    assert list(map(len, batches)) == [1, 1, 1]


def test_a_damaged_file_in_the_middle_stops_no_other(recognizer, paths):
    paths[8].write_bytes(paths[8].read_bytes()[:1000])
    paths[15].unlink()
    results = list(transcribe_files(recognizer, paths))
    for number, (result, path) in enumerate(zip(results, paths, strict=True)):
        if number in (8, 15):
            assert isinstance(result, InputError)
            assert str(result).startswith(f"{path}: ")
        else:
            assert_same(result, recognizer.transcribe(path))


@pytest.mark.parametrize("stage", ["log_probs", "transcripts"])
def test_a_recording_that_fails_in_a_batch_fails_alone(recognizer, paths, stage, monkeypatch):
    original = getattr(Recognizer, stage)
    soundfile.write(paths[4], spoken("a b a b", seed=4), SAMPLE_RATE)
    faulty = len(recognizer.start_reading(paths[4]).waveform)

    def refuse_one(self, batch, samples=None):
        if faulty in (samples or [len(waveform) for waveform in batch]):
            raise RuntimeError("a bug")
        return original(self, batch, samples) if samples else original(self, batch)

    monkeypatch.setattr(Recognizer, stage, refuse_one)
    results = list(transcribe_files(recognizer, paths[:6]))
    assert [isinstance(result, RuntimeError) for result in results] == [n == 4 for n in range(6)]


def test_reading_is_bounded_and_stops_with_the_caller(recognizer, paths):
    taken = []

    def many():
        for number in range(1000):
            taken.append(number)
            yield paths[0]

    before = threading.active_count()
    results = transcribe_files(recognizer, many(), batch_s=1)
    next(results)
    # 0.36 s each: three windows of four batches
    assert len(taken) <= 3 * (4 / 0.36 + 1)
    results.close()
    for thread in threading.enumerate():
        if thread.daemon and "make" in thread.name:
            thread.join(timeout=30)
    assert threading.active_count() <= before
    assert len(taken) < 100


def test_warnings_of_the_reader_reach_the_caller(recognizer, tmp_path):
    tone = spoken("a b", seed=0)
    soundfile.write(tmp_path / "two.wav", np.stack([tone, -tone], axis=1), SAMPLE_RATE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AudioWarning)
        list(transcribe_files(recognizer, [tmp_path / "two.wav"]))
    assert ["cancel each other" in str(warning.message) for warning in caught] == [True]


def test_a_negative_batch_is_refused(recognizer):
    with pytest.raises(ValueError, match="batch_s is -1; expected 0 or more seconds"):
        next(transcribe_files(recognizer, [], batch_s=-1))
