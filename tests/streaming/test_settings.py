import math

import pytest
from stream_models import KINDS, RATE, changing_noise, recognizer_of

from asr.errors import InputError
from asr.streaming.settings import StreamSettings, stream_sizes, usual_settings


def test_sizes_are_whole_frames_of_the_output():
    sizes = stream_sizes(recognizer_of().model, StreamSettings(0.5, 0.3, 0.07, 3.01, math.inf, 0))
    assert (sizes.frame_samples, sizes.chunk_frames, sizes.chunk_samples) == (40, 25, 1000)
    assert sizes.first_samples == 1600
    assert sizes.right_frames == 14  # of 15: the last window and frame are not complete
    assert (sizes.longest_frames, sizes.reread_frames) == (150, 0)
    assert sizes.pause_frames == pytest.approx(3.5)
    assert sizes.memory_frames == math.inf


@pytest.mark.parametrize(("name", "least"), [("chunk_s", 0.02), ("max_segment_s", 0.02)])
def test_less_than_a_frame_of_the_output_is_refused(name, least):
    model = recognizer_of().model
    stream_sizes(model, StreamSettings(**{name: least}))
    line = f"^{name} is 0.019; expected 0.02 or more, the model's frame$"
    with pytest.raises(InputError, match=line):
        stream_sizes(model, StreamSettings(**{name: 0.019}))


def test_networks_that_read_whole_utterances_have_the_usual_chunks():
    assert usual_settings(recognizer_of("plain").model) == StreamSettings()
    assert usual_settings(recognizer_of("forward").model) == StreamSettings(right_s=0.0)


TWO_WAYS = [kind for kind in KINDS if kind != "forward"]


@pytest.mark.parametrize("right_frames", [0, 5])
@pytest.mark.parametrize("kind", TWO_WAYS)
def test_a_network_trained_on_chunks_has_its_own(kind, right_frames):
    model = recognizer_of(kind, chunk_frames=12, right_frames=right_frames).model
    settings = usual_settings(model)
    sizes = stream_sizes(model, settings)
    assert (sizes.chunk_frames, sizes.right_frames) == (12, right_frames)
    assert sizes.reread_frames == 0
    less = StreamSettings(settings.chunk_s, settings.right_s - 1 / RATE)
    assert stream_sizes(model, less).right_frames == max(0, right_frames - 1)


@pytest.mark.parametrize("right_frames", [0, 5])
@pytest.mark.parametrize("kind", TWO_WAYS)
def test_a_network_trained_on_chunks_streams_what_it_transcribes(kind, right_frames):
    more = {"chunk_frames": 12, "right_frames": right_frames}
    recognizer = recognizer_of(kind, normalisation="none", **more)
    sizes = stream_sizes(recognizer.model, usual_settings(recognizer.model))
    # the stream ends somewhere, or just before its next chunk would be complete
    for length in (3 * RATE, sizes.first_samples + 8 * sizes.chunk_samples - 1):
        waveform = changing_noise(4)[:length]
        results = recognizer.stream([waveform], pause_s=math.inf)
        (final,) = (result for result in results if result.is_final)
        expected = recognizer.transcribe(waveform, sample_rate=RATE)
        assert final.text == expected.text
        assert len(final.text) > 3
        assert final.log_prob == pytest.approx(expected.log_prob, abs=1e-3)
        assert [word.text for word in final.words] == [word.text for word in expected.words]


def test_given_chunks_win_over_those_of_the_training():
    recognizer = recognizer_of(normalisation="none", chunk_frames=12, right_frames=5)
    own = usual_settings(recognizer.model)

    def results(**options):
        """Seconds of audio that were there at each partial result, and how far its text goes."""
        taken = 0

        def pieces():
            nonlocal taken
            for piece in changing_noise(4).split(10):
                taken += len(piece)
                yield piece

        for result in recognizer.stream(pieces(), pause_s=math.inf, **options):
            if not result.is_final:
                yield taken / RATE, result.end

    for chunk_s, right_s in ((None, None), (0.4, None), (None, 0.3), (0.4, 0.3)):
        for heard, end in results(chunk_s=chunk_s, right_s=right_s):
            chunk = chunk_s or 0.24
            assert end == pytest.approx(chunk * round(end / chunk))
            assert heard - end == pytest.approx(right_s or own.right_s, abs=0.0051)
