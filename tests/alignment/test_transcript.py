import math

import pytest

from asr.alignment.times import Word
from asr.alignment.transcript import Segment, Transcript, joined
from asr.transcribing.captions import milliseconds


def piece(*words, log_prob=-1.0, duration=2.0):
    text = " ".join(word.text for word in words)
    return Transcript(text, log_prob, duration, lambda: words)


def test_times_of_joined_transcripts_are_those_of_the_recording():
    pieces = [
        (3.0, piece(Word("a", 0.1, 0.3, 0.9), Word("b", 0.5, 0.7, 0.4))),
        (7.5, piece(log_prob=-0.5)),
        (9.0, piece(Word("c", 0.25, 0.5, 0.5), log_prob=-2.0, duration=1.0)),
    ]
    found = joined(pieces, 12.0)
    assert (found.text, found.log_prob, found.duration) == ("a b c", -3.5, 12.0)
    assert found.words == (
        Word("a", 3.1, 3.3, 0.9),
        Word("b", 3.5, 3.7, 0.4),
        Word("c", 9.25, 9.5, 0.5),
    )
    both, last = found.segments
    assert (both.text, both.start, both.end) == ("a b", 3.0, 5.0)
    assert both.confidence == pytest.approx(math.sqrt(0.9 * 0.4))
    assert last == Segment("c", 9.0, 10.0, pytest.approx(0.5))


def test_a_word_that_lasts_to_the_end_ends_in_the_recording():
    """Also where the sum of two floats is more, and is rounded to the next millisecond."""
    n_samples, n_before = 10_026_856, 19_263 * 512
    start, duration = n_before / 16000, (n_samples - n_before) / 16000
    assert milliseconds(start + duration) > milliseconds(n_samples / 16000)
    pieces = [(start, piece(Word("a", 0.1, duration, 0.9), duration=duration))]
    (word,) = joined(pieces, n_samples / 16000).words
    assert word.end == n_samples / 16000
    pieces.append((n_samples / 16000, piece(Word("b", 0.0, 1.0, 0.9), duration=1.0)))
    found = joined(pieces, n_samples / 16000 + 1)
    assert found.words[0].end == found.words[1].start == found.segments[0].end


def test_nothing_joined_is_an_empty_transcript():
    found = joined([], 60.0)
    assert (found.text, found.log_prob, found.words, found.segments) == ("", 0, (), ())


def test_a_recording_in_one_piece_is_one_segment_if_it_has_words():
    word = Word("a", 0.1, 0.3, 0.9)
    assert piece(word).segments == (Segment("a", 0.0, 2.0, pytest.approx(0.9)),)
    assert piece().segments == ()
    assert piece(word, Word("b", 0.4, 0.6, 0.0)).segments[0].confidence == 0
    assert math.isnan(Transcript("a", -1.0, 2.0).segments[0].confidence)


def test_respelled_words_keep_their_times_and_confidences():
    found = piece(Word("a", 0.1, 0.3, 0.9), Word("b", 0.5, 0.7, 0.4)).respelled(["A,", "b."])
    assert found.text == "A, b."
    assert found.words == (Word("A,", 0.1, 0.3, 0.9), Word("b.", 0.5, 0.7, 0.4))
    assert Transcript("a", 0.0, 1.0).respelled(["A."]).words == ()
    with pytest.raises(ValueError, match="words has 1 word; expected 2, as the text has"):
        found.respelled(["A"])


def test_words_are_aligned_only_when_the_respelled_ones_are_needed():
    asked = []

    def find_words():
        asked.append(1)
        return (Word("a", 0.1, 0.3, 0.9),)

    found = Transcript("a", 0.0, 1.0, find_words).respelled(["A."])
    assert (found.text, asked) == ("A.", [])
    assert found.words[0].text == "A."
    assert asked == [1]
