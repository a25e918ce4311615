import random

import pytest
from benchmarks.score_against_sclite import raw_counts, sclite_files

from asr.scoring.entries import Entry, TimedWord
from asr.scoring.error_rates import ErrorCounts, word_errors
from asr.scoring.notation import Rules
from asr.scoring.pauses import cut_at_common_pauses
from asr.scoring.transcripts import read_pairs


def recording(*words):
    """An entry of (begin, end, text) of each word; `{ a / b }` is two alternatives of one word."""
    timed = []
    for begin, end, text in words:
        lines = 5 if "{" in text else 1
        timed.append(TimedWord("x:1", ("x", "1"), begin, (begin + end) / 2, end, text, lines))
    return Entry("x:1", " ".join(word.text for word in timed), "x 1", words=tuple(timed))


def sentences(lengths, per_second=1, offset=0.0):
    """Words without a pause between them, and 10 s between two sentences of so many seconds."""
    words, start = [], 0
    for length in lengths:
        begins = [start + offset + n / per_second for n in range(length * per_second)]
        words += [(begin, begin + 1 / per_second, "w") for begin in begins]
        start += length + 10
    return words


def grouped(lengths, per_second):
    """Seconds in each piece: as many sentences as have 51 words, or 101, 201, ... for long ones."""
    pieces, rest = [], list(lengths)
    while rest:
        limit = 50
        while rest[0] * per_second > limit + 1:
            limit *= 2
        n = 1
        while n < len(rest) and sum(rest[: n + 1]) * per_second <= limit + 1:
            n += 1
        if sum(rest) * per_second <= limit:
            n = len(rest)
        pieces.append(sum(rest[:n]))
        rest = rest[n:]
    return pieces


@pytest.mark.parametrize("per_second", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_pieces_end_between_planted_sentences(seed, per_second):
    generator = random.Random(seed)
    lengths = [generator.choice([1, 8, 20, 25, 26, 50, 51, 52, 120]) for _ in range(12)]
    said = recording(*sentences(lengths))
    # a quarter of a second later no word ends with a word of the reference
    heard = recording(*sentences(lengths, per_second, offset=0.25))
    pieces = cut_at_common_pauses(said, heard)
    expected = grouped(lengths, per_second)
    assert [len(piece.words) for piece, _ in pieces] == expected
    assert [len(piece.words) for _, piece in pieces] == [per_second * n for n in expected]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_together_are_the_whole_texts(seed):
    generator = random.Random(seed)
    texts = []
    for _ in range(2):
        begins = sorted(generator.uniform(0, 100) for _ in range(generator.randint(1, 300)))
        words = [(begin, begin + generator.uniform(-0.01, 0.5), "w") for begin in begins]
        others = ("w", "w", "w", "{ u / v }")
        texts.append(recording(*((*time[:2], generator.choice(others)) for time in words)))
    pieces = cut_at_common_pauses(*texts)
    for side, whole in enumerate(texts):
        assert sum((piece[side].words for piece in pieces), ()) == whole.words
        assert " ".join(filter(None, (piece[side].text for piece in pieces))) == whole.text
    assert all(piece[0].id == piece[1].id for piece in pieces)
    assert len({said.id for said, _ in pieces}) == len(pieces)


def test_equal_words_far_apart_in_time_do_not_match():
    said = recording(*sentences([40, 40]))
    pieces = cut_at_common_pauses(said, recording(*sentences([40])))
    counts = word_errors([a.text for a, _ in pieces], [b.text for _, b in pieces])
    assert counts == [ErrorCounts(words=40), ErrorCounts(deletions=40, words=40)]


def test_a_silent_text_has_no_words_in_a_piece():
    said = sentences([60, 40])
    pieces = cut_at_common_pauses(recording(*said), recording(*said[60:]))
    assert [(len(a.words), len(b.words)) for a, b in pieces] == [(51, 0), (49, 40)]


def test_no_cut_is_beside_alternatives():
    words, late = sentences([40, 40]), recording(*sentences([40, 40], offset=0.25))
    assert len(cut_at_common_pauses(recording(*words), late)) == 2
    for place in (39, 40):  # the last word before the pause, and the first after it
        some = [(*word[:2], "{ u / v }") if n == place else word for n, word in enumerate(words)]
        assert len(cut_at_common_pauses(recording(*some), late)) == 1


def test_ids_have_times_only_if_there_are_several_pieces():
    words, late = sentences([40, 40]), sentences([40, 40], offset=0.25)
    pieces = cut_at_common_pauses(recording(*words), recording(*late))
    assert [said.id for said, _ in pieces] == ["x 1 0.00 40.25", "x 1 50.00 90.25"]
    short = recording(*words[:50]), recording(*late[:50])
    assert cut_at_common_pauses(*short) == [short]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_times_that_are_not_of_the_recording_are_ignored(seconds):
    words = sentences([40, 40])
    other = [(seconds + begin, seconds + end, text) for begin, end, text in words]
    heard = recording(*other) if seconds else recording(*((0.0, 0.0, "w") for _ in words))
    assert cut_at_common_pauses(recording(*words), heard) == [(recording(*words), heard)]


@pytest.mark.skipif(sclite_files() is None, reason="needs the files of sclite's own tests")
@pytest.mark.parametrize(("report", "optional"), [("test13", None), ("test13_D", True)])
def test_channels_have_sclites_pieces_and_counts(report, optional):
    folder = sclite_files()
    files = folder / "tima_ref.ctm", folder / "tima_hyp.ctm"
    pairs = read_pairs(*files, rules=Rules(optional=optional))
    for channel, n_pieces in (("A", 13), ("B", 9)):
        own = [n for n, id in enumerate(pairs.ids) if id.split()[:2] == ["5555", channel]]
        assert len(own) == n_pieces
        counts = word_errors([pairs.references[n] for n in own], [pairs.hypotheses[n] for n in own])
        expected = raw_counts(folder / "expected" / f"{report}.raw", f"5555-{channel.lower()}")
        assert sum(counts, ErrorCounts()) == expected
