import json
import os

import arpa_dictionary
import numpy as np
import pytest
import torch
from conftest import run_script

from asr.errors import InputError
from asr.kneser_ney import EstimateSettings, estimate
from asr.ngram import NgramModel, load_ngram, read_ngram, save_ngram, write_ngram
from asr.text import TextSettings
from asr.vocabulary import EOS, UNK, LanguageModel, Vocabulary

TEXTS = ["one two three", "two one", "one two two", "three", "one two one four", "two three two"]


def estimated(texts=TEXTS, order=3, unit="word"):
    vocabulary = Vocabulary.from_texts(texts, unit)
    sentences = [vocabulary.encode(text) for text in texts]
    settings = EstimateSettings(order, discount_fallback=True)
    return NgramModel(vocabulary, estimate(sentences, len(vocabulary.symbols), settings))


def same(model, other):
    names = ("keys", "log_probs", "backoffs", "suffixes", "states")
    return model.vocabulary == other.vocabulary and all(
        torch.equal(getattr(model.trie, name), getattr(other.trie, name)) for name in names
    )


def unigrams(folder, words):
    """A file of unigrams in which all these words are equally probable."""
    words = ["<unk>", "</s>", "<s>", *words]
    lines = ["\\data\\", f"ngram 1={len(words)}", "", "\\1-grams:"]
    lines += [f"-1\t{word}" for word in words]
    (folder / "a.arpa").write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return folder / "a.arpa"


# --- what a language model is asked -----------------------------------------------------------


def test_a_sentence_costs_what_a_dictionary_says_and_what_its_units_cost(tmp_path):
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


def test_company_in_a_batch_changes_nothing():
    model = estimated()
    sentences = [model.vocabulary.encode(text) for text in TEXTS] * 1000
    together = model.sentence_log_probs(sentences)  # more than are scored at once
    for n in range(len(TEXTS)):
        (alone,) = model.sentence_log_probs([sentences[n]])
        for row in together[n :: len(TEXTS)]:
            np.testing.assert_array_equal(row, alone)


def test_no_sentence_has_no_log_probs():
    assert estimated().sentence_log_probs([]) == []


@pytest.mark.parametrize("unit", [6, -1])
def test_a_unit_that_is_none_is_a_mistake(unit):
    model = estimated()
    with pytest.raises(ValueError, match=f"sentences have the unit {unit}; expected 0 to 5"):
        model.sentence_log_probs([[2, 3], [unit]])


def test_a_vocabulary_of_another_size_is_a_mistake():
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


def test_a_model_of_characters_has_a_sign_for_the_blank(tmp_path):
    model = estimated(["ab a", "b ba", "a b", "ba b a"], unit="char")
    write_ngram(tmp_path / "b.arpa", model)
    assert "\t▁ a\t" in (tmp_path / "b.arpa").read_text()
    again = read_ngram(tmp_path / "b.arpa")
    assert again.vocabulary.unit == "char"
    assert same(again, model)


def test_units_can_be_given(tmp_path):
    model = estimated(["ab a", "b ba", "a b", "ba b a"], unit="jamo")
    write_ngram(tmp_path / "b.arpa", model)
    assert same(read_ngram(tmp_path / "b.arpa", model.vocabulary), model)
    other = Vocabulary("jamo", model.vocabulary.symbols[:-1])
    with pytest.raises(InputError, match=r"b\.arpa:\d+: has the word '.'; expected one of the"):
        read_ngram(tmp_path / "b.arpa", other)


def test_single_letters_without_a_blank_are_words(tmp_path):
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
def test_case_counts_only_where_the_words_tell_it_apart(tmp_path, words, text, units):
    assert read_ngram(unigrams(tmp_path, words)).vocabulary.encode(text) == units


def test_words_that_lower_case_makes_one_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.arpa: symbols has 'k' more than once"):
        read_ngram(unigrams(tmp_path, ["K", "\N{KELVIN SIGN}"]))


def test_a_word_that_is_the_vocabularys_own_sign_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.arpa: symbols has '<eos>' more than once"):
        read_ngram(unigrams(tmp_path, ["a", "<eos>"]))


def test_a_folder_gives_the_model_back(tmp_path):
    model = estimated()
    save_ngram(tmp_path / "lm", model, {"order": 3}, {"sentences": 6})
    assert sorted(os.listdir(tmp_path / "lm")) == ["model.json", "ngram.arpa.gz"]
    values = json.loads((tmp_path / "lm" / "model.json").read_text())
    assert (values["format"], values["kind"], values["order"]) == (1, "ngram", 3)
    assert (values["settings"], values["trained_on"]) == ({"order": 3}, {"sentences": 6})
    assert same(load_ngram(tmp_path / "lm"), model)
    write_ngram(tmp_path / "lm" / "ngram.arpa", model)
    (tmp_path / "lm" / "ngram.arpa.gz").unlink()
    assert same(load_ngram(tmp_path / "lm"), model)


def test_a_folder_keeps_the_vocabularys_text_settings(tmp_path):
    vocabulary = Vocabulary.from_texts(["One two."], text=TextSettings("keep", "keep"))
    settings = EstimateSettings(1, discount_fallback=True)
    trie = estimate([vocabulary.encode("One two.")], len(vocabulary.symbols), settings)
    save_ngram(tmp_path / "lm", NgramModel(vocabulary, trie), {}, {})
    assert load_ngram(tmp_path / "lm").vocabulary == vocabulary


def test_a_folder_with_a_model_is_not_written_over(tmp_path):
    save_ngram(tmp_path / "lm", estimated(), {}, {})
    before = {path: path.read_bytes() for path in (tmp_path / "lm").iterdir()}
    with pytest.raises(InputError, match=r"lm: has a model already; expected a new folder"):
        save_ngram(tmp_path / "lm", estimated(order=2), {}, {})
    assert {path: path.read_bytes() for path in (tmp_path / "lm").iterdir()} == before


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda lm: (lm / "ngram.arpa.gz").unlink(), "has neither ngram.arpa.gz nor ngram.arpa"),
        (lambda lm: edit(lm, kind="rnnlm"), "is no n-gram model's folder; expected one"),
        (lambda lm: edit(lm, vocabulary=3), "vocabulary is 3; expected values by name"),
        (lambda lm: edit(lm, order=4), "is of order 3; expected 4, as model.json says"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, damage, complaint):
    save_ngram(tmp_path / "lm", estimated(), {}, {})
    damage(tmp_path / "lm")
    with pytest.raises(InputError, match=complaint):
        load_ngram(tmp_path / "lm")


def edit(folder, **changes):
    values = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(values | changes))


def test_a_unit_that_stands_for_the_blank_and_a_blank_are_refused(tmp_path):
    vocabulary = Vocabulary("char", ("<unk>", "<eos>", " ", "▁"))
    settings = EstimateSettings(1, discount_fallback=True)
    model = NgramModel(vocabulary, estimate([[2, 3]], 4, settings))
    with pytest.raises(InputError, match=r"b\.arpa: units are ' ' and '▁', which stands for it"):
        write_ngram(tmp_path / "b.arpa", model)


# --- the recipe -------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(f"{text.title()}!" for text in TEXTS) + "\n")
    return tmp_path / "train.txt"


def train(corpus, out, *options):
    fixed = ["--model.discount_fallback=true", f"--data.train={corpus}", "--out", out]
    run_script("recipes/train_ngram.py", *fixed, *options)


def test_the_recipe_estimates_a_model_and_does_not_do_it_twice(corpus, tmp_path, capsys):
    train(corpus, tmp_path / "lm")
    assert capsys.readouterr().out == f"{tmp_path / 'lm'}\n"
    assert same(load_ngram(tmp_path / "lm"), estimated())
    values = json.loads((tmp_path / "lm" / "model.json").read_text())
    assert values["settings"]["model"]["order"] == 3
    known = {"train": str(corpus), "sentences": 6, "units": 22, "unknown": 0}
    assert {name: values["trained_on"][name] for name in known} == known
    written = (tmp_path / "lm" / "ngram.arpa.gz").stat().st_mtime_ns
    train(corpus, tmp_path / "lm")
    assert "is estimated already, with these settings" in capsys.readouterr().err
    assert (tmp_path / "lm" / "ngram.arpa.gz").stat().st_mtime_ns == written


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
    complaint = r"lm: holds another model, or one of other settings or texts; give another --out"
    with pytest.raises(InputError, match=complaint):
        train(corpus, tmp_path / "lm", "--model.order=2")
    corpus.write_text("one two\n")
    with pytest.raises(InputError, match=complaint):
        train(corpus, tmp_path / "lm")


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


def test_the_recipe_refuses_a_share_below_0(corpus, tmp_path):
    with pytest.raises(InputError, match=r"entropy is -1\.0; expected 0 or more"):
        train(corpus, tmp_path / "lm", "--entropy=-1")
