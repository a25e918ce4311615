import sys
from pathlib import Path

import pipeline
import pytest
from conftest import ROOT, load_script

from asr.errors import InputError


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """The script, with a corpus `small`; the second value has the commands that it runs."""
    script = load_script("recipes/publish.py")
    commands = []
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for module in (script, pipeline):
        monkeypatch.setattr(module, "run_stage", lambda command, *_, **__: commands.append(command))
    monkeypatch.setattr(script, "run_script", commands.append)
    conf = tmp_path / "conf"
    for folder in ("small", "novels"):
        (conf / folder).mkdir(parents=True)
    (conf / "small" / "ctc.yaml").write_text("data: {train: data/small/train.jsonl}\n")
    (conf / "novels" / "punctuation.yaml").write_text(
        "data: {train: data/novels/train-punctuated.txt, dev: data/novels/dev-punctuated.txt}\n"
    )
    (conf / "small" / "publish.yaml").write_text(
        "tests: [one, other]\nlimits: limits.md\npunctuation: novels/punctuation\n"
    )

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["publish.py", *arguments])
        script.main()
        return [[str(word).removeprefix(f"{tmp_path}/") for word in one] for one in commands]

    return run


def test_a_model_is_trained_packaged_measured_and_packaged_with_its_results(publish, capsys):
    commands = publish("small", "--out", "models/small", "--data-root", "corpora")
    assert capsys.readouterr().out == "model: models/small\n"
    scripts = [Path(command[0]).as_posix() for command in commands]
    assert scripts == [
        *("data/small/prepare.py", "recipes/train_ctc.py", "recipes/evaluate.py"),
        *("data/novels/prepare.py", "recipes/train_punctuation.py", "recipes/package.py"),
        *("data/one/prepare.py", "recipes/evaluate.py"),
        *("data/other/prepare.py", "recipes/evaluate.py", "recipes/package.py"),
    ]
    assert commands[3][1:] == ["--out", "data/novels", "--punctuated", "--data-root", "corpora"]
    card = ["--corpora", "data/small/README.md", "--limits", "conf/small/limits.md"]
    of_trained = ["--model", "exp/small/ctc", "--out", "exp/small/rounded"]
    more = ["--lm-words", "--punctuation", "exp/novels/punctuation"]
    assert commands[5][1:] == [*card, *of_trained, *more]
    one = ["--manifest", "data/one/test.jsonl", "--out", "exp/small/measured/one"]
    assert commands[7][1:] == ["--model", "exp/small/rounded", *one]
    of_rounded = ["--model", "exp/small/rounded", "--out", "models/small"]
    found = [f"exp/small/measured/{test}/results.json" for test in ("one", "other")]
    assert commands[10][1:] == [*card, *of_rounded, "--results", *found]


def test_a_published_model_is_not_overwritten(publish, tmp_path):
    (tmp_path / "models" / "small").mkdir(parents=True)
    with pytest.raises(InputError, match=r"models/small: already exists; expected a new folder"):
        publish("small", "--out", "models/small")


def test_settings_name_files_that_exist():
    script = load_script("recipes/publish.py")
    for path in ROOT.glob("conf/*/publish.yaml"):
        settings = script.from_dict(script.PublishSettings, script.read_yaml(path), str(path))
        assert (path.parent / settings.limits).is_file()
        for test in settings.tests:
            assert (ROOT / "data" / test / "prepare.py").is_file()
        if settings.punctuation:
            assert (ROOT / "conf" / f"{settings.punctuation}.yaml").is_file()
