import io
import json
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import srt
import webvtt
from audio_files import encoded
from stream_models import RATE, changing_noise, recognizer_of
from taggers import full_stops
from typer.testing import CliRunner

from asr.cli.app import app
from asr.cli.stream_output import print_stream
from asr.model import save_model
from asr.transcribing.punctuation import FormatPunctuation

pytestmark = pytest.mark.usefixtures("compiled_alignment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random model, and a recording."""
    folder = tmp_path_factory.mktemp("stream")
    save_model(folder / "model", recognizer_of().model)
    soundfile.write(folder / "a b.wav", changing_noise(6).numpy(), RATE, subtype="PCM_16")
    return folder


@pytest.fixture
def recognizer(monkeypatch):
    """A recogniser whose segments end at short pauses, since noise has no others."""
    recognizer = recognizer_of()
    stream = recognizer.stream
    monkeypatch.setattr(recognizer, "stream", lambda pieces: stream(pieces, 0.4, 0.2, 0.04))
    return recognizer


def finals_of(recognizer, folder):
    waveform, _ = soundfile.read(folder / "a b.wav", dtype="float32")
    found = [result for result in recognizer.stream([waveform]) if result.is_final]
    assert len(found) > 2
    return found


def transcribe(folder, *arguments, data=b""):
    options = ["transcribe", "--model", folder / "model", "--device", "cpu", "--stream"]
    return CliRunner().invoke(app, [str(one) for one in (*options, *arguments)], input=data)


def test_standard_input_and_a_file_give_the_same_lines(folder):
    expected = transcribe(folder, folder / "a b.wav")
    assert (expected.exit_code, expected.stderr) == (0, "")
    assert expected.stdout.strip()
    waveform, _ = soundfile.read(folder / "a b.wav", dtype="int16")
    wav = encoded(waveform, "WAV", sample_rate=RATE)
    for data in (wav, waveform.astype("<i2").tobytes()):
        done = transcribe(folder, "-", data=data)
        assert (done.exit_code, done.stdout, done.stderr) == (0, expected.stdout, "")


def test_text_has_a_line_for_each_segment(folder, recognizer, capsys):
    print_stream(recognizer, folder / "a b.wav", "txt")
    out, err = capsys.readouterr()
    assert out.splitlines() == [result.text for result in finals_of(recognizer, folder)]
    assert err == ""


def test_only_the_formats_with_punctuation_have_it(folder, recognizer, capsys):
    plain = [result.text for result in finals_of(recognizer, folder)]
    marked = [" ".join(f"{word.capitalize()}." for word in text.split()) for text in plain]
    punctuation = FormatPunctuation(full_stops(), ("txt",))
    print_stream(recognizer, folder / "a b.wav", "txt", punctuation=punctuation)
    assert capsys.readouterr().out.splitlines() == marked
    print_stream(recognizer, folder / "a b.wav", "json", punctuation=punctuation)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == plain


def test_json_has_start_and_duration_of_each_segment(folder, recognizer, capsys):
    print_stream(recognizer, folder / "a b.wav", "json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for values, result in zip(found, finals_of(recognizer, folder), strict=True):
        assert values["audio"] == str(folder / "a b.wav")
        assert values["text"] == result.text
        ends = values["start"], values["start"] + values["duration"]
        np.testing.assert_allclose(ends, (result.start, result.end), rtol=0, atol=0.0011)
        times = [word["start"] for word in values["words"]]
        np.testing.assert_allclose(times, [w.start for w in result.words], rtol=0, atol=0.00051)


def test_subtitles_are_read_by_other_programs(folder, recognizer, capsys):
    print_stream(recognizer, folder / "a b.wav", "srt")
    found = list(srt.parse(capsys.readouterr().out))
    said = " ".join(result.text for result in finals_of(recognizer, folder))
    assert " ".join(one.content for one in found).split() == said.split()
    assert [one.index for one in found] == list(range(1, len(found) + 1))
    assert all(one.start < one.end <= other.start for one, other in pairwise(found))
    print_stream(recognizer, folder / "a b.wav", "vtt")
    cues = list(webvtt.from_buffer(io.StringIO(capsys.readouterr().out)))
    assert " ".join(cue.text for cue in cues).split() == said.split()


def test_ctm_has_a_line_for_each_word(folder, recognizer, capsys):
    print_stream(recognizer, folder / "a b.wav", "ctm")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    words = [word for result in finals_of(recognizer, folder) for word in result.words]
    assert [line[4] for line in lines] == [word.text for word in words]
    assert {line[0] for line in lines} == {r"a\x20b"}


def test_the_text_so_far_is_shown_on_a_terminal(folder, recognizer, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    print_stream(recognizer, folder / "a b.wav", "txt")
    shown = capsys.readouterr().err
    assert shown.count("\r") == shown.count("\x1b[K") > 3
    assert shown.endswith("\r\x1b[K")


class Microphone:
    """A recording without end, during which Ctrl-C is pressed once a second from `begin_s` on."""

    def __init__(self, begin_s, end_s=600):
        samples = 32767 * changing_noise(end_s).numpy()
        self.samples, self.n_read, self.next_s = samples.astype("<i2"), 0, begin_s

    def read(self, size):
        return self.read1(size)

    def read1(self, size):
        size = min(size // 2, RATE // 10)
        if self.n_read >= self.next_s * RATE:
            self.next_s += 1
            os.kill(os.getpid(), signal.SIGINT)
        self.n_read += size
        return self.samples[self.n_read - size : self.n_read].tobytes()


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_standard_input_and_the_last_segment_is_printed(
    recognizer, monkeypatch, capsys, interruptible
):
    microphone = Microphone(begin_s=3)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=microphone))
    print_stream(recognizer, Path("-"), "txt")
    assert 3 * RATE < microphone.n_read < 3.3 * RATE
    heard = microphone.samples[: microphone.n_read] / 2.0**15
    results = recognizer.stream([heard.astype(np.float32)])
    finals = [result.text for result in results if result.is_final and result.text]
    assert capsys.readouterr().out.splitlines() == finals
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_interrupts(recognizer, monkeypatch, interruptible):
    def read_live(*_):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        yield np.zeros(RATE, np.float32)

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=None))
    monkeypatch.setattr("asr.cli.stream_output.read_live", read_live)
    with pytest.raises(KeyboardInterrupt):
        print_stream(recognizer, Path("-"), "txt")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("-", "b.wav"), "--stream is for one recording, not 2; expected one"),
        (("-", "--out", "x"), "--out is x; expected none with --stream, which prints to stdout"),
        (("-", "--format", "textgrid"), "--format is textgrid; expected txt, json, srt, vtt or"),
        (("-", "--format", "srt,ctm"), "--format is srt,ctm; expected txt, json, srt, vtt or"),
    ],
)
def test_what_cannot_be_streamed_is_wrong_usage(folder, arguments, line):
    done = transcribe(folder, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"asr transcribe: {line}")


def test_other_audio_on_standard_input_is_refused_in_one_line(folder):
    done = transcribe(folder, "-", data=encoded(np.zeros(900), "FLAC"))
    line = "asr transcribe: -: is no WAV; expected WAV, or raw 16-bit samples, in a stream\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", line)
