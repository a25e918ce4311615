import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from table_model import TableModel, random_model

from asr.audio.features import Features, FeatureSettings
from asr.errors import InputError
from asr.lm.load import ExtendedVocabularyLM, load_language_model, save_rnnlm, with_words
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import EOS, EOS_SYMBOL, UNK, UNK_SYMBOL, Vocabulary
from asr.model import Model, load_model, save_model
from asr.networks.acoustic import AcousticModel, AcousticSettings
from asr.text.normalisation import TextSettings
from asr.text.tokenizer import CharTokenizer

TEXTS = ["the cat sat on a mat", "a dog, that dog!", "한국어"]
KEPT = TextSettings(punctuation="keep")
TRAINED_ON = {"train": "novels.txt", "words": 14_000_000}

ARPA = """\\data\\
ngram 1=4

\\1-grams:
-1.0 <unk>
-99 <s>
-0.5 </s>
-0.3 cat

\\end\\
"""


def model_of(vocabulary=None, **settings):
    torch.manual_seed(0)
    vocabulary = vocabulary or Vocabulary.from_texts(TEXTS)
    values = {"embedding_size": 4, "hidden_size": 6, "n_layers": 1} | settings
    return RNNLM(vocabulary, RNNLMSettings(**values)).eval()


def log_probs(model):
    return model.sentence_log_probs([model.vocabulary.encode(text) for text in TEXTS])


@pytest.mark.parametrize(
    "model",
    [
        model_of(),
        model_of(tied=False, cell="gru", softmax="adaptive", n_layers=2),
        model_of(Vocabulary.from_texts(TEXTS, "jamo"), cell="rnn", embedding_size=6),
        model_of(Vocabulary.from_texts(TEXTS, "bpe", 40, text=KEPT), initialisation="orthogonal"),
    ],
    ids=["default", "untied", "jamo", "pieces"],
)
def test_a_loaded_model_is_the_saved_one(tmp_path, model):
    folder = tmp_path / "new" / "lm"
    save_rnnlm(folder, model, TRAINED_ON)
    loaded = load_language_model(folder)
    assert loaded.vocabulary == model.vocabulary
    assert loaded.settings == model.settings
    assert not loaded.training
    for found, expected in zip(log_probs(loaded), log_probs(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    weights = model.state_dict()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights.safetensors"]
    description = json.loads((folder / "model.json").read_text())
    assert (description["format"], description["kind"]) == (1, "rnnlm")
    assert description["trained_on"] == TRAINED_ON


def test_words_can_be_converted_to_the_case_of_texts(tmp_path):
    save_rnnlm(tmp_path, model_of(), {})
    model, capitals = load_language_model(tmp_path), load_language_model(tmp_path, case="upper")
    text = "THE CAT SAT ON A DOG 한국어"
    assert capitals.vocabulary.encode(text) == model.vocabulary.encode(text)
    assert capitals.vocabulary.decode(capitals.vocabulary.encode(text)) == text
    for units in model.vocabulary.encode(text), ():
        np.testing.assert_array_equal(
            capitals.sentence_log_probs([units])[0], model.sentence_log_probs([units])[0]
        )
    lower = load_language_model(tmp_path, case="lower").vocabulary
    assert lower == model.vocabulary


def test_tied_weights_are_saved_once_and_loaded_tied(tmp_path):
    model = model_of()
    save_rnnlm(tmp_path, model, {})
    weights = load_file(tmp_path / "weights.safetensors")
    V = len(model.vocabulary.symbols)
    assert [name for name, value in weights.items() if V in value.shape] == [
        "output.bias",
        "output.weight",
    ]
    loaded = load_language_model(tmp_path)
    before = log_probs(loaded)[0]
    loaded.embeddings.data.mul_(2)
    assert (loaded.output.weight == 2 * model.output.weight).all()
    assert (log_probs(loaded)[0] != before).any()


@pytest.fixture
def folder(tmp_path):
    save_rnnlm(tmp_path / "lm", model_of(), TRAINED_ON)
    return tmp_path / "lm"


def edit(folder, **values):
    path = folder / "model.json"
    description = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: v for name, v in description.items() if v != "gone"}))


SETTINGS = asdict(model_of().settings)
VOCABULARY = model_of().vocabulary.to_dict()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"format": 2}, "model.json: format is 2; expected 1"),
        ({"kind": "transformer"}, "model.json: kind is 'transformer'; expected rnnlm or ngram"),
        ({"model": "gone"}, "model.json: model is missing; expected values by name"),
        ({"vocabulary": [1]}, r"model.json: vocabulary is \[1\]; expected values by name"),
        ({"trained_on": 5}, "model.json: trained_on is 5; expected values by name"),
        ({"model": SETTINGS | {"depth": 1}}, "model.json: model: unknown setting depth; expected"),
        ({"model": SETTINGS | {"cell": "ltsm"}}, "model.json: model: cell is 'ltsm'; expected"),
        ({"model": SETTINGS | {"n_layers": 0}}, "model.json: model: model.n_layers is 0; expected"),
        ({"model": SETTINGS | {"n_layers": 2}}, "stack.forwards.1.* is missing; expected float32"),
        ({"model": SETTINGS | {"tied": False}}, "embedding.weight is missing; expected float32"),
        (
            {"model": SETTINGS | {"hidden_size": 10**4}},
            r"projection.weight is float32 \[4, 6\]; expected float32 \[4, 10000\]",
        ),
        ({"vocabulary": {"unit": "word"}}, "model.json: vocabulary: vocabulary has unit; expected"),
        ({"vocabulary": VOCABULARY | {"unit": "bpe"}}, "model.json: vocabulary: subwords is miss"),
        (
            {"vocabulary": VOCABULARY | {"symbols": ["<unk>", "<eos>", "a"]}},
            r"output.bias is float32 \[11\]; expected float32 \[3\], as model.json says",
        ),
    ],
)
def test_an_invalid_description_is_reported(folder, values, line):
    edit(folder, **values)
    with pytest.raises(InputError, match=line) as refused:
        load_language_model(folder)
    assert str(refused.value).startswith(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_reported(folder, kept):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        InputError, match=r"weights.safetensors: (can't be read as weights: |is empty \(0 bytes\))"
    ):
        load_language_model(folder)


def test_missing_weights_are_reported(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"weights.safetensors: does not exist; expected a trained"
    ):
        load_language_model(folder)


def test_unexpected_weights_are_reported(folder):
    path = folder / "weights.safetensors"
    weights = load_file(path)
    save_file(weights | {"output.bias": weights["output.bias"].double()}, path)
    with pytest.raises(InputError, match=r"output.bias is float64 \[11\]; expected float32 \[11\]"):
        load_language_model(folder)
    save_file(weights | {"embedding.weight": torch.zeros(11, 4)}, path)
    with pytest.raises(InputError, match=r"embedding.weight is .*; expected nothing of that name"):
        load_language_model(folder)


def test_weights_of_half_the_digits_are_read_as_float32(folder, tmp_path):
    whole = load_language_model(folder)
    save_rnnlm(tmp_path / "half", whole, {}, half=True)
    for name, weight in load_language_model(tmp_path / "half").state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, whole.state_dict()[name].half().float())


def test_a_pickle_is_never_read(folder):
    """Torch's own files are pickles, so they are refused even under the weights' name."""
    torch.save(model_of().state_dict(), folder / "weights.safetensors")
    with pytest.raises(InputError, match=r"weights.safetensors: can't be read as weights: "):
        load_language_model(folder)


def test_acoustic_and_language_models_are_distinguished(folder, tmp_path):
    features, tokenizer = Features(FeatureSettings(n_mels=4)), CharTokenizer.from_texts(["ab"])
    settings = AcousticSettings(hidden_size=4, n_layers=1)
    acoustic = AcousticModel(features.settings.n_features, len(tokenizer.symbols), settings)
    save_model(tmp_path / "ctc", Model(features, acoustic, tokenizer))
    with pytest.raises(InputError, match=r"ctc: is an acoustic model's folder; expected a languag"):
        load_language_model(tmp_path / "ctc")
    with pytest.raises(InputError, match=r"lm: is a language model's folder; expected an acoustic"):
        load_model(folder)
    (tmp_path / "ctc" / "model.json").write_text('{"format": 1, "kind": "hmm", "features": {}}')
    with pytest.raises(InputError, match=r"ctc: is an acoustic model's folder; expected a languag"):
        load_language_model(tmp_path / "ctc")


def test_what_is_no_language_model_is_named_as_such(tmp_path):
    expected = r"expected a language model's folder or file$"
    with pytest.raises(InputError, match=f"^the path is ''; {expected}"):
        load_language_model("")
    with pytest.raises(InputError, match=f"^{tmp_path}: has no model.json; {expected}"):
        load_language_model(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"model.json: kind is missing; expected rnnlm or ngram$"):
        load_language_model(tmp_path)


def test_an_arpa_file_can_be_loaded(tmp_path):
    path = tmp_path / "cat.arpa"
    path.write_text(ARPA)
    model = load_language_model(path)
    found = model.sentence_log_probs([model.vocabulary.encode("cat dog")])[0]
    np.testing.assert_allclose(found, np.log(10) * np.array([-0.3, -1.0, -0.5]), rtol=1e-6)


def test_a_path_without_a_language_model_is_reported(folder, tmp_path):
    with pytest.raises(InputError, match=r"nowhere: does not exist; expected a language model"):
        load_language_model(tmp_path / "nowhere")
    (tmp_path / "text.txt").write_text("the cat sat\n")
    with pytest.raises(InputError, match=r"text.txt"):
        load_language_model(tmp_path / "text.txt")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match=r"lm: has no model.json; expected a language model's f"):
        load_language_model(folder)


# --- with more words ----------------------------------------------------------------------------

SMALL = Vocabulary("word", (UNK_SYMBOL, EOS_SYMBOL, "the", "cat"))
LM = random_model(SMALL, seed=0)
NEW = ["dog", "emu", "gnu"]


def test_unknown_words_share_unk_and_known_words_are_unchanged():
    model = with_words(LM, ["the", "dog", "cat", "emu", "gnu", "dog"])
    assert model.vocabulary.symbols == (*SMALL.symbols, *NEW)
    found = model.log_probs(model.start(2))
    own = LM.log_probs(LM.start(2))
    np.testing.assert_array_equal(found[:, :4], own)
    np.testing.assert_allclose(found[:, 4:].exp().sum(1), own[:, UNK].exp(), rtol=1e-12)
    np.testing.assert_allclose(found[:, 4], found[:, 6], rtol=0)


def test_scores_by_unit_equal_scores_by_sentence():
    model = with_words(LM, NEW)
    sentence = model.vocabulary.encode("the emu cat zebra dog")
    assert sentence == (2, 5, 3, UNK, 4)
    (found,) = model.sentence_log_probs([sentence])
    state, expected = model.start(1), []
    for unit in (*sentence, EOS):
        assert model.log_probs(state)[0, unit] == model.score(state, torch.tensor([unit]))[0]
        log_prob, state = model.score(state, torch.tensor([unit]))
        expected.append(log_prob.item())
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    (own,) = LM.sentence_log_probs([SMALL.encode("the emu cat zebra dog")])
    np.testing.assert_allclose(found - own, -np.log([1, 3, 1, 1, 3, 1]), atol=1e-12)
    assert own.shape == found.shape == (6,)


@pytest.mark.parametrize(("unit", "words"), [("char", ["dog"]), ("word", ["cat", "the"])])
def test_models_that_need_no_words_are_returned_unchanged(unit, words):
    symbols = (UNK_SYMBOL, EOS_SYMBOL, "the", "cat") if unit == "word" else SMALL.symbols[:2]
    lm = TableModel(Vocabulary(unit, symbols), np.full((len(symbols),) * 2, 1 / len(symbols)))
    assert with_words(lm, words) is lm


def test_states_are_the_wrapped_models_states():
    model = ExtendedVocabularyLM(LM, NEW)
    _, after = model.score(model.start(3), torch.tensor([4, 5, 2]))
    _, expected = LM.score(LM.start(3), torch.tensor([UNK, UNK, 2]))
    assert torch.equal(after, expected)
