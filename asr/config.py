"""YAML, command lines and saved values -> frozen dataclasses of settings."""

from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from asr.errors import InputError

Settings = TypeVar("Settings")


def settings_parser(program: str, settings: type) -> ArgumentParser:
    """A parser for the fields of a dataclass, nested ones as `--model.n_layers`.

    `--config FILE.yaml` gives several at once, later options win; `--print_config` shows all.
    """
    parser = ArgumentParser(prog=program, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings")
    parser.add_class_arguments(settings, as_group=False)
    return parser


def parse(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> Namespace:
    """The settings of a command line, as dataclasses.

    Raises:
        InputError: a setting is unknown or has the wrong type; the line says where.
    """
    try:
        return parser.instantiate(parser.parse_args(arguments))
    except ArgumentError as error:
        raise InputError(_one_line(error)) from None


def to_dict(settings: Any) -> dict[str, Any]:
    """A dataclass as plain values."""
    return asdict(settings)


def from_dict(kind: type[Settings], values: dict[str, Any], place: str) -> Settings:
    """The dataclass of plain values, checked.

    Args:
        kind: the dataclass.
        values: as from `to_dict`.
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
