import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "asr"

FLOORS = [
    {"errors"},
    {"compatibility", "files"},
    {"config", "folder"},
    {"installed"},
    {"audio", "text", "scoring"},
    {"networks"},
    {"lm", "hmm"},
    {"search", "corpus", "model"},
    {"decoder", "alignment", "training"},
    {"streaming"},
    {"recognizer"},
    {"evaluation"},
    {"transcribing"},
    {"cli"},
]
"""Modules and folders of the package; each imports only from floors above it in this list."""

DATA = {"models"}
"""Folders of the package that have no code."""

FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.stem != "__init__":
            yield name_of(path), path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def reading_order(folder):
    listed = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    return re.findall(r"`(\w+)`", listed.split("Files in reading order:")[1])


def test_every_module_and_folder_is_listed_on_a_floor():
    found = {name.split(".")[1] for name, _ in modules()}
    assert found == set(FLOOR)
    items = {path.stem for path in PACKAGE.glob("*[!_]")}
    assert items - {"__init__"} - DATA == found
    assert len(items - DATA) <= 24


def test_modules_import_only_from_lower_floors():
    for name, path in modules():
        place = name.split(".")[1]
        for imported in imports(path):
            other = imported.split(".")[1] if imported.startswith("asr.") else place
            if other in FLOOR and other != place:
                assert FLOOR[other] < FLOOR[place], f"{name} imports {imported}"


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_folders_list_their_files_in_reading_order(folder):
    order = reading_order(folder)
    assert sorted(order) == sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")
    for position, file in enumerate(order):
        for imported in imports(folder / f"{file}.py"):
            for later in order[position + 1 :]:
                there = f"{name_of(folder)}.{later}"
                assert not f"{imported}.".startswith(f"{there}."), f"{file} imports {there}"


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_init_files_have_only_a_docstring(folder):
    (docstring,) = ast.parse((folder / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)


def test_nothing_is_imported_from_an_init_file():
    folders = {name_of(folder) for folder in FOLDERS}
    for script in [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]:
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in folders:
                for alias in node.names:
                    there = ROOT / node.module.replace(".", "/") / alias.name
                    assert there.with_suffix(".py").exists() or there.is_dir(), script


def test_only_training_and_recipes_import_lightning():
    for name, path in modules():
        if not name.startswith("asr.training."):
            assert not any("lightning" in imported for imported in imports(path)), name
