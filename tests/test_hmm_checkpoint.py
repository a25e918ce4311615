import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.errors import InputError
from asr.features import Features, FeatureSettings
from asr.gmm import Gmm
from asr.hmm import Topology, left_to_right
from asr.hmm_checkpoint import HmmModel, load_hmm, save_hmm
from asr.lexicon import Lexicon
from asr.tokenizer import PhoneTokenizer

LEXICON = Lexicon({"see": (("S", "IY"),), "he": (("HH", "IY"), ("IY",))})


def model(n_silence_states=2):
    generator = torch.Generator().manual_seed(0)
    tokenizer = PhoneTokenizer.from_lexicon(LEXICON)
    topology = left_to_right(len(tokenizer.symbols), 3, n_silence_states, stay=0.7)
    S, M, F = len(topology.self_loops), 4, 6
    log_weights = torch.randn(S, M, generator=generator).log_softmax(1)
    log_weights[0] = torch.tensor([0.0, *[-math.inf] * 3])
    means = torch.randn(S, M, F, generator=generator, dtype=torch.float64)
    features = Features(FeatureSettings(kind="mfcc", n_mfcc=3, n_deltas=1, normalisation="global"))
    features.mean, features.std = torch.arange(6.0), torch.arange(1.0, 7.0)
    gmm = Gmm(log_weights, means, means.square() + 0.1)
    return HmmModel(features, gmm, topology, tokenizer, {"epochs": 3})


@pytest.mark.parametrize("n_silence_states", [0, 2])
def test_a_model_comes_back_from_its_folder(tmp_path, n_silence_states):
    saved = model(n_silence_states)
    save_hmm(tmp_path / "model", saved)
    loaded = load_hmm(tmp_path / "model")
    assert loaded.tokenizer == saved.tokenizer
    assert loaded.trained_on == {"epochs": 3}
    assert torch.equal(loaded.topology.pdfs, saved.topology.pdfs)
    assert loaded.topology.silence == saved.topology.silence
    torch.testing.assert_close(loaded.topology.self_loops.double(), saved.topology.self_loops)
    waveform = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    features, _ = saved.features(waveform, torch.tensor([8000]))
    again, _ = loaded.features(waveform, torch.tensor([8000]))
    assert torch.equal(features, again)
    emissions = saved.gmm.emissions(features)
    torch.testing.assert_close(loaded.gmm.emissions(again), emissions, rtol=1e-4, atol=1e-4)


def changed(folder, values=None, weights=None):
    """Overwrite parts of a saved model: of its description, by dotted name; of its weights."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    for name, value in (values or {}).items():
        *outer, last = name.split(".")
        part = description
        for key in outer:
            part = part[key]
        part[last] = value
    path.write_text(json.dumps(description))
    if weights:
        path = folder / "weights.safetensors"
        save_file(load_file(path) | weights, path)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"kind": "rnn"}, "model.json: kind is rnn; expected hmm"),
        ({"topology": 1, "model": 7}, "model.json: model is 7; expected values by name"),
        ({"model.n_states": "three"}, "model.json: model: n_states is 'three'; expected int"),
        ({"model.n_pdfs": 0}, "model.json: model.n_pdfs is 0; expected 1 or more"),
        ({"model.max_components": 5}, r"gmm.log_weights is float32 \[11, 4\]; .* \[11, 5\]"),
        ({"tokenizer": {"kind": "char", "symbols": ["<blank>"]}}, "kind char; expected phone"),
    ],
)
def test_a_description_of_something_else_is_refused(tmp_path, values, line):
    save_hmm(tmp_path, model())
    changed(tmp_path, values)
    with pytest.raises(InputError, match=line):
        load_hmm(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("gmm.means", math.nan, "gmm.means has values that are not finite"),
        ("gmm.variances", 0.0, "gmm.variances has values that are not finite and above 0"),
        ("gmm.log_weights", -math.inf, "gmm.log_weights has a state without weights"),
        ("gmm.log_weights", math.nan, "gmm.log_weights has a state without weights"),
        ("topology.self_loops", 0.5, "topology.self_loops has values that are no log-prob"),
        ("topology.pdfs", 11, r"topology: pdfs\[0\] is \[11, 11, 11\]; expected -1"),
        ("topology.silence", 11, "topology: pdfs or silence has 11; expected from 0 to 10"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, name, value, line):
    save_hmm(tmp_path, model())
    weights = load_file(tmp_path / "weights.safetensors")
    changed(tmp_path, weights={name: torch.full_like(weights[name], value)})
    with pytest.raises(InputError, match=line):
        load_hmm(tmp_path)


def test_tokens_may_share_pdfs(tmp_path):
    saved = model()
    pdfs = saved.topology.pdfs.clone()
    pdfs[2] = pdfs[1]
    shared = Topology(pdfs, saved.topology.silence, saved.topology.self_loops)
    save_hmm(tmp_path, HmmModel(saved.features, saved.gmm, shared, saved.tokenizer))
    assert torch.equal(load_hmm(tmp_path).topology.pdfs, pdfs)
