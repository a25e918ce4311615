import json
import os
import shutil
from dataclasses import replace

import arpa_dictionary
import numpy as np
import pytest
import torch
from conftest import run_script
from safetensors.torch import load_file, save_file

from asr.errors import InputError
from asr.lm.estimate import EstimateSettings, estimate, prune_by_entropy
from asr.lm.ngram import NgramModel, load_ngram, read_ngram, save_ngram, write_ngram
from asr.lm.protocol import LanguageModel
from asr.lm.vocabulary import EOS, UNK, Vocabulary
from asr.text.normalisation import TextSettings

TEXTS = ["one two three", "two one", "one two two", "three", "one two one four", "two three two"]


def estimated(texts=TEXTS, order=3, unit="word"):
    vocabulary = Vocabulary.from_texts(texts, unit)
    sentences = [vocabulary.encode(text) for text in texts]
    settings = EstimateSettings(order, discount_fallback=True)
    return NgramModel(vocabulary, estimate(sentences, len(vocabulary.symbols), settings))


def same(model, other):
    ours, theirs = ((m.vocabulary, m.trie.n_units, m.trie.sizes) for m in (model, other))
    tables = other.trie.tables
    return ours == theirs and all(torch.equal(t, tables[n]) for n, t in model.trie.tables.items())


def unigrams(folder, words):
    """An ARPA file of unigrams with equal probabilities."""
    words = ["<unk>", "</s>", "<s>", *words]
    lines = ["\\data\\", f"ngram 1={len(words)}", "", "\\1-grams:"]
    lines += [f"-1\t{word}" for word in words]
    (folder / "a.arpa").write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return folder / "a.arpa"


# --- scores -----------------------------------------------------------------------------------


def test_sentence_scores_equal_a_dictionarys_and_the_units(tmp_path):
    text = arpa_dictionary.random_arpa(4, 8, np.random.default_rng(0), share=0.4)
    (tmp_path / "a.arpa").write_text(text)
    model: LanguageModel = read_ngram(tmp_path / "a.arpa")
    grams = arpa_dictionary.parse(text)
    generator = np.random.default_rng(1)
    words = ["<unk>", *"abcdef"]
    sentences = [list(generator.choice(words, size)) for size in (0, 1, 9, 3, 0, 25, 2)]
    units = [[UNK if w == "<unk>" else model.vocabulary.encode(w)[0] for w in s] for s in sentences]
    found = model.sentence_log_probs(units)
    for sentence, row, log_probs in zip(sentences, units, found, strict=True):
        expected = arpa_dictionary.sentence_log_probs(grams, sentence)
        np.testing.assert_allclose(log_probs, expected, rtol=1e-6, atol=1e-5)
        state = model.start(1)
        for unit, log_prob in zip([*row, EOS], log_probs, strict=True):
            assert model.log_probs(state)[0, unit].item() == pytest.approx(log_prob, abs=1e-5)
            score, state = model.score(state, torch.tensor([unit]))
            assert score.item() == log_prob


def test_other_utterances_in_the_batch_change_nothing():
    model = estimated()
    sentences = [model.vocabulary.encode(text) for text in TEXTS] * 1000
    together = model.sentence_log_probs(sentences)  # more than are scored at once
    for n in range(len(TEXTS)):
        (alone,) = model.sentence_log_probs([sentences[n]])
        for row in together[n :: len(TEXTS)]:
            np.testing.assert_array_equal(row, alone)


def test_no_sentences_give_no_log_probs():
    assert estimated().sentence_log_probs([]) == []


@pytest.mark.parametrize("unit", [6, -1])
def test_a_unit_out_of_range_is_refused(unit):
    model = estimated()
    with pytest.raises(ValueError, match=f"sentences have the unit {unit}; expected 0 to 5"):
        model.sentence_log_probs([[2, 3], [unit]])


def test_a_vocabulary_of_another_size_is_refused():
    model = estimated()
    with pytest.raises(ValueError, match="vocabulary has 3 symbols; expected the trie's 6"):
        NgramModel(Vocabulary("word", ("<unk>", "<eos>", "one")), model.trie)


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.arpa", "b.arpa.gz"])
def test_writing_and_reading_gives_the_same_model(tmp_path, name):
    model = estimated()
    write_ngram(tmp_path / name, model)
    assert same(read_ngram(tmp_path / name), model)
    assert same(read_ngram(tmp_path / name, model.vocabulary), model)


def test_a_character_model_has_a_symbol_for_the_space(tmp_path):
    model = estimated(["ab a", "b ba", "a b", "ba b a"], unit="char")
    write_ngram(tmp_path / "b.arpa", model)
    assert "\t▁ a\t" in (tmp_path / "b.arpa").read_text()
    again = read_ngram(tmp_path / "b.arpa")
    assert again.vocabulary.unit == "char"
    assert same(again, model)


def test_the_vocabulary_can_be_given(tmp_path):
    model = estimated(["ab a", "b ba", "a b", "ba b a"], unit="jamo")
    write_ngram(tmp_path / "b.arpa", model)
    assert same(read_ngram(tmp_path / "b.arpa", model.vocabulary), model)
    other = Vocabulary("jamo", model.vocabulary.symbols[:-1])
    with pytest.raises(InputError, match=r"b\.arpa:\d+: has the word '.'; expected one of the"):
        read_ngram(tmp_path / "b.arpa", other)


def test_single_letters_without_a_space_symbol_are_words(tmp_path):
    assert read_ngram(unigrams(tmp_path, ["a", "b"])).vocabulary.unit == "word"
    assert read_ngram(unigrams(tmp_path, ["a", "▁", "bb"])).vocabulary.unit == "word"
    assert read_ngram(unigrams(tmp_path, ["a", "▁", "b"])).vocabulary.unit == "char"


@pytest.mark.parametrize(
    ("words", "text", "units"),
    [
        (["A", "BE", "O'ER"], "be A o'er", (3, 2, 4)),
        (["A", "be", "o'er"], "be A o'er BE", (3, 2, 4, UNK)),
        (["a", "be", "o'er"], "be A o'er BE", (3, 2, 4, 3)),
    ],
)
def test_case_is_kept_only_for_words_in_mixed_case(tmp_path, words, text, units):
    assert read_ngram(unigrams(tmp_path, words)).vocabulary.encode(text) == units


def test_words_that_look_the_same_are_refused(tmp_path):
    complaint = r"a\.arpa:9: has the word '\\u212a', which is 'K' of line 8 spelled in another"
    with pytest.raises(InputError, match=complaint):
        read_ngram(unigrams(tmp_path, ["K", "\N{KELVIN SIGN}"]))


def test_case_is_kept_if_lower_case_would_merge_two_words(tmp_path):
    model = read_ngram(unigrams(tmp_path, ["ISI", "İSİ"]))
    assert model.vocabulary.encode("ISI İSİ") == (2, 3)
    assert model.vocabulary.text.case == "keep"


@pytest.mark.parametrize("sign", ["<SPOKEN_NOISE>", "[NOISE]", "!SIL", "#0", "++BREATH++"])
def test_special_symbols_do_not_affect_the_case(tmp_path, sign):
    assert read_ngram(unigrams(tmp_path, ["be", sign, "o'er"])).vocabulary.encode("Be") == (2,)
    assert read_ngram(unigrams(tmp_path, ["BE", sign, "O'ER"])).vocabulary.encode("be") == (2,)


def test_words_are_found_in_texts_in_any_form(tmp_path):
    """Decomposed, with a curly apostrophe, in Turkish upper case, with removed punctuation."""
    words = ["le\u0301ft", "DON\u2019T", "İKİ", "'TIS", "U.S.", "X-RAY", "US"]
    model = read_ngram(unigrams(tmp_path, [word.upper() for word in words]))
    found = model.vocabulary.encode("Léft, don't; iki 'tis U.S. x-ray 'us' x ray")
    assert found == (2, 3, 4, 5, 6, 7, 8, UNK, UNK)
    assert model.vocabulary.normalise("Léft, don't; 'tis x-ray!") == "léft don't 'tis x ray"
    for text in ("le\u0301ft DON’T İKİ", "LÉFT don‘t İki"):
        assert model.vocabulary.encode(text) == (2, 3, 4)


def test_a_word_equal_to_a_special_symbol_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.arpa: symbols has '<eos>' more than once"):
        read_ngram(unigrams(tmp_path, ["a", "<eos>"]))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_loaded_model_equals_the_saved_one(tmp_path, order):
    model = estimated(order=order)
    save_ngram(tmp_path / "lm", model, {"order": order}, {"sentences": 6})
    assert sorted(os.listdir(tmp_path / "lm")) == ["model.json", "weights.safetensors"]
    values = json.loads((tmp_path / "lm" / "model.json").read_text())
    assert (values["format"], values["kind"], values["sizes"]) == (1, "ngram", [*model.trie.sizes])
    assert (values["settings"], values["trained_on"]) == ({"order": order}, {"sentences": 6})
    again = load_ngram(tmp_path / "lm")
    assert same(again, model)
    units = [model.vocabulary.encode(text) for text in TEXTS]
    for found, expected in zip(
        again.sentence_log_probs(units), model.sentence_log_probs(units), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    save_ngram(tmp_path / "copy", again, {"order": order}, {"sentences": 6})
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "lm" / name).read_bytes()


def test_an_order_without_n_grams_can_be_loaded(tmp_path):
    model = estimated()
    model = replace(model, trie=prune_by_entropy(model.trie, threshold=10.0))
    assert model.trie.sizes == (7, 0, 0)
    save_ngram(tmp_path / "lm", model, {}, {})
    assert same(load_ngram(tmp_path / "lm"), model)


def test_a_folder_keeps_the_vocabularys_text_settings(tmp_path):
    vocabulary = Vocabulary.from_texts(["One two."], text=TextSettings("keep", "keep"))
    settings = EstimateSettings(1, discount_fallback=True)
    trie = estimate([vocabulary.encode("One two.")], len(vocabulary.symbols), settings)
    save_ngram(tmp_path / "lm", NgramModel(vocabulary, trie), {}, {})
    assert load_ngram(tmp_path / "lm").vocabulary == vocabulary


def test_a_folder_with_a_model_is_not_overwritten(tmp_path):
    save_ngram(tmp_path / "lm", estimated(), {}, {})
    before = {path: path.read_bytes() for path in (tmp_path / "lm").iterdir()}
    with pytest.raises(InputError, match=r"lm: has a model already; expected a new folder"):
        save_ngram(tmp_path / "lm", estimated(order=2), {}, {})
    assert {path: path.read_bytes() for path in (tmp_path / "lm").iterdir()} == before


@pytest.fixture
def folder(tmp_path):
    save_ngram(tmp_path / "lm", estimated(), {}, {})
    return tmp_path / "lm"


def edit(folder, **changes):
    values = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "rnnlm"}, ": is no n-gram model's folder; expected one"),
        ({"vocabulary": 3}, "/model.json: vocabulary is 3; expected values by name"),
        ({"sizes": None}, "/model.json: sizes is None; expected how many n-grams each order has"),
        ({"sizes": []}, r"/model.json: sizes is \[\]; .* each order has, the first 7, and fewer"),
        ({"sizes": [6, 13, 14]}, r"/model.json: sizes is \[6, 13, 14\]; .* the first 7"),
        ({"sizes": [7, 13.0]}, r"/model.json: sizes is \[7, 13.0\]; expected how many"),
        ({"sizes": [7, -1]}, r"/model.json: sizes is \[7, -1\]; expected how many"),
        ({"sizes": [7, 2**31]}, r"sizes is \[7, 2147483648\]; .* fewer than 2147483648 in all"),
        ({"sizes": [7, 13]}, r"backoffs is float32 \[21\]; expected float32 \[8\], as model.json"),
        ({"sizes": [7, 14, 13]}, r"backoffs is float32 \[21\]; expected float32 \[22\]"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, changes, complaint):
    assert estimated().trie.sizes == (7, 13, 14)
    edit(folder, **changes)
    refused(folder, complaint)


def refused(folder, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        load_ngram(folder)
    assert str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "place", "value", "complaint"),
    [
        ("keys", 0, 0, "keys are not in ascending order from -1; expected those of sorted"),
        ("keys", 12, 2, "keys are not in ascending order"),
        ("keys", 7, 8, "keys give 1-grams the parent nodes 0 to 1; expected 0 to 0"),
        ("keys", 8, 6, "keys are not in ascending order"),
        ("keys", 34, 7 * 21, "keys give 3-grams the parent nodes 9 to 21; expected 8 to 20"),
        ("suffixes", 0, 1, "suffixes has nodes from 1 to 1; expected 0 to 0"),
        ("suffixes", 8, 8, "suffixes has nodes from .* to 8; expected 0 to 7"),
        ("suffixes", 3, -1, "suffixes has nodes from -1 to 0; expected 0 to 0"),
        ("states", 34, 21, "states has nodes from 0 to 21; expected 0 to 20"),
        ("states", 1, -1, "states has nodes from -1 to 20; expected 0 to 20"),
        ("log_probs", 34, np.nan, "log_probs has numbers that are not finite; expected none"),
        ("backoffs", 20, -np.inf, "backoffs has numbers that are not finite; expected none"),
    ],
)
def test_an_invalid_table_is_refused(folder, name, place, value, complaint):
    tables = load_file(folder / "weights.safetensors")
    tables[name][place] = value
    save_file(tables, folder / "weights.safetensors")
    refused(folder, f"/weights.safetensors: {complaint}")


def test_unexpected_tables_are_refused(folder):
    path = folder / "weights.safetensors"
    tables = load_file(path)
    shutil.copy(path, folder / "sound")
    for changed, complaint in [
        ({"output.weight": torch.zeros(3)}, "backoffs is missing; expected float32"),
        (tables | {"keys": tables["keys"].int()}, r"keys is int32 \[35\]; expected int64 \[35\]"),
        (
            tables | {"more": torch.zeros(2)},
            r"more is float32 \[2\]; expected nothing of that name",
        ),
    ]:
        save_file(changed, path)
        refused(folder, f"/weights.safetensors: {complaint}")
    path.unlink()
    refused(folder, "/weights.safetensors: does not exist; expected a trained model's weights")
    shutil.copy(folder / "sound", path)
    assert same(load_ngram(folder), estimated())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_tables_are_refused(folder, share):
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(folder, r"/weights.safetensors: (can't be read as weights: |is empty \(0 bytes\))")


def test_a_changed_byte_is_refused_or_harmless(folder):
    """If the folder is accepted, all scores are numbers."""
    whole = (folder / "weights.safetensors").read_bytes()
    units = [estimated().vocabulary.encode(text) for text in TEXTS]
    generator = np.random.default_rng(0)
    accepted = 0
    for place in generator.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        (folder / "weights.safetensors").write_bytes(damaged)
        try:
            model = load_ngram(folder)
        except InputError:
            continue
        accepted += 1
        assert np.isfinite(np.concatenate(model.sentence_log_probs(units))).all()
        assert not model.log_probs(torch.arange(21)).isnan().any()
    assert 0 < accepted < 150


def test_a_space_and_its_symbol_as_units_are_refused(tmp_path):
    vocabulary = Vocabulary("char", ("<unk>", "<eos>", " ", "▁"))
    settings = EstimateSettings(1, discount_fallback=True)
    model = NgramModel(vocabulary, estimate([[2, 3]], 4, settings))
    with pytest.raises(InputError, match=r"b\.arpa: units are ' ' and '▁', its spelling"):
        write_ngram(tmp_path / "b.arpa", model)


# --- the recipe -------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(f"{text.title()}!" for text in TEXTS) + "\n")
    return tmp_path / "train.txt"


def train(corpus, out, *options):
    fixed = ["--model.discount_fallback=true", f"--data.train={corpus}", "--out", out]
    run_script("recipes/train_ngram.py", *fixed, *options)


def test_the_recipe_estimates_a_model_only_once(corpus, tmp_path, capsys):
    train(corpus, tmp_path / "lm")
    assert capsys.readouterr().out == f"{tmp_path / 'lm'}\n"
    assert same(load_ngram(tmp_path / "lm"), estimated())
    values = json.loads((tmp_path / "lm" / "model.json").read_text())
    assert values["settings"]["model"]["order"] == 3
    known = {"train": str(corpus), "sentences": 6, "empty": 0, "units": 22, "unknown": 0}
    assert {name: values["trained_on"][name] for name in known} == known
    written = (tmp_path / "lm" / "weights.safetensors").stat().st_mtime_ns
    train(corpus, tmp_path / "lm")
    assert "is estimated already, with these settings" in capsys.readouterr().err
    assert (tmp_path / "lm" / "weights.safetensors").stat().st_mtime_ns == written
    assert sorted(os.listdir(tmp_path / "lm")) == ["model.json", "weights.safetensors"]


def test_the_recipe_writes_an_arpa_file_on_request(corpus, tmp_path):
    train(corpus, tmp_path / "lm", "--arpa")
    assert same(read_ngram(tmp_path / "lm" / "ngram.arpa.gz"), estimated())
    written = (tmp_path / "lm" / "ngram.arpa.gz").read_bytes()
    (tmp_path / "lm" / "ngram.arpa.gz").unlink()
    train(corpus, tmp_path / "lm", "--arpa")  # for the existing model
    assert (tmp_path / "lm" / "ngram.arpa.gz").read_bytes() == written


def test_the_recipe_skips_and_counts_empty_sentences(corpus, tmp_path):
    with corpus.open("a") as file:
        file.write("...\n- - -\n")
    train(corpus, tmp_path / "lm")
    assert same(load_ngram(tmp_path / "lm"), estimated())
    values = json.loads((tmp_path / "lm" / "model.json").read_text())["trained_on"]
    assert (values["sentences"], values["empty"]) == (6, 2)


def test_the_recipe_prunes_and_limits_the_vocabulary(corpus, tmp_path):
    options = ["--model.order=2", "--model.prune=[0,1]", "--data.max_size=4", "--entropy=1e-9"]
    train(corpus, tmp_path / "lm", *options)
    model = load_ngram(tmp_path / "lm")
    assert model.vocabulary.symbols == ("<unk>", "<eos>", "two", "one")
    assert model.trie.sizes[0] == 5
    assert model.trie.sizes[1] < estimated(order=2).trie.sizes[1]
    values = json.loads((tmp_path / "lm" / "model.json").read_text())
    assert values["trained_on"]["unknown"] == 4


def test_the_recipe_refuses_a_folder_with_another_model(corpus, tmp_path):
    train(corpus, tmp_path / "lm")
    complaint = r"lm: has another model, or one of other settings or texts; give another --out"
    with pytest.raises(InputError, match=complaint):
        train(corpus, tmp_path / "lm", "--model.order=2")
    before = contents(tmp_path / "lm")
    train(corpus.rename(tmp_path / "moved.txt"), tmp_path / "lm")
    assert contents(tmp_path / "lm") == before
    corpus.write_text("one two\n")
    with pytest.raises(InputError, match=complaint):
        train(corpus, tmp_path / "lm")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--data.max_size=2", "data.max_size is 2; expected 3 or more"),
        ("--data.min_count=0", "data.min_count is 0; expected 1 or more"),
        ("--model.order=0", "order is 0; expected 1 or more"),
    ],
)
def test_the_recipe_refuses_impossible_settings(corpus, tmp_path, capsys, option, complaint):
    with pytest.raises(SystemExit, match="2"):
        train(corpus, tmp_path / "lm", option)
    assert complaint in capsys.readouterr().err


def test_the_recipe_refuses_a_negative_share(corpus, tmp_path):
    with pytest.raises(InputError, match=r"entropy is -1\.0; expected 0 or more"):
        train(corpus, tmp_path / "lm", "--entropy=-1")
