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
from asr.evaluation.log_probs import recognise_manifest, table, write_results, write_texts
from asr.evaluation.results import system_result
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
        *("substitutions", "deletions", "insertions", "words"),
        *("utterances", "wrong_utterances", "audio_s", "real_time_factor", "peak_memory_mb"),
    ]
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


def test_references_with_any_text_can_be_scored(manifest, tmp_path):
    texts = ["\ufeffone\ttwo\n", "(a)", "three\u2028 don’t", "", "<s> a </s> #"]
    utterances = [
        replace(utterance, text=text)
        for utterance, text in zip(read_manifest(manifest), texts, strict=False)
    ]
    write_manifest(tmp_path / "odd.jsonl", utterances)
    utterances = read_manifest(tmp_path / "odd.jsonl")
    write_texts(tmp_path, utterances, ["one\n two", "a", "x\x85y", "", " "], "greedy")
    files = [str(tmp_path / f"{name}.txt") for name in ("references", "hypotheses.greedy")]
    scored = CliRunner().invoke(app, ["score", *files, "--format", "json"])
    assert scored.exit_code == 0, scored.output
    scores = json.loads(scored.stdout)
    assert (scores["paired_by"], scores["words"]) == ("id", 9)


def test_texts_in_another_case_than_the_models_are_reported(tone_model, manifest, tmp_path, capsys):
    capitals = [replace(u, text=u.text.upper()) for u in read_manifest(manifest)]
    write_manifest(tmp_path / "capitals.jsonl", capitals)
    for path, told in ((manifest, False), (tmp_path / "capitals.jsonl", True)):
        arguments = ["--model", tone_model, "--manifest", path, "--device", "cpu"]
        run_script("recipes/evaluate.py", *arguments, "--out", tmp_path / path.stem)
        line = f"{path}: its texts are in capitals, those of the model in small letters; no word"
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


def test_an_infinite_rate_is_null_in_results(recognizer, manifest, tmp_path):
    utterances = [replace(u, text="") for u in read_manifest(manifest)]
    result = greedy(recognizer, utterances, tmp_path).result
    assert result.wer == math.inf
    write_results(tmp_path, tmp_path, manifest, [result])
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["systems"][0]["wer"] is None
    assert results["systems"][0]["words"] == 0


def test_a_text_that_sclite_can_not_read_only_omits_the_trn_file(manifest, tmp_path, capsys):
    utterances = read_manifest(manifest)[:2]
    utterances[0] = replace(utterances[0], text="a (b)")
    write_texts(tmp_path, utterances, ["a", ""], "greedy")
    assert "references.trn: not written: text of dev00 is 'a (b)'" in capsys.readouterr().err
    assert not (tmp_path / "references.trn").exists()
    assert (tmp_path / "hypotheses.greedy.trn").read_text() == "a (dev00)\n(dev01)\n"
    assert (tmp_path / "hypotheses.greedy.txt").read_text() == "dev00 a\ndev01\n"
    assert (tmp_path / "references.txt").read_text().startswith("dev00 a (b)\ndev01 ")


def test_an_empty_manifest_is_reported_by_name(tone_model, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    arguments = ["--model", tone_model, "--manifest", tmp_path / "empty.jsonl"]
    with pytest.raises(InputError, match=r"empty.jsonl: is empty; expected at least one utterance"):
        run_script("recipes/evaluate.py", *arguments)


def test_a_negative_gain_is_reported_as_above():
    results = [
        replace(system("one"), over="zero", gain=0.125, gain_low=-0.05, gain_high=0.3, p=0.2),
        replace(system("two"), over="zero", gain=-0.125, gain_low=-0.3, gain_high=0.05, p=0.2),
    ]
    better, worse = table(results)
    assert better.endswith("; 12.50% (-5.00% to 30.00%) below zero, p 0.2000")
    assert worse.endswith("; 12.50% (-5.00% to 30.00%) above zero, p 0.2000")


def system(name, **others):
    return replace(system_result(name, ["a b"], ["a"], audio_s=1.0, seconds=0.5), **others)


@pytest.fixture
def measured(tmp_path):
    """Arguments of `write_results`: a folder, a model and a manifest."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "test.jsonl").write_text("utterances")
    return tmp_path / "out", tmp_path / "model", tmp_path / "test.jsonl"


def systems_of(folder):
    values = json.loads((folder / "results.json").read_text())
    return {system["name"]: system for system in values["systems"]}


def test_results_keep_other_systems_and_replace_the_same_name(measured, capsys):
    settings = {"beam_width": 16, "lm_weights": [0.5, 1.0]}
    write_results(*measured, [system("greedy"), system("beam", decoding=settings)])
    write_results(*measured, [system("rescored", over="beam", gain=0.1, p=0.5)])
    write_results(*measured, [system("greedy", words=7)])
    found = systems_of(measured[0])
    assert list(found) == ["greedy", "beam", "rescored"]
    assert found["greedy"]["words"] == 7
    assert found["beam"]["decoding"] == settings
    assert (found["rescored"]["over"], found["rescored"]["gain"]) == ("beam", 0.1)
    assert "gain_low" not in found["rescored"]
    assert "commit" not in found["beam"]
    assert capsys.readouterr().err == ""


def test_an_earlier_system_keeps_its_commit_and_machine(measured, monkeypatch):
    monkeypatch.setattr(evaluation, "commit", lambda: "first")
    write_results(*measured, [system("greedy")])
    monkeypatch.setattr(evaluation, "commit", lambda: "second")
    write_results(*measured, [system("beam")])
    monkeypatch.setattr(evaluation, "commit", lambda: "third")
    values = write_results(*measured, [system("rescored")])
    assert values["commit"] == "third"
    assert [s.get("commit") for s in systems_of(measured[0]).values()] == ["first", "second", None]
    assert "machine" not in systems_of(measured[0])["greedy"]


@pytest.mark.parametrize("other", ["model", "weights", "manifest"])
def test_removed_systems_of_another_model_are_reported(measured, other, capsys):
    out, model, manifest = measured
    write_results(out, model, manifest, [system("greedy"), system("beam")])
    if other == "model":
        model = model.rename(model.with_name("renamed"))
    elif other == "weights":
        (model / "weights.safetensors").write_bytes(b"trained again")
    else:
        manifest.write_text("other utterances")
    write_results(out, model, manifest, [system("greedy")])
    assert list(systems_of(out)) == ["greedy"]
    assert "results.json: beam left out: of another model, other weights" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"systems": [{}]}'])
def test_unreadable_results_are_replaced_with_a_message(measured, text, capsys):
    measured[0].mkdir()
    (measured[0] / "results.json").write_text(text)
    write_results(*measured, [system("greedy")])
    assert list(systems_of(measured[0])) == ["greedy"]
    assert "results.json: had no results that can be read; written anew" in capsys.readouterr().err
