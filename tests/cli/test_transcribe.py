import json
import math
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, spoken
from taggers import save_full_stops
from test_decoder import write_lm
from typer.testing import CliRunner

from asr.alignment.times import Word
from asr.cli.app import app
from asr.decoder import DecoderSettings, save_decoding
from asr.lm.load import KENLM_MAGIC
from asr.recognizer import Recognizer, Transcript, load
from asr.transcribing.writers import as_text


@pytest.fixture
def audio(tone_model):
    """Three recordings."""
    return [tone_model.parent / "tones" / f"train0{n}.wav" for n in range(3)]


@pytest.fixture(scope="module")
def recognizer(tone_model):
    return load(tone_model, "cpu")


def transcribe(tone_model, *arguments):
    options = ["transcribe", "--model", tone_model, "--device", "cpu", *arguments]
    return CliRunner().invoke(app, [str(option) for option in options])


def test_one_line_per_file(tone_model, audio, recognizer):
    done = transcribe(tone_model, *audio)
    assert done.exit_code == 0
    assert done.stderr == ""
    expected = [f"{path}\t{recognizer.transcribe(path).text}" for path in audio]
    assert done.stdout.splitlines() == expected
    assert all(line.split("\t")[1] for line in expected)


def test_one_json_object_per_file(tone_model, audio, recognizer):
    done = transcribe(tone_model, "--format", "json", *audio)
    assert done.exit_code == 0
    for line, path in zip(done.stdout.splitlines(), audio, strict=True):
        values = json.loads(line)
        transcript = recognizer.transcribe(path)
        assert values["audio"] == str(path)
        assert values["text"] == transcript.text
        assert values["duration"] == transcript.duration
        assert values["log_prob"] == pytest.approx(transcript.log_prob, abs=0.00051)
        assert [word["word"] for word in values["words"]] == transcript.text.split()
        times = [(word["start"], word["end"]) for word in values["words"]]
        expected = [(word.start, word.end) for word in transcript.words]
        np.testing.assert_allclose(times, expected, rtol=0, atol=0.00051)


@pytest.fixture
def punctuating(tone_model, tmp_path):
    """The folder of a model with a tagger that ends a sentence after every word."""
    shutil.copytree(tone_model, tmp_path / "punctuating")
    save_full_stops(tmp_path / "punctuating")
    return tmp_path / "punctuating"


def with_full_stops(text):
    return " ".join(f"{word.upper()}." for word in text.split())


def test_punctuation_changes_only_the_spelling(punctuating, audio, recognizer):
    done = transcribe(punctuating, "--punctuate", "--format", "json", *audio)
    assert done.exit_code == 0
    for line, path in zip(done.stdout.splitlines(), audio, strict=True):
        values, transcript = json.loads(line), recognizer.transcribe(path)
        assert values["text"] == with_full_stops(transcript.text)
        assert " ".join(word["word"] for word in values["words"]) == values["text"]
        times = [(word["start"], word["end"]) for word in values["words"]]
        expected = [(word.start, word.end) for word in transcript.words]
        np.testing.assert_allclose(times, expected, rtol=0, atol=0.00051)


@pytest.mark.parametrize(
    ("options", "punctuated"),
    [([], {"srt", "vtt"}), (["--punctuate"], {"txt", "srt", "vtt"}), (["--no-punctuate"], set())],
)
def test_subtitles_have_punctuation_by_default(punctuating, audio, tmp_path, options, punctuated):
    out = tmp_path / "out"
    formats = ["--format", "txt,srt,vtt", "--out", out]
    assert transcribe(punctuating, *formats, *options, audio[0]).exit_code == 0
    lines = {path.suffix[1:]: path.read_text().splitlines() for path in out.iterdir()}
    del lines["tsv"]
    assert set(lines) == {"txt", "srt", "vtt"}
    assert {name for name, text in lines.items() if text[-1].endswith(".")} == punctuated


def test_punctuation_without_a_tagger_is_refused(tone_model, audio):
    done = transcribe(tone_model, "--punctuate", audio[0])
    assert done.exit_code == 1
    place = tone_model / "punctuation"
    line = f"asr transcribe: {place}: does not exist; expected a punctuation model"
    assert done.stderr == f"{line}, or --no-punctuate\n"
    assert transcribe(tone_model, "--format", "srt", audio[0]).exit_code == 0


def test_infinite_log_prob_is_null_in_json(tone_model, audio, recognizer, monkeypatch):
    nothing = Transcript("", -math.inf, 0.1)
    monkeypatch.setattr("asr.recognizer.Recognizer.transcripts", lambda *_: [nothing])
    done = transcribe(tone_model, "--format", "json", audio[0])
    assert done.exit_code == 0
    values = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    assert (values["text"], values["log_prob"]) == ("", None)


def test_search_uses_the_given_language_model(tone_model, audio, tmp_path):
    lm = write_lm(tmp_path / "lm.arpa", a=-20.0, b=-0.1)
    done = transcribe(tone_model, "--lm", lm, "--beam-width", 20, *audio)
    assert done.exit_code == 0, done.stderr
    recognizer = load(tone_model, "cpu", lm=lm, beam_width=20)
    expected = [f"{path}\t{recognizer.transcribe(path).text}" for path in audio]
    assert done.stdout.splitlines() == expected
    refused = transcribe(tone_model, "--decoder", "greedy", "--lm", lm, *audio)
    assert refused.exit_code == 2
    told = "asr transcribe: --decoder is greedy, which uses the acoustic model alone; expected beam"
    assert refused.stderr == f"{told} or flashlight with --lm\n"


def test_a_missing_decoder_package_is_named_once(tone_model, audio, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    done = transcribe(tone_model, "--decoder", "flashlight", *audio)
    missing = (
        "decoder is flashlight, whose package is not installed; expected it after: pip install"
    )
    line = f"{missing} flashlight-text\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"asr transcribe: --{line}")

    model = tmp_path / "model"
    shutil.copytree(tone_model, model)
    save_decoding(model, DecoderSettings("flashlight"))
    done = transcribe(model, *audio)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"asr transcribe: {line}")


def test_what_flashlight_lacks_is_named_once(tone_model, audio, tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text is not installed")
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("a\n")
    done = transcribe(tone_model, "--decoder", "flashlight", "--phrases", phrases, *audio)
    line = "decoder is flashlight, which supports no phrases; expected decoder beam\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"asr transcribe: {line}")


def test_a_missing_kenlm_is_named_once(tone_model, audio, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    lm = tmp_path / "lm.bin"
    lm.write_bytes(KENLM_MAGIC)
    done = transcribe(tone_model, "--lm", lm, *audio)
    line = f"{lm}: reading it takes KenLM, which is not installed; expected it after: pip install"
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"asr transcribe: {line} kenlm-ex\n"


def test_phrases_become_more_likely(tone_model, audio, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("a\t-100\n")
    done = transcribe(tone_model, "--phrases", phrases, *audio)
    assert done.exit_code == 0, done.stderr
    heard = [line.split("\t")[1] for line in done.stdout.splitlines()]
    assert "a" not in " ".join(heard).split()
    assert heard != [load(tone_model, "cpu").transcribe(path).text for path in audio]


def test_a_phrase_that_the_tokens_cannot_spell_has_file_and_line(tone_model, audio, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("a\n\nA!\t3\n")
    done = transcribe(tone_model, "--phrases", phrases, *audio)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"asr transcribe: {phrases}:3: phrase 'A!': ")


def test_other_files_are_done_after_a_damaged_one(tone_model, audio, tmp_path):
    (tmp_path / "cut.wav").write_bytes(audio[0].read_bytes()[:3000])
    soundfile.write(tmp_path / "short.wav", np.zeros(100), SAMPLE_RATE)
    bad = [tmp_path / "cut.wav", tmp_path / "nope.wav", tmp_path / "short.wav"]
    done = transcribe(tone_model, bad[0], audio[0], bad[1], audio[1], bad[2])
    assert done.exit_code == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        str(path) for path in audio[:2]
    ]
    *lines, last = done.stderr.splitlines()
    for line, path in zip(lines, bad, strict=True):
        assert line.startswith(f"asr transcribe: {path}: ")
    names = ", ".join(map(str, bad))
    assert last == f"asr transcribe: 3 of 5 recordings failed: {names}"


def test_several_formats_are_written_at_once(tone_model, audio, tmp_path, recognizer):
    out = tmp_path / "out"
    out.mkdir()
    kept = out / "train01.srt"
    kept.write_text("mine")
    done = transcribe(tone_model, "--format", "srt,json,ctm,textgrid", "--out", out, *audio[:2])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == ""
    assert kept.read_text() == "mine"
    suffixes = (".TextGrid", ".ctm", ".json", ".srt")
    names = [f"train0{n}{suffix}" for n in range(2) for suffix in suffixes]
    assert sorted(files_in(out)) == names
    for format, suffix in (("srt", ".srt"), ("ctm", ".ctm"), ("textgrid", ".TextGrid")):
        expected = as_text(format, recognizer.transcribe(audio[0]), audio[0])
        assert (out / f"train00{suffix}").read_text() == expected
    words = json.loads((out / "train01.json").read_text())["words"]
    assert " ".join(word["word"] for word in words) == recognizer.transcribe(audio[1]).text


def test_ctm_of_several_recordings_is_one_file(tone_model, audio, recognizer):
    done = transcribe(tone_model, "--format", "ctm", "--channel", 0, *audio)
    assert (done.exit_code, done.stderr) == (0, "")
    expected = [as_text("ctm", recognizer.transcribe(path), path, channel=0) for path in audio]
    assert done.stdout == "".join(expected)


def test_other_formats_are_written_after_one_lacks_a_word(tone_model, audio, tmp_path, monkeypatch):
    odd = Transcript("@", -1.0, 2.0, lambda: (Word("@", 0.0, 1.0, 0.5),))
    monkeypatch.setattr("asr.recognizer.Recognizer.transcripts", lambda *_: [odd])
    done = transcribe(tone_model, "--format", "ctm,vtt", "--out", tmp_path / "out", audio[0])
    assert done.exit_code == 1
    found = "has the word '@', which has a special meaning in CTM; expected another format"
    assert done.stderr == f"asr transcribe: {audio[0]}: {found}\n"
    assert sorted(files_in(tmp_path / "out")) == ["failed.tsv", "train00.vtt"]


@pytest.mark.parametrize("format", ["txt", "json"])
def test_out_writes_one_file_per_recording(tone_model, audio, tmp_path, recognizer, format):
    out = tmp_path / "new" / "texts"
    done = transcribe(tone_model, "--out", out, "--format", format, *audio, tmp_path / "nope.wav")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "nope.wav" in done.stderr
    files = sorted(out.glob(f"*.{format}"))
    assert len(files_in(out)) == len(files) + 1  # and failed.tsv
    assert [file.name for file in files] == [f"train0{n}.{format}" for n in range(3)]
    for file, path in zip(files, audio, strict=True):
        text = file.read_text()
        found = json.loads(text)["text"] if format == "json" else text.removesuffix("\n")
        assert found == recognizer.transcribe(path).text
        assert text.count("\n") == 1


@pytest.fixture
def talks(audio, tmp_path):
    """A folder with recordings in two subfolders, and a text."""
    for name, path in zip(("x.wav", "deep/x.WAV", "deep/y.wav"), audio, strict=True):
        (tmp_path / "talks" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "talks" / name)
    (tmp_path / "talks" / "x.txt").write_text("one")
    return tmp_path / "talks"


def files_in(folder):
    """The content of each file in a folder and its subfolders, but the list of recordings."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    found.pop("recordings.tsv", None)
    return found


def test_a_recording_given_twice_is_refused_with_out(tone_model, talks, tmp_path):
    done = transcribe(tone_model, "--out", tmp_path / "out", talks / "x.wav", talks)
    line = f"asr transcribe: {talks / 'x.wav'}: is given twice; expected each recording once\n"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", line)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_searched_and_its_tree_is_kept(
    tone_model, compiled_alignment, talks, tmp_path, recognizer
):
    done = transcribe(tone_model, "--format", "srt,txt", "--out", tmp_path / "out", talks)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    found = files_in(tmp_path / "out")
    assert sorted(found) == [
        f"{name}{suffix}" for name in ("deep/x", "deep/y", "x") for suffix in (".srt", ".txt")
    ]
    text = recognizer.transcribe(talks / "deep" / "y.wav").text
    assert found["deep/y.txt"].decode() == text + "\n"


def test_a_quoted_pattern_finds_files_below_its_folder(tone_model, talks, tmp_path):
    done = transcribe(tone_model, talks / "**" / "[xy].wav")
    assert done.stderr == ""
    names = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert names == [str(talks / "deep" / "y.wav"), str(talks / "x.wav")]
    transcribe(tone_model, "--out", tmp_path / "out", talks / "**" / "*.[wW]*")
    assert sorted(files_in(tmp_path / "out")) == ["deep/x.txt", "deep/y.txt", "x.txt"]


def test_the_same_command_continues(tone_model, compiled_alignment, talks, tmp_path):
    out = tmp_path / "out"
    command = [tone_model, "--format", "srt,txt", "--out", out, talks]
    damaged = talks / "deep" / "y.wav"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:3000])
    done = transcribe(*command)
    assert done.exit_code == 1
    failure, count = done.stderr.splitlines()
    assert count == f"asr transcribe: 1 of 3 recordings failed: {damaged}"
    reason = failure.removeprefix(f"asr transcribe: {damaged}: ")
    assert (out / "failed.tsv").read_text() == f"{damaged}\t{reason}\n"

    damaged.write_bytes(whole)
    (out / "x.srt").unlink()  # a recording is done if it has all formats
    (out / "x.txt").write_text("mine")
    done = transcribe(*command)
    line = "asr transcribe: 1 of 3 recordings are done already\n"
    assert (done.exit_code, done.stderr) == (0, line)
    assert len(files_in(out)) == 6  # without failed.tsv
    assert (out / "x.txt").read_text() == "mine"
    done = transcribe(*command)
    line = "asr transcribe: 3 of 3 recordings are done already\n"
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", line)


@pytest.fixture
def many(tmp_path):
    """A folder with 60 recordings in three subfolders."""
    for number in range(60):
        path = tmp_path / "many" / "abc"[number % 3] / f"{number // 3}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = " ".join("ab"[number >> bit & 1] for bit in range(2 + number % 4))
        soundfile.write(path, spoken(text, seed=number), SAMPLE_RATE)
    return tmp_path / "many"


KILLED = """
import json, os, signal, sys
from pathlib import Path
import asr.alignment.trellis, asr.cli.app, asr.cli.transcript_output, asr.transcribing.files

out, kills, arguments = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]

def kill_at(number):
    seen = 0
    def hook(event, values):
        nonlocal seen
        if event.split(".")[0] in ("open", "os") and values and str(values[0]).startswith(out):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

for kill in kills:
    child = os.fork()
    if not child:
        kill_at(int(kill))
        asr.cli.app.main(arguments)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    files = {str(p.relative_to(out)): p.read_text() for p in Path(out).rglob("*.*") if p.is_file()}
    print(json.dumps([status, files]), flush=True)
"""
"""Runs a command several times, each killed when it uses the output folder for the n-th time; after
each run, prints the exit status and the files."""


def test_killed_runs_continue_to_the_same_files(tone_model, compiled_alignment, many, tmp_path):
    options = ["--format", "srt,txt", "--batch-s", 2, many]
    done = transcribe(tone_model, "--out", tmp_path / "whole", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    expected = files_in(tmp_path / "whole")
    assert len(expected) == 120

    out = tmp_path / "out"
    kills = [*np.random.default_rng(0).integers(20, 300, size=4), 10**9]
    command = ["transcribe", "--model", tone_model, "--device", "cpu", "--out", out, *options]
    runs = subprocess.run(
        [sys.executable, "-c", KILLED, out, ",".join(map(str, kills)), *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    *killed, (status, _) = map(json.loads, runs.stdout.splitlines())
    n_files = []
    for killed_status, files in killed:
        assert killed_status == -signal.SIGKILL
        assert files.pop("recordings.tsv").count("\n") == 60
        whole = {name: text for name, text in files.items() if not name.endswith(".partial")}
        assert whole == {name: expected[name].decode() for name in whole}
        n_files.append(len(whole))
    assert n_files == sorted(n_files)
    assert n_files[-1] > n_files[0]
    assert (status, len(killed)) == (0, 4)
    assert files_in(out) == expected
    assert runs.stderr.splitlines()[-1].endswith(" of 60 recordings are done already")


@pytest.mark.parametrize("batch_s", [0, 1, 60])
def test_stdout_has_the_order_of_the_input(tone_model, many, recognizer, batch_s):
    damaged = many / "b" / "7.wav"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    order = np.random.default_rng(0).permutation(sorted(many.rglob("*.wav")))
    done = transcribe(tone_model, "--batch-s", batch_s, *order)
    lines = [f"{p}\t{recognizer.transcribe(p).text}" for p in order if p != damaged]
    assert (done.exit_code, done.stdout.splitlines()) == (1, lines)
    failure, count = done.stderr.splitlines()
    assert failure.startswith(f"asr transcribe: {damaged}: ")
    assert count == f"asr transcribe: 1 of 60 recordings failed: {damaged}"


def test_channel_option_uses_one_channel(tone_model, audio, recognizer, tmp_path):
    waveform, _ = soundfile.read(audio[0], dtype="float32")
    both = np.stack([np.zeros_like(waveform), waveform], axis=1)
    soundfile.write(tmp_path / "both.wav", both, SAMPLE_RATE)
    done = transcribe(tone_model, "--channel", 1, tmp_path / "both.wav")
    assert done.stdout == f"{tmp_path / 'both.wav'}\t{recognizer.transcribe(audio[0]).text}\n"
    assert transcribe(tone_model, "--channel", 2, tmp_path / "both.wav").exit_code == 1
    refused = transcribe(tone_model, "--channel", 1, audio[0]).stderr
    assert f"{audio[0]}: has 1 channel; expected channel 1 among them (the first is 0)" in refused


def test_cancelling_channels_give_a_warning(tone_model, audio, tmp_path):
    waveform, _ = soundfile.read(audio[0], dtype="float32")
    both = tmp_path / "both.wav"
    soundfile.write(both, np.stack([waveform, -waveform], axis=1), SAMPLE_RATE)
    done = transcribe(tone_model, both, audio[1], both)
    assert done.exit_code == 0
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        str(path) for path in (both, audio[1], both)
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"asr transcribe: warning: {both}: its 2 channels cancel each other")
        assert "--channel 0" in line
    assert transcribe(tone_model, "--channel", 1, both).stderr == ""


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_transcribed(tone_model, audio, recognizer, tmp_path, name):
    text = recognizer.transcribe(audio[0]).text
    command = [sys.executable, "-m", "asr.cli", "transcribe", "--model", str(tone_model)]
    command += ["--device", "cpu"]
    content = audio[0].read_bytes()
    done = subprocess.run([*command, name], input=content, capture_output=True, check=True)
    assert (done.stdout.decode(), done.stderr) == (f"{name}\t{text}\n", b"")
    command += ["--out", str(tmp_path / "out")]
    subprocess.run([*command, name], input=content, capture_output=True, check=True)
    assert (tmp_path / "out" / "stdin.txt").read_text() == text + "\n"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GB")],
)
def test_other_files_are_done_after_a_search_lacks_memory(tone_model, audio, monkeypatch, error):
    original = Recognizer.transcripts
    calls = []

    def fails_once(self, log_probs, samples):
        calls.append(log_probs)
        if len(calls) == 1:
            raise error
        return original(self, log_probs, samples)

    monkeypatch.setattr("asr.recognizer.Recognizer.transcripts", fails_once)
    done = transcribe(tone_model, "--batch-s", 0, audio[0], audio[1])
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{audio[1]}\t")
    assert done.stderr.startswith(f"asr transcribe: {audio[0]}: needs more memory than there is")


def test_unusable_model_gives_one_line(tmp_path, audio):
    done = CliRunner().invoke(app, ["transcribe", "--model", str(tmp_path), str(audio[0])])
    assert done.exit_code == 1
    line = f"asr transcribe: {tmp_path}: has no model.json; expected a trained model's folder\n"
    assert (done.stdout, done.stderr) == ("", line)


def test_closed_pipe_ends_the_command_without_a_message(tone_model, audio):
    command = [sys.executable, "-m", "asr.cli", "transcribe", "--model", str(tone_model)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", *map(str, audio * 100)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    first = process.stdout.readline()
    assert first.startswith(f"{audio[0]}\t".encode())
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_file_name_that_is_not_utf8_is_printed_unchanged(tone_model, audio, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xe9.wav"
    try:
        with open(name, "wb") as file:
            file.write(audio[0].read_bytes())
    except OSError:
        pytest.skip("this file system accepts only UTF-8 names")
    command = [sys.executable, "-m", "asr.cli", "transcribe", "--model", str(tone_model)]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--device", "cpu", name], capture_output=True, env=strict)
    assert done.stdout.startswith(name + b"\t"), done.stderr
    assert done.returncode == 0
    command += ["--device", "cpu", "--format", "json", "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, name], capture_output=True, env=strict)
    assert (done.returncode, done.stderr) == (0, b"")
    file = tmp_path / "out" / "\udce9.json"
    # JSON is UTF-8, so the other bytes are escaped
    assert json.loads(file.read_bytes())["audio"] == rf"{tmp_path}/\xe9.wav"
