"""YAML, command lines and saved values -> frozen dataclasses of settings."""

import argparse
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace

from asr.errors import InputError
from asr.files import read_text

Settings = TypeVar("Settings")

MAX_VALUES = 10_000
"""Of a file of settings; aliases count as often as they are used."""


class Parsed(NamedTuple):
    """A parsed command line."""

    settings: Any  # an instance of the dataclass
    options: Namespace  # the options that are not fields of the dataclass
    text: str  # all settings and options except --out, defaults included, as YAML


def settings_parser(program: str, settings: type) -> ArgumentParser:
    """Make a parser for `--out` and the fields of a dataclass.

    A nested field has a dotted option, such as `--model.n_layers`. `--config FILE.yaml` sets
    several fields at once; later options override earlier ones. `--print_config` prints all
    settings.
    """
    parser = ArgumentParser(prog=program, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings")
    parser.add_argument(
        "--out", required=True, default=argparse.SUPPRESS, help="folder of the run and its model"
    )
    parser.add_class_arguments(settings, as_group=False)
    return parser


def parse(parser: ArgumentParser, settings: type, arguments: Sequence[str] | None = None) -> Parsed:
    """Parse a command line, by default `sys.argv`.

    An invalid option ends the program with one line on stderr and status 2.

    Raises:
        InputError: a settings file can't be used; the message says where.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for path in _config_files(arguments):
        check_file(parser, path)
        if not read_yaml(path):  # the parser would refuse it
            arguments = _without_config(arguments, path)
    try:
        values = parser.parse_args(arguments)
        made = parser.instantiate(values)
    except (ArgumentError, InputError) as error:  # the files are valid, so an option is wrong
        print(f"{parser.prog}: {_explained(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    chosen = settings(**{field.name: made[field.name] for field in fields(settings)})
    del values["out"]
    return Parsed(chosen, made, parser.dump(values, skip_validation=True))


def check_file(parser: ArgumentParser, path: str | Path) -> None:
    """Check a YAML settings file before the parser reads it.

    The parser reads it the same way, but its errors don't name the file.

    Raises:
        InputError: the file can't be read, or has a setting that is unknown, of the wrong type or
            out of range.
    """
    values = read_yaml(path)
    known = parser.get_defaults().as_dict()
    del known["config"]
    _check_names(values, known, f"{path}: ")
    try:
        parser.instantiate(parser.parse_object(values, Namespace(out="")))
    except (ArgumentError, InputError) as error:
        raise InputError(f"{path}: {_explained(error)}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file as a dictionary, which is empty if the file holds only comments.

    Raises:
        InputError: the file can't be read, is not YAML, has a name twice, or is not a mapping.
    """
    text = read_text(path, "settings")
    try:
        if node := yaml.compose(text, yaml.SafeLoader):
            _check_nodes(node, path)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: is not YAML: {error.problem}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply; expected settings") from None
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date
        raise InputError(f"{path}: is not YAML: {_one_line(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: is {type(values).__name__}; expected settings by name")
    return values


def from_dict(kind: type[Settings], values: Any, place: str) -> Settings:
    """Build a dataclass from plain values, and check them.

    Args:
        kind: the dataclass.
        values: its fields by name, in the form of `dataclasses.asdict`.
        place: where the values come from; the error message starts with it.

    Raises:
        InputError: a value is unknown, has the wrong type or is out of range.
    """
    if not isinstance(values, dict):
        raise InputError(f"{place} is {values!r}; expected settings by name")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, as_group=False)
    _check_names(values, parser.get_defaults().as_dict(), f"{place}: ")
    try:
        return kind(**parser.instantiate(parser.parse_object(values)).as_dict())
    except (ArgumentError, InputError) as error:
        raise InputError(f"{place}: {_explained(error)}") from None


def _check_nodes(root: yaml.Node, path: str | Path) -> None:
    """Raise InputError if a mapping has a name twice, or a text has half of a surrogate pair.

    The first value of a name given twice would be lost. A file whose aliases expand to more than
    `MAX_VALUES` values is refused, too.
    """
    nodes = [(root, "")]
    for visited in count(1):
        if not nodes:
            return
        if visited > MAX_VALUES:
            raise InputError(f"{path}: has more than {MAX_VALUES:,} values; expected settings")
        node, prefix = nodes.pop()
        if isinstance(node, yaml.ScalarNode) and (half := _HALF_PAIR.search(node.value)):
            raise InputError(
                f"{path}:{node.start_mark.line + 1}: has {ascii(half.group())[1:-1]}, half of a"
                " surrogate pair; expected whole characters"
            )
        if isinstance(node, yaml.SequenceNode):
            nodes += [(item, prefix) for item in node.value]
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            nodes += [(key, prefix) for key, _ in node.value]
            for key, value in node.value:
                name, line = f"{prefix}{key.value}", key.start_mark.line + 1
                if name in first:
                    raise InputError(
                        f"{path}:{line}: has {name} once more, as on line {first[name]}; expected"
                        " each name once"
                    )
                first[name] = line
                nodes.append((value, f"{name}."))


def _without_config(arguments: list[str], path: str) -> list[str]:
    for n in range(len(arguments) - 1):
        if arguments[n : n + 2] == ["--config", path]:
            return arguments[:n] + arguments[n + 2 :]
    return [argument for argument in arguments if argument != f"--config={path}"]


def _config_files(arguments: Sequence[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    try:
        return parser.parse_known_args(arguments)[0].config
    except ArgumentError:
        return []  # --config without a file: the real parser reports it


def _check_names(values: dict, known: dict, place: str) -> None:
    for fault in _faults(values, known, ""):
        raise InputError(f"{place}{fault}")


def _faults(values: dict, known: dict, prefix: str) -> Iterator[str]:
    for name, value in values.items():
        if name not in known:
            yield f"unknown setting {prefix}{name}; expected one of {', '.join(sorted(known))}"
        elif isinstance(known[name], dict):
            if isinstance(value, dict):
                yield from _faults(value, known[name], f"{prefix}{name}.")
            else:
                yield f"{prefix}{name} is {value!r}; expected settings by name"
        elif value is None and known[name] is not None:
            yield f"{prefix}{name} is null; expected a value"


_HALF_PAIR = re.compile("[\ud800-\udfff]")
_MISTYPED = re.compile(r'Parser key "(.+?)": Expected an? (.+?)\. Got value: (.*)')
_MISTYPED_UNION = re.compile(
    r'Parser key "(.+?)": Does not validate .+ Subtypes: \[(.+?)\] Errors: .* Given value: (.*)'
)


def _explained(error: Exception) -> str:
    """Reword a parser's type errors as "found; expected"; leave its other errors as they are."""
    line = _one_line(error)
    for pattern in (_MISTYPED, _MISTYPED_UNION):
        if match := pattern.fullmatch(line):
            name, kind, value = match.groups()
            kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>|(?:typing\.)?Literal\[(.+)\]", r"\1\2", kind)
            return f"{name} is {value!r}; expected {kind.replace('NoneType', 'null')}"
    return line


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
