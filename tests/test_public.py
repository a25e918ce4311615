"""The public names of `import asr`."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import asr

PAGE = Path(asr.__file__)


def run(code):
    """The output of code in a separate Python process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", asr.__all__)
def test_every_public_name_has_an_example(name):
    value = getattr(asr, name)
    assert value.__module__ == asr._MODULES[name]
    if name != "InputError":
        assert ">>>" in value.__doc__
    assert name in dir(asr)


def test_editors_and_type_checkers_know_the_same_names():
    imported = {
        alias.asname: node.module
        for node in ast.walk(ast.parse(PAGE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("asr.")
        for alias in node.names
        if alias.asname == alias.name
    }
    assert imported == asr._MODULES
    assert asr.__all__ == sorted(asr._MODULES)


def test_the_docstring_lists_every_function():
    names = {word.strip(",") for word in ast.get_docstring(ast.parse(PAGE.read_text())).split()}
    assert set(asr.__all__) - {"InputError"} <= names


def test_unknown_names_raise_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'asr' has no attribute 'decode'"):
        asr.decode  # noqa: B018


def test_importing_and_scoring_need_no_torch():
    code = "import asr, sys; {}; print([n for n in ('torch', 'numba') if n in sys.modules])"
    assert run(code.format("pass")) == "[]"
    assert run(code.format("asr.wer('a b', 'a c'); asr.cer('a', 'b'); dir(asr)")) == "[]"


def test_examples_of_scoring_are_correct():
    from asr.scoring import error_rates

    found = doctest.testmod(error_rates, extraglobs={"asr": asr})
    assert found.attempted >= 3
    assert found.failed == 0
