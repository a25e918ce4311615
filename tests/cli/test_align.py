import itertools
import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLE_RATE, run_script, spoken
from praatio import textgrid
from typer.testing import CliRunner

from asr.alignment.aligner import align_text
from asr.cli.app import app
from asr.corpus import letter_to_sound
from asr.corpus.manifest import read_manifest, write_manifest
from asr.model import load_model, save_model
from asr.recognizer import load
from asr.scoring.timed import read_ctm
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import BLANK_SYMBOL, PhoneTokenizer

pytestmark = pytest.mark.usefixtures("compiled_alignment")


@pytest.fixture
def recording(tone_model):
    """A recording and its text."""
    return read_manifest(tone_model.parent / "tones" / "train.jsonl")[3]


def align(tone_model, *arguments, **more):
    options = ["align", "--model", tone_model, "--device", "cpu", *arguments]
    return CliRunner().invoke(app, [str(option) for option in options], **more)


@pytest.fixture
def text(recording, tmp_path):
    """The text's file, in another form than the model's."""
    path = tmp_path / "text.txt"
    path.write_text(f"\ufeff{recording.text.upper()} ...\r\n".replace(" ", ",\n", 1))
    return path


def expected_words(tone_model, recording):
    recognizer = load(tone_model, "cpu")
    waveform, _ = soundfile.read(recording.audio, dtype="float32")
    log_probs = recognizer.log_probs(waveform)
    found = align_text(recognizer.model, log_probs, recording.text, recording.duration)
    return found.words


def test_ctm_has_a_line_per_word(tone_model, recording, text):
    done = align(tone_model, recording.audio, text)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    words = read_ctm([(f"{n}", line) for n, line in enumerate(lines)])
    due = expected_words(tone_model, recording)
    assert [word.text for word in words] == recording.text.split()
    for line, word in zip(lines, due, strict=True):
        id, channel, start, duration, label, confidence = line.split()
        assert (id, channel, label) == (recording.id, "1", word.text)
        assert float(start) == pytest.approx(word.start, abs=6e-4)
        assert float(start) + float(duration) == pytest.approx(word.end, abs=1.1e-3)
        assert float(confidence) == pytest.approx(word.confidence, abs=6e-5)


def test_json_has_words_and_phones(tone_model, recording, text):
    done = align(tone_model, recording.audio, text, "--format", "json", "--phones")
    values = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert values["audio"] == recording.audio
    assert values["text"] == recording.text
    assert values["duration"] == recording.duration
    assert values["log_prob"] < 0
    due = expected_words(tone_model, recording)
    assert [word["word"] for word in values["words"]] == recording.text.split()
    for found, word in zip(values["words"], due, strict=True):
        times = [found[name] for name in ("start", "end", "confidence")]
        assert times == pytest.approx([word.start, word.end, word.confidence], abs=6e-4)
    for phone, word in zip(values["phones"], values["words"], strict=True):  # of one letter
        assert phone["phone"] == word["word"]
        assert word["start"] <= phone["start"] < phone["end"] <= word["end"]
    plain = json.loads(align(tone_model, recording.audio, text, "--format", "json").stdout)
    assert plain == {name: value for name, value in values.items() if name != "phones"}


def test_praat_reads_the_textgrid(tone_model, recording, text, tmp_path):
    out = tmp_path / "out.TextGrid"
    options = ["--format", "textgrid", "--phones", "--out", out]
    done = align(tone_model, recording.audio, text, *options)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    grid = textgrid.openTextgrid(out, includeEmptyIntervals=True)
    assert grid.tierNames == ("words", "phones")
    assert grid.maxTimestamp == pytest.approx(recording.duration, abs=1e-4)
    entries = grid.getTier("words").entries
    assert [entry.label for entry in entries if entry.label] == recording.text.split()
    assert entries[0].start == 0
    assert entries[-1].end == grid.maxTimestamp
    for before, after in pairwise(entries):
        assert before.end == after.start
    labelled = [entry for entry in entries if entry.label]
    for entry, word in zip(labelled, expected_words(tone_model, recording), strict=True):
        assert (entry.start, entry.end) == pytest.approx((word.start, word.end), abs=6e-4)


def test_words_of_a_recording_of_many_pieces_are_in_their_places(tone_model, tmp_path):
    texts = ["a b b a", "b a b", "b b a b a"] * 100
    parts = [spoken(text, seed) for seed, text in enumerate(texts)]
    starts = np.cumsum([0, *map(len, parts[:-1])]) / SAMPLE_RATE
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), SAMPLE_RATE)
    (tmp_path / "long.txt").write_text("\n".join(texts))
    done = align(tone_model, tmp_path / "long.wav", tmp_path / "long.txt", "--format", "json")
    found = json.loads(done.stdout)["words"]
    assert " ".join(word["word"] for word in found) == " ".join(texts)
    middles = [
        start + 0.105 + 0.15 * n  # of the tones, see `spoken`
        for start, text in zip(starts, texts, strict=True)
        for n in range(len(text.split()))
    ]
    late = np.mean([[word["start"], word["end"]] for word in found], axis=1) - middles
    assert starts[-1] > 3 * 60
    assert np.abs(late).max() < 0.25  # the model's spikes are not in the middle of the tones


def test_the_text_is_read_from_standard_input(tone_model, recording, text):
    command = [sys.executable, "-m", "asr.cli", "align", "--model", str(tone_model)]
    with open(text, "rb") as file:
        done = subprocess.run([*command, recording.audio, "-"], stdin=file, capture_output=True)
    assert done.stdout.decode() == align(tone_model, recording.audio, text).stdout, done.stderr


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("a c b", "{text}: has words that the model can't spell: c; expected words of ' ab'"),
        ("", "{text}: has no word; expected the text of the recording"),
        ("a " * 500, "{audio}: has {frames} frames; the text needs 999"),
    ],
)
def test_unusable_texts_are_refused_in_one_line(tone_model, recording, text, written, line):
    text.write_text(written)
    done = align(tone_model, recording.audio, text)
    waveform, _ = soundfile.read(recording.audio, dtype="float32")
    frames = len(load(tone_model, "cpu").log_probs(torch.from_numpy(waveform)))
    told = line.format(text=text, audio=recording.audio, frames=frames)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"asr align: {told}\n"


def test_an_existing_file_is_kept(tone_model, recording, text, tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = align(tone_model, recording.audio, text, "--out", tmp_path / "mine")
    line = f"asr align: {tmp_path / 'mine'}: already exists; expected a new file\n"
    assert (done.exit_code, done.stderr) == (1, line)
    assert (tmp_path / "mine").read_text() == "mine"


def test_subtitles_have_the_words_in_order(tone_model, recording, text):
    done = align(tone_model, recording.audio, text, "--format", "srt")
    blocks = [block.splitlines() for block in done.stdout.split("\n\n")]
    assert " ".join(" ".join(block[2:]) for block in blocks) == recording.text


@pytest.fixture
def phone_model(tone_model, recording, tmp_path):
    """The tone model with its letters as phones, whose lexicon lacks a word of the recording."""
    model = load_model(tone_model)
    assert model.tokenizer.symbols == (BLANK_SYMBOL, " ", "a", "b")
    words = ["".join(letters) for n in range(1, 6) for letters in itertools.product("ab", repeat=n)]
    words.remove(recording.text.split()[-1])
    lexicon = Lexicon({word: (tuple(word.upper()),) for word in words})
    phones = PhoneTokenizer((BLANK_SYMBOL, "SP", "A", "B"), lexicon)
    save_model(tmp_path / "phones", replace(model, tokenizer=phones))
    return tmp_path / "phones"


def test_words_that_a_lexicon_of_phones_lacks_are_aligned_as_they_sound(
    phone_model, recording, text, monkeypatch
):
    word = recording.text.split()[-1]
    done = align(phone_model, recording.audio, text)
    assert done.exit_code == 1
    assert f"has words that the model can't spell: {word}; expected words of its" in done.stderr
    monkeypatch.setattr(letter_to_sound, "FEWEST_WORDS", 10)
    done = align(phone_model, recording.audio, text)
    assert (done.exit_code, done.stderr) == (
        0,
        f"asr align: {text}: the model's lexicon lacks 1 word, pronounced by the letters: {word}\n",
    )
    aligned = [line.split()[4] for line in done.stdout.splitlines()]
    assert aligned == recording.text.split()


def test_the_recipe_aligns_words_that_a_lexicon_of_phones_lacks_too(
    phone_model, recording, tmp_path, monkeypatch, capsys
):
    write_manifest(tmp_path / "given.jsonl", [recording])
    options = ["--model", phone_model, "--manifest", tmp_path / "given.jsonl", "--device", "cpu"]
    monkeypatch.setattr(letter_to_sound, "FEWEST_WORDS", 10)
    run_script("recipes/align.py", *options, "--out", tmp_path / "times.jsonl")
    (found,) = read_manifest(tmp_path / "times.jsonl")
    assert [word for word, *_ in found.words] == recording.text.split()
    line = f"align: {tmp_path / 'given.jsonl'}: the model's lexicon lacks 1 word, pronounced by"
    assert capsys.readouterr().err.startswith(line)


def test_phrases_may_have_words_that_a_lexicon_of_phones_lacks(
    phone_model, recording, monkeypatch, capsys
):
    word = recording.text.split()[-1]
    monkeypatch.setattr(letter_to_sound, "FEWEST_WORDS", 10)
    assert word not in load(phone_model, "cpu").transcribe(recording.audio).text.split()
    recognizer = load(phone_model, "cpu", phrases={word.upper(): 20.0})
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"pronounced by the letters: {word}")
    transcript = recognizer.transcribe(recording.audio)
    assert word in transcript.text.split()
    assert [found.text for found in transcript.words] == transcript.text.split()
