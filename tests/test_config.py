from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
import yaml
from conftest import run_script

from asr.config import from_dict, parse, settings_parser
from asr.errors import InputError
from asr.networks.acoustic import AcousticSettings


@dataclass(frozen=True)
class Oven:
    """A part of the settings.

    Args:
        degrees: of heat.
        kind: of heating.
        minutes: of baking; null leaves it in.
        rows: used.
        fan: on.
        label: on its door.
    """

    degrees: float = 180.0
    kind: Literal["gas", "fan"] = "gas"
    minutes: int | None = None
    rows: tuple[int, ...] = (1, 2)
    fan: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        if self.degrees > 300:
            raise InputError(f"oven.degrees is {self.degrees}; expected at most 300")


@dataclass(frozen=True)
class Cake:
    """Settings of a program.

    Args:
        eggs: how many.
        oven: where it is baked.
    """

    eggs: int = 3
    oven: Oven = field(default_factory=Oven)


def parsed(*arguments):
    return parse(settings_parser("bake", Cake), Cake, ["--out", "there", *map(str, arguments)])


@pytest.fixture
def config(tmp_path):
    def write(text, name="cake.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize("arguments", [["--eggs", "!!int ''"], ["--oven.label=!!timestamp x"]])
def test_tags_of_yaml_in_options_are_refused(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2
    assert "has a YAML tag; expected a plain value" in capsys.readouterr().err


def test_options_override_files_and_files_override_defaults(config):
    file = config("eggs: 4\noven:\n  degrees: 2e+2\n  rows: [3]\n")
    assert parsed("--config", file).settings == Cake(4, Oven(200.0, rows=(3,)))
    second = config("eggs: 5\n", "second.yaml")
    settings, options, *_ = parsed(
        "--config", file, f"--config={second}", "--oven.kind=fan", "--oven.degrees", "1e2"
    )
    assert settings == Cake(5, Oven(100.0, "fan", rows=(3,)))
    assert options.out == "there"
    assert parsed("--out=elsewhere").options.out == "elsewhere"


def test_settings_survive_a_round_trip_through_their_text(config):
    first = parsed("--eggs=7", "--oven.rows=[4,5,6]")
    again = parsed("--config", config(first.text))
    assert again.settings == first.settings == Cake(7, Oven(rows=(4, 5, 6)))
    assert again.text == first.text


@pytest.mark.parametrize(
    "text", ["no", "off", "yes", "On", "010", "12:30", "2024-01-31", "=", "1_0"]
)
def test_a_text_of_yaml_12_stays_a_text(config, text):
    file = config(f"oven:\n  label: {text}\n")
    first = parsed("--config", file)
    assert first.settings.oven.label == text
    assert parsed("--config", config(first.text, "again.yaml")).settings == first.settings


def test_numbers_and_booleans_of_yaml_12(config):
    text = "eggs: 0x10\noven: {degrees: 1e-3, fan: TRUE, minutes: ~, rows: [0, +7, -3]}\n"
    settings = parsed("--config", config(text)).settings
    assert settings == Cake(16, Oven(0.001, minutes=None, rows=(0, 7, -3), fan=True))
    for number in ("1.", ".5", "-1.5E+2", "1e2", "-.inf"):
        file = config(f"oven: {{degrees: {number}}}")
        expected = float(number.replace(".inf", "inf"))
        assert parsed("--config", file).settings.oven.degrees == expected


def test_output_of_print_config_is_a_valid_config(config, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(settings_parser("bake", Cake), Cake, ["--oven.degrees=90", "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["oven"]["degrees"] == 90
    assert parsed("--config", config(printed)).settings == Cake(oven=Oven(90.0))


def test_help_names_the_settings(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(settings_parser("bake", Cake), Cake, ["--help"])
    assert ended.value.code == 0
    assert "--oven.degrees" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("oven:\n  heat: 1", ": unknown setting oven.heat; expected one of degrees, fan, kind"),
        ("flour: 1", ": unknown setting flour; expected one of eggs, oven"),
        ("eggs: two", ": eggs is 'two'; expected int"),
        ("eggs: 2.5", ": eggs is '2.5'; expected int"),
        ("eggs:", ": eggs is null; expected a value"),
        ("oven:\n  kind: wood", ": oven.kind is 'wood'; expected 'gas', 'fan'"),
        ("oven:\n  minutes: x", ": oven.minutes is 'x'; expected int, null"),
        ("oven:\n  rows: 1", ": oven.rows is '1'; expected"),
        ("oven:\n  degrees: 400", ": oven.degrees is 400.0; expected at most 300"),
        ("oven: 5", ": oven is 5; expected settings by name"),
        ("oven:", ": oven is None; expected settings by name"),
        ("- eggs", ": is list; expected settings by name"),
        ("eggs: 1\noven:\n  kind: gas\neggs: 2", ":4: has eggs once more, as on line 1; expected"),
        (
            "oven:\n  kind: gas\n  # more\n  'kind': fan",
            ":4: has oven.kind once more, as on line 2; expected each name once",
        ),
        ("eggs: [{a: 1, b: 2, a: 3}]", ":1: has eggs.a once more, as on line 1; expected"),
        ("eggs: " + 5000 * "[", ": is nested too deeply; expected settings"),
        ("eggs: &a [*a]", ": has more than 10,000 values"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{b}: &{b} [{', '.join(9 * [f'*{a}'])}]\n" for a, b in pairwise("abcdefghi")
            ),
            ": has more than 10,000 values",
        ),
        ('oven:\n  kind: "\\ud83d"', ":2: has \\ud83d, half of a surrogate pair"),
        ("eggs: 2024-13-45", ": eggs is '2024-13-45'; expected int"),
        ("eggs: 1\noven: [1", ":2: is not YAML: "),
        ("eggs: 1\noven: \x07", ":2: is not YAML: "),
        ('oven:\n  kind: "\\UFFFFFFFF"', ":2: is not YAML: "),
        ('oven:\n  kind: "\\U00110000"', ":2: is not YAML: "),
        ("oven: {}\neggs: !!int ''", ":2: is not YAML: !!int is ''; expected a value of this kind"),
        ("eggs: !!bool abc", ":1: is not YAML: !!bool is 'abc'; expected a value"),
        ("eggs: !!float abc", ":1: is not YAML: !!float is 'abc'; expected a value"),
        ("eggs: !!null abc", ":1: is not YAML: !!null is 'abc'; expected a value"),
        ("eggs: !!timestamp abc", ":1: is not YAML: has the tag !!timestamp; expected settings"),
        ("eggs: !!set {a, b}", ":1: is not YAML: has the tag !!set; expected settings"),
        ("eggs: 1\neggs2: =", ": unknown setting eggs2"),
        ("oven: {}\neggs: 010", ":2: eggs is '010'; expected int"),
        ("eggs: 12:30", ":1: eggs is '12:30'; expected int"),
        ("eggs: 1_000", ":1: eggs is '1_000'; expected int"),
        ("oven:\n  minutes: 010", ":2: oven.minutes is '010'; expected int"),
        ("oven:\n  rows: [1, 010]", ":2: oven.rows is '010'; expected int"),
        ("oven:\n  fan: off", ":2: oven.fan is 'off'; expected bool"),
    ],
)
def test_an_invalid_file_is_reported_with_its_setting(config, text, line):
    file = config(text)
    with pytest.raises(InputError) as refused:
        parsed("--config", config("eggs: 1", "right.yaml"), "--config", file)
    assert str(refused.value).startswith(f"{file}{line}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "# eggs: 4\n\n# oven:\n", "\ufeff# eggs\n---\n"])
def test_a_file_with_only_comments_has_no_settings(config, text):
    assert parsed("--config", config(text)).settings == Cake()
    assert parsed("--eggs=4", "--config", config(text)).settings == Cake(4)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"nope.yaml: can't be read: No such file"):
        parsed("--config", tmp_path / "nope.yaml")
    with pytest.raises(InputError, match=r"can't be read: Is a directory"):
        parsed("--config", tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"eggs: \xe9")
    with pytest.raises(InputError, match=r"latin.yaml:1: has the byte 0xe9; expected UTF-8"):
        parsed("--config", tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--out", "x", "--egs", "2"],
            "bake: unknown setting egs; expected one of config, eggs, oven",
        ),
        (["--out", "x", "eggs=2"], "bake: unrecognized arguments: eggs=2"),
        (["--eggs", "2"], "bake: --out is missing; expected the folder of the run"),
        (["--out", ""], "bake: --out is ''; expected the folder of the run"),
        (["--out"], "bake: argument --out: expected one argument"),
        (["--out", "x", "--config"], "bake: argument --config: expected one argument"),
        (["--out", "x", "--eggs", "two"], "bake: eggs is 'two'; expected int"),
        (["--out", "x", "--oven.kind=wood"], "bake: oven.kind is 'wood'; expected 'gas', 'fan'"),
        (["--out", "x", "--oven.degrees=400"], "bake: oven.degrees is 400.0; expected at most 300"),
    ],
)
def test_an_invalid_command_line_gives_one_line_and_status_2(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(settings_parser("bake", Cake), Cake, arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"n_layers": "2"}, None),
        ({"n_layers": 2}, None),
        ({"layers": 2}, "m.json: model: unknown setting layers; expected one of bidirectional, "),
        ({"n_layers": [2]}, r"m.json: model: n_layers is '\[2\]'; expected int"),
        ({"n_layers": 0}, "m.json: model: model.n_layers is 0; expected 1 or more"),
        (5, "m.json: model is 5; expected settings by name"),
    ],
)
def test_saved_values_are_checked(values, line):
    if line is None:
        assert from_dict(AcousticSettings, values, "m.json: model") == AcousticSettings(n_layers=2)
    else:
        with pytest.raises(InputError, match=line):
            from_dict(AcousticSettings, values, "m.json: model")


def test_print_config_has_every_setting_of_training(capsys, tones):
    with pytest.raises(SystemExit) as ended:
        run_script("recipes/train_ctc.py", *tones.options, "--print_config")
    assert ended.value.code == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert values["model"]["hidden_size"] == 8
    assert values["trainer"]["max_epochs"] == 3
    assert "logger" not in values["trainer"]
