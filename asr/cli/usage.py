"""Wrong usage of a command -> one line on stderr and exit status 2."""

import inspect
import re
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_type_hints

import typer
from typer.main import get_command

from asr.errors import say, shortened

_UsageError: type[Any] = typer.BadParameter.mro()[1]  # typer exports only this subclass of it


def run(app: typer.Typer, program: str, arguments: Sequence[str]) -> NoReturn:
    """Run a command line and exit; typer itself would print wrong usage as a box of several lines.

    Args:
        app: the commands.
        program: name of the program.
        arguments: without the program's name.
    """
    group: Any = get_command(app)
    try:
        sys.exit(group.main(list(arguments), prog_name=program, standalone_mode=False))
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            sys.exit(error.exit_code)
        names = _command_names(group, arguments)
        place = " ".join([program, *names])
        refuse(place, _line(error, arguments[len(names) :], place))


def refuse(program: str, line: str) -> NoReturn:
    """Exit with status 2 for wrong usage.

    Args:
        program: name of the program with its command.
        line: the option or argument, the value found and what was expected.
    """
    say(program, line)
    sys.exit(2)


def _command_names(group: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments that name a command, such as `lm sample`."""
    names: list[str] = []
    for argument in arguments:
        group = getattr(group, "commands", {}).get(argument)
        if group is None:
            break
        names.append(argument)
    return names


def _line(error: Any, arguments: Sequence[str], program: str) -> str:
    """An error of the parser in one line; `arguments` are those of `program`, with its command."""
    kind, param = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":  # worded differently by each release
        return f"no such option: {error.option_name}; see {program} --help"
    if param is None:  # an unknown command, too many arguments, or an option without its value
        message = " ".join(error.format_message().split()).rstrip(".")
        return f"{message[0].lower()}{message[1:]}; see {program} --help"
    is_option = param.param_type_name == "option"
    name = max(param.opts, key=len) if is_option else param.metavar.rstrip(".")
    given, _, _ = error.ctx.command.make_parser(error.ctx).parse_args(list(arguments))
    found = given.get(param.name)
    if kind == "MissingParameter":
        state = "is missing"
    elif isinstance(found, str):
        state = f"is {found if _PLAIN.fullmatch(found) else shortened(found)}"
    else:
        state = "has ''"  # of many paths; any other is taken
    return f"{name} {state}; expected {_expected(error.ctx.command.callback, param.name)}"


_PLAIN = re.compile(r"[\w.+-]{1,40}")


def _expected(command: Any, name: str) -> str:
    """What a parameter of a command takes, by its annotation."""
    hint, info = get_args(get_type_hints(inspect.unwrap(command), include_extras=True)[name])
    (kind,) = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    if issubclass(kind, Enum):
        return ", ".join(value.value for value in kind)
    if kind is Path:
        return "a path"
    number = "a whole number" if kind is int else "a number"
    return number if info.min is None else f"{number}, {info.min} or more"
