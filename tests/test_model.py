import json
import resource
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.folder import write_folder
from asr.model import CTC, Model, load_model, save_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.lexicon import parse_lexicon
from asr.text.tokenizer import BpeTokenizer, CharTokenizer, PhoneTokenizer, UnitTokenizer


def made(tokenizer=None, features=None, **settings):
    torch.manual_seed(0)
    tokenizer = tokenizer or CharTokenizer.from_texts(["ab a"])
    features = Features(features or FeatureSettings(sample_rate=8000, n_mels=12))
    values = {"time_reduction": 2, "hidden_size": 8, "n_layers": 1} | settings
    settings = AcousticSettings(**values)
    acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings)
    return Model(features, acoustic.eval(), tokenizer, {"train": "t.jsonl", "hours": 0.5})


def log_probs(model):
    waveforms = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1)) / 10
    with torch.inference_mode():
        return model.acoustic(*model.features(waveforms, torch.tensor([4000, 3000])))[0]


@pytest.mark.parametrize(
    "model",
    [
        made(),
        made(UnitTokenizer.from_texts(["sil ah t", "ö"]), cell="gru", bidirectional=False),
        made(
            features=FeatureSettings(
                8000, "mfcc", n_mels=20, n_mfcc=7, n_deltas=2, normalisation="global"
            ),
            n_layers=2,
            conv_channels=3,
        ),
        made(BpeTokenizer.from_texts(["ab abc ab"], n_pieces=6)),
        made(PhoneTokenizer.from_lexicon(parse_lexicon(["a AH", "a(2) EY", "be B IY"], "x"))),
    ],
    ids=["default", "units", "convolutions", "pieces", "phones"],
)
def test_a_loaded_model_is_the_saved_one(tmp_path, model):
    generator = torch.Generator().manual_seed(2)
    model.features.mean = torch.randn(model.features.settings.n_features, generator=generator)
    model.features.std = torch.rand(model.features.settings.n_features, generator=generator) + 1
    save_model(tmp_path / "new" / "model", model)
    loaded = load_model(tmp_path / "new" / "model")
    torch.testing.assert_close(log_probs(loaded), log_probs(model), rtol=0, atol=0)
    assert loaded.tokenizer == model.tokenizer
    assert loaded.features.settings == model.features.settings
    assert loaded.acoustic.settings == model.acoustic.settings
    assert loaded.trained_on == model.trained_on
    assert not loaded.acoustic.training
    files = sorted(path.name for path in (tmp_path / "new" / "model").iterdir())
    assert files == ["model.json", "weights.safetensors"]


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", made())
    return tmp_path / "model"


def edit(folder, **values):
    path = folder / "model.json"
    description = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: v for name, v in description.items() if v != "gone"}))


SETTINGS = asdict(AcousticSettings(time_reduction=2, hidden_size=8, n_layers=1))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"format": 2}, "model.json: format is 2; expected 1"),
        ({"format": "gone"}, "model.json: format is None; expected 1"),
        ({"model": "gone"}, "model.json: model is missing; expected values by name"),
        ({"tokenizer": 5}, "model.json: tokenizer is 5; expected values by name"),
        ({"trained_on": []}, r"model.json: trained_on is \[\]; expected values by name"),
        ({"model": SETTINGS | {"depth": 1}}, "model.json: model: unknown setting depth; expected"),
        ({"model": SETTINGS | {"n_layers": "x"}}, "model.json: model: n_layers is 'x'; expected"),
        ({"model": SETTINGS | {"n_layers": 0}}, "model.json: model: model.n_layers is 0; expected"),
        ({"model": SETTINGS | {"n_layers": 2}}, "acoustic.stack.* is missing; expected float32"),
        (
            {"model": SETTINGS | {"hidden_size": 10**4}},
            r"acoustic.output.weight is float32 \[4, 16\]; expected float32 \[4, 20000\]",
        ),
        (
            {"features": {"n_mels": 13}},
            r"weight_ih_l0 is float32 \[32, 24\]; expected float32 \[32, 26\]",
        ),
        ({"features": {"kind": "wavelet"}}, "model.json: features: kind is 'wavelet'; expected"),
        ({"tokenizer": {"kind": "char", "symbols": ["a"]}}, r"tokenizer: symbols\[0\] is 'a'"),
        (
            {"tokenizer": {"kind": "char", "symbols": ["<blank>", "a"]}},
            r"acoustic.output.bias is float32 \[4\]; expected float32 \[2\], as model.json says",
        ),
    ],
)
def test_an_invalid_description_is_reported(folder, values, line):
    edit(folder, **values)
    with pytest.raises(InputError, match=line) as refused:
        load_model(folder)
    assert str(refused.value).startswith(str(folder))
    assert "\n" not in str(refused.value)


def test_weights_and_description_have_the_same_permissions(folder):
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes["weights.safetensors"] == modes["model.json"]


def test_a_folder_without_a_model_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: does not exist; expected a trained model's"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "", "\xe9", "[1]"])
def test_a_description_that_is_not_json_is_reported(folder, text):
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        InputError,
        match=r"model.json:?.*(: not JSON|: has the byte|: is \[1\]; expected a JSON object)",
    ):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_reported(folder, kept):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        InputError, match=r"weights.safetensors: (can't be read as weights: |is empty \(0 bytes\))"
    ):
        load_model(folder)


def test_missing_weights_are_reported(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"weights.safetensors: does not exist; expected a trained"
    ):
        load_model(folder)


def test_unexpected_weights_are_reported(folder):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    shutil.copy(path, folder / "sound")
    name = "acoustic.output.bias"
    for changed, line in [
        (weights | {name: weights[name].double()}, r"float64 \[4\]; expected float32 \[4\]"),
        (
            weights | {"more": torch.zeros(4)},
            r"more is float32 \[4\]; expected nothing of that name",
        ),
    ]:
        save_file(changed, path)
        with pytest.raises(InputError, match=line):
            load_model(folder)
    shutil.copy(folder / "sound", path)
    load_model(folder)


def test_weights_of_half_the_digits_are_read_as_float32(folder):
    whole = load_model(folder)
    save_model(folder, whole, half=True)
    assert {w.dtype for w in load_file(folder / "weights.safetensors").values()} == {torch.float16}
    for name, weight in load_model(folder).acoustic.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, whole.acoustic.state_dict()[name].half().float())


def test_saving_again_keeps_other_files(folder):
    (folder / "results.txt").write_text("kept")
    save_model(folder, made(hidden_size=4))
    assert load_model(folder).acoustic.settings.hidden_size == 4
    assert (folder / "results.txt").read_text() == "kept"


def test_the_columns_of_a_ctc_model_are_its_tokens():
    model = made()
    assert model.kind is CTC
    assert model.units == ("<blank>", " ", "a", "b")
    assert model.columns == [("", [0]), (" ", [1]), ("a", [2]), ("b", [3])]
    assert [title for title, _ in model.summary()] == ["layers", "parameters"]
    assert model.n_parameters == sum(one.numel() for one in model.acoustic.parameters())


@pytest.mark.parametrize("kind", [[], {}, 5, "rnnlm", "ctc"])
def test_an_unknown_kind_of_model_is_refused(folder, kind):
    edit(folder, kind=kind)
    with pytest.raises(InputError, match=r"model.json: kind is .*; expected hmm, hybrid, or none"):
        load_model(folder)


@pytest.mark.parametrize("kind", [[], {}, 5, None, "x" * 1000])
def test_an_unknown_kind_of_tokenizer_is_refused(folder, kind):
    edit(folder, tokenizer={"kind": kind, "symbols": ["<blank>"]})
    with pytest.raises(
        InputError, match=r"tokenizer is of kind .*; expected one of char, jamo, unit"
    ):
        load_model(folder)


def test_a_full_disk_is_reported_and_the_old_weights_stay(folder):
    before = (folder / "weights.safetensors").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(InputError, match=r"weights\.safetensors: can't be written: "):
            write_folder(folder, {}, {"x": torch.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / "weights.safetensors").read_bytes() == before
    assert not list(folder.glob("*.partial"))
