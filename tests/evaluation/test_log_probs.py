import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, run_script
from typer.testing import CliRunner

from asr.cli.app import app
from asr.corpus.manifest import read_manifest, write_manifest
from asr.decoder import DecoderSettings
from asr.errors import InputError
from asr.evaluation import log_probs as evaluation
from asr.evaluation.comparison import Comparison
from asr.evaluation.log_probs import recognise_manifest
from asr.evaluation.result_files import write_results
from asr.recognizer import load
from asr.scoring.error_rates import ErrorCounts, character_errors, word_errors


@pytest.fixture(scope="module")
def recognizer(tone_model):
    return load(tone_model, "cpu")


@pytest.fixture
def manifest(tone_model):
    return tone_model.parent / "tones" / "dev.jsonl"


def greedy(recognizer, utterances, out):
    """The result of greedy search."""
    comparison = Comparison(recognizer, recognise_manifest(recognizer, utterances), None, out)
    return comparison.search("greedy", DecoderSettings())


def test_a_manifest_is_recognised_like_single_files(recognizer, manifest, monkeypatch):
    utterances = read_manifest(manifest)
    monkeypatch.setattr(evaluation, "BATCH_S", 2.0)  # several batches, out of the manifest's order
    recognised = recognise_manifest(recognizer, utterances)
    assert recognised.seconds > 0
    nbests = recognizer.decoder.nbests(recognised.log_probs)
    durations = 0.0
    for utterance, nbest in zip(utterances, nbests, strict=True):
        alone = recognizer.transcribe(utterance.audio)
        assert nbest[0].words == tuple(alone.text.split())
        assert nbest[0].log_prob == pytest.approx(alone.log_prob, rel=1e-4)
        durations += alone.duration
    assert recognised.audio_s == pytest.approx(durations)


def test_error_rates_equal_those_of_the_transcripts(recognizer, manifest, tmp_path):
    utterances = read_manifest(manifest)
    system = greedy(recognizer, utterances, tmp_path)
    result = system.result
    texts = [u.text for u in utterances], system.hypotheses
    counts = word_errors(*texts)
    total = sum(counts, ErrorCounts())
    assert total.errors > 0  # otherwise the test would be trivial
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


def test_asr_score_counts_the_same_errors_as_the_recipe(tone_model, manifest, tmp_path):
    arguments = ["--model", tone_model, "--manifest", manifest, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results) == ["model", "manifest", "sha256", "commit", "machine", "systems"]
    assert results["model"] == str(tone_model)
    assert results["manifest"] == str(manifest)
    (system,) = results["systems"]
    # values that compare it with another system are left out
    assert list(system) == [
        *("name", "wer", "wer_low", "wer_high", "cer"),
        *("cer_low", "cer_high", "cer_no_spaces"),
        *("substitutions", "deletions", "insertions", "words"),
        *("utterances", "wrong_utterances", "audio_s", "real_time_factor", "peak_memory_mb"),
        *("ece", "nce"),
    ]
    assert system["name"] == "greedy"

    for suffix in ("txt", "trn"):
        files = [tmp_path / "out" / f"{n}.{suffix}" for n in ("references", "hypotheses.greedy")]
        scored = CliRunner().invoke(app, ["score", *map(str, files), "--format", "json"])
        scores = json.loads(scored.stdout)
        assert scores["paired_by"] == "id"
        for name in (
            "wer",
            "cer",
            "cer_no_spaces",
            "substitutions",
            "deletions",
            "insertions",
            "words",
        ):
            assert scores[name] == system[name], name
        for name in ("wer_low", "wer_high"):
            assert scores[name] == system[name], name
    aligned = (tmp_path / "out" / "alignments.greedy.txt").read_text()
    assert aligned.count("REF:") == system["utterances"]


def test_parts_of_a_recording_are_recognised_like_files(recognizer, manifest, tmp_path):
    utterances = read_manifest(manifest)
    waveforms = [soundfile.read(u.audio, dtype="int16")[0] for u in utterances]
    whole = str(tmp_path / "whole.wav")
    soundfile.write(whole, np.concatenate(waveforms), SAMPLE_RATE, subtype="PCM_16")
    ends = np.cumsum([len(waveform) for waveform in waveforms])
    parts = [
        replace(u, audio=whole, offset=float(end - len(waveform)) / SAMPLE_RATE)
        for u, waveform, end in zip(utterances, waveforms, ends, strict=True)
    ]
    alone, together = (
        recognise_manifest(recognizer, utterances),
        recognise_manifest(recognizer, parts),
    )
    for expected, found in zip(alone.log_probs, together.log_probs, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match=r"has 0.50 s of audio from .* s on; its manifest says"):
        recognise_manifest(
            recognizer, [replace(parts[-1], duration=9.0, offset=ends[-1] / SAMPLE_RATE - 0.5)]
        )


def test_texts_in_another_case_than_the_models_are_reported(tone_model, manifest, tmp_path, capsys):
    capitals = [replace(u, text=u.text.upper()) for u in read_manifest(manifest)]
    write_manifest(tmp_path / "capitals.jsonl", capitals)
    for path, told in ((manifest, False), (tmp_path / "capitals.jsonl", True)):
        arguments = ["--model", tone_model, "--manifest", path, "--device", "cpu"]
        run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / path.stem)
        line = f"{path}: its texts are in capitals, those of the model in small letters; the"
        assert (line in capsys.readouterr().err) == told


def test_results_are_written_to_the_models_folder_by_default(tone_model, manifest):
    arguments = ["--model", tone_model, "--manifest", manifest, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments)
    assert (tone_model / "dev" / "results.json").exists()


def test_unusable_audio_is_reported(recognizer, manifest, tmp_path):
    utterances = read_manifest(manifest)
    soundfile.write(tmp_path / "short.wav", np.zeros(150), SAMPLE_RATE)
    short = replace(utterances[0], audio=str(tmp_path / "short.wav"))
    with pytest.raises(InputError, match=r"short.wav: has 18.8 ms of audio; expected at least one"):
        recognise_manifest(recognizer, [short, *utterances[1:]])
    missing = replace(utterances[0], audio=str(tmp_path / "nope.wav"))
    with pytest.raises(InputError, match=r"nope.wav"):
        recognise_manifest(recognizer, [missing, *utterances[1:]])
    wrong = replace(utterances[0], duration=30.0)
    with pytest.raises(InputError, match=r"utterance dev00: .*: has .* its manifest says 30.00 s"):
        recognise_manifest(recognizer, [wrong, *utterances[1:]])
    with pytest.raises(InputError, match=r"the manifest has no utterance"):
        recognise_manifest(recognizer, [])


def test_results_of_other_utterances_are_not_overwritten(tone_model, manifest, tmp_path):
    fewer = tmp_path / "other" / manifest.name
    fewer.parent.mkdir()
    write_manifest(fewer, read_manifest(manifest)[:3])
    model = tmp_path / "model"
    shutil.copytree(tone_model, model)
    run_script("recipes/evaluate.py", "--model", model, "--manifest", manifest, "--device", "cpu")
    before = {path: path.read_bytes() for path in (model / manifest.stem).iterdir()}
    arguments = ["--model", model, "--manifest", fewer, "--device", "cpu"]
    with pytest.raises(InputError, match=r"model/dev: has results of other utterances than those"):
        run_script("recipes/evaluate.py", *arguments)
    assert {path: path.read_bytes() for path in (model / manifest.stem).iterdir()} == before
    run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / "out")


def test_the_message_about_another_case_names_what_mends_it(tone_model, manifest, tmp_path, capsys):
    capitals = tmp_path / "capitals.jsonl"
    write_manifest(capitals, [replace(u, text=u.text.upper()) for u in read_manifest(manifest)[:2]])
    arguments = ["--model", tone_model, "--manifest", capitals, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / "out")
    told = capsys.readouterr().err
    assert f"{capitals}: its texts are in capitals, those of the model in small letters" in told
    assert f"use `asr score --ignore-case` with {tmp_path / 'out'}/references.txt and " in told
    hypotheses = tmp_path / "out" / "hypotheses.greedy.txt"
    files = map(str, (tmp_path / "out" / "references.txt", hypotheses))
    scored = CliRunner().invoke(app, ["score", "--ignore-case", *files, "--format", "json"])
    assert json.loads(scored.stdout)["wer"] < 1


def test_an_infinite_rate_is_null_in_results(recognizer, manifest, tmp_path):
    utterances = [replace(u, text="") for u in read_manifest(manifest)]
    result = greedy(recognizer, utterances, tmp_path).result
    assert result.wer == math.inf
    write_results(tmp_path, tmp_path, manifest, [result])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["systems"][0]["wer"] is None
    assert results["systems"][0]["words"] == 0


def test_an_empty_manifest_is_reported_by_name(tone_model, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    arguments = ["--model", tone_model, "--manifest", tmp_path / "empty.jsonl"]
    with pytest.raises(InputError, match=r"empty.jsonl: is empty; expected at least one utterance"):
        run_script("recipes/evaluate.py", *arguments)
