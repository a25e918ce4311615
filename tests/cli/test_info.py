import json
import shutil

import pytest
from conftest import run_script
from taggers import save_full_stops
from typer.testing import CliRunner

from asr.cli.app import app
from asr.decoder import DecoderSettings, save_decoding
from asr.lm.load import save_rnnlm
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.model import load_model
from asr.search.space import BeamSettings


def info(folder):
    return CliRunner().invoke(app, ["info", str(folder)])


def rows(done):
    return [(line[:12].rstrip(), line[12:]) for line in done.stdout.splitlines()]


def test_info_describes_an_acoustic_model(tone_model):
    manifest = tone_model.parent / "tones" / "dev.jsonl"
    arguments = ["--model", tone_model, "--manifest", manifest, "--device", "cpu"]
    run_script("recipes/evaluate.py", *arguments)
    done = info(tone_model)
    assert done.exit_code == 0
    assert done.stderr == ""
    values = dict(rows(done))
    assert (values["model"], "lexicon" in values) == ("CTC", False)
    assert values["tokens"] == "4 (char): <blank> <space> a b"
    assert values["features"] == (
        "12 log_mel, 0 deltas, 25 ms every 10 ms at 8000 Hz, normalised: utterance"
    )
    assert values["layers"] == "1 x 8 bidirectional lstm, a frame every 20 ms"
    model = load_model(tone_model)
    count = sum(parameter.numel() for parameter in model.acoustic.parameters())
    assert values["parameters"] == f"{count:,}"
    assert "utterances 24, hours " in values["trained on"]
    system = json.loads((tone_model / "dev" / "results.json").read_text())["systems"][0]
    assert values["result"] == (
        f"{manifest}, greedy: WER {system['wer']:.2%} ({system['wer_low']:.2%} to"
        f" {system['wer_high']:.2%}), CER {system['cer']:.2%}"
    )


def test_info_shows_the_decoding_settings(tone_model, tmp_path):
    shutil.copytree(tone_model, tmp_path / "model")
    (tmp_path / "lm.arpa").touch()
    lm = str(tmp_path / "lm.arpa")
    settings = DecoderSettings(
        "beam", BeamSettings(lm_weight=0.5), lm=lm, rescorers=(lm,), lm_weights=(2.0,)
    )
    save_decoding(tmp_path / "model", settings)
    line = "decodes by  beam, 50 prefixes, decoding/lm.arpa x 0.5, rescored by decoding/lm.arpa x 2"
    assert line in info(tmp_path / "model").stdout


def test_info_describes_a_tagger_and_names_that_of_an_acoustic_model(tone_model, tmp_path):
    shutil.copytree(tone_model, tmp_path / "model")
    assert "punctuation" not in dict(rows(info(tmp_path / "model")))
    save_full_stops(tmp_path / "model")
    assert dict(rows(info(tmp_path / "model")))["punctuation"] == "train novels.txt, words 2"
    done = info(tmp_path / "model" / "punctuation")
    assert done.exit_code == 0
    values = dict(rows(done))
    assert values["model"] == "punctuation (, . ! ?) and case"
    assert values["words"] == "2, others by 16 parts of words"
    assert values["layers"] == "1 x 4 gru in both directions, embeddings of 4"
    assert values["trained on"] == "train novels.txt, words 2"


def test_info_shows_the_licences_of_the_model_card(tone_model, tmp_path):
    shutil.copytree(tone_model, tmp_path / "model")
    table = (
        "| corpus | licence | to be named |\n|---|---|---|\n| One | CC0 1.0 | |\n| Two | CC BY |\n"
    )
    (tmp_path / "model" / "README.md").write_text(f"# model\n\n{table}")
    found = rows(info(tmp_path / "model"))
    assert found[0] == ("folder", str(tmp_path / "model"))
    assert [value for name, value in found if name == "licence"] == ["One: CC0 1.0", "Two: CC BY"]


def test_info_describes_a_language_model(tmp_path):
    (tmp_path / "texts.txt").write_text("the cat\nthe dog\n" * 9)
    train = f"--data.train={tmp_path / 'texts.txt'}"
    ngram, lm = tmp_path / "ngram", tmp_path / "lm"
    settings = "--model.order=2", "--model.discount_fallback=true"
    run_script("recipes/train_ngram.py", train, *settings, "--out", ngram)
    assert dict(rows(info(ngram))) | {"trained on": ""} == {
        "folder": str(ngram),
        "units": "5 (word)",
        "n-grams": "6, 5 (of 1 to 2)",
        "trained on": "",
    }
    vocabulary = Vocabulary.from_texts(["the cat", "the dog"])
    model = RNNLM(vocabulary, RNNLMSettings(embedding_size=3, hidden_size=4))
    save_rnnlm(lm, model, {"seed": 1})
    assert rows(info(lm)) == [
        ("folder", str(lm)),
        ("units", "5 (word)"),
        ("layers", "1 x 4 lstm, embeddings of 3"),
        ("parameters", f"{sum(weight.numel() for weight in model.parameters()):,}"),
        ("trained on", "seed 1"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "results.json: not JSON"),
        ("[]", "results.json: has no manifest or no error rates; expected results"),
        ('{"manifest": "x", "systems": [{"name": "greedy"}]}', "has no manifest or no error rates"),
    ],
)
def test_damaged_results_are_refused(tone_model, tmp_path, text, line):
    folder = tmp_path / "model"
    (folder / "test").mkdir(parents=True)
    for name in ("model.json", "weights.safetensors"):
        (folder / name).write_bytes((tone_model / name).read_bytes())
    (folder / "test" / "results.json").write_text(text)
    done = info(folder)
    assert done.exit_code == 1
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_infinite_rate_is_printed_as_infinite(tone_model, tmp_path):
    folder = tmp_path / "model"
    (folder / "test").mkdir(parents=True)
    for name in ("model.json", "weights.safetensors"):
        (folder / name).write_bytes((tone_model / name).read_bytes())
    rates = dict.fromkeys(("wer", "wer_low", "wer_high"), None) | {"name": "greedy", "cer": 0.5}
    results = {"manifest": "t.jsonl", "systems": [rates]}
    (folder / "test" / "results.json").write_text(json.dumps(results))
    expected = ("result", "t.jsonl, greedy: WER infinite (infinite to infinite), CER 50.00%")
    assert expected in rows(info(folder))


def test_folder_without_a_model_gives_one_line(tmp_path):
    done = info(tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    expected = f"asr info: {tmp_path}: has no model.json; expected a trained model's folder\n"
    assert done.stderr == expected
    (tmp_path / "checkpoints").mkdir()
    assert "has no model.json: its training has not finished; expected" in info(tmp_path).stderr


def test_wrong_usage_exits_with_2():
    assert CliRunner().invoke(app, ["info"]).exit_code == 2
