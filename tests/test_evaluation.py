import json
import math
import subprocess
from dataclasses import fields, replace

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, run_script
from typer.testing import CliRunner

from asr import evaluation
from asr.cli import app
from asr.errors import InputError
from asr.evaluation import (
    SystemResult,
    evaluate,
    report,
    transcribe_all,
    write_results,
    write_texts,
)
from asr.manifest import Utterance, read_manifest
from asr.recognizer import Transcript, load
from asr.wer import ErrorCounts, character_errors, word_errors


@pytest.fixture(scope="module")
def recognizer(tone_model):
    return load(tone_model, "cpu")


@pytest.fixture
def manifest(tone_model):
    return tone_model.parent / "tones" / "dev.jsonl"


def test_a_manifest_is_recognised_as_file_by_file(recognizer, manifest, monkeypatch):
    utterances = read_manifest(manifest)
    monkeypatch.setattr(evaluation, "BATCH_S", 2.0)  # several batches, out of the manifest's order
    transcripts, seconds = transcribe_all(recognizer, utterances)
    assert seconds > 0
    for utterance, transcript in zip(utterances, transcripts, strict=True):
        alone = recognizer.transcribe(utterance.audio)
        assert transcript.text == alone.text
        assert transcript.log_prob == pytest.approx(alone.log_prob, rel=1e-4)
        assert transcript.duration == alone.duration


def test_rates_are_those_of_the_transcripts(recognizer, manifest):
    utterances = read_manifest(manifest)
    result, transcripts = evaluate(recognizer, utterances, "greedy")
    texts = [u.text for u in utterances], [t.text for t in transcripts]
    counts = word_errors(*texts)
    total = sum(counts, ErrorCounts())
    assert total.errors > 0  # else the test would say little
    assert (result.substitutions, result.deletions, result.insertions, result.words) == (
        total.substitutions,
        total.deletions,
        total.insertions,
        total.words,
    )
    assert result.wer == total.errors / total.words
    assert result.wer_low <= result.wer <= result.wer_high
    assert result.cer == sum(character_errors(*texts), ErrorCounts()).rate
    assert result.utterances == len(utterances)
    assert result.wrong_utterances == sum(count.errors > 0 for count in counts)
    audio_s = sum(utterance.duration for utterance in utterances)
    assert result.audio_s == pytest.approx(audio_s, abs=0.005)
    assert 0 < result.real_time_factor < 1
    assert 50 < result.peak_memory_mb < 20_000


def test_the_recipe_writes_what_asr_score_reads_to_the_same_counts(tone_model, manifest, tmp_path):
    arguments = ["--model", tone_model, "--manifest", manifest, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results) == ["model", "manifest", "commit", "machine", "systems"]
    assert results["model"] == str(tone_model)
    assert results["manifest"] == str(manifest)
    (system,) = results["systems"]
    assert list(system) == [field.name for field in fields(SystemResult)]
    assert system["name"] == "greedy"

    for suffix in ("txt", "trn"):
        files = [tmp_path / "out" / f"{n}.{suffix}" for n in ("references", "hypotheses.greedy")]
        scored = CliRunner().invoke(app, ["score", *map(str, files), "--format", "json"])
        scores = json.loads(scored.stdout)
        assert scores["paired_by"] == "id"
        for name in ("wer", "cer", "substitutions", "deletions", "insertions", "words"):
            assert scores[name] == system[name], name
        for name in ("wer_low", "wer_high"):
            assert scores[name] == system[name], name
    aligned = (tmp_path / "out" / "alignments.greedy.txt").read_text()
    assert aligned.count("REF:") == system["utterances"]


def test_results_stand_in_the_models_folder_if_nowhere_else(tone_model, manifest):
    arguments = ["--model", tone_model, "--manifest", manifest, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments)
    assert (tone_model / "dev" / "results.json").exists()


def test_audio_that_can_not_be_used_is_named(recognizer, manifest, tmp_path):
    utterances = read_manifest(manifest)
    soundfile.write(tmp_path / "short.wav", np.zeros(150), SAMPLE_RATE)
    short = replace(utterances[0], audio=str(tmp_path / "short.wav"))
    with pytest.raises(InputError, match=r"short.wav: has 18.8 ms of audio; expected at least one"):
        evaluate(recognizer, [short, *utterances[1:]], "greedy")
    missing = replace(utterances[0], audio=str(tmp_path / "nope.wav"))
    with pytest.raises(InputError, match=r"nope.wav"):
        evaluate(recognizer, [missing, *utterances[1:]], "greedy")
    with pytest.raises(InputError, match=r"the manifest has no utterance"):
        evaluate(recognizer, [], "greedy")


def test_an_infinite_rate_is_null_in_results(recognizer, manifest, tmp_path):
    utterances = [replace(u, text="") for u in read_manifest(manifest)]
    result, _ = evaluate(recognizer, utterances, "greedy")
    assert result.wer == math.inf
    write_results(tmp_path, tmp_path, manifest, [result])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["systems"][0]["wer"] is None
    assert results["systems"][0]["words"] == 0


def test_a_text_that_sclite_can_not_read_costs_the_trn_file_alone(manifest, tmp_path, capsys):
    utterances = read_manifest(manifest)[:2]
    utterances[0] = replace(utterances[0], text="a (b)")
    transcripts = [Transcript("a", -1.0, 0.5), Transcript("", -1.0, 0.5)]
    write_texts(tmp_path, utterances, transcripts, "greedy")
    assert "references.trn: not written: text of dev00 is 'a (b)'" in capsys.readouterr().err
    assert not (tmp_path / "references.trn").exists()
    assert (tmp_path / "hypotheses.greedy.trn").read_text() == "a (dev00)\n(dev01)\n"
    assert (tmp_path / "hypotheses.greedy.txt").read_text() == "dev00 a\ndev01\n"
    assert (tmp_path / "references.txt").read_text().startswith("dev00 a (b)\ndev01 ")


def test_the_commit_is_this_repositorys_or_none(monkeypatch, tmp_path):
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        found = evaluation.commit().removesuffix("+")
        assert len(found) >= 12
        assert head.stdout.startswith(found)
    # installed below another repository: not that one's commit
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "evaluation.py").touch()
    monkeypatch.setattr(evaluation, "__file__", str(tmp_path / "evaluation.py"))
    assert evaluation.commit() == ""


def test_an_empty_manifest_ends_the_recipe_with_its_name(tone_model, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    arguments = ["--model", tone_model, "--manifest", tmp_path / "empty.jsonl"]
    with pytest.raises(InputError, match=r"empty.jsonl: is empty; expected at least one utterance"):
        run_script("recipes/evaluate.py", *arguments)


def test_models_of_several_seeds_are_reported_with_mean_and_deviation(tmp_path):
    utterances = [Utterance(f"u{n}", "a.wav", 1.0, "ab cd ab cd") for n in (1, 2)]
    texts = {"one": ("ab cd ab cd", "ab"), "two": ("ab", "ab"), "three": ("", "ab")}
    for name, heard in texts.items():
        transcripts = [Transcript(text, -1.0, 1.0) for text in heard]
        write_texts(tmp_path / name, utterances, transcripts, "greedy")
        rates = dict.fromkeys((field.name for field in fields(SystemResult)), 0)
        system = SystemResult(**rates | {"name": "greedy"})
        write_results(tmp_path / name, tmp_path, tmp_path, [system])
    lines = report([tmp_path / name for name in texts])
    assert [line.partition(" (")[0] for line in lines] == [
        f"{tmp_path}/one: WER 37.50%",
        f"{tmp_path}/two: WER 75.00%",
        f"{tmp_path}/three: WER 87.50%",
        "mean of 3: WER 66.67%",
    ]
    # of the two utterances, 7 and 9 of 12 words are wrong over the three
    assert "(95 %: 58.33% to 75.00%), standard deviation 26.02%" in lines[3]
    assert report([tmp_path / "one"]) == lines[:1]
