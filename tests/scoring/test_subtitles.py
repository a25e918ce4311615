from pathlib import Path

import pytest

from asr.errors import InputError
from asr.scoring.lines import numbered
from asr.scoring.subtitles import is_subtitles, read_subtitles

SRT = """1
00:00:00,000 --> 00:00:01,200
go left now

2
00:00:01,200 --> 00:00:02,400
stop
"""
VTT = """WEBVTT - a title
Kind: captions

NOTE a note
of 00:00 and more

STYLE
::cue { color: red }

intro
00:00.000 --> 00:01.200 align:start position:0%
<v Bob>go <00:00:00.500><c.loud>left</c> now</v>

00:01.200 --> 00:02.400
stop

NOTE the end
"""
SBV = "0:00:00.000,0:00:01.200\ngo left now\n\n0:00:01.200,0:00:02.400\nstop\n"
WHISPER = "[00:00.000 --> 00:01.200]  go left now\n[00:01.200 --> 00:02.400]  stop\n"


def texts(content):
    path = Path("a.srt")
    return [entry.text for entry in read_subtitles(numbered(content, path), path).entries]


@pytest.mark.parametrize(
    "content",
    [
        SRT,
        VTT,
        SBV,
        WHISPER,
        SRT.replace("\n", "\r\n"),
        VTT.replace("\n", "\r"),
        SRT.replace("00:00:0", "100:00:0"),
        SRT.replace("\n\n", "\n"),  # the second number follows the text
        SRT.replace("left now", "left\n\nnow"),
        SRT.replace("go", "- go").replace("stop", "♪ stop ♪"),
        SRT.replace("go", "<i>go</i>").replace("stop", '<font color="red">stop</font>{\\an8}'),
    ],
)
def test_all_subtitles_give_one_text(content):
    assert is_subtitles(numbered(content, Path("a")))
    assert texts(content) == ["go left now stop"]


def test_spoken_numbers_are_kept():
    assert texts(SRT.replace("stop", "42")) == ["go left now 42"]
    assert texts(SRT.replace("1\n0", "0").replace("2\n0", "0").replace("now\n", "7")) == [
        "go left 7 stop"
    ]


@pytest.mark.parametrize("content", ["WEBVTT\n", "WEBVTT\n\nNOTE nothing was said\n"])
def test_webvtt_of_silence_is_one_empty_text(content):
    assert texts(content) == [""]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("go left\n", "a.srt: has no times"),
        ("go left\n\n" + SRT, "a.srt:1: has a text without a time"),
        ("WEBVTT\n\ngo left\n", "a.srt:3: has a text without a time"),
        (VTT + "\ngo right\n", "a.srt:19: has a text without a time"),
    ],
)
def test_text_without_a_time_is_refused(content, line):
    with pytest.raises(InputError, match=line):
        texts(content)
