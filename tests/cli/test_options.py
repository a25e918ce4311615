import shutil

import pytest
from typer.testing import CliRunner

from asr.cli.app import app, main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The only folder of installed models, empty."""
    monkeypatch.setenv("ASR_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("asr.installed.PACKAGED", tmp_path / "packaged")
    return tmp_path / "models"


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_without_model_the_installed_en_small_is_used(place, tone_model, tmp_path):
    shutil.copytree(tone_model, place / "en-small", ignore=shutil.ignore_patterns("*.ckpt"))
    audio = sorted((tone_model.parent / "tones").rglob("*.wav"))[0]
    (tmp_path / "said.txt").write_text("a b")
    for command in (["transcribe", audio], ["align", audio, tmp_path / "said.txt"]):
        assert run(*command) == run(*command, "--model", tone_model)


@pytest.mark.parametrize("command", [["transcribe", "a.wav"], ["align", "a.wav", "a.txt"]])
def test_without_en_small_one_line_says_what_to_give(place, tone_model, command, capsys):
    shutil.copytree(tone_model, place / "tones", ignore=shutil.ignore_patterns("*.ckpt"))
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"asr {command[0]}: --model is missing, and its default, en-small, is not installed;"
        " expected a trained model's folder or the name of an installed model (one of tones)\n"
    )
