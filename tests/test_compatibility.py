import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asr.compatibility import EXPECTED, torchaudio_functional
from asr.errors import InputError

ROOT = Path(__file__).parent.parent

LOAD = "from asr.errors import reported\nfrom asr.compatibility import torchaudio_functional\n"
LOAD += "with reported('asr'):\n    torchaudio_functional()\n"


def python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join((str(folder), str(ROOT)))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def misfit(tmp_path):
    """A torchaudio that fails on import like a build for another torch."""
    (tmp_path / "torchaudio").mkdir()
    broken = "raise OSError('Could not load this library: _torchaudio.abi3.so')\n"
    (tmp_path / "torchaudio" / "__init__.py").write_text(broken)
    return tmp_path


def test_expected_releases_are_those_in_setup_cfg():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"].splitlines()
    for name, releases in EXPECTED.items():
        assert name + releases in lines


def test_the_installed_torch_and_torchaudio_fit():
    assert torchaudio_functional().__name__ == "torchaudio.functional"


def test_a_torch_that_does_not_fit_is_reported_with_the_fix(misfit):
    ended = python(LOAD, misfit)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("asr: torchaudio can't be loaded (Could not load this library")
    for word in ("found torch 2.", "torchaudio 2.", "pip install", "'torchaudio==2.11.0'"):
        assert word in line


def test_scoring_works_without_a_fitting_torchaudio(misfit):
    for name in ("ref", "hyp"):
        (misfit / name).write_text("go left\n")
    code = "from asr.cli.app import main; main()"
    ended = python(code, misfit, "score", str(misfit / "ref"), str(misfit / "hyp"))
    assert ended.returncode == 0, ended.stderr
    assert "WER" in ended.stdout


def test_a_missing_torchaudio_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    torchaudio_functional.cache_clear()
    with pytest.raises(InputError, match="torchaudio can't be loaded"):
        torchaudio_functional()
