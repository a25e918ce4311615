"""YAML, command lines and saved values -> frozen dataclasses of settings."""

from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace

from asr.errors import InputError

Settings = TypeVar("Settings")


class Parsed(NamedTuple):
    """A command line, understood."""

    settings: Any  # the dataclass
    options: Namespace  # all that is not a field of it
    text: str  # everything as YAML, defaults included


def settings_parser(program: str, settings: type) -> ArgumentParser:
    """A parser for the fields of a dataclass, nested ones as `--model.n_layers`.

    `--config FILE.yaml` gives several at once, later options win; `--print_config` shows all.
    """
    parser = ArgumentParser(prog=program, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings")
    parser.add_class_arguments(settings, as_group=False)
    return parser


def parse(
    parser: ArgumentParser, settings: type, arguments: Sequence[str] | None = None
) -> Parsed:
    """Understand a command line, or `sys.argv`.

    Raises:
        InputError: a setting is unknown, missing or has the wrong type; the line says where.
    """
    try:
        values = parser.parse_args(arguments)
    except ArgumentError as error:
        raise InputError(_one_line(error)) from None
    made = parser.instantiate(values)
    chosen = settings(**{field.name: made[field.name] for field in fields(settings)})
    return Parsed(chosen, made, parser.dump(values, skip_none=False))


def check_file(parser: ArgumentParser, path: str | Path) -> None:
    """Raise InputError where a YAML file is unreadable or has a setting the parser does not know.

    The parser refuses it as well, but can't say in which file and what it knows.
    """
    try:
        values = yaml.safe_load(Path(path).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML: {_one_line(error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: is {type(values).__name__}; expected settings by name")
    for name, known in _unknown(values, parser.get_defaults().as_dict(), ""):
        expected = ", ".join(sorted(known))
        raise InputError(f"{path}: unknown setting {name}; expected one of {expected}")


def from_dict(kind: type[Settings], values: dict[str, Any], place: str) -> Settings:
    """The dataclass of plain values, checked.

    Args:
        kind: the dataclass.
        values: its fields, as `dataclasses.asdict` gives them.
        place: where the values stand; begins the error's line.

    Raises:
        InputError: a value is unknown or has the wrong type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "settings")
    try:
        return parser.instantiate(parser.parse_object({"settings": values})).settings
    except (ArgumentError, InputError) as error:
        raise InputError(f"{place}: {_one_line(error)}") from None


def _unknown(values: dict, known: dict, prefix: str) -> Iterator[tuple[str, Sequence[str]]]:
    for name, value in values.items():
        if name not in known:
            yield f"{prefix}{name}", list(known)
        elif isinstance(value, dict) and isinstance(known[name], dict):
            yield from _unknown(value, known[name], f"{prefix}{name}.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
