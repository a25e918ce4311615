import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.audio.features import Features, FeatureSettings
from asr.decoder import search_of
from asr.errors import InputError
from asr.hmm.emissions import GmmEmissions, HybridEmissions
from asr.hmm.gmm import Gmm
from asr.hmm.topology import Topology, left_to_right
from asr.model import HMM, HYBRID, Model, load_model, save_model
from asr.networks.acoustic import AcousticSettings
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer

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
    return Model(features, GmmEmissions(gmm), tokenizer, {"epochs": 3}, topology)


@pytest.mark.parametrize("n_silence_states", [0, 2])
def test_a_saved_model_can_be_loaded(tmp_path, n_silence_states):
    saved = model(n_silence_states)
    save_model(tmp_path / "model", saved)
    loaded = load_model(tmp_path / "model")
    assert loaded.tokenizer == saved.tokenizer
    assert loaded.trained_on == {"epochs": 3}
    assert torch.equal(loaded.topology.pdfs, saved.topology.pdfs)
    assert loaded.topology.silence == saved.topology.silence
    torch.testing.assert_close(loaded.topology.self_loops.double(), saved.topology.self_loops)
    waveform = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    features, _ = saved.features(waveform, torch.tensor([8000]))
    again, _ = loaded.features(waveform, torch.tensor([8000]))
    assert torch.equal(features, again)
    emissions, lengths = saved.acoustic(features, torch.tensor([len(features)]))
    assert torch.equal(loaded.acoustic(again, lengths)[0], emissions)
    assert lengths.tolist() == [len(features)]


def changed(folder, values=None, weights=None):
    """Overwrite entries of a saved model's description (by dotted name) and of its weights."""
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
        ({"kind": "rnn"}, "model.json: kind is 'rnn'; expected hmm, hybrid, or none for CTC"),
        ({"topology": 7}, "model.json: topology is 7; expected values by name"),
        ({"topology.n_states": "three"}, "model.json: topology: n_states is 'three'; expected int"),
        ({"topology.n_pdfs": 0}, "model.json: topology: n_pdfs is 0; expected 1 or more"),
        ({"topology.n_pdfs": 10**15}, "topology: n_pdfs is 10{15}; expected at most"),
        ({"topology.n_silence_states": -1}, "n_silence_states is -1; expected 0 or more"),
        ({"model.max_components": 5}, r"acoustic.log_weights is float32 \[11, 4\]; .* \[11, 5\]"),
        ({"tokenizer": {"kind": "char", "symbols": ["<blank>"]}}, "kind char; expected phone"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, values, line):
    save_model(tmp_path, model())
    changed(tmp_path, values)
    with pytest.raises(InputError, match=line):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("acoustic.means", math.nan, "means has numbers that are not finite"),
        ("acoustic.variances", 0.0, "variances has values that are not above 0"),
        ("acoustic.log_weights", -math.inf, "log_weights has a state without weights"),
        ("acoustic.log_weights", math.nan, "log_weights has numbers that are not finite"),
        ("topology.self_loops", 0.5, "topology.self_loops has values that are no log-prob"),
        ("topology.pdfs", 11, r"topology: pdfs\[0\] is \[11, 11, 11\]; expected -1"),
        ("topology.silence", 11, "topology: pdfs or silence has 11; expected from 0 to 10"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, name, value, line):
    save_model(tmp_path, model())
    weights = load_file(tmp_path / "weights.safetensors")
    changed(tmp_path, weights={name: torch.full_like(weights[name], value)})
    with pytest.raises(InputError, match=line):
        load_model(tmp_path)


def test_tokens_may_share_pdfs(tmp_path):
    saved = model()
    pdfs = saved.topology.pdfs.clone()
    pdfs[2] = pdfs[1]
    shared = Topology(pdfs, saved.topology.silence, saved.topology.self_loops)
    save_model(tmp_path, replace(saved, topology=shared))
    assert torch.equal(load_model(tmp_path).topology.pdfs, pdfs)


def hybrid():
    settings = AcousticSettings(time_reduction=1, hidden_size=5, n_layers=1)
    saved = model()
    torch.manual_seed(1)
    emissions = HybridEmissions(6, len(saved.topology.self_loops), settings).eval()
    emissions.log_priors = torch.linspace(1.0, 3.0, 11).log_softmax(0)
    return replace(saved, acoustic=emissions)


def test_a_saved_hybrid_can_be_loaded(tmp_path):
    saved = hybrid()
    save_model(tmp_path, saved)
    loaded = load_model(tmp_path)
    features, lengths = torch.randn(9, 2, 6), torch.tensor([9, 4])
    assert torch.equal(loaded.acoustic(features, lengths)[0], saved.acoustic(features, lengths)[0])


def test_a_hybrid_divides_posteriors_by_priors():
    acoustic = hybrid().acoustic
    features, lengths = torch.randn(9, 1, 6), torch.tensor([9])
    emissions, _ = acoustic(features, lengths)
    posteriors = (emissions + acoustic.log_priors).exp()
    torch.testing.assert_close(posteriors.sum(2), torch.ones(9, 1))


def test_a_hybrid_with_bad_priors_or_reduced_frames_is_refused(tmp_path):
    save_model(tmp_path, hybrid())
    changed(tmp_path, weights={"acoustic.log_priors": torch.zeros(11).fill_(math.nan)})
    with pytest.raises(InputError, match="log_priors has numbers that are not finite"):
        load_model(tmp_path)
    with pytest.raises(InputError, match=r"model\.time_reduction is 3; expected 1"):
        HybridEmissions(6, 11, AcousticSettings())


def test_kinds_of_models_differ_only_in_values():
    hmm, mixed = model(), hybrid()
    assert (hmm.kind, mixed.kind) == (HMM, HYBRID)
    assert hmm.units == mixed.units == ("HH", "IY", "S")
    S = len(hmm.topology.self_loops)
    for one in (hmm, mixed):
        assert sorted(pdf for _, pdfs in one.columns for pdf in pdfs) == list(range(S))
        assert dict(one.columns)[""] == list(one.topology.silence)
    titles = [[title for title, _ in one.summary()] for one in (hmm, mixed)]
    assert titles == [["states", "Gaussians", "parameters"], ["states", "layers", "parameters"]]


def test_posteriors_of_any_kind_sum_to_1():
    features, lengths = torch.randn(9, 1, 6), torch.tensor([9])
    for one in (model(), hybrid()):
        posteriors = one.acoustic.log_posteriors(one.acoustic(features, lengths)[0]).exp()
        torch.testing.assert_close(posteriors.sum(2), torch.ones(9, 1))


def test_n_parameters_counts_only_free_parameters():
    one = model()
    n_components = (one.acoustic.log_weights > -math.inf).sum(1).tolist()
    F = one.acoustic.means.shape[2]
    assert one.n_parameters == sum(n - 1 + 2 * F * n for n in n_components)


@pytest.mark.parametrize("decoder", ["greedy", "flashlight"])
def test_an_hmm_needs_the_decoder_beam(decoder):
    with pytest.raises(InputError, match=f"decoder is {decoder}; expected beam with an HMM"):
        search_of(decoder, model().topology)
