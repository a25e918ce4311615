import json
import sys
from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import run_script
from test_decoder import write_lm

from asr.corpus.manifest import read_manifest, write_manifest
from asr.decoder import Decoder, DecoderSettings, load_decoding
from asr.errors import InputError
from asr.evaluation.comparison import ROUNDS, Comparison
from asr.evaluation.log_probs import recognise_manifest
from asr.model import load_model, save_model
from asr.recognizer import Recognizer, load
from asr.search.confidence import fit_confidence
from asr.search.space import BeamSettings
from asr.search.tuning import Tuning
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer


@pytest.fixture(scope="module")
def recognised(tone_model):
    recognizer = load(tone_model, "cpu")
    return recognizer, recognise_manifest(
        recognizer, read_manifest(tone_model.parent / "tones" / "dev.jsonl")
    )


def errors(system):
    result = system.result
    return result.substitutions + result.deletions + result.insertions


def test_each_system_is_reported_with_its_gain(recognised, tmp_path):
    recognizer, test = recognised
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, test, test, tmp_path / "out")
    greedy = comparison.search("greedy", DecoderSettings())
    informed = comparison.search("beam-lm", DecoderSettings("beam", BeamSettings(), lm))
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


def test_confidences_are_calibrated_on_the_development_data(recognised, tmp_path):
    recognizer, dev = recognised
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, dev, dev, tmp_path / "out")
    plain = comparison.search("greedy", DecoderSettings())
    assert plain.settings.confidence.scale == 1.0  # one hypothesis has no alternative
    informed = comparison.search("beam-lm", DecoderSettings("beam", BeamSettings(), lm))
    rescored = comparison.rescore(informed, [lm])
    *_, oracle = comparison.systems
    assert (oracle.result.ece, len(oracle.right)) == (None, 0)
    for system in (informed, rescored):
        assert system.result.ece < 0.2
        decoder = Decoder.load(system.settings, recognizer.tokenizer)
        samples = [round(u.duration * recognizer.sample_rate) for u in dev.utterances]
        found = Recognizer(recognizer.model, decoder).transcripts(dev.log_probs, samples)
        confidences = [word.confidence for transcript in found for word in transcript.words]
        np.testing.assert_allclose(confidences, system.confidences, rtol=1e-6)
        again = fit_confidence(
            decoder.nbests(dev.log_probs),
            *comparison._acoustic_confidences(decoder.nbests(dev.log_probs), dev),
        )
        assert astuple(again) == pytest.approx(astuple(system.settings.confidence), rel=1e-6)


def test_without_development_data_weights_stay_as_they_are(recognised, tmp_path):
    recognizer, test = recognised
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, test, None, tmp_path / "out")
    settings = DecoderSettings("beam", BeamSettings(lm_weight=0.3, word_bonus=0.2), lm)
    assert comparison.search("beam-lm", settings).settings == settings
    assert not (tmp_path / "out").exists()


def test_weights_are_tuned_on_the_hypotheses_of_all_searches(recognised, tmp_path, monkeypatch):
    recognizer, dev = recognised
    proposed = iter([(0.1, -2.0), (0.2, 4.0), (0.3, 1.0), (0.4, 0.0)])
    seen = []

    def tune(nbests, *rest):
        seen.append([{hypothesis.words for hypothesis in nbest} for nbest in nbests])
        lm_weight, bonus = next(proposed)
        return Tuning((lm_weight,), (bonus,), np.zeros((1, 1), dtype=np.int64), 1)

    monkeypatch.setattr("asr.evaluation.comparison.tune", tune)
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    beam = BeamSettings(beam_width=3, n_best=3)
    Comparison(recognizer, dev, dev, tmp_path / "out").search(
        "x", DecoderSettings("beam", beam, lm)
    )
    assert len(seen) == ROUNDS
    for before, after in pairwise(seen):
        assert all(some <= more for some, more in zip(before, after, strict=True))
    assert any(len(more) > 3 for more in seen[-1])


def test_oov_words_are_reported_once(recognised, tmp_path, capsys):
    recognizer, test = recognised
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("\n".join({word for text in test.references for word in text.split()}))
    said = replace(
        test, utterances=[replace(test.utterances[0], text="maybe"), *test.utterances[1:]]
    )
    Comparison(recognizer, said, None, tmp_path / "out").all_ways(
        DecoderSettings("beam", lexicon=str(lexicon)), [lm], []
    )
    told = [line for line in capsys.readouterr().err.splitlines() if "recognised" in line]
    words = sum(len(text.split()) for text in said.references)
    assert told == [f"beam: 1 of the {words} words of the references can't be recognised: maybe"]


def test_the_recipe_saves_tuned_weights_in_the_model(tone_model, tmp_path, capsys):
    lm = write_lm(tmp_path / "words.arpa", a=-0.5, b=-0.5)
    dev = tone_model.parent / "tones" / "dev.jsonl"
    out = tmp_path / "out"
    arguments = ["--model", tone_model, "--manifest", dev, "--device", "cpu", "--out", out]
    arguments += ["--decoder", "beam", "--lm", lm, "--rescorer", lm, "--tune", dev]
    try:
        run_script("recipes/evaluate.py", *arguments)
        kept = load_decoding(tone_model)
        run_script("recipes/evaluate.py", *arguments[:6], "--out", tmp_path / "as_tuned")
    finally:
        (tone_model / "decoding.json").unlink(missing_ok=True)
    systems = json.loads((out / "results.json").read_text())["systems"]
    names = [system["name"] for system in systems]
    assert names == ["greedy", "beam", "beam-words", "beam-words-rescored", "beam-words-oracle"]
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()[: len(names)]] == names
    assert (
        "utterances are in the test data too; weights are tuned on them, so error rates are too low"
        in printed.err
    )
    assert all((out / f"hypotheses.{name}.txt").exists() for name in names)
    assert len(kept.lm_weights) == 2  # the language model of the search, and the rescorer
    as_tuned = json.loads((tmp_path / "as_tuned" / "results.json").read_text())["systems"]
    assert [system["name"] for system in as_tuned] == ["greedy", "tuned"]
    assert as_tuned[1]["decoding"]["lm_weights"] == systems[3]["decoding"]["lm_weights"]
    for value in ("wer", "cer", "ece"):
        assert as_tuned[1][value] == systems[3][value]


def test_results_of_an_installed_model_do_not_go_to_its_folder(
    tone_model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ASR_MODELS", str(tone_model.parent))
    monkeypatch.chdir(tmp_path)
    dev = tone_model.parent / "tones" / "dev.jsonl"
    given = ["--model", tone_model.name, "--manifest", dev, "--device", "cpu"]
    for more in ([], ["--out", "out", "--decoder", "beam", "--tune", dev]):
        with pytest.raises(SystemExit, match="2"):
            run_script("recipes/evaluate.py", *given, *more)
        line = f"--model is the installed model {tone_model.name}; expected --out for the results"
        assert line in capsys.readouterr().err
    run_script("recipes/evaluate.py", *given, "--out", "out")
    assert (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--lm", "x"], "expected beam or flashlight with --lm"),
        (["--tune", "dev"], "expected beam or flashlight with --tune"),
        (["--beam-width", "9"], "expected beam or flashlight with --beam-width"),
        (["--decoder", "beam", "--lm", ""], "--lm or --rescorer is ''; expected a path"),
        (["--out", ""], "argument --out: invalid path_of value: ''"),
        (["--decoder", "beam", "--beam-width", "0"], "--beam-width is 0; expected 1 or more"),
        (["--decoder", "beam", "--rescorer", "x"], "--rescorer needs --tune"),
        (["--decoder", "beam", "--lm", "a/x.arpa", "--lm", "b/x"], "--lm: two are called x"),
    ],
)
def test_the_recipe_refuses_options_that_would_change_nothing(tone_model, capsys, options, line):
    dev = tone_model.parent / "tones" / "dev.jsonl"
    given = [dev if option == "dev" else option for option in options]
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/evaluate.py", "--model", tone_model, "--manifest", dev, *given)
    assert line in capsys.readouterr().err


def test_phones_are_searched_by_default(tone_model, tmp_path):
    model = load_model(tone_model)
    lexicon = Lexicon({"a": (("P",),), "b": (("Q", "R"),)})
    save_model(tmp_path / "phones", replace(model, tokenizer=PhoneTokenizer.from_lexicon(lexicon)))
    lm = write_lm(tmp_path / "words.arpa", a=-0.5, b=-0.5)
    dev = tone_model.parent / "tones" / "dev.jsonl"
    arguments = ["--manifest", dev, "--lm", lm, "--device", "cpu", "--out", tmp_path / "out"]
    run_script("recipes/evaluate.py", "--model", tmp_path / "phones", *arguments)
    systems = json.loads((tmp_path / "out" / "results.json").read_text())["systems"]
    assert [system["name"] for system in systems] == ["beam", "beam-words"]


def test_weights_are_not_tuned_on_empty_references(tone_model, tmp_path):
    dev = tone_model.parent / "tones" / "dev.jsonl"
    wordless = dev.with_name("wordless.jsonl")
    write_manifest(wordless, [replace(u, text="") for u in read_manifest(dev)])
    arguments = ["--model", tone_model, "--manifest", dev, "--device", "cpu", "--out", tmp_path]
    with pytest.raises(InputError, match=r"wordless.jsonl: has no word; expected some to tune on"):
        run_script("recipes/evaluate.py", *arguments, "--decoder", "beam", "--tune", wordless)


def test_existing_results_are_not_overwritten(tone_model, tmp_path, capsys):
    dev = tone_model.parent / "tones" / "dev.jsonl"
    arguments = ["--model", tone_model, "--manifest", dev, "--device", "cpu", "--out", tmp_path]
    run_script("recipes/evaluate.py", *arguments)
    assert "replaced" not in capsys.readouterr().err
    run_script("recipes/evaluate.py", *arguments, "--decoder", "beam")
    told = f"evaluate: {tmp_path}: had results; those of the same ways of decoding are replaced\n"
    assert told in capsys.readouterr().err
    systems = json.loads((tmp_path / "results.json").read_text())["systems"]
    assert [system["name"] for system in systems] == ["greedy", "beam"]


def test_a_missing_decoder_package_is_named_before_audio_is_read(tone_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    arguments = ["--model", tone_model, "--manifest", "nope.jsonl", "--device", "cpu"]
    with pytest.raises(SystemExit, match="2"):
        run_script("recipes/evaluate.py", *arguments, "--decoder", "flashlight")
    line = "--decoder is flashlight, whose package is not installed; expected it after: pip install"
    assert f"evaluate: error: {line} flashlight-text\n" in capsys.readouterr().err


def test_systems_are_named_after_their_search(tone_model, tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text is not installed")
    arguments = ["--manifest", tone_model.parent / "tones" / "dev.jsonl", "--device", "cpu"]
    arguments += ["--model", tone_model, "--out", tmp_path, "--decoder", "flashlight"]
    run_script("recipes/evaluate.py", *arguments)
    systems = json.loads((tmp_path / "results.json").read_text())["systems"]
    assert [system["name"] for system in systems] == ["greedy", "flashlight"]


def test_rescoring_without_development_data_is_refused(recognised, tmp_path):
    recognizer, test = recognised
    lm = write_lm(tmp_path / "lm.arpa", a=-0.5, b=-0.5)
    comparison = Comparison(recognizer, test, None, tmp_path / "out")
    base = comparison.search("beam", DecoderSettings("beam", BeamSettings()))
    with pytest.raises(ValueError, match="dev is None; expected development data"):
        comparison.rescore(base, [lm])
