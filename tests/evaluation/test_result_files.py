import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from asr.cli.app import app
from asr.corpus.manifest import read_manifest, write_manifest
from asr.evaluation import result_files
from asr.evaluation.result_files import write_results, write_texts
from asr.evaluation.results import system_result


@pytest.fixture
def manifest(tone_model):
    return tone_model.parent / "tones" / "dev.jsonl"


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


def test_a_text_that_sclite_can_not_read_only_omits_the_trn_file(manifest, tmp_path, capsys):
    utterances = read_manifest(manifest)[:2]
    utterances[0] = replace(utterances[0], text="a (b)")
    write_texts(tmp_path, utterances, ["a", ""], "greedy")
    assert "references.trn: not written: text of dev00 is 'a (b)'" in capsys.readouterr().err
    assert not (tmp_path / "references.trn").exists()
    assert (tmp_path / "hypotheses.greedy.trn").read_text() == "a (dev00)\n(dev01)\n"
    assert (tmp_path / "hypotheses.greedy.txt").read_text() == "dev00 a\ndev01\n"
    assert (tmp_path / "references.txt").read_text().startswith("dev00 a (b)\ndev01 ")


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
    monkeypatch.setattr(result_files, "commit", lambda: "first")
    write_results(*measured, [system("greedy")])
    monkeypatch.setattr(result_files, "commit", lambda: "second")
    write_results(*measured, [system("beam")])
    monkeypatch.setattr(result_files, "commit", lambda: "third")
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
    assert "results.json: removed beam: of another model, other weights" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"systems": [{}]}'])
def test_unreadable_results_are_replaced_with_a_message(measured, text, capsys):
    measured[0].mkdir()
    (measured[0] / "results.json").write_text(text)
    write_results(*measured, [system("greedy")])
    assert list(systems_of(measured[0])) == ["greedy"]
    assert "results.json: could not be read as results; it is replaced" in capsys.readouterr().err
