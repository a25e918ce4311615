import itertools
import tracemalloc

import numpy as np
import pytest
from planted_speech import RATE, joined_digits

from asr.audio.segments import (
    FRAME_S,
    Segmenter,
    SegmentSettings,
    SpeechSegment,
    quietest,
    speech_segments,
    windows,
)
from asr.errors import InputError

# in frames: speech of 2 or more, pauses of 4, padding of 1, segments of at most 80
SETTINGS = SegmentSettings(
    "energy", 2 * FRAME_S, 4 * FRAME_S, 1.5 * FRAME_S, max_segment_s=80.5 * FRAME_S
)


def random_scores(seed, n=600):
    """Scores of frames in runs of speech and of pauses, most of them short."""
    generator = np.random.default_rng(seed)
    lengths = [generator.integers(1, 30 if n % 2 else 6) for n in range(n)]
    signs = np.repeat([(-1) ** n for n in range(n)], lengths)[:n]
    return signs * generator.uniform(0.1, 1, n)


def cut_by_definition(scores, pause=4, least=2, padding=1, longest=80):
    """The segments by the words of `Segmenter`, with the whole recording at hand."""
    n = len(scores)
    speech = [t for t in range(n) if scores[t] > 0]
    regions = [[t] for t in speech[:1]]
    for before, t in itertools.pairwise(speech):
        regions.append([t]) if t - before > pause else regions[-1].append(t)
    for region in regions:
        if len(region) < least:
            continue
        start, end = max(0, region[0] - padding), min(n, region[-1] + 1 + padding)
        while end - start > longest:
            within = range(start + longest // 2, start + longest - padding - 32)
            best = max(
                within,
                key=lambda t: (pause_around(scores, within, t), -scores[t] * (scores[t] > 0)),
            )
            length = pause_around(scores, within, best)
            cut = best + length // 2 if length else best
            yield start, cut
            start = cut
        yield start, end


def pause_around(scores, within, t):
    """Length of the pause in `within` that begins at frame t, 0 if none begins there."""
    if scores[t] > 0 or (t - 1 in within and scores[t - 1] <= 0):
        return 0
    return len(list(itertools.takewhile(lambda u: u in within and scores[u] <= 0, range(t, 10**6))))


@pytest.mark.parametrize("seed", range(30))
def test_segments_are_those_of_the_definition(seed):
    scores = random_scores(seed)
    segmenter = Segmenter(SETTINGS)
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(scores), 10))
    found = [s for part in np.split(scores, cuts) for s in segmenter.add(part)]
    found += segmenter.finish()
    assert found == list(cut_by_definition(scores))


@pytest.mark.parametrize("seed", range(5))
def test_segments_have_all_speech_and_do_not_overlap(seed):
    scores = random_scores(seed, n=3000)
    segmenter = Segmenter(SegmentSettings("energy", 0.0, 4 * FRAME_S, FRAME_S, 80 * FRAME_S))
    found = segmenter.add(scores) + segmenter.finish()
    ends = [end for segment in found for end in segment]
    assert ends == sorted(ends)
    assert max(end - start for start, end in found) <= 80
    inside = np.zeros(len(scores), bool)
    for start, end in found:
        inside[start:end] = True
    assert inside[scores > 0].all()


def test_a_cut_is_in_the_middle_of_the_longest_pause_or_at_the_lowest_score():
    assert quietest([1, -1, 1, -1, -1, -1, 1, -1, -1]) == 4
    assert quietest([3, 2, 1, 2]) == 2
    assert quietest([-1]) == 0


@pytest.mark.parametrize("sample_rate", [16000, 8000, 11025])
def test_block_lengths_have_no_influence(sample_rate):
    waveform, _ = joined_digits(n_recordings=6)
    settings = SegmentSettings("energy")
    whole = list(speech_segments([waveform], sample_rate, settings))
    assert len(whole) > 1
    generator = np.random.default_rng(0)
    blocks = np.split(waveform, np.sort(generator.integers(0, len(waveform), 50)))
    again = list(speech_segments(blocks, sample_rate, settings))
    assert [s.start for s in again] == [s.start for s in whole]
    for segment, other in zip(again, whole, strict=True):
        np.testing.assert_array_equal(segment.waveform, other.waveform)
        np.testing.assert_array_equal(segment.waveform, waveform[segment.start : segment.end])


def test_speech_at_both_ends_is_in_segments_up_to_them():
    noise = np.float32(np.random.default_rng(0).normal(0, 0.1, 20 * RATE))
    noise[RATE : 19 * RATE] *= 0.01
    first, last = speech_segments([noise], RATE, SegmentSettings("energy"))
    assert (first.start, last.end) == (0, 20 * RATE)


def test_nothing_is_no_segment():
    assert not list(speech_segments([], RATE, SegmentSettings("energy")))
    assert not list(speech_segments([np.zeros(10, np.float32)], RATE, SegmentSettings("energy")))


def test_memory_does_not_grow_with_the_recording():
    def peak(minutes):
        block = np.float32(np.random.default_rng(0).normal(0, 0.1, 60 * 8000))
        gains = np.float32(np.repeat(np.arange(60) % 7 > 2, 8000))
        tracemalloc.start()
        for _ in speech_segments((block * gains for _ in range(minutes)), 8000, settings):
            pass
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    settings = SegmentSettings("energy")
    assert peak(8) < 1.05 * peak(2)


def test_windows_end_with_the_segment_that_fills_them():
    segments = [SpeechSegment(n, np.zeros(n, np.float32)) for n in (3, 4, 5, 1, 1)]
    found = [[s.start for s in window] for window in windows(segments, 7)]
    assert found == [[3, 4], [5, 1, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding_s": 0.3}, r"padding_s is 0\.3; expected from 0 to half of min_pause_s, 0\.25"),
        ({"max_segment_s": 4.0}, r"max_segment_s is 4\.0; expected from 10 times min_pause_s, 5"),
        ({"min_speech_s": 4.0}, r"min_speech_s is 4\.0; expected from 0 to a tenth of .*, 3"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SegmentSettings(**options)
    with pytest.raises(ValueError, match="sample_rate is 10"):
        list(speech_segments([], 10, SegmentSettings()))
