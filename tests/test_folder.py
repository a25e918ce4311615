"""Safety of reading model folders from anyone: no files outside, no excessive memory."""

import json
import os
import shutil
import socket
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from asr.audio.features import FeatureSettings
from asr.cli.app import app
from asr.decoder import DecoderSettings, load_decoding, save_decoding
from asr.errors import InputError, one_line
from asr.folder import inside, read_description, read_weights, write_description, write_folder
from asr.lm.load import load_language_model, save_rnnlm
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.model import load_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.search.space import BeamSettings

SECRET = "root:x:0:0:secret"


@pytest.fixture
def secret(tmp_path):
    """A private file outside any model's folder."""
    path = tmp_path / "secret.txt"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def folder(tone_model, tmp_path):
    """A copy of a trained model's folder, to be damaged."""
    (tmp_path / "model").mkdir()
    for name in ("model.json", "weights.safetensors"):
        shutil.copy(tone_model / name, tmp_path / "model" / name)
    return tmp_path / "model"


def edit(folder, name="model.json", **changes):
    """Change values of a JSON file; "a__b" is the value b in a."""
    path = folder / name
    values = json.loads(path.read_text())
    for where, value in changes.items():
        *outer, last = where.split("__")
        part = values
        for key in outer:
            part = part[key]
        part[last] = value
    path.write_text(json.dumps(values))


def run(*arguments):
    """Run a command of `asr` that must fail with one line without control characters."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()
    assert SECRET not in done.stderr
    return done.stderr


def audio(tone_model):
    return tone_model.parent / "tones" / "dev00.wav"


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.txt", "a/../../secret.txt", ".."])
def test_names_that_lead_out_of_the_folder_are_refused(folder, secret, name):
    with pytest.raises(InputError, match="leads out of the folder; expected a file in it"):
        inside(folder, name)


@pytest.mark.parametrize("there", ["secret.txt", "nowhere", "", "twin/weights.safetensors"])
def test_links_that_lead_out_of_the_folder_are_refused(folder, secret, there):
    shutil.copytree(folder, folder.parent / "twin")
    (folder / "link").symlink_to(folder.parent / there)
    with pytest.raises(InputError, match="'link' leads out of the folder"):
        inside(folder, "link")


def test_a_linked_folder_and_links_within_it_are_read(folder):
    (folder / "parts").mkdir()
    (folder / "weights.safetensors").rename(folder / "parts" / "w")
    (folder / "weights.safetensors").symlink_to("parts/w")
    (folder.parent / "best").symlink_to(folder)
    assert load_model(folder.parent / "best").n_parameters


@pytest.mark.parametrize("name", ["\0", "a" * 5000, "circle"])
def test_names_that_no_file_can_have_are_refused(folder, name):
    (folder / "circle").symlink_to("circle")
    with pytest.raises(InputError, match=r"^/.*model: .* is not the name of a file"):
        inside(folder, name)


def special(path, kind):
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as one:
                here = os.open(path.parent, os.O_RDONLY)  # a socket's path is short
                one.bind(f"/proc/self/fd/{here}/{path.name}")
                os.close(here)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder"])
@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "decoding.json", "lm"])
def test_special_files_are_never_opened(folder, tone_model, name, kind):
    if name == "lm":
        save_decoding(folder, DecoderSettings("beam"))
        edit(folder, "decoding.json", lm="lm")
    (folder / name).unlink(missing_ok=True)
    special(folder / name, kind)
    run("transcribe", audio(tone_model), "--model", folder)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_special_file_is_refused_as_a_language_model(folder, tone_model, kind):
    special(folder / "x", kind)
    line = run("transcribe", audio(tone_model), "--model", folder, "--lm", folder / "x")
    assert line.endswith("x: is not a regular file; expected a language model\n")


@pytest.mark.parametrize("part", ["lm", "lexicon", "rescorers"])
@pytest.mark.parametrize("way", ["absolute", "above", "link", "link to a folder"])
def test_decoding_settings_read_no_file_outside_the_folder(folder, tone_model, secret, part, way):
    names = {"absolute": str(secret), "above": "../secret.txt", "link": "l"}
    name = names.get(way, "l/secret.txt")
    (folder / "l").symlink_to(secret.parent if way == "link to a folder" else secret)
    save_decoding(folder, DecoderSettings("beam"))
    changes = {part: name}
    if part == "rescorers":
        changes = {"rescorers": [name], "lm_weights": [1.0]}
    edit(folder, "decoding.json", **changes)
    for command in (["info", folder], ["transcribe", audio(tone_model), "--model", folder]):
        line = run(*command)
        assert f"decoding.json: {folder}: {name!r} leads out of the folder" in line


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "decoding.json"])
def test_files_of_a_folder_that_are_links_to_outside_are_refused(folder, tone_model, secret, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    assert "leads out of the folder" in run("transcribe", audio(tone_model), "--model", folder)


def test_results_that_are_links_to_outside_are_refused(folder, tmp_path):
    rates = dict.fromkeys(("wer", "wer_low", "wer_high", "cer"), 0.5)
    results = {"manifest": SECRET, "systems": [{"name": "greedy", **rates}]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    (folder / "test").mkdir()
    (folder / "test" / "results.json").symlink_to(tmp_path / "results.json")
    assert "leads out of the folder" in run("info", folder)


UNSOUND = {
    "deep": ('{"format": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested more than 100 deep"),
    "long": ('{"format": ' + "9" * 5000 + "}", "has a whole number of 5000 digits"),
    "half": ('{"format": "\\ud800"}', "half of a surrogate pair"),
    "NaN": ('{"format": NaN}', "has NaN; expected a finite number"),
    "infinite": ('{"format": 1e999}', "has 1e999; expected a finite number"),
    "twice": ('{"format": 1, "format": 2}', "has 'format' twice in one object"),
    "no text": ('{"format": "\udcff"}', "has the byte 0xff; expected UTF-8"),
    "no object": ("[1, 2]", ""),
}


@pytest.mark.parametrize("name", ["model.json", "decoding.json", "test/results.json"])
@pytest.mark.parametrize("kind", UNSOUND)
def test_invalid_json_is_refused_in_one_line(folder, name, kind):
    text, complaint = UNSOUND[kind]
    (folder / "test").mkdir()
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert complaint in run("info", folder)


def test_files_that_are_too_large_are_refused_unread(folder):
    for name, size in (("model.json", 2**40), ("weights.safetensors", 2**41)):
        sound = (folder / name).read_bytes()
        with (folder / name).open("r+b") as file:
            file.truncate(size)  # a sparse file, which takes no space on the disk
        assert f"has {size:,} bytes; expected at most" in run("info", folder)
        (folder / name).write_bytes(sound)


HUGE = [10**5 + 1, 10**9, 10**12, 10**29]


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize(
    "name",
    [
        *("model__time_reduction", "model__conv_channels", "model__hidden_size", "model__n_layers"),
        *("features__n_mels", "features__n_mfcc", "features__n_deltas", "features__n_spliced"),
    ],
)
def test_sizes_are_checked_before_memory_is_allocated(folder, name, size):
    edit(folder, **{name: size})
    assert f"{name.split('__')[1]} is {size}; expected at most" in run("info", folder)


@pytest.mark.parametrize("value", [1e6, 1e300, ".inf", ".nan", "-.inf"])
@pytest.mark.parametrize("name", ["window_ms", "hop_ms", "low_hz"])
def test_lengths_that_are_too_large_or_not_finite_are_refused(folder, name, value):
    edit(folder, **{f"features__{name}": value})
    assert f"model.json: features: features.{name} is " in run("info", folder)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_layers": 100, "hidden_size": 2**16}, "number of recurrent weights is 1.*; expected"),
        ({"hidden_size": 2**15, "n_layers": 1, "bidirectional": True}, "recurrent weights is"),
    ],
)
def test_a_network_with_too_many_weights_is_refused(settings, line):
    with pytest.raises(InputError, match=line):
        AcousticModel(80, 30, AcousticSettings(**settings))


def test_a_frame_that_is_too_wide_is_refused():
    with pytest.raises(InputError, match=r"features\.n_features is 56560; expected at most 16384"):
        FeatureSettings(n_mels=80, n_deltas=6, n_spliced=50)


@pytest.mark.parametrize("name", ["beam_width", "n_best"])
def test_a_beam_width_has_a_maximum_in_files_and_options(folder, tone_model, name):
    save_decoding(folder, DecoderSettings("beam"))
    edit(folder, "decoding.json", **{f"beam__{name}": 10**9})
    expected = f"{name} is 1000000000; expected at most 10000\n"
    assert run("info", folder).endswith(f"decoding.json: {expected}")
    (folder / "decoding.json").unlink()
    if name == "beam_width":
        options = "--decoder", "beam", "--beam-width", 10**9
        line = run("transcribe", audio(tone_model), "--model", folder, *options)
        assert line == f"asr transcribe: {expected}"


def test_the_number_of_rescorers_has_a_maximum(folder):
    save_decoding(folder, DecoderSettings("beam"))
    edit(folder, "decoding.json", rescorers=["model.json"] * 1000, lm_weights=[0.0] * 1000)
    assert "number of rescorers is 1000; expected at most 16" in run("info", folder)


def test_floors_of_minus_infinity_survive_a_round_trip_through_json(folder):
    settings = DecoderSettings("beam", BeamSettings(token_floor=-torch.inf, score_floor=-torch.inf))
    save_decoding(folder, settings)
    json.loads((folder / "decoding.json").read_text(), parse_constant=pytest.fail)
    assert load_decoding(folder) == settings


@pytest.fixture
def lm(tmp_path):
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_texts(["a b", "b"])
    save_rnnlm(tmp_path / "lm", RNNLM(vocabulary, RNNLMSettings("lstm", 3, 4)), {"seed": 1})
    return tmp_path / "lm"


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("name", ["embedding_size", "hidden_size", "n_layers"])
def test_sizes_of_a_language_model_have_a_maximum(lm, name, size):
    edit(lm, **{f"model__{name}": size})
    assert f"model.{name} is {size}; expected at most" in run("info", lm)


def test_a_language_model_with_too_many_weights_is_refused(lm):
    edit(lm, model__hidden_size=2**16, model__n_layers=100)
    assert "model.json: model: number of recurrent weights is 3" in run("info", lm)


BAD = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf, "large": 1e30, "-large": -1e30}


@pytest.mark.parametrize("value", BAD)
def test_weights_that_are_not_finite_are_refused(folder, lm, value):
    for place in (folder, lm):
        weights = load_file(place / "weights.safetensors")
        name = max(name for name in weights if weights[name].ndim == 2)
        changed = weights[name].clone()
        changed[0, -1] = BAD[value]
        save_file(weights | {name: changed}, place / "weights.safetensors")
        complaint = "as large as 1e+30" if "large" in value else "that are not finite"
        assert f"weights.safetensors: {name} has numbers {complaint}; expected" in run(
            "info", place
        )


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_largest_accepted_weights_give_no_nan(lm, cell, tied):
    generator = torch.Generator().manual_seed(0)
    settings = RNNLMSettings(cell, 3, 4, n_layers=2, tied=tied)
    model = RNNLM(Vocabulary.from_texts(["a b", "b"]), settings)
    for weights in model.parameters():
        signs = torch.randint(0, 2, weights.shape, generator=generator)
        weights.data = 1e9 * (2.0 * signs - 1)
    save_rnnlm(lm, model, {})
    loaded = load_language_model(lm)
    sentences = [[2, 3, 0, 2], [3], []]
    for log_probs in loaded.sentence_log_probs(sentences):
        assert not np.isnan(log_probs).any()
    assert not loaded.log_probs(loaded.start(1)).isnan().any()


@pytest.mark.parametrize("value", [0.0, -1.0, -torch.inf])
def test_minus_infinity_is_accepted_only_in_the_named_weights(tmp_path, value):
    weights = {"a": torch.tensor([0.5, value]), "n": torch.zeros(0), "i": torch.tensor([2**40])}
    write_folder(tmp_path, {"kind": "x"}, weights)
    assert read_weights(tmp_path, weights, impossible=["a"])["a"][1] == value
    if value == -torch.inf:
        with pytest.raises(InputError, match="a has numbers that are not finite"):
            read_weights(tmp_path, weights)


def test_nan_from_a_network_is_reported_for_each_recording(folder, tone_model):
    weights = load_file(folder / "weights.safetensors")
    edit(folder, features__normalisation="global")
    save_file(
        weights | {"features.std": weights["features.std"] * 0}, folder / "weights.safetensors"
    )
    for options in ([], ["--decoder", "beam"]):
        line = run("transcribe", audio(tone_model), "--model", folder, *options)
        assert line.startswith(f"asr transcribe: {audio(tone_model)}: the model gives NaN for it;")


CONTROLS = ["\x1b", "\t", "\n", "\x00", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"]


@pytest.mark.parametrize("control", CONTROLS)
def test_symbols_with_control_characters_are_refused(folder, lm, control):
    symbols = json.loads((folder / "model.json").read_text())["tokenizer"]["symbols"]
    edit(folder, tokenizer__symbols=[*symbols[:-1], control])
    assert f"tokenizer: symbols: {control!r} has a control character" in run("info", folder)
    edit(lm, vocabulary__symbols=["<unk>", "<eos>", "a", f"b{control}c"])
    assert f"symbols: {f'b{control}c'!r} has a control character" in run("info", lm)


def test_words_of_a_lexicon_with_control_characters_are_refused(folder):
    lexicon = {"kind": "phone", "symbols": ["<blank>", " ", "A"], "lexicon": ["a\x1b[2J A"]}
    edit(folder, tokenizer=lexicon)
    assert "tokenizer: lexicon:1: has U+001B, a control character" in run("info", folder)


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_of_a_folder_never_reach_the_terminal(folder, control):
    name = f"a{control}[31mb"
    rates = dict.fromkeys(("wer", "wer_low", "wer_high", "cer"), 0.5)
    (folder / "test").mkdir()
    (folder / "test" / "results.json").write_text(
        json.dumps({"manifest": name, "systems": [{"name": name, **rates}]})
    )
    edit(folder, trained_on={name: name})
    done = CliRunner().invoke(app, ["info", str(folder)])
    assert done.exit_code == 0
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert done.stdout.count(ascii(control)[1:-1]) == 4
    edit(folder, **{f"model__{name}": 1})
    assert "model.json: model: unknown setting a" in run("info", folder)


def test_a_setting_of_a_million_characters_is_shortened_in_errors(folder):
    edit(folder, model__cell="x" * 10**6)
    assert len(run("info", folder)) < 11_000


def test_nan_and_names_that_are_not_utf_8_are_written_as_valid_json(tmp_path):
    values = {"dev_perplexity": float("inf"), "a": [float("nan"), (1.5, "\udcff.txt")]}
    write_description(tmp_path, {"trained_on": values})
    found = read_description(tmp_path)["trained_on"]
    assert found == {"dev_perplexity": None, "a": [None, [1.5, "\ufffd.txt"]]}


def test_a_language_models_folder_is_checked_in_the_same_way(lm, folder):
    (lm / "weights.safetensors").unlink()
    (lm / "weights.safetensors").symlink_to(folder / "weights.safetensors")
    with pytest.raises(InputError, match="leads out of the folder"):
        load_language_model(lm)


def test_settings_of_a_valid_model_are_not_changed(folder):
    before = json.loads((folder / "model.json").read_text())
    found = asdict(load_model(folder).acoustic.settings)
    assert json.loads(json.dumps(found)) == before["model"]  # tuples are lists in JSON


ODD = [None, True, -1, 10**12, 1.5, 1e308, "", "x", "\x1b[2J", [], [1], ["a"], [""], {}, {"a": 1}]


def places(value, before=()):
    yield before
    inside_of = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, part in inside_of:
        if isinstance(part, dict | list):
            yield from places(part, (*before, key))
        else:
            yield *before, key


@pytest.mark.parametrize("name", ["model.json", "decoding.json"])
def test_any_changed_value_is_accepted_or_refused(folder, name):
    save_decoding(folder, DecoderSettings("beam"))
    edit(folder, "decoding.json", rescorers=["x"], lm_weights=[1.0])
    sound = json.loads((folder / name).read_text())
    load_it = load_model if name == "model.json" else load_decoding
    tried, lines = 0, []
    for place in list(places(sound))[1:]:
        for odd in ODD:
            changed = json.loads(json.dumps(sound))
            part = changed
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = odd
            (folder / name).write_text(json.dumps(changed))
            tried += 1
            try:
                load_it(folder)
            except InputError as error:
                lines.append(str(error))
    assert tried / 2 < len(lines) < tried  # a few of the changed values are valid
    assert all("\n" not in line and "\x1b" not in one_line(InputError(line)) for line in lines)
