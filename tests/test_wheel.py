"""What setup.cfg puts into a wheel."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

MODEL = {
    *("README.md", "model.json", "weights.safetensors", "decoding.json", "decoding/lexicon.dic"),
    *("decoding/lm/model.json", "decoding/lm/weights.safetensors"),
}


def test_a_wheel_has_all_files_of_a_packaged_model(tmp_path):
    pytest.importorskip("setuptools", reason="setuptools, which builds wheels, is not installed")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    folder = tmp_path / "asr" / "models" / "en-small"
    (folder / "decoding" / "lm").mkdir(parents=True)
    for path in [tmp_path / "asr" / "__init__.py", *(folder / name for name in MODEL)]:
        path.touch()
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()"]
    command += ["--quiet", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, check=True)
    built = tmp_path / "built" / "asr" / "models" / "en-small"
    found = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    assert found == MODEL
