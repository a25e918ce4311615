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
from jsonargparse import ArgumentParser, Namespace, set_loader

from asr.errors import InputError, shortened
from asr.files import read_text

Settings = TypeVar("Settings")

MAX_VALUES = 10_000
"""Of a file of settings; aliases count as often as they are used."""


_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    f"{_TAG}bool": re.compile("true|True|TRUE|false|False|FALSE"),
    f"{_TAG}int": re.compile("[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+"),
    f"{_TAG}float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    f"{_TAG}null": re.compile("null|Null|NULL|~|"),
    f"{_TAG}merge": re.compile("<<"),
}
_KINDS = {*_SCALARS, *(f"{_TAG}{name}" for name in ("str", "seq", "map"))}


class CoreLoader(yaml.SafeLoader):
    """Reads YAML by the core schema of YAML 1.2; PyYAML's own loaders follow YAML 1.1.

    Only true and false are booleans: `no` and `off` are texts. 1e-3 is a number; `12:30`, `1_000`
    and `2024-01-31` are texts. `010` is a text too, because it is 8 in YAML 1.1 and 10 in YAML 1.2.

    Source: YAML 1.2.2, section 10.3.2, https://yaml.org/spec/1.2.2/#103-core-schema.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a value that has none in the file."""
        if kind is yaml.ScalarNode and implicit[0]:  # without quotation marks and tag
            return next((tag for tag, form in _SCALARS.items() if form.fullmatch(value)), _TEXT)
        return super().resolve(kind, value, implicit)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; a tag in the file that is unknown or doesn't fit is an error."""
        shown = node.tag.replace(_TAG, "!!")
        if node.tag not in _KINDS:
            problem = f"has the tag {shown}; expected settings without it"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        form = _SCALARS.get(node.tag)
        if form and isinstance(node, yaml.ScalarNode) and not form.fullmatch(node.value):
            problem = f"{shown} is {shortened(node.value)}; expected a value of this kind"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_object(node, deep)


_TEXT = f"{_TAG}str"


class Parsed(NamedTuple):
    """A parsed command line."""

    settings: Any  # an instance of the dataclass
    options: Namespace  # the options that are not fields of the dataclass
    text: str  # all settings and options except --out, defaults included, as YAML
    defaults: str  # the same for a command line without options


def settings_parser(program: str, settings: type) -> ArgumentParser:
    """Make a parser for `--out` and the fields of a dataclass.

    A nested field has a dotted option, such as `--model.n_layers`. `--config FILE.yaml` sets
    several fields at once; later options override earlier ones. `--print_config` prints all
    settings.
    """
    parser = _parser(program)
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
        for argument in arguments:  # the parser's own YAML fails on tags that don't fit
            if re.search(r"(^|=)\s*!!?\w", argument):
                raise InputError(f"{argument}: has a YAML tag; expected a plain value")
        values = parser.parse_args(arguments)
        made = parser.instantiate(values)
        if made["out"] == "":
            raise InputError("--out is ''; expected the folder of the run")
    except (ArgumentError, InputError) as error:  # the files are valid, so an option is wrong
        explained = _wrong_option(error, parser) or _explained(error)
        print(f"{parser.prog}: {explained}", file=sys.stderr)
        raise SystemExit(2) from None
    chosen = settings(**{field.name: made[field.name] for field in fields(settings)})
    del values["out"]
    texts = (parser.dump(one, skip_validation=True) for one in (values, parser.get_defaults()))
    return Parsed(chosen, made, *texts)


def check_file(parser: ArgumentParser, path: str | Path) -> None:
    """Check a YAML settings file before the parser reads it.

    The parser reads it the same way, but its errors don't name the file.

    Raises:
        InputError: the file can't be read, or has a setting that is unknown, of the wrong type or
            out of range.
    """
    values, lines = _read(path)
    known = parser.get_defaults().as_dict()
    del known["config"]
    _check_names(values, known, f"{path}: ")
    try:
        found = parser.parse_object(values, Namespace(out=""))
        converted = list(_converted_texts(values, found.as_dict(), ""))
        if not converted:
            parser.instantiate(found)
    except (ArgumentError, InputError) as error:
        raise InputError(f"{path}: {_explained(error)}") from None
    for name, text, kind in converted:
        line = f":{lines[name]}" if name in lines else ""
        raise InputError(f"{path}{line}: {name} is {shortened(text)}; expected {kind}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file as a dictionary, which is empty if the file holds only comments.

    Plain values are numbers, booleans or null as in YAML 1.2, see `CoreLoader`.

    Raises:
        InputError: the file can't be read, is not YAML, has a name twice, or is not a mapping.
    """
    return _read(path)[0]


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
    parser = _parser()
    parser.add_class_arguments(kind, as_group=False)
    _check_names(values, parser.get_defaults().as_dict(), f"{place}: ")
    try:
        return kind(**parser.instantiate(parser.parse_object(values)).as_dict())
    except (ArgumentError, InputError) as error:
        raise InputError(f"{place}: {_explained(error)}") from None


def _parser(program: str | None = None) -> ArgumentParser:
    """A parser that reads files of settings by `CoreLoader`."""
    errors = (yaml.YAMLError, ValueError, OverflowError)  # as in `_read`
    set_loader(_MODE, lambda text: yaml.load(text, CoreLoader), errors)
    return ArgumentParser(prog=program, exit_on_error=False, allow_abbrev=False, parser_mode=_MODE)


_MODE = "yaml-1.2"


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of a YAML file, and the line of each name; see `read_yaml`."""
    text = read_text(path, "settings")
    lines: dict[str, int] = {}
    values = None
    try:
        loader = CoreLoader(text)
        if node := loader.get_single_node():
            lines = _check_nodes(node, path)
            values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = f":{text.count(chr(10), 0, error.position) + 1}"
        raise InputError(f"{path}{line}: is not YAML: {_one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply; expected settings") from None
    except InputError:
        raise
    except (ValueError, OverflowError):  # for "\\UFFFFFFFF", and numbers of thousands of digits
        problem = "is not YAML: has a number or an escaped character that is too large"
        raise InputError(f"{path}:{loader.line + 1}: {problem}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: is {type(values).__name__}; expected settings by name")
    return values, lines


def _check_nodes(root: yaml.Node, path: str | Path) -> dict[str, int]:
    """Raise InputError if a mapping has a name twice, or a text has half of a surrogate pair.

    The first value of a name given twice would be lost. A file whose aliases expand to more than
    `MAX_VALUES` values is refused, too.

    Returns:
        lines: the line of each name; that of a nested one is dotted.
    """
    nodes = [(root, "")]
    lines: dict[str, int] = {}
    for visited in count(1):
        if visited > MAX_VALUES:
            raise InputError(f"{path}: has more than {MAX_VALUES:,} values; expected settings")
        if not nodes:
            break
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
                first[name] = lines[name] = line
                nodes.append((value, f"{name}."))
    return lines


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


def _converted_texts(given: Any, found: Any, name: str) -> Iterator[tuple[str, str, str]]:
    """Texts that the parser makes numbers or booleans, where YAML 1.2 reads texts.

    The parser would turn "010" into 10.

    Yields:
        name, text, kind: the setting, its text, and the type that the parser converts it to.
    """
    if isinstance(given, dict) and isinstance(found, dict):
        for key, value in given.items():
            yield from _converted_texts(value, found.get(key), f"{name}.{key}" if name else key)
    elif isinstance(given, list) and isinstance(found, list | tuple):
        for value, other in zip(given, found, strict=False):
            yield from _converted_texts(value, other, name)
    elif (
        isinstance(given, str)
        and isinstance(found, bool | int | float)
        and not any(form.fullmatch(given) for form in _SCALARS.values())
    ):
        yield name, given, type(found).__name__


_HALF_PAIR = re.compile("[\ud800-\udfff]")
_MISTYPED = re.compile(r'Parser key "(.+?)": Expected an? (.+?)\. Got value: (.*)')
_MISTYPED_UNION = re.compile(
    r'Parser key "(.+?)": Does not validate .+ Subtypes: \[(.+?)\] Errors: .* Given value: (.*)'
)


def _wrong_option(error: Exception, parser: ArgumentParser) -> str:
    """Which option is unknown or missing; empty if none is."""
    if "arguments are required: out" in str(error):
        return "--out is missing; expected the folder of the run"
    found = re.search(r"[Uu]nrecognized arguments: --([^=\s]+)", str(error))
    if not found:
        return ""
    values: dict[str, Any] = {}
    inner = values
    *groups, name = found[1].split(".")
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[name] = ""
    return next(_faults(values, parser.get_defaults().as_dict(), ""), "")


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
