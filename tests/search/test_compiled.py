import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NOTICE = "asr: compiling for this machine, once: some 10 seconds ...\n"

SEARCH = """
import numpy as np
from asr.search.beam import ctc_beam_search
from asr.search.space import SearchSpace
from asr.text.tokenizer import UnitTokenizer
space = SearchSpace(UnitTokenizer(("<blank>", "p", "q")))
log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=12))
print([ctc_beam_search([rows], space)[0][0].log_prob for rows in (log_probs, log_probs[:5])])
"""

INNER = """
from asr.search.compiled import inner

@inner
def times_two(x: int) -> int:
    return 2 * x
"""

OUTER = """
from asr.search.compiled import outer
from asr.search.small import times_two

@outer
def times_four(x: int) -> int:
    return 2 * times_two(x)

@outer
def times_eight(x: int) -> int:
    return 4 * times_two(x)
"""

SMALL = "from asr.search.large import *; print(times_four(1), times_eight(1))"


def run(code, folder, **environment):
    """What code writes to stdout and stderr; its packages are in a folder."""
    variables = dict(os.environ, PYTHONPATH=str(folder), **environment)
    variables.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder)
    assert found.returncode == 0, found.stderr
    return found.stdout, found.stderr


def small_package(folder):
    """The compiler of the package with two small files to compile."""
    search = folder / "asr" / "search"
    search.mkdir(parents=True)
    for file in (folder / "asr" / "__init__.py", search / "__init__.py"):
        file.write_text("")
    for name in ("search/compiled.py", "files.py", "errors.py"):
        shutil.copy(ROOT / "asr" / name, folder / "asr" / name)
    (search / "small.py").write_text(INNER)
    (search / "large.py").write_text(OUTER)
    return search


def test_a_search_is_compiled_again_when_a_file_changes(tmp_path):
    shutil.copytree(ROOT / "asr", tmp_path / "asr")  # with its machine code, if there is any
    first, _ = run(SEARCH, tmp_path)
    assert run(SEARCH, tmp_path) == (first, "")
    file = tmp_path / "asr" / "search" / "prefixes.py"
    before = file.read_text()
    assert before.count("b - a > -40.0") == 1
    file.write_text(before.replace("b - a > -40.0", "b - a > 1.0"))  # the best alignment alone
    other, notice = run(SEARCH, tmp_path)
    assert notice == NOTICE
    assert other != first


def test_machine_code_follows_every_file_of_the_folder(tmp_path):
    search = small_package(tmp_path)
    assert run(SMALL, tmp_path) == ("4 8\n", NOTICE)  # one line for two functions
    assert run(SMALL, tmp_path) == ("4 8\n", "")
    (search / "small.py").write_text(INNER.replace("2 * x", "30 * x"))
    assert run(SMALL, tmp_path) == ("60 120\n", NOTICE)
    assert run(SMALL, tmp_path) == ("60 120\n", "")


def test_machine_code_follows_constants_of_other_folders(tmp_path):
    search, constants = small_package(tmp_path), tmp_path / "asr" / "constants.py"
    constants.write_text("FACTOR = 2\n")
    (search / "small.py").write_text(
        "from asr.constants import FACTOR\n" + INNER.replace("2 * x", "FACTOR * x")
    )
    assert run(SMALL, tmp_path)[0] == "4 8\n"
    constants.write_text("FACTOR = 30\n")
    assert run(SMALL, tmp_path)[0] == "60 120\n"


def test_machine_code_of_an_older_release_with_other_classes_is_replaced(tmp_path):
    search = small_package(tmp_path)
    old = """
from typing import NamedTuple
from asr.search.compiled import outer

class Pair(NamedTuple):
    one: int

@outer
def first(pair: Pair) -> int:
    return pair.one
"""
    call = "from asr.search.large import *; print(first({}(1)))"
    (search / "large.py").write_text(old)
    assert run(call.format("Pair"), tmp_path) == ("1\n", NOTICE)
    (search / "large.py").write_text(old.replace("Pair", "Single"))
    assert run(call.format("Single"), tmp_path) == ("1\n", NOTICE)
    assert run(call.format("Single"), tmp_path) == ("1\n", "")


def cut_short(data):
    return data[: len(data) // 2]


def emptied(data):
    return b""


def cut_in_the_first_line(data):
    return data[:20]


def with_another_last_bit(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def with_another_bit_in_the_middle(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [
        cut_short,
        emptied,
        cut_in_the_first_line,
        with_another_last_bit,
        with_another_bit_in_the_middle,
    ],
)
def test_damaged_machine_code_is_named_and_replaced(tmp_path, damaged):
    search = small_package(tmp_path)
    run(SMALL, tmp_path)
    files = sorted((search / "__pycache__").glob("*.code"))
    assert len(files) == 2
    intact = [file.read_bytes() for file in files]
    for file, data in zip(files, intact, strict=True):
        file.write_bytes(damaged(data))
    stdout, stderr = run(SMALL, tmp_path)
    assert stdout == "4 8\n"
    lines = stderr.splitlines(keepends=True)
    lines.remove(NOTICE)
    assert sorted(lines) == [
        f"{file}: is damaged; the search is compiled again\n" for file in sorted(files)
    ]
    assert sorted((search / "__pycache__").glob("*.code")) == files
    assert run(SMALL, tmp_path) == ("4 8\n", "")


def test_machine_code_that_cant_be_written_is_named(tmp_path):
    folder = small_package(tmp_path) / "__pycache__"
    code = (
        "from asr.search.large import *; import shutil\n"
        "shutil.rmtree({folder!r}); open({folder!r}, 'w').close()\n"
        "print(times_four(1), times_eight(1))"
    ).format(folder=str(folder))
    stdout, stderr = run(code, tmp_path)
    assert stdout == "4 8\n"
    assert len(stderr.splitlines()) == 3  # the notice, and a line for each function
    assert stderr.count(f"{folder}: File exists; the search is compiled again in the next run") == 2


def test_a_folder_that_cant_be_written_has_its_machine_code_elsewhere(tmp_path):
    search, cache = small_package(tmp_path), tmp_path / "cache"
    (search / "__pycache__").write_text("not a folder")
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache)}
    assert run(SMALL, tmp_path, **home) == ("4 8\n", NOTICE)
    assert list(cache.rglob("*.code"))
    assert run(SMALL, tmp_path, **home) == ("4 8\n", "")
    (search / "small.py").write_text(INNER.replace("2 * x", "30 * x"))
    assert run(SMALL, tmp_path, **home) == ("60 120\n", NOTICE)


def test_without_any_folder_to_write_to_it_is_compiled_each_time(tmp_path):
    search = small_package(tmp_path)
    (search / "__pycache__").write_text("not a folder")
    home = {"HOME": str(search / "__pycache__"), "XDG_CACHE_HOME": str(search / "__pycache__")}
    for _ in range(2):
        assert run(SMALL, tmp_path, **home) == ("4 8\n", NOTICE)


def test_greedy_search_and_scoring_need_no_compiler():
    code = (
        "import sys, numpy as np, asr, asr.scoring.error_rates\n"
        "print(asr.wer('a b', 'a c'), asr.greedy_search(np.log([[0.4, 0.6]])).tokens)\n"
        "print([name for name in sys.modules if name.startswith(('numba', 'llvmlite'))])"
    )
    assert run(code, ROOT)[0].splitlines()[1:] == ["[]"]
