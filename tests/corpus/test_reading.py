import itertools
import threading
import time

import numpy as np
import pytest
import soundfile

from asr.audio.augment import AugmentSettings, WaveformAugmenter
from asr.corpus.batching import BucketSampler, UtteranceDraw
from asr.corpus.cache import WaveformCache
from asr.corpus.dataset import Example, SpeechDataset
from asr.corpus.manifest import Utterance
from asr.corpus.reading import BatchReader, made_ahead, read_ahead
from asr.errors import InputError
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer

SAMPLE_RATE = 8000
N = 24


class Echo:
    """Examples whose ids are EPOCH.INDEX of their draws."""

    def __getitem__(self, draw):
        return Example(f"{draw.epoch}.{draw.index}", np.zeros(1, np.float32), ())


def reader_of(sampler, n_threads=3):
    return BatchReader(Echo(), sampler, n_threads=n_threads)


def sampler_of(**options):
    lengths = np.random.default_rng(0).lognormal(1, 0.6, 100)
    return BucketSampler(lengths, max_total=20, **options)


def ids(batches):
    return [batch.ids for batch in batches]


@pytest.fixture
def utterances(tmp_path):
    made = []
    for n in range(N):
        path = tmp_path / f"u{n}.wav"
        generator = np.random.default_rng(n)
        samples = int(generator.integers(2000, 8000))
        soundfile.write(path, 0.1 * generator.standard_normal(samples), SAMPLE_RATE)
        made.append(Utterance(f"u{n}", str(path), samples / SAMPLE_RATE, "ab"))
    return made


def noisy(utterances, cache=None):
    tokenizer = CharTokenizer((BLANK_SYMBOL, "a", "b"))
    speeds = (0.9, 1.0, 1.1)
    dataset = SpeechDataset(utterances, tokenizer, SAMPLE_RATE, speeds, seed=3, cache=cache)
    settings = AugmentSettings(noise_probability=0.7, reverb_probability=0.3)
    dataset.augmenter = WaveformAugmenter(settings, SAMPLE_RATE, speech=dataset.waveforms)
    return dataset


@pytest.mark.parametrize("n_threads", [0, 1, 2, 7, None])
def test_items_are_in_order_for_any_number_of_threads(n_threads):
    def load(item):
        time.sleep(0.001 * (item % 3))
        return item**2

    assert list(read_ahead(load, range(20), n_threads)) == [item**2 for item in range(20)]
    assert list(read_ahead(load, [], n_threads)) == []


@pytest.mark.parametrize("n_threads", [0, 1, 4])
@pytest.mark.parametrize("room", [0, 50e3, 1e9], ids=["none kept", "some kept", "all kept"])
def test_augmentation_does_not_depend_on_threads_or_cache(utterances, n_threads, room):
    def batches(cache, n_threads):
        dataset = noisy(utterances, cache)
        lengths = [utterance.duration for utterance in utterances]
        reader = BatchReader(
            dataset, BucketSampler(lengths, 3, 1, dataset.duration), n_threads=n_threads
        )
        return [*reader, *reader]  # two epochs

    expected, found = batches(None, 0), batches(WaveformCache(room), n_threads)
    assert ids(found) == ids(expected)
    for batch, other in zip(found, expected, strict=True):
        assert batch.waveforms.numpy().tobytes() == other.waveforms.numpy().tobytes()
        assert batch.sample_lengths.tolist() == other.sample_lengths.tolist()
        assert batch.targets.tolist() == other.targets.tolist()


def test_a_limited_number_of_items_is_loaded_ahead():
    loaded = []
    items = read_ahead(loaded.append, range(100), n_threads=3)
    next(items)
    deadline = time.monotonic() + 10
    while len(loaded) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert sorted(loaded) == [0, 1, 2, 3]


def test_threads_load_at_the_same_time():
    together = threading.Barrier(3, timeout=20)  # raises an error if a thread waits alone
    assert len(list(read_ahead(lambda _: together.wait(), range(6), n_threads=3))) == 6


@pytest.mark.parametrize("n_threads", [0, 1, 3])
def test_an_error_is_raised_in_order_and_ends_loading(n_threads):
    loaded = []

    def load(item):
        loaded.append(item)
        if item == 5:
            raise InputError("u5.wav: is cut short")
        return item

    items = read_ahead(load, range(1000), n_threads)
    assert list(itertools.islice(items, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"^u5.wav: is cut short$"):
        next(items)
    assert list(items) == []
    assert len(loaded) < 15


def test_an_unreadable_file_is_named_with_and_without_threads(utterances):
    with open(utterances[7].audio, "wb") as file:
        file.write(b"no\0audio at all")
    for n_threads in (0, 2):
        batches = [[UtteranceDraw(index, 0)] for index in range(N)]
        with pytest.raises(InputError, match=r"^utterance u7: .*u7.wav: can't be read as audio"):
            list(BatchReader(noisy(utterances), batches, n_threads=n_threads))


def test_items_are_made_ahead_and_an_error_comes_in_its_place():
    made = []

    def items():
        for item in range(3):
            made.append(item)
            yield item
        raise InputError("a.wav: is cut")

    found = made_ahead(items())
    assert next(found) == 0
    deadline = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2]  # one is ready, and one is made
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(InputError, match=r"a.wav: is cut"):
        next(found)
    assert list(made_ahead(range(100))) == list(range(100))


def test_closing_the_iterator_ends_its_threads():
    def reading():
        return [one for one in threading.enumerate() if one.name.startswith("read_ahead")]

    for _ in range(5):
        items = read_ahead(lambda item: item, range(100), n_threads=4)
        next(items)
        items.close()
    deadline = time.monotonic() + 10
    while reading() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not reading()


# --- resuming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [1, 5, -1])
def test_a_resumed_reader_gives_exactly_the_remaining_batches(taken):
    whole = sampler_of()
    epochs = [[tuple(f"{d.epoch}.{d.index}" for d in batch) for batch in whole] for _ in range(3)]
    taken %= len(whole)
    stopped = sampler_of()
    batches = iter(reader_of(stopped))
    assert ids(itertools.islice(batches, taken)) == epochs[0][:taken]
    time.sleep(0.01)  # meanwhile the threads read ahead
    assert stopped.state_dict() == {"epoch": 0, "taken": taken}
    resumed = sampler_of()
    resumed.load_state_dict(stopped.state_dict())
    reader = reader_of(resumed)
    assert [ids(reader) for _ in range(3)] == [epochs[0][taken:], epochs[1], epochs[2]]


def test_an_interrupted_pass_continues_with_the_next_batch():
    # as when Lightning's limit_train_batches ends an epoch early
    sampler = sampler_of()
    expected = [batch for _ in range(2) for batch in sampler.batches(0)[: len(sampler)]]
    reader = reader_of(sampler)
    found = []
    while len(found) < len(sampler):
        found += ids(itertools.islice(reader, 3))
    assert found == [tuple(f"0.{draw.index}" for draw in b) for b in expected[: len(found)]]


def test_a_list_of_batches_is_the_same_in_every_pass():
    reader = reader_of([[UtteranceDraw(0, 0), UtteranceDraw(2, 0)], [UtteranceDraw(1, 0)]])
    assert len(reader) == 2
    for _ in range(3):
        assert ids(reader) == [("0.0", "0.2"), ("0.1",)]


def test_batches_are_prepared_by_the_reading_threads():
    def prepare(batch):
        return batch._replace(ids=(threading.current_thread().name, *batch.ids))

    batches = [[UtteranceDraw(index, 0)] for index in range(6)]
    found = ids(BatchReader(Echo(), batches, prepare, n_threads=2))
    assert [id for _, id in found] == [f"0.{index}" for index in range(6)]
    assert all(name.startswith("read_ahead") for name, _ in found)
