import re

import numpy as np
import pytest
import soundfile
import torch

from asr.audio.augment import AugmentSettings, WaveformAugmenter
from asr.audio.load import read_audio
from asr.corpus.batching import UtteranceDraw
from asr.corpus.cache import WaveformCache
from asr.corpus.dataset import Example, SpeechDataset, collate
from asr.corpus.manifest import Utterance
from asr.errors import InputError
from asr.text.tokenizer import BLANK_SYMBOL, CharTokenizer

SAMPLE_RATE = 8000
TOKENIZER = CharTokenizer((BLANK_SYMBOL, " ", "a", "b"))
SECONDS = [0.5, 0.8, 0.3]


@pytest.fixture
def utterances(tmp_path):
    made = []
    for n, (seconds, text) in enumerate(zip(SECONDS, ["ab", "a b a", ""], strict=True)):
        path = tmp_path / f"u{n}.wav"
        noise = 0.1 * np.random.default_rng(n).standard_normal(round(seconds * SAMPLE_RATE))
        soundfile.write(path, noise, SAMPLE_RATE, subtype="PCM_16")
        made.append(Utterance(f"u{n}", str(path), seconds, text))
    return made


def dataset_of(utterances, **options):
    return SpeechDataset(utterances, TOKENIZER, SAMPLE_RATE, **options)


def noisy(utterances, **options):
    settings = AugmentSettings(noise_probability=0.5, reverb_probability=0.5)
    augmenter = WaveformAugmenter(settings, SAMPLE_RATE)
    speeds = (0.9, 1.0, 1.1)
    return dataset_of(utterances, speeds=speeds, augmenter=augmenter, **options)


DRAWS = [UtteranceDraw(index, epoch) for epoch in range(4) for index in range(3)]


def test_an_example_is_the_file_and_its_text(utterances):
    dataset = dataset_of(utterances)
    assert len(dataset) == 3
    for n, utterance in enumerate(utterances):
        expected, _ = soundfile.read(utterance.audio, dtype="float32")
        example = dataset[UtteranceDraw(n, 0)]
        np.testing.assert_array_equal(example.waveform, expected)
        assert TOKENIZER.decode(example.tokens) == utterance.text
        assert example.id == utterance.id


def test_an_example_does_not_depend_on_earlier_draws(utterances):
    dataset, other = noisy(utterances, cache=WaveformCache(1e9)), noisy(utterances)
    first = [dataset[draw] for draw in DRAWS]
    again = [dataset[draw] for draw in DRAWS]
    backwards = [other[draw] for draw in reversed(DRAWS)][::-1]
    for examples in zip(first, again, backwards, strict=True):
        for example in examples[1:]:
            np.testing.assert_array_equal(example.waveform, examples[0].waveform)


def test_epochs_and_seeds_give_different_examples(utterances):
    examples = [
        noisy(utterances, seed=seed)[UtteranceDraw(0, epoch)].waveform.tobytes()
        for seed in range(2)
        for epoch in range(20)
    ]
    assert len(set(examples)) > 20  # a quarter has neither noise nor reverberation, only 3 speeds


def test_utterances_of_an_epoch_have_different_augmentation(utterances):
    dataset = noisy([utterances[0]] * 20)
    assert len({dataset[UtteranceDraw(index, 0)].waveform.tobytes() for index in range(20)}) > 10


def test_durations_are_those_of_the_examples(utterances):
    dataset = dataset_of(utterances, speeds=(0.8, 1.0, 1.25))
    seen = set()
    for draw in [UtteranceDraw(index, epoch) for epoch in range(10) for index in range(3)]:
        expected = dataset.duration(draw)
        assert len(dataset[draw].waveform) == pytest.approx(expected * SAMPLE_RATE, abs=1)
        seen.add(round(SECONDS[draw.index] / expected, 3))
    assert seen == {0.8, 1.0, 1.25}


def test_decoded_audio_is_kept_up_to_the_limit(utterances, monkeypatch):
    read = []
    monkeypatch.setattr(
        "asr.corpus.recordings.read_audio",
        lambda path, rate: read.append(path) or read_audio(path, rate),
    )
    room_for_two = 2 * SAMPLE_RATE * (0.5 + 0.3)
    dataset = dataset_of(utterances, cache=WaveformCache(room_for_two))
    for epoch in range(3):
        for index in range(3):
            dataset[UtteranceDraw(index, epoch)]
    assert [read.count(utterance.audio) for utterance in utterances] == [1, 3, 1]


def test_waveforms_are_read_only(utterances):
    for cache in (None, WaveformCache(1e9)):
        dataset = dataset_of(utterances, cache=cache)
        for _ in range(2):
            with pytest.raises(ValueError, match="read-only"):
                dataset.waveform(0)[0] = 1.0


def test_waveforms_are_the_recordings_without_augmentation(utterances):
    dataset = noisy(utterances)
    waveforms = dataset.waveforms
    assert len(waveforms) == 3
    for found, utterance in zip(waveforms, utterances, strict=True):
        expected, _ = soundfile.read(utterance.audio, dtype="float32")
        np.testing.assert_array_equal(found, expected)


def test_examples_are_padded_to_a_batch():
    examples = [
        Example("x", np.array([0.1, 0.2], np.float32), (2, 3, 2)),
        Example("y", np.array([0.3], np.float32), ()),
        Example("z", np.array([0.4, 0.5, 0.6], np.float32), (1,)),
    ]
    batch = collate(examples)
    assert batch.waveforms.dtype == torch.float32
    np.testing.assert_array_equal(
        batch.waveforms, np.array([[0.1, 0.2, 0], [0.3, 0, 0], [0.4, 0.5, 0.6]], np.float32)
    )
    assert batch.targets.tolist() == [[2, 3, 2], [0, 0, 0], [1, 0, 0]]
    assert batch.sample_lengths.tolist() == [2, 1, 3]
    assert batch.target_lengths.tolist() == [3, 0, 1]
    integers = batch.targets, batch.sample_lengths, batch.target_lengths
    assert {tensor.dtype for tensor in integers} == {torch.int64}
    assert batch.ids == ("x", "y", "z")


def test_a_batch_without_any_text_has_no_targets():
    batch = collate([Example("x", np.zeros(2, np.float32), ())])
    assert batch.targets.shape == (1, 0)


# --- refusals ---------------------------------------------------------------------------------


def test_a_character_outside_the_alphabet_is_refused_with_its_utterance(utterances):
    wrong = Utterance("u9", "u9.wav", 1.0, "abc")
    with pytest.raises(InputError, match=r"^utterance u9: character 'c' .* is not in the alphabet"):
        dataset_of([*utterances, wrong])


def test_a_duration_that_differs_from_the_manifest_is_refused(utterances):
    path = utterances[0].audio
    dataset = dataset_of([Utterance("u0", path, 0.53, "a")])
    message = f"utterance u0: {path}: has 0.50 s of audio; its manifest says 0.53 s"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        dataset[UtteranceDraw(0, 0)]


def test_a_missing_file_is_named(utterances):
    dataset = dataset_of([Utterance("u9", "nowhere/u9.wav", 1.0, "a")])
    with pytest.raises((InputError, OSError), match=r"nowhere/u9.wav"):
        dataset[UtteranceDraw(0, 0)]
