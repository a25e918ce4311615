import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLE_RATE, spoken
from stream_models import (
    CHARS,
    KINDS,
    PHONES,
    RATE,
    changing_noise,
    hybrid_recognizer,
    random_pieces,
    recognizer_of,
    tone_recognizer,
)

from asr.audio.features import moments
from asr.decoder import DecoderSettings
from asr.errors import InputError
from asr.search.space import BeamSettings
from asr.streaming.settings import StreamSettings
from asr.streaming.stream import Stream


def log_probs_of_segments(recognizer, waveform, settings, given=None):
    """The log-probabilities of each segment, as the final results are decoded from them."""
    found = []

    def transcripts(rows, samples):
        found.extend(rows)
        return recognizer.transcripts(rows, samples)

    stream = Stream(recognizer.model, recognizer.decoder, transcripts, settings, given)
    list(stream.results([waveform]))
    return found


def moments_of(recognizer, waveform):
    """Mean and standard deviation of an utterance's features, if the model uses them."""
    features = recognizer.model.features
    if features.settings.normalisation != "utterance":
        return None
    found = features.unnormalised(waveform[None], torch.tensor([len(waveform)]))
    return tuple(some[0] for some in moments(*found))


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_change_nothing(kind, decoder):
    recognizer, waveform = recognizer_of(kind, decoder=decoder), changing_noise(6)
    options = {"chunk_s": 0.4, "right_s": 0.2, "pause_s": 0.06}
    whole = list(recognizer.stream([waveform], **options))
    assert sum(result.is_final for result in whole) > 1
    assert sum(not result.is_final for result in whole) > 2
    for seed in range(3):
        assert list(recognizer.stream(random_pieces(waveform, seed), **options)) == whole


def test_a_hybrid_streams_too():
    recognizer, waveform = hybrid_recognizer(), changing_noise(4)
    options = {"chunk_s": 0.4, "right_s": 0.2, "pause_s": 0.05}
    whole = list(recognizer.stream([waveform], **options))
    assert {word.text for result in whole for word in result.words} == {"pea", "queue"}
    assert list(recognizer.stream(random_pieces(waveform), **options)) == whole
    settings = StreamSettings(10.0, pause_s=math.inf)
    (rows,) = log_probs_of_segments(recognizer, waveform, settings)
    torch.testing.assert_close(rows, recognizer.log_probs(waveform), rtol=0, atol=1e-4)


def save_unigrams(path, **log10_probs):
    """Write a unigram model of words with these logarithms to base 10."""
    lines = [f"{value}\t{word}" for word, value in log10_probs.items()]
    head = f"\\data\\\nngram 1={len(lines) + 3}\n\n\\1-grams:\n-99\t<s>\n-1\t</s>\n-9\t<unk>\n"
    path.write_text(head + "\n".join(lines) + "\n\n\\end\\\n")
    return str(path)


@pytest.mark.parametrize("kind", ["lm", "rescorer", "phones"])
def test_a_stream_is_decoded_as_a_file_is(kind, tmp_path):
    lm = save_unigrams(tmp_path / "lm.arpa", a=-0.5, b=-0.5, ab=-0.7, cab=-0.7, c=-2.0)
    other = save_unigrams(tmp_path / "other.arpa", a=-9.0, b=-9.0, ab=-0.2, cab=-0.2, c=-0.2)
    beam = DecoderSettings("beam", BeamSettings(lm_weight=1.0), lm=lm)
    rescored = replace(beam, rescorers=(other,), lm_weights=(2.0,))
    decoder = {"lm": beam, "rescorer": rescored, "phones": DecoderSettings("beam")}[kind]
    tokenizer = PHONES if kind == "phones" else CHARS
    recognizer = recognizer_of(decoder=decoder, normalisation="none", tokenizer=tokenizer)
    waveform = changing_noise(3)
    *partial, final = recognizer.stream([waveform], 0.4, 0.2, pause_s=math.inf)
    expected = recognizer.transcribe(waveform, sample_rate=RATE)
    assert (final.text, final.is_final) == (expected.text, True)
    assert final.log_prob == pytest.approx(expected.log_prob, abs=1e-3)
    assert [word.text for word in final.words] == expected.text.split()
    words = {"pea", "queue"} if kind == "phones" else {"a", "b", "ab", "cab", "c"}
    assert len(partial) > 2
    assert {word for result in partial for word in result.text.split()} <= words
    # the text so far is that of the search; only a segment that has ended is rescored
    whole = replace(recognizer.decoder, rescorers=())
    ((best, *_),) = whole.nbests([recognizer.log_probs(waveform)])
    assert (final.text == best.text) == (kind != "rescorer")


# running moments are summed in float64, those of files in float32
@pytest.mark.parametrize(("given", "atol"), [(True, 1e-5), (False, 1e-4)])
@pytest.mark.parametrize("kind", KINDS)
def test_one_long_chunk_has_the_log_probs_of_the_whole(kind, given, atol):
    recognizer, waveform = recognizer_of(kind), changing_noise(3)[:-77]
    settings = StreamSettings(chunk_s=4.0, pause_s=math.inf)
    own = moments_of(recognizer, waveform) if given else None
    (rows,) = log_probs_of_segments(recognizer, waveform, settings, own)
    torch.testing.assert_close(rows, recognizer.log_probs(waveform), rtol=0, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_segment_is_read_anew_until_it_is_read_as_a_file(kind):
    recognizer, waveform = recognizer_of(kind), changing_noise(3)
    settings = StreamSettings(0.4, 0.2, pause_s=math.inf, reread_s=4)
    (rows,) = log_probs_of_segments(recognizer, waveform, settings)
    torch.testing.assert_close(rows, recognizer.log_probs(waveform), rtol=0, atol=1e-4)


RIGHT = {"plain": 14, "convolutions": 7, "deltas": 23, "pyramid": 14, "forward": 14}
"""Frames of the recurrent layers' input in 0.3 s of right context, without the margins."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_sees_its_right_context_of_the_whole_features(kind):
    recognizer, waveform = recognizer_of(kind), changing_noise(3)
    settings = StreamSettings(0.48, 0.3, pause_s=math.inf, reread_s=0)
    given = moments_of(recognizer, waveform)
    (found,) = log_probs_of_segments(recognizer, waveform, settings, given)

    network, features = recognizer.model.acoustic, recognizer.model.features
    factor, n = network.stack.settings.time_reduction, 48 // network.settings.time_reduction
    outputs, state = [], network.stack.zero_state(1)
    with torch.no_grad():
        reduced, _ = network.reduced(*features(waveform[None], torch.tensor([len(waveform)])))
        for number in range(6):  # five chunks, and what is left when the stream ends
            last = number == 5
            inputs = reduced[number * n :][: None if last else n + RIGHT[kind]]
            length, n_frames = torch.tensor([len(inputs)]), len(inputs) if last else n
            own, state = network.stack.carry_chunk(inputs, state, length, n_frames)
            outputs.append(own if last else own[: n // factor])
        expected = network.log_probs(torch.cat(outputs))[:, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_network_trained_on_chunks_streams_as_it_was_trained():
    recognizer = recognizer_of(chunk_frames=24, right_frames=RIGHT["plain"])
    waveform = changing_noise(3)
    settings = StreamSettings(0.48, 0.3, pause_s=math.inf, reread_s=0)
    given = moments_of(recognizer, waveform)
    (rows,) = log_probs_of_segments(recognizer, waveform, settings, given)
    torch.testing.assert_close(rows, recognizer.log_probs(waveform), rtol=0, atol=1e-5)


@pytest.mark.parametrize("right_s", [0.0, 0.3])
def test_a_network_of_one_direction_has_the_log_probs_of_the_whole(right_s):
    recognizer, waveform = recognizer_of("forward"), changing_noise(3)
    settings = StreamSettings(0.2, right_s, pause_s=math.inf)
    (rows,) = log_probs_of_segments(recognizer, waveform, settings)
    torch.testing.assert_close(rows, recognizer.log_probs(waveform), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_result_needs_a_chunk_and_its_right_context(kind):
    recognizer, taken = recognizer_of(kind), 0

    def pieces():
        nonlocal taken
        for sample in changing_noise(3).split(1):
            taken += 1
            yield sample

    results = recognizer.stream(pieces(), chunk_s=0.48, right_s=0.3)
    first = next(results)
    assert taken == round(0.78 * RATE)
    assert (first.is_final, first.start) == (False, 0.0)
    assert first.end == pytest.approx(0.48)
    for result in results:
        assert result.is_final or (taken - round(0.78 * RATE)) % round(0.48 * RATE) == 0


def test_pauses_end_segments_with_the_texts_and_times_of_what_was_said():
    recognizer, texts = tone_recognizer(), ["a b a", "b b", "a a b b"]
    generator = np.random.default_rng(1)
    parts, starts, now = [], [], 0.0
    for number, text in enumerate(texts):
        silence = generator.normal(0, 0.003, (2 + number) * SAMPLE_RATE)
        parts += [silence, spoken(text, number)]
        starts.append(now + len(silence) / SAMPLE_RATE + 0.06)  # there is a gap before each tone
        now += (len(silence) + len(parts[-1])) / SAMPLE_RATE
    waveform = np.concatenate([*parts, silence]).astype(np.float32)
    results = list(recognizer.stream([waveform], 0.5, 0.3))
    finals = [result for result in results if result.is_final]
    assert [final.text for final in finals] == [text.replace(" ", "") for text in texts]
    assert results[-1] is finals[-1]  # nothing in the silence at the end
    for final, start in zip(finals, starts, strict=True):
        (word,) = final.words
        assert word.text == final.text
        assert word.start == pytest.approx(start, abs=0.08)  # spikes are widened by 60 ms
        assert word.end == pytest.approx(start + 0.15 * len(final.text) - 0.06, abs=0.08)
        assert final.start < word.start < word.end < final.end < word.end + 1.5
        assert final.log_prob > -5


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
@pytest.mark.parametrize(("pause_s", "max_segment_s"), [(0.04, 30.0), (math.inf, 3.0)])
def test_memory_is_that_of_one_segment(pause_s, max_segment_s, decoder):
    recognizer, held, searched = recognizer_of(decoder=decoder), [], []
    settings = StreamSettings(0.5, 0.2, pause_s, max_segment_s)
    stream = Stream(recognizer.model, recognizer.decoder, recognizer.transcripts, settings)

    def pieces():
        for piece in changing_noise(40).split(RATE // 2):
            yield piece
            held.append(len(stream._frames) + len(stream._rows))
            search = stream._search
            trees = search._searches.trees if search._searches else []
            n_rows = sum(len(rows) for rows in search._rows)
            searched.append(n_rows + sum(len(tree.prefixes) for tree in trees))

    list(stream.results(pieces()))
    assert max(held[40:]) <= 1.5 * max(held[:40]) < 900
    assert 0 < max(searched[40:]) <= 2 * max(searched[:40])  # prefixes have room that doubles


def test_long_segments_are_cut_and_nothing_is_lost():
    recognizer, waveform = recognizer_of(), changing_noise(20)
    settings = StreamSettings(0.5, 0.2, math.inf, 3.0)
    rows = log_probs_of_segments(recognizer, waveform, settings)
    lengths = [len(some) for some in rows]
    assert sum(lengths) == len(recognizer.log_probs(waveform))
    assert all(75 <= length < 150 for length in lengths[:-1])  # 3 s of frames of 20 ms


@pytest.mark.parametrize("samples", [0, 49])
def test_a_stream_shorter_than_a_window_has_no_results(samples):
    assert list(recognizer_of().stream([torch.zeros(samples)])) == []


def test_what_cannot_stream_is_refused():
    recognizer = recognizer_of()
    refused = [
        ({"chunk_s": 0.0}, "chunk_s is 0.0; expected more than 0"),
        ({"right_s": -1.0}, "right_s is -1.0; expected 0 or more"),
        ({"chunk_s": math.inf}, "chunk_s is inf; expected a number of seconds"),
        ({"pause_s": math.nan}, "pause_s is nan; expected more than 0"),
        ({"chunk_s": 0.001}, "chunk_s is 0.001; expected 0.02 or more, the model's frame"),
    ]
    for options, message in refused:
        with pytest.raises(InputError, match=message):
            recognizer.stream([], **options)
    with pytest.raises(ValueError, match=r"pieces\[1\] has nan as sample 0"):
        list(recognizer.stream([torch.zeros(1), torch.full((1,), math.nan)]))
