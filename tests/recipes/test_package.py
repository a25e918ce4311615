import json
import re

import numpy as np
import pytest
import torch
from conftest import load_script, run_script
from safetensors.torch import load_file
from taggers import full_stops

import asr
from asr.decoder import DecoderSettings, save_decoding
from asr.errors import InputError
from asr.evaluation.card import licences_of
from asr.installed import PACKAGED
from asr.lm.load import load_language_model, save_rnnlm
from asr.lm.ngram import save_ngram
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.model import load_model, save_model
from asr.search.space import BeamSettings
from asr.text.lexicon import Lexicon
from asr.text.tokenizer import PhoneTokenizer
from asr.transcribing.punctuation import save_punctuation


@pytest.fixture
def model(tone_model, tmp_path):
    """A model with an n-gram in the search, and an RNN that rescores with it."""
    folder = tmp_path / "whole"
    save_model(folder, load_model(tone_model))
    (folder / "checkpoints").mkdir()
    texts = ["a b a", "b a", "a a b", "b"] * 5
    ngram = asr.train_ngram(texts, order=2, discount_fallback=True)
    save_ngram(tmp_path / "ngram", ngram, {}, {"texts": 20})
    vocabulary = Vocabulary("word", ("<unk>", "<eos>", "a", "b"))
    torch.manual_seed(0)
    save_rnnlm(
        tmp_path / "rnn",
        RNNLM(vocabulary, RNNLMSettings(embedding_size=4, hidden_size=4, n_layers=1)),
        {},
    )
    paths = str(tmp_path / "ngram"), str(tmp_path / "rnn")
    beam = BeamSettings(lm_weight=0.5, n_best=5)
    settings = DecoderSettings("beam", beam, paths[0], "", paths, (0.3, 0.4))
    save_decoding(folder, settings)
    return folder


def test_a_packaged_model_gives_the_same_in_half_the_space(model, tmp_path, capsys):
    (tmp_path / "limits.md").write_text("It knows two words.\n")
    out = tmp_path / "small"
    options = "--model", model, "--out", out, "--limits", tmp_path / "limits.md"
    run_script("recipes/package.py", *options)
    sizes = rf"{out}: 0\.\d MB, 0\.\d MB in an archive, loaded in \d+\.\d\d s of processor time\n"
    assert re.fullmatch(sizes, capsys.readouterr().out)
    card = (out / "README.md").read_text()
    assert card.startswith("# small\n")
    assert "It knows two words.\n" in card
    assert "    decodes by  beam, 50 prefixes, decoding/lm x 0.5, rescored by decoding/lm" in card
    assert {path.name for path in out.iterdir()} == {
        *("model.json", "weights.safetensors", "decoding.json", "decoding", "README.md")
    }
    assert sorted(path.name for path in (out / "decoding").iterdir()) == ["lm", "rescorer-2"]
    weights = load_file(out / "weights.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert json.loads((out / "decoding" / "lm" / "model.json").read_text())["packed"] is True
    rnn = load_language_model(out / "decoding" / "rescorer-2")
    assert {w.dtype for w in rnn.state_dict().values()} == {torch.float32}
    whole, small = asr.load(model), asr.load(out)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    rows = whole.log_probs(noise.astype(np.float32))
    np.testing.assert_allclose(small.log_probs(noise.astype(np.float32)), rows, atol=0.02)
    one, other = (r.decoder.nbests([rows])[0] for r in (whole, small))
    assert [h.words for h in other] == [h.words for h in one]
    np.testing.assert_allclose([h.total for h in other], [h.total for h in one], rtol=1e-3)


def test_a_package_has_the_punctuation_that_is_given_or_the_model_s_own(tone_model, tmp_path):
    save_punctuation(tmp_path / "tagger", full_stops(), half=False)
    options = "--model", tone_model, "--punctuation", tmp_path / "tagger"
    run_script("recipes/package.py", *options, "--out", tmp_path / "first")
    run_script("recipes/package.py", "--model", tmp_path / "first", "--out", tmp_path / "second")
    for out in (tmp_path / "first", tmp_path / "second"):
        weights = load_file(out / "punctuation" / "weights.safetensors")
        assert {w.dtype for w in weights.values()} == {torch.float16}
        assert "    punctuation train novels.txt, words 2" in (out / "README.md").read_text()
    run_script("recipes/package.py", "--model", tone_model, "--out", tmp_path / "without")
    assert not (tmp_path / "without" / "punctuation").exists()


def test_a_model_that_is_too_large_to_be_shipped_gives_a_warning(tone_model, capsys, monkeypatch):
    package = load_script("recipes/package.py")
    monkeypatch.setattr(package, "MAX_BYTES", 1000)
    package.print_sizes(tone_model)
    warned = capsys.readouterr().err
    assert warned.startswith(f"package: warning: {tone_model}: has ")
    assert warned.endswith("; expected at most 0 MB and 2 s if it is to come with the package\n")


def test_models_that_come_with_the_package_are_small_and_described():
    folders = [path.parent for path in PACKAGED.glob("*/model.json")]
    if not folders:
        pytest.skip("no model comes with the package")
    package = load_script("recipes/package.py")
    for folder in folders:
        assert package.size(folder) <= package.MAX_BYTES
        card = (folder / "README.md").read_text()
        assert licences_of(card)
        assert "Not measured." not in card


def test_results_of_another_lexicon_are_refused(model, tmp_path):
    arguments = "--model", model, "--out", tmp_path / "small", "--lm-words"
    with pytest.raises(InputError, match="--results are of all words of the lexicon"):
        run_script("recipes/package.py", *arguments, "--results", "results.json")


def test_packaging_a_package_keeps_its_weights(model, tmp_path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    run_script("recipes/package.py", "--model", model, "--out", once)
    run_script("recipes/package.py", "--model", once, "--out", twice)
    for name in ("weights.safetensors", "decoding/lm/weights.safetensors"):
        assert (twice / name).read_bytes() == (once / name).read_bytes()


def test_words_of_a_model_without_phones_are_refused(model, tmp_path):
    arguments = "--model", model, "--out", tmp_path / "small", "--lm-words"
    with pytest.raises(
        InputError, match="--lm-words is for a lexicon of phones; the model has cha"
    ):
        run_script("recipes/package.py", *arguments)
    assert not (tmp_path / "small").exists()


def test_a_lexicon_keeps_the_words_that_the_language_model_knows():
    package = load_script("recipes/package.py")
    tokenizer = PhoneTokenizer.from_lexicon(
        Lexicon({"one": (("W", "AH", "N"),), "two": (("T", "UW"), ("T", "UH")), "ah": (("AH",),)})
    )
    lm = asr.train_ngram(["two or two"], order=2, discount_fallback=True)
    found = package.with_known_words(tokenizer, lm)
    assert found.symbols == tokenizer.symbols
    assert found.lexicon.pronunciations == {"two": (("T", "UW"), ("T", "UH"))}
    with pytest.raises(InputError, match="the model's search has no language model of words"):
        package.with_known_words(tokenizer, None)
