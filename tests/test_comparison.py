import json

import pytest
from conftest import run_script
from test_decoding import write_lm

from asr.comparison import Comparison
from asr.decoder import BeamSettings
from asr.decoding import DecodingSettings, load_decoding
from asr.evaluation import hear
from asr.manifest import read_manifest
from asr.recognizer import load


@pytest.fixture(scope="module")
def heard(tone_model):
    recognizer = load(tone_model, "cpu")
    return recognizer, hear(recognizer, read_manifest(tone_model.parent / "tones" / "dev.jsonl"))


def errors(system):
    result = system.result
    return result.substitutions + result.deletions + result.insertions


def test_systems_stand_side_by_side_each_with_its_gain(heard, tmp_path):
    recognizer, test = heard
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, test, test, tmp_path / "out")
    greedy = comparison.search("greedy", DecodingSettings())
    informed = comparison.search("beam-lm", DecodingSettings("beam", BeamSettings(), lm))
    rescored = comparison.rescore(informed, [lm])
    names = [system.result.name for system in comparison.systems]
    assert names == ["greedy", "beam-lm", "beam-lm-rescored", "beam-lm-oracle"]
    oracle = comparison.systems[-1]
    assert errors(oracle) <= min(errors(informed), errors(rescored))
    assert (informed.result.over, rescored.result.over) == ("greedy", "beam-lm")
    assert informed.result.gain == pytest.approx(greedy.result.wer - informed.result.wer)
    assert greedy.result.decoding is None
    assert isinstance(rescored.settings.lm_weights, tuple)
    assert informed.result.decoding["beam"]["lm_weight"] == informed.settings.beam.lm_weight
    for name in ("tuning.beam-lm", "tuning.beam-lm-rescored"):
        assert (tmp_path / "out" / f"{name}.tsv").exists()
        assert (tmp_path / "out" / f"{name}.png").exists()


def test_without_development_data_weights_stay_as_they_are(heard, tmp_path):
    recognizer, test = heard
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, test, None, tmp_path / "out")
    settings = DecodingSettings("beam", BeamSettings(lm_weight=0.3, word_bonus=0.2), lm)
    assert comparison.search("beam-lm", settings).settings == settings
    assert not (tmp_path / "out").exists()


def test_the_recipe_tunes_and_the_model_keeps_it(tone_model, tmp_path, capsys):
    lm = write_lm(tmp_path / "words.arpa", a=-0.5, b=-0.5)
    dev = tone_model.parent / "tones" / "dev.jsonl"
    out = tmp_path / "out"
    arguments = ["--model", tone_model, "--manifest", dev, "--device", "cpu", "--out", out]
    arguments += ["--decoder", "beam", "--lm", lm, "--rescorer", lm, "--tune", dev]
    try:
        run_script("recipes/evaluate.py", *arguments)
        kept = load_decoding(tone_model)
    finally:
        (tone_model / "decoding.json").unlink(missing_ok=True)
    systems = json.loads((out / "results.json").read_text())["systems"]
    names = [system["name"] for system in systems]
    assert names == ["greedy", "beam", "beam-words", "beam-words-rescored", "beam-words-oracle"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]] == names
    assert all((out / f"hypotheses.{name}.txt").exists() for name in names)
    assert len(kept.lm_weights) == 2  # that of the search, and the rescorer


def test_the_recipe_refuses_a_language_model_without_a_search_that_takes_one(tone_model, capsys):
    dev = tone_model.parent / "tones" / "dev.jsonl"
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/evaluate.py", "--model", tone_model, "--manifest", dev, "--lm", "x")
    assert "need --decoder beam or flashlight" in capsys.readouterr().err
