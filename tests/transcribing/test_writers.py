import html
import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import srt
import webvtt
from benchmarks.score_against_sclite import sclite_command
from praatio import textgrid

from asr.alignment.times import Word
from asr.errors import InputError
from asr.recognizer import Transcript
from asr.scoring.forms import read_transcripts
from asr.scoring.notation import Rules, word_graph
from asr.transcribing.captions import captions
from asr.transcribing.writers import SUFFIX, VTT_HEADER, as_srt, as_text, as_vtt, vtt_cues

WORDS = (
    Word("one", 0.25, 0.6254, 0.912345),
    Word("o'clock", 0.6254, 1.1, 1.0),
    Word("é語", 2.0, 2.75, 0.5),
    Word("R&D", 2.8, 3.0, 0.25),
    Word("<unk>", 3.1, 3.4, 0.0),
    Word('"said"', 3.4, 3.9, 0.5),
    Word("-->", 3.95, 4.2, 0.5),
    *(Word(f"word{n}", 6 + n / 3, 6.2 + n / 3, n / 100) for n in range(40)),
)
DURATION = 20.0625


def transcript(words=WORDS, duration=DURATION):
    return Transcript(" ".join(word.text for word in words), -3.5, duration, lambda: tuple(words))


def written(tmp_path, format, transcript, audio="talk.wav"):
    path = tmp_path / f"talk{SUFFIX[format]}"
    path.write_text(as_text(format, transcript, audio), encoding="utf-8")
    return path


def shown(found):
    """Captions as (text, start, end) with times in milliseconds."""
    return [("\n".join(caption.lines), caption.start_ms, caption.end_ms) for caption in found]


def milliseconds(clock):
    hours, minutes, seconds = clock.split(":")
    return 3_600_000 * int(hours) + 60_000 * int(minutes) + round(1000 * float(seconds))


@pytest.mark.parametrize("words", [WORDS, ()])
def test_srt_package_reads_the_captions(tmp_path, words):
    found = list(srt.parse(written(tmp_path, "srt", transcript(words)).read_text("utf-8")))
    assert [caption.index for caption in found] == list(range(1, len(found) + 1))
    millisecond = timedelta(milliseconds=1)
    assert [
        (caption.content, caption.start / millisecond, caption.end / millisecond)
        for caption in found
    ] == shown(captions(words))


@pytest.mark.parametrize("words", [WORDS, ()])
def test_webvtt_package_reads_the_captions(tmp_path, words):
    path = written(tmp_path, "vtt", transcript(words))
    found = [
        (html.unescape(caption.text), milliseconds(caption.start), milliseconds(caption.end))
        for caption in webvtt.read(path)
    ]
    assert found == shown(captions(words))
    content = path.read_text("utf-8")
    assert re.findall("[<>&].*", re.sub("(?m)^.*? --> .*?$", "", content)) == [
        '&amp;D &lt;unk&gt; "said" --&gt;'
    ] * bool(words)


@pytest.mark.parametrize("words", [WORDS, ()])
def test_praatio_reads_the_words(tmp_path, words):
    path = written(tmp_path, "textgrid", transcript(words))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert (grid.tierNames, grid.minTimestamp, grid.maxTimestamp) == (("words",), 0, 20.062)
    intervals = grid.getTier("words").entries
    spoken = [entry for entry in intervals if entry.label]
    assert [entry.label for entry in spoken] == [word.text for word in words]
    times = [(word.start, word.end) for word in words]
    assert [(entry.start, entry.end) for entry in spoken] == [
        (round(1000 * start) / 1000, round(1000 * end) / 1000) for start, end in times
    ]
    ends = [0, *(entry.end for entry in intervals)]
    assert ends == [*(entry.start for entry in intervals), 20.062]


@pytest.mark.parametrize("format", ["json", "srt", "vtt", "ctm"])
def test_asr_score_reads_the_words(tmp_path, format):
    file = read_transcripts(written(tmp_path, format, transcript()), is_hypothesis=True)
    (entry,) = file.readings[0].entries
    assert entry.text == transcript().text
    if format == "ctm":
        assert file.readings[1].ids == ["talk"]
        assert {word.channel for word in file.words} == {("talk", "1")}
        for name, expected in (("begin", "start"), ("end", "end")):
            times = [getattr(word, name) for word in file.words]
            assert times == pytest.approx([getattr(word, expected) for word in WORDS], abs=0.00051)


def test_json_has_times_and_confidences_of_words():
    values = json.loads(as_text("json", transcript(), Path("a/talk.wav")))
    assert list(values) == ["audio", "text", "log_prob", "duration", "words"]
    assert (values["audio"], values["log_prob"], values["duration"]) == (
        "a/talk.wav",
        -3.5,
        20.0625,
    )
    assert values["words"][:2] == [
        {"word": "one", "start": 0.25, "end": 0.625, "confidence": 0.9123},
        {"word": "o'clock", "start": 0.625, "end": 1.1, "confidence": 1.0},
    ]
    assert values["words"][-1]["end"] == 19.2


@pytest.mark.parametrize("noise", [0.0, 3e-6])  # of a batch
def test_json_rounds_log_prob_to_thousandths(noise):
    values = json.loads(as_text("json", Transcript("", -123.4567 + noise, 1.0), "a.wav"))
    assert values["log_prob"] == -123.457


def test_all_formats_round_times_alike():
    word = Word("one", 0.3175, 0.6875, 1.0)  # 317.5 ms is rounded to even, 0.3175 s is not
    start, duration = as_text("ctm", transcript([word]), "a.wav").split()[2:4]
    (values,) = json.loads(as_text("json", transcript([word]), "a.wav"))["words"]
    (caption,) = srt.parse(as_text("srt", transcript([word]), "a.wav"))
    assert float(start) == values["start"] == caption.start.total_seconds() == 0.318
    assert float(start) + float(duration) == values["end"] == 0.688


@pytest.mark.skipif(sclite_command() is None, reason="sclite is not on PATH (Debian: sctk)")
def test_sclite_scores_a_ctm(tmp_path):
    spoken = transcript([word for word in WORDS if word.text not in ("<unk>", "-->")])
    path = written(tmp_path, "ctm", spoken, "my talk.wav")
    text = spoken.text.replace("word7", "other")
    reference = tmp_path / "talk.stm"
    reference.write_text(f"my\\x20talk 1 speaker 0.00 {DURATION} {text}\n", encoding="utf-8")
    command = [*sclite_command(), "-e", "utf-8", "-o", "pralign", "stdout"]
    command += ["-r", str(reference), "stm", "-h", str(path), "ctm"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (scores,) = re.findall(r"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", report)
    assert tuple(map(int, scores)) == (len(spoken.words) - 1, 1, 0, 0)


@pytest.mark.parametrize(
    ("audio", "recording"),
    [
        ("a/talk.one.wav", "talk.one"),
        ("my talk\u3000\n.wav", r"my\x20talk\u3000\n"),
        (r"a\x20b.wav", r"a\\x20b"),
        (";;talk.wav", r"\x3b;talk"),
        ("\udce9.wav", r"\\xe9"),
        ("-", "stdin"),
    ],
)
def test_ctm_escapes_the_recordings_name(audio, recording):
    first, second = as_text("ctm", transcript(WORDS[:2]), audio, channel=1).splitlines()
    assert first == f"{recording} 2 0.250 0.375 one 0.9123"
    assert second == f"{recording} 2 0.625 0.475 o'clock 1.0000"


@pytest.mark.parametrize("text", ["*", "a@b", "(a)", "/", "<unk>", "<altar>", "#"])
def test_signs_that_sclite_takes_for_words_are_kept_in_ctm(tmp_path, text):
    (word,) = read_transcripts(written(tmp_path, "ctm", transcript([Word(text, 0, 1, 1)]))).words
    graph = word_graph(word.text, "", "timed", Rules())
    assert [arc.word for arc in graph.arcs[1:]] == [text]


@pytest.mark.parametrize(
    "text", ["{", "a}", "a;b", "a*", "a\\b", "a b", "@", "<ALT>", "<alt_begin>"]
)
def test_sclites_notation_in_ctm_is_refused(text):
    with pytest.raises(InputError) as refused:
        as_text("ctm", transcript([Word(text, 0, 1, 1)]), "a.wav")
    expected = "which has a special meaning in CTM; expected another format"
    assert str(refused.value) == f"has the word {text!r}, {expected}"


@pytest.mark.parametrize("text", ["<i>", "</B>", '<font color="red">', r"{\an8}"])
def test_formatting_in_srt_is_refused(text):
    with pytest.raises(InputError, match="has a special meaning in SRT; expected another format"):
        as_text("srt", transcript([Word(text, 0, 1, 1)]), "a.wav")


@pytest.mark.parametrize("format", ["txt", "json", "srt", "vtt", "textgrid"])
def test_control_characters_are_escaped(format):
    content = as_text(format, transcript([Word("a\n\u2028b", 0, 1, 1)]), "a.wav")
    assert r"a\n\u2028b" in content
    assert "\u2028" not in content


def test_subtitles_of_a_stream_follow_those_before_them():
    blocks = list(srt.parse(as_srt(transcript(), first_number=7)))
    assert [block.index for block in blocks] == list(range(7, 7 + len(captions(WORDS))))
    assert as_vtt(transcript()) == f"{VTT_HEADER}\n{vtt_cues(transcript())}"
    assert as_vtt(transcript(())) == VTT_HEADER


def test_a_text_without_words_is_refused():
    with pytest.raises(ValueError, match="has the text 'go', but no words with times"):
        as_text("srt", Transcript("go", -1.0, 2.0), "a.wav")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([Word("a", 0, 1, 1), Word("b", 0.9, 2, 1)], "a start from 1.0 s on"),
        ([Word("a", 1, 1, 1)], "a start from 0.0 s on, then an end"),
        ([Word("a", 20, 21, 1)], "an end up to 20.062 s"),
    ],
)
@pytest.mark.parametrize("format", ["srt", "vtt", "ctm", "textgrid"])
def test_impossible_times_are_refused(format, words, expected):
    with pytest.raises(ValueError, match=f"transcript has Word.*; expected .*{expected}"):
        as_text(format, transcript(words), "a.wav")
