import copy
import pickle
import threading

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLE_RATE, run_script, spoken
from safetensors.torch import load_file

import asr
from asr.audio.load import read_audio
from asr.audio.segments import SegmentSettings, speech_segments
from asr.corpus.manifest import read_manifest
from asr.decoder import Decoder, DecoderSettings
from asr.errors import InputError
from asr.recognizer import Recognizer, load
from asr.search.confidence import ConfidenceWeights
from asr.search.greedy import greedy_search


@pytest.fixture(scope="module")
def recognizer(tone_model):
    return load(tone_model, "cpu")


@pytest.fixture(scope="module")
def utterances(tone_model):
    return read_manifest(tone_model.parent / "tones" / "train.jsonl")


def test_training_utterances_are_recognised(recognizer, utterances):
    texts = [recognizer.transcribe(utterance.audio).text for utterance in utterances]
    right = sum(text == utterance.text for text, utterance in zip(texts, utterances, strict=True))
    assert right > len(utterances) / 2


def test_transcribe_equals_its_steps_one_by_one(tone_model, recognizer, utterances):
    utterance = utterances[5]
    transcript = asr.load(tone_model, device="cpu").transcribe(utterance.audio)
    waveform, rate = soundfile.read(utterance.audio, dtype="float32")
    model = recognizer.model
    with torch.inference_mode():
        length = torch.tensor([len(waveform)])
        log_probs, lengths = model.acoustic(*model.features(torch.tensor(waveform)[None], length))
    hypothesis = greedy_search(log_probs[: lengths[0], 0].numpy())
    assert transcript.text == model.tokenizer.decode(hypothesis.tokens)
    assert transcript.log_prob == pytest.approx(hypothesis.log_prob, rel=1e-6)
    assert transcript.duration == len(waveform) / rate


def test_other_utterances_in_a_batch_change_nothing(recognizer, utterances):
    waveforms = [read_audio(utterance.audio, SAMPLE_RATE) for utterance in utterances[:8]]
    waveforms.append(waveforms[0][:200])  # a single window
    together = recognizer.log_probs(waveforms)
    for waveform, log_probs in zip(waveforms, together, strict=True):
        alone = recognizer.log_probs([waveform])[0]
        assert alone.shape == log_probs.shape
        np.testing.assert_allclose(log_probs, alone, atol=1e-5)
        np.testing.assert_allclose(log_probs.exp().sum(1), 1, atol=1e-5)


def test_files_with_another_rate_and_more_channels_are_accepted(recognizer, tmp_path):
    waveform = spoken("a b b", seed=77)
    expected = recognizer.transcribe(waveform, sample_rate=SAMPLE_RATE)
    silence = np.zeros_like(waveform)
    soundfile.write(tmp_path / "two.wav", np.stack([silence, waveform], axis=1), SAMPLE_RATE)
    right = recognizer.transcribe(tmp_path / "two.wav", channel=1)
    assert right.text == expected.text
    with pytest.raises(InputError, match=r"two.wav: has 2 channels; expected channel 2 among them"):
        recognizer.transcribe(tmp_path / "two.wav", channel=2)
    soundfile.write(tmp_path / "fast.wav", np.repeat(waveform, 2), 2 * SAMPLE_RATE)
    assert recognizer.transcribe(tmp_path / "fast.wav").duration == pytest.approx(expected.duration)


def test_audio_shorter_than_one_window_is_reported(recognizer, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(199), SAMPLE_RATE)
    line = r"short.wav: has 24.9 ms of audio; expected at least one window, 25 ms"
    with pytest.raises(InputError, match=line):
        recognizer.transcribe(tmp_path / "short.wav")
    soundfile.write(tmp_path / "window.wav", np.zeros(200), SAMPLE_RATE)
    assert recognizer.transcribe(tmp_path / "window.wav").duration == 0.025


def test_features_are_normalised_with_the_models_own_statistics(tones, tmp_path):
    options = ["--features.normalisation=global", "--trainer.max_epochs=1"]
    run_script("recipes/train_ctc.py", *tones.options, *options, "--out", tmp_path / "model")
    features = load(tmp_path / "model", "cpu").model.features
    waveform = torch.from_numpy(read_audio(tones.folder / "train00.wav", SAMPLE_RATE))[None]
    length = torch.tensor([waveform.shape[1]])
    plain, _ = features.unnormalised(waveform, length)
    weights = load_file(tmp_path / "model" / "weights.safetensors")
    expected = (plain - weights["features.mean"]) / weights["features.std"]
    assert weights["features.std"].std() > 0
    torch.testing.assert_close(features(waveform, length)[0], expected)


def test_empty_paths_are_refused(tone_model):
    with pytest.raises(InputError, match=r"^the path is ''; expected a trained model's folder$"):
        load("", "cpu")
    with pytest.raises(InputError, match=r"^lm is ''; expected a language model's folder or file$"):
        load(tone_model, "cpu", lm="")


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_missing_device_is_refused(tone_model, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"device is '{device}'"):
        load(tone_model, device)
    assert load(tone_model, "auto").device.type == "cpu"


def test_samples_are_transcribed_like_their_file(recognizer, utterances, tmp_path):
    samples = np.repeat(spoken("a b a", seed=5), 2)
    soundfile.write(tmp_path / "fast.wav", samples, 2 * SAMPLE_RATE, subtype="FLOAT")
    expected = recognizer.transcribe(tmp_path / "fast.wav")
    for given in (samples, samples.astype(np.float64), torch.from_numpy(samples)):
        found = recognizer.transcribe(given, sample_rate=2 * SAMPLE_RATE)
        assert found.text == expected.text
        assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-4)
        assert found.duration == expected.duration
    waveform = asr.load_audio(utterances[0].audio, recognizer.sample_rate)
    found = recognizer.transcribe(waveform, sample_rate=recognizer.sample_rate)
    assert found == recognizer.transcribe(utterances[0].audio)


def test_invalid_samples_are_reported(recognizer, utterances):
    samples = np.zeros(SAMPLE_RATE)
    for options, message in [
        ({}, "sample_rate is missing; expected that of the samples, in Hz"),
        ({"sample_rate": 0}, "sample_rate is 0; expected 1000 to 1000000 Hz"),
        ({"sample_rate": SAMPLE_RATE, "channel": 1}, "channel is 1; samples are of one"),
    ]:
        with pytest.raises(ValueError, match=message):
            recognizer.transcribe(samples, **options)
    with pytest.raises(ValueError, match=r"audio has shape \(2, 5\); expected \(samples,\)"):
        recognizer.transcribe(np.zeros((2, 5)), sample_rate=SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"sample_rate is 8000; a file has its own: .*wav"):
        recognizer.transcribe(utterances[0].audio, sample_rate=8000)
    with pytest.raises(InputError, match=r"audio: has 1\.2 ms of audio; expected at least one"):
        recognizer.transcribe(np.zeros(10), sample_rate=SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"waveform\[1\] has shape \(3, 3\)"):
        recognizer.log_probs([samples, np.zeros((3, 3))])


def test_one_waveform_equals_a_batch_of_one(recognizer):
    waveform = spoken("a b", seed=1)
    log_probs = recognizer.log_probs(waveform)
    assert isinstance(log_probs, torch.Tensor)
    assert log_probs.shape[1] == len(recognizer.symbols)
    assert torch.equal(log_probs, recognizer.log_probs([torch.from_numpy(waveform)])[0])
    assert recognizer.log_probs([]) == []
    log_probs.requires_grad_()  # may be trained through, unlike tensors of inference mode
    loss = asr.ctc_loss(log_probs, torch.tensor(recognizer.tokenizer.encode("a b")))
    loss.backward()
    assert log_probs.grad is not None


def test_times_of_words_are_those_of_the_tones(recognizer, utterances):
    right = 0
    for utterance in utterances:
        transcript = recognizer.transcribe(utterance.audio)
        if transcript.text != utterance.text:
            continue
        right, ends = right + 1, 0.0
        assert [word.text for word in transcript.words] == utterance.text.split()
        for number, word in enumerate(transcript.words):
            middle = 0.105 + 0.15 * number  # 60 ms of silence, then 90 ms of a tone, and so on
            assert abs((word.start + word.end) / 2 - middle) < 0.15  # a small model is late
            assert ends <= word.start < word.end <= transcript.duration
            assert 0.2 < word.confidence <= 1
            ends = word.end
    assert right > len(utterances) / 2


def test_words_have_calibrated_confidences_if_the_decoder_has_weights(recognizer):
    weights = ConfidenceWeights(bias=1.0, acoustic=0.5, posterior=0.25, scale=1.0)
    settings = DecoderSettings(confidence=weights)
    calibrated = Recognizer(recognizer.model, Decoder.load(settings, recognizer.tokenizer))
    samples = spoken("a b", seed=0)
    before = recognizer.transcribe(samples, sample_rate=SAMPLE_RATE).words
    after = calibrated.transcribe(samples, sample_rate=SAMPLE_RATE).words
    acoustic = np.array([word.confidence for word in before]).clip(1e-4, 1 - 1e-4)
    # greedy search has one hypothesis, whose posterior counts as 1 - 1e-4
    odds = 1 + 0.5 * np.log(acoustic / (1 - acoustic)) - 0.25 * np.log(1e-4 / (1 - 1e-4))
    expected = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose([word.confidence for word in after], expected, rtol=1e-6)
    assert [word.start for word in after] == [word.start for word in before] != []


def test_words_are_aligned_once_and_only_on_use(recognizer, monkeypatch):
    calls = []
    module = "asr.recognizer.recognised_words"
    monkeypatch.setattr(module, lambda *given: calls.append(given) or ("found",))
    transcript = recognizer.transcribe(spoken("a", seed=0), sample_rate=SAMPLE_RATE)
    assert not calls
    assert transcript.words == transcript.words == ("found",)
    assert len(calls) == 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_of_a_transcript_has_its_words_without_the_model(recognizer, duplicate):
    transcript = recognizer.transcribe(spoken("a b", seed=0), sample_rate=SAMPLE_RATE)
    again = duplicate(transcript)
    assert again == transcript
    assert again.words == transcript.words != ()
    assert len(pickle.dumps(transcript)) < 2000


# Long recordings


def long_recording():
    """Texts, and samples of about 50 s with pauses of near-silence between them."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(["a", "b"], size=3 + n % 4)) for n in range(25)]
    parts = []
    for n, text in enumerate(texts):
        pause = generator.normal(0, 0.003, int(generator.uniform(1.0, 2.0) * SAMPLE_RATE))
        parts += [pause, spoken(text, seed=n)]
    return texts, np.concatenate(parts).astype(np.float32)


@pytest.fixture(scope="module")
def by_energy(recognizer):
    # silero-vad takes tones for no speech
    return Recognizer(recognizer.model, recognizer.decoder, SegmentSettings("energy"))


def test_long_recordings_have_the_words_of_their_segments(by_energy, monkeypatch):
    monkeypatch.setattr("asr.recognizer._WINDOW_S", 7.0)
    monkeypatch.setattr("asr.recognizer._BATCH_S", 4.0)
    texts, samples = long_recording()
    found = by_energy.transcribe(samples, sample_rate=SAMPLE_RATE)
    assert len(samples) > 30 * SAMPLE_RATE
    expected = list(speech_segments([samples], SAMPLE_RATE, by_energy.segmentation))
    alone = [by_energy.transcribe(s.waveform, sample_rate=SAMPLE_RATE) for s in expected]
    assert len(expected) == len(texts)
    assert [segment.text for segment in found.segments] == [a.text for a in alone if a.text]
    assert found.text == " ".join(a.text for a in alone if a.text)
    assert found.log_prob == pytest.approx(sum(a.log_prob for a in alone), rel=1e-5)
    assert found.duration == len(samples) / SAMPLE_RATE
    words = [
        (word.text, segment.start / SAMPLE_RATE + word.start, word.confidence)
        for segment, piece in zip(expected, alone, strict=True)
        for word in piece.words
    ]
    assert [word.text for word in found.words] == [text for text, _, _ in words]
    for word, (_, start, confidence) in zip(found.words, words, strict=True):
        assert word.start == pytest.approx(start, abs=1e-9)
        assert word.confidence == pytest.approx(confidence, abs=1e-4)
    assert asr.wer([" ".join(texts)], [found.text]).rate < 0.5


def test_a_long_file_equals_its_samples(by_energy, tmp_path, monkeypatch):
    monkeypatch.setattr("asr.audio.decoders._BLOCK", 50_000)
    _, samples = long_recording()
    soundfile.write(tmp_path / "long.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    found = by_energy.transcribe(tmp_path / "long.wav")
    assert found == by_energy.transcribe(samples, sample_rate=SAMPLE_RATE)
    assert found.words == by_energy.transcribe(samples, sample_rate=SAMPLE_RATE).words
    assert pickle.loads(pickle.dumps(found)).segments == found.segments != ()


def test_up_to_30_s_are_recognised_in_one_piece(by_energy, recognizer):
    samples = long_recording()[1][: 30 * SAMPLE_RATE]
    found = by_energy.transcribe(samples, sample_rate=SAMPLE_RATE)
    assert found == recognizer.transcripts([recognizer.log_probs(samples)], [len(samples)])[0]
    (segment,) = found.segments
    assert (segment.text, segment.start, segment.end) == (found.text, 0, 30)


@pytest.mark.parametrize("level", [0.0, 0.003, 0.3])
def test_silence_and_noise_alone_give_no_words(by_energy, level):
    samples = np.random.default_rng(0).normal(0, level, 40 * SAMPLE_RATE).astype(np.float32)
    found = by_energy.transcribe(samples, sample_rate=SAMPLE_RATE)
    assert (found.text, found.log_prob, found.words, found.segments) == ("", 0.0, (), ())
    assert found.duration == 40


def test_damage_late_in_a_long_file_is_reported(by_energy, tmp_path):
    _, samples = long_recording()
    samples[45 * SAMPLE_RATE] = np.nan
    soundfile.write(tmp_path / "long.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"long.wav: has NaN as sample 360000 \(45\.000 s\)"):
        by_energy.transcribe(tmp_path / "long.wav")


def test_started_recordings_are_transcribed_together_or_in_segments(by_energy, tmp_path):
    longest = round(by_energy.segmentation.max_segment_s * SAMPLE_RATE)
    audio = []
    for number, n_samples in enumerate((longest, longest + 1, 2000)):
        samples = np.resize(spoken("a b a b b", seed=number), n_samples)
        soundfile.write(tmp_path / f"{number}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
        audio.append(by_energy.start_reading(tmp_path / f"{number}.wav"))
    assert [one.is_long for one in audio] == [False, True, False]
    found = by_energy.transcribe_batch([audio[0], audio[2]])
    found.insert(1, by_energy.transcribe_long(audio[1]))
    for number, transcript in enumerate(found):
        expected = by_energy.transcribe(tmp_path / f"{number}.wav")
        assert (transcript.text, transcript.duration) == (expected.text, expected.duration)
        assert transcript.log_prob == pytest.approx(expected.log_prob, abs=1e-4)
    with pytest.raises(ValueError, match=r"audio\[1\] is long; expected it in transcribe_long"):
        by_energy.transcribe_batch(audio)


def test_the_network_is_a_batch_ahead_of_the_search(by_energy, tmp_path, monkeypatch):
    batches = []
    for number in range(5):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, spoken("a b", seed=number), SAMPLE_RATE)
        batches.append([by_energy.start_reading(path)])
    expected = [by_energy.transcribe_batch(batch) for batch in batches]
    assert by_energy.batches_ahead == 0
    assert list(by_energy.transcribe_batches(batches)) == expected

    computed = [threading.Event() for _ in batches]
    log_probs, transcripts = Recognizer.log_probs, Recognizer.transcripts
    searched = 0

    def compute(self, waveforms):
        found = log_probs(self, waveforms)
        next(event for event in computed if not event.is_set()).set()
        return found

    def search(self, *arguments):
        nonlocal searched
        searched += 1
        assert computed[min(searched, len(batches) - 1)].wait(60)  # the next batch's
        return transcripts(self, *arguments)

    monkeypatch.setattr(Recognizer, "batches_ahead", 1)  # as on a GPU
    monkeypatch.setattr(Recognizer, "log_probs", compute)
    monkeypatch.setattr(Recognizer, "transcripts", search)
    assert list(by_energy.transcribe_batches(batches)) == expected

    _, samples = long_recording()
    monkeypatch.undo()
    one_by_one = by_energy.transcribe(samples, sample_rate=SAMPLE_RATE)
    monkeypatch.setattr(Recognizer, "batches_ahead", 1)
    assert by_energy.transcribe(samples, sample_rate=SAMPLE_RATE) == one_by_one
