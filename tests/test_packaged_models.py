"""The models that come with the package."""

import csv
import subprocess
import sys

from conftest import ROOT

import asr
from asr.evaluation.card import CARD
from asr.installed import default_model

EN_SMALL = ROOT / "asr" / "models" / "en-small"
DIGITS = ROOT / "data" / "digits"
VOICES = ("flite-slt", "flite-rms")  # the most natural ones


def recordings():
    """Recordings of spoken digits, with their texts."""
    with (DIGITS / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["speaker"] in VOICES]
    return [
        (DIGITS / "audio" / row["speaker"] / f"{row['id']}.opus", row["text"]) for row in rows[::4]
    ]


def test_en_small_is_small_and_its_card_names_what_has_to_be_named():
    size = sum(path.stat().st_size for path in EN_SMALL.rglob("*") if path.is_file())
    assert size <= 30_000_000
    card = (EN_SMALL / CARD).read_text(encoding="utf-8")
    for named in ("LibriSpeech", "CC BY 4.0", "African Storybook", "Carnegie Mellon University"):
        assert named in card
    for test_set in ("librispeech/test", "commonvoice/test", "an4/test", "fsdd/test"):
        assert test_set in card


def test_en_small_recognises_most_words_of_voices_that_it_has_not_heard():
    recognizer = asr.load("en-small", "cpu")
    audio, texts = zip(*recordings(), strict=True)
    found = [recognizer.transcribe(path) for path in audio]
    assert asr.wer(list(texts), [transcript.text for transcript in found]).rate < 0.5
    words = [word for transcript in found for word in transcript.words]
    assert all(0 <= word.confidence <= 1 and word.start < word.end for word in words)


def test_it_is_the_default_of_transcribe_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ASR_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_model() == EN_SMALL
    (audio, text), *_ = recordings()
    command = [sys.executable, "-m", "asr.cli", "transcribe", "--device", "cpu", audio]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    path, _, heard = done.stdout.rstrip("\n").partition("\t")
    assert path == str(audio)
    assert set(heard.split()) & set(text.split())
