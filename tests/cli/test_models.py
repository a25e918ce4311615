import functools
import http.server
import shutil
import tarfile
import threading

import pytest
from taggers import save_full_stops
from typer.testing import CliRunner

from asr.cli.app import app
from asr.recognizer import load


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("ASR_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "models"


@pytest.fixture
def server(tmp_path):
    """The address of a server of a folder."""
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_an_installed_model_is_listed_described_and_loaded_by_its_name(tone_model, place):
    done = run("install-model", tone_model, "--name", "tones")
    assert (done.exit_code, done.stdout) == (0, f"{place / 'tones'}\n")
    listed = [line.split("\t") for line in run("models").stdout.splitlines()]
    assert ["tones", str(place / "tones")] in [[name, folder] for name, _, folder, *_ in listed]
    assert run("info", "tones").stdout == run("info", place / "tones").stdout
    assert load("tones").symbols == load(tone_model).symbols


def test_the_default_model_is_marked(place):
    for name in ("en-small", "tones"):
        (place / name).mkdir(parents=True)
        (place / name / "model.json").write_text("{}")
    listed = [line.split("\t") for line in run("models").stdout.splitlines()]
    assert listed == [
        ["en-small", "0.0 MB", str(place / "en-small"), "default"],
        ["tones", "0.0 MB", str(place / "tones")],
    ]


def test_a_model_is_installed_from_an_archive(tone_model, place, server, tmp_path):
    with tarfile.open(tmp_path / "tones-1.tar.gz", "w:gz") as archive:
        archive.add(tone_model, "release/tones")
    done = run("install-model", f"{server}/tones-1.tar.gz")
    assert (done.exit_code, done.stdout) == (0, f"{place / 'tones'}\n")
    assert load("tones").symbols == load(tone_model).symbols


def test_what_is_no_model_is_not_installed(place, server, tmp_path):
    (tmp_path / "no").mkdir()
    done = run("install-model", tmp_path / "no")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"asr install-model: {tmp_path / 'no'}: has no model.json")
    with tarfile.open(tmp_path / "no.tar", "w") as archive:
        archive.add(tmp_path / "no", "no")
    done = run("install-model", f"{server}/no.tar")
    assert done.exit_code == 1
    assert done.stderr == (
        f"asr install-model: {server}/no.tar: has no model.json; expected one model's folder\n"
    )
    assert not place.exists()


def test_a_model_whose_punctuation_is_damaged_is_not_installed(tone_model, place, tmp_path):
    model = shutil.copytree(tone_model, tmp_path / "tones")
    save_full_stops(model)
    (model / "punctuation" / "weights.safetensors").write_bytes(b"")
    done = run("install-model", model)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"asr install-model: {model / 'punctuation'}")
    assert not place.exists()


def test_without_models_a_line_names_the_places(place, monkeypatch, tmp_path):
    monkeypatch.setattr("asr.installed.PACKAGED", tmp_path / "packaged")
    done = run("models")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"asr models: no model is installed in {place}, ")
