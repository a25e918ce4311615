import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from table_model import TableModel, random_model, uniform_model
from typer.testing import CliRunner

from asr.cli.app import app
from asr.lm.bench.agreement import by_group, judge
from asr.lm.bench.inspection import followers, properties, read
from asr.lm.bench.minimal_pairs import subject_verb_pairs
from asr.lm.bench.perplexity import perplexity
from asr.lm.bench.sampling import SamplingSettings, sample
from asr.lm.estimate import EstimateSettings, estimate
from asr.lm.load import KENLM_MAGIC, load_language_model, save_rnnlm
from asr.lm.ngram import NgramModel, save_ngram, write_ngram
from asr.lm.rnnlm import RNNLM, RNNLMSettings
from asr.lm.vocabulary import Vocabulary
from asr.text.normalisation import TextSettings

TEXTS = ["the cat sat on the mat", "a dog", 'he said "the cat sat" and went on']


def lm(*arguments):
    return CliRunner().invoke(app, ["lm", *map(str, arguments)])


def saved(folder, vocabulary):
    torch.manual_seed(0)
    settings = RNNLMSettings(embedding_size=4, hidden_size=6, n_layers=2, tied=False)
    save_rnnlm(folder, RNNLM(vocabulary, settings), {})
    return folder


@pytest.fixture
def words(tmp_path):
    """A model of words."""
    return saved(tmp_path / "words", Vocabulary.from_texts(TEXTS))


@pytest.fixture
def characters(tmp_path):
    """A model of characters, including quotation marks."""
    kept = TextSettings("lower", "keep")
    return saved(tmp_path / "characters", Vocabulary.from_texts(TEXTS, "char", text=kept))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*TEXTS, "the zebra sat"]) + "\n", "utf-8")
    return path


@pytest.fixture
def given(monkeypatch):
    """Make `load_language_model` return a model of the test."""

    def given(model):
        def load(path, device="cpu", words=()):
            return model

        monkeypatch.setattr("asr.lm.load.load_language_model", load)
        return "x.arpa"

    return given


ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99\t<s>\t-0.30
-0.9\t</s>
-0.8\tgo\t-0.2
-0.8\tle\u0301ft\t-0.2
-0.8\tU.S.\t-0.2

\\2-grams:
-0.3\t<s> go
-0.4\tgo le\u0301ft

\\end\\
"""


@pytest.mark.parametrize("case", [str, str.upper])
def test_arpa_files_of_other_programs_score_texts(tmp_path, case):
    """Decomposed words, no <unk>, a word with dots; also in capitals."""
    arpa, text = tmp_path / "a.arpa", tmp_path / "a.txt"
    lines = ARPA.replace("go", case("go")).replace("le\u0301ft", case("le\u0301ft"))
    arpa.write_text(lines.replace("U.S.", "U.S." if case is str.upper else "u.s."), "utf-8")
    text.write_text("Go, léft!\ngo stop\nU.S. go\n", "utf-8")
    done = lm("score", arpa, text)
    assert done.exit_code == 0
    assert "a.arpa: has no <unk>;" in done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(row[1], row[2]) for row in rows] == [
        ("0", "Go, léft!"),
        ("1", "go stop"),
        ("0", "U.S. go"),
    ]
    expected = [-0.3 - 0.4 - 0.2 - 0.9, -0.3 - 0.2 - 100 - 0.9, -0.3 - 0.8 - 0.2 - 0.8 - 0.2 - 0.9]
    found = [float(row[0]) for row in rows]
    assert found == pytest.approx([log10 * math.log(10) for log10 in expected], abs=1e-3)
    values = json.loads(lm("perplexity", arpa, text, "--format", "json").stdout)
    assert (values["oov_words"], values["oov_rate"]) == (1, 1 / 6)


def test_text_in_the_other_case_gets_a_hint(tmp_path):
    (tmp_path / "a.arpa").write_text(ARPA.replace("go", "Go"), "utf-8")
    (tmp_path / "a.txt").write_text("GO GO\n")
    done = lm("score", tmp_path / "a.arpa", tmp_path / "a.txt")
    assert done.exit_code == 1
    assert "has no word that the model knows; expected at least one" in done.stderr
    (tmp_path / "a.txt").write_text("LÉFT\n", "utf-8")
    done = lm("score", tmp_path / "a.arpa", tmp_path / "a.txt")
    assert "expected at least one; the model is case-sensitive and knows some" in done.stderr


def test_perplexity_prints_the_measured_values(words, text):
    done = lm("perplexity", words, text, "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    values = json.loads(done.stdout)
    expected = perplexity(load_language_model(words), text.read_text().splitlines())
    assert values["oov_words"] == 1
    assert values["oov_rate"] == expected.oov_rate == 1 / 19
    for name, total in (
        ("whole", expected.whole),
        ("without_oov", expected.known),
        ("oov_spelled", expected.spelled),
    ):
        assert values[name] == {
            "log_prob": pytest.approx(total.log_prob),
            "words": total.words,
            "characters": total.characters,
            "units": total.units,
            "perplexity_per_word": pytest.approx(total.per_word),
            "perplexity_per_character": pytest.approx(total.per_character),
            "perplexity_per_unit": pytest.approx(total.per_unit),
            "bits_per_character": pytest.approx(total.bits_per_character),
        }


def test_perplexity_table_explains_oov_words(given, text):
    done = lm("perplexity", given(uniform_model(Vocabulary.from_texts(TEXTS))), text)
    V, letters = 13, 17
    spelled = math.exp((23 * math.log(V) + 6 * math.log(letters)) / 23)
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "4 sentences, 19 words, 71 characters including spaces; 19 units (word)",
        "the end of each sentence counts as one more word, character and unit",
        "OOV words: 1 (5.26%), most frequent zebra 1",
        "",
        f"{'':25}  the whole text     without OOV     OOV spelled",
        f"{'log-probability':25}{-23 * math.log(V):16,.2f}{-22 * math.log(V):16,.2f}"
        f"{-23 * math.log(spelled):16,.2f}",
    ]
    assert lines[6] == f"{'perplexity per word':25}{V:16.2f}{V:16.2f}{spelled:16.2f}"
    assert f"each with the same probability (1 of {letters})" in done.stdout
    (text.parent / "known.txt").write_text("a dog\n!\n")
    without = lm("perplexity", "x.arpa", text.parent / "known.txt")
    assert "OOV words: 0 (0.00%)" in without.stdout
    assert "1 sentences have no word after normalisation and are left out" in without.stdout
    assert "spelled" not in without.stdout
    assert without.stdout.endswith(f"{3 * math.log2(V) / 6:16.3f}\n")


def test_infinite_perplexity_is_inf_in_text_and_null_in_json(given, text):
    vocabulary = Vocabulary.from_texts(TEXTS)
    V = len(vocabulary.symbols)
    table = torch.full((V, V), 1 / (V - 1)).double().numpy()
    table[:, vocabulary.encode("dog")] = 0
    model = given(TableModel(vocabulary, table))
    assert "inf" in lm("perplexity", model, text).stdout
    values = json.loads(lm("perplexity", model, text, "--format", "json").stdout)
    assert values["whole"]["log_prob"] is values["whole"]["perplexity_per_word"] is None
    rows = [
        json.loads(line)
        for line in lm("score", model, text, "--format", "json").stdout.splitlines()
    ]
    assert [row["log_prob"] is None for row in rows] == [False, True, False, False]
    assert lm("score", model, text).stdout.splitlines()[1] == "-inf\t0\ta dog"


def test_scores_equal_the_models_log_probs(words, text):
    done = lm("score", words, text, "--format", "json")
    model = load_language_model(words)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == text.read_text().splitlines()
    assert [row["unknown"] for row in rows] == [0, 0, 0, 1]
    units = [model.vocabulary.encode(row["text"]) for row in rows]
    for row, log_probs in zip(rows, model.sentence_log_probs(units), strict=True):
        assert [value for _, value in row["units"]] == pytest.approx(log_probs.tolist())
        assert row["log_prob"] == pytest.approx(log_probs.sum())
    assert [symbol for symbol, _ in rows[3]["units"]] == ["the", "<unk>", "sat", "<eos>"]
    lines = lm("score", words, text, "--units").stdout.splitlines()
    assert lines[8] == f"{rows[1]['log_prob']:.4f}\t0\ta dog"
    assert lines[9] == f"\t{rows[1]['units'][0][1]:.4f}\ta"
    assert len(lines) == 4 + sum(len(row["units"]) for row in rows)
    assert lm("score", words, text).stdout.splitlines() == [
        line for line in lines if not line.startswith("\t")
    ]


def test_samples_begin_with_the_prompt(words):
    options = ["--number", 3, "--max-units", 6, "--seed", 4, "--temperature", 0.7, "--top-k", 5]
    done = lm("sample", words, "the cat", *options, "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    model = load_language_model(words)
    prompt = model.vocabulary.encode("the cat")
    expected = sample(model, prompt, SamplingSettings(0.7, 5), n_samples=3, max_units=6, seed=4)
    for line, drawn in zip(done.stdout.splitlines(), expected, strict=True):
        values = json.loads(line)
        assert values["text"] == model.vocabulary.decode((*prompt, *drawn.units))
        assert values["text"].startswith("the cat")
        assert values["ended"] == drawn.ended
        assert values["log_prob"] == pytest.approx(drawn.log_prob)
    assert lm("sample", words, "the cat", *options).stdout.splitlines() == [
        json.loads(line)["text"] for line in done.stdout.splitlines()
    ]


def test_unknown_word_in_the_prompt_is_named(words):
    done = lm("sample", words, "the zebra", "--max-units", 1)
    assert done.stdout.startswith("the <unk>")
    assert done.stderr == "asr lm sample: the model does not know zebra and reads <unk> there\n"


def test_built_in_pairs_are_judged_by_group(given):
    pairs = subject_verb_pairs()
    vocabulary = Vocabulary.from_texts(text for pair in pairs for text in (pair.good, pair.bad))
    model = random_model(vocabulary, seed=0)
    values = json.loads(lm("agree", given(model), "--format", "json").stdout)
    expected = by_group(judge(model, pairs))
    assert [group["group"] for group in values["groups"]] == [result.group for result in expected]
    assert [group["right"] for group in values["groups"]] == [result.right for result in expected]
    assert sum(pair["right"] for pair in values["pairs"]) == values["groups"][0]["right"]
    first = values["groups"][0]
    assert first["low"] < first["accuracy"] == first["right"] / 528 < first["high"]
    lines = lm("agree", "x.arpa").stdout.splitlines()
    assert len(lines) == 1 + len(expected)
    assert lines[1].split()[:4] == [
        "all",
        "528",
        str(first["right"]),
        f"{first['accuracy']:.1%}"[:-1],
    ]


def test_pairs_with_oov_words_are_counted_separately(words, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("the cat sat\tthe sat cat\tx\nthe zebra sat\tthe sat zebra\tx\n")
    done = lm("agree", words, path)
    assert done.exit_code == 0
    for line, group in zip(done.stdout.splitlines()[1:], ["all", "x"], strict=True):
        assert line.split()[:2] == [group, "1"]
        assert line.split()[-2] == "1"
    assert done.stderr == "asr lm agree: words that the model does not know: zebra\n"


def test_inspect_prints_the_best_units_and_writes_a_page(characters, text, tmp_path):
    page = tmp_path / "page.html"
    text.write_text((text.read_text().splitlines()[2] + "\n") * 4)
    options = ["--best", 2, "--format", "json"]
    done = lm("inspect", characters, text, "--out", page, *options)
    assert (done.exit_code, done.stderr) == (0, "")
    model = load_language_model(characters)
    reading = read(model, text.read_text().splitlines())
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found, _ = properties(reading, model.vocabulary)
    assert len(found) == 3
    expected = [(p, f) for p in found for f in followers(reading, p, n_best=2)]
    for row, (property, follower) in zip(rows, expected, strict=True):
        assert (row["property"], row["measure"]) == (property.name, property.measure)
        assert (row["layer"], row["unit"]) == (follower.layer, follower.unit)
        assert row["held_out"] == pytest.approx(follower.held_out)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "inside quotes (AUC)" in page.read_text()
    lines = lm("inspect", characters, text).stdout.splitlines()
    assert lines[:2] == ["inside quotes (AUC)", "  layer  unit  rises  first half  second half"]
    again = lm("inspect", characters, text, "--out", page)
    assert again.stderr == f"asr lm inspect: {page}: already exists; expected a new file\n"


def test_inspect_names_the_properties_it_leaves_out(words, text):
    done = lm("inspect", words, text)
    assert done.stderr.splitlines() == [
        "asr lm inspect: left out: inside quotes: the model was trained without punctuation",
        "asr lm inspect: left out: between words: the model's units are words",
    ]
    assert done.stdout.startswith("position in the sentence (Spearman)\n")


def test_texts_may_come_from_manifests_and_stdin(words, text, tmp_path):
    manifest = tmp_path / "dev.jsonl"
    lines = text.read_text().splitlines()
    manifest.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    expected = lm("score", words, text).stdout
    assert lm("score", words, manifest).stdout == expected
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    piped = subprocess.run(
        [sys.executable, "-m", "asr.cli", "lm", "score", str(words)],
        input=text.read_text(),
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (piped.returncode, piped.stdout) == (0, expected)


@pytest.mark.parametrize("command", ["perplexity", "score", "inspect"])
def test_unusable_text_gives_one_line(command, words, tmp_path):
    contents = {
        "empty.txt": ("\n \n", "has no sentence; expected at least one"),
        "zebra.txt": ("zebra\n!\n", "has no word that the model knows; expected at least one"),
        "bad.jsonl": ('{"text": 1}\n', None),
        "none.txt": (None, "no such file or directory"),
    }
    for name, (content, message) in contents.items():
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        done = lm(command, words, path)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        start = f"asr lm {command}: {path}:"
        assert done.stderr == f"{start} {message}\n" if message else done.stderr.startswith(start)


@pytest.mark.parametrize("command", ["perplexity", "score", "sample", "agree", "inspect"])
def test_file_that_is_no_language_model_gives_one_line(command, text, tmp_path):
    arguments = [text] if command in ("perplexity", "score", "inspect") else []
    acoustic = tmp_path / "acoustic"
    for folder in (tmp_path / "empty", acoustic):
        folder.mkdir()
    (acoustic / "model.json").write_text('{"format": 1, "features": {}, "trained_on": {}}')
    for path in (tmp_path / "none", tmp_path / "empty", text, acoustic):
        done = lm(command, path, *arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"asr lm {command}: {path}")
    assert "acoustic model" in lm(command, acoustic, *arguments).stderr


@pytest.mark.parametrize("form", ["folder", "ARPA file"])
def test_ngrams_run_all_commands_except_inspect(form, text, tmp_path):
    vocabulary = Vocabulary.from_texts(TEXTS)
    settings = EstimateSettings(order=2, discount_fallback=True)
    sentences = [vocabulary.encode(line) for line in TEXTS]
    model = NgramModel(vocabulary, estimate(sentences, len(vocabulary.symbols), settings))
    path = tmp_path / ("bigram" if form == "folder" else "bigram.arpa")
    if form == "folder":
        save_ngram(path, model, {}, {})
    else:
        write_ngram(path, model)
    values = json.loads(lm("perplexity", path, text, "--format", "json").stdout)
    expected = perplexity(model, text.read_text().splitlines())
    assert values["whole"]["log_prob"] == pytest.approx(expected.whole.log_prob, rel=1e-5)
    assert len(lm("score", path, text).stdout.splitlines()) == 4
    drawn = lm("sample", path, "the cat", "--number", 3).stdout.splitlines()
    assert [line[:7] for line in drawn] == ["the cat"] * 3
    (tmp_path / "pairs.tsv").write_text("the cat sat\tsat the cat\n")
    assert lm("agree", path, tmp_path / "pairs.tsv").stdout.splitlines()[1].split()[2] == "1"
    done = lm("inspect", path, text)
    expected = f"{path}: is an n-gram model; expected a recurrent one's folder"
    assert (done.exit_code, done.stderr) == (1, f"asr lm inspect: {expected}\n")


def test_sampling_from_a_kenlm_binary_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(KENLM_MAGIC + b" format")
    done = lm("sample", tmp_path / "x.bin")
    expected = f"{tmp_path}/x.bin: is a KenLM binary file, which can't list its words;"
    expected += " expected the ARPA file it was made from"
    assert (done.exit_code, done.stderr) == (1, f"asr lm sample: {expected}\n")


def test_pairs_of_only_oov_words_are_refused(words, tmp_path):
    done = lm("agree", words)
    assert done.exit_code == 1
    assert done.stderr.startswith("asr lm agree: the pairs: each pair has a word that ")
    (tmp_path / "p.tsv").write_text("the cat sat\n")
    done = lm("agree", words, tmp_path / "p.tsv")
    assert f"{tmp_path / 'p.tsv'}:1: is 'the cat sat'; expected good, tab, bad" in done.stderr


def test_wrong_usage_exits_with_2(words, text):
    assert lm().exit_code == 2
    assert lm("perplexity").exit_code == 2
    assert lm("perplexity", words, text, "--format", "yaml").exit_code == 2
    assert lm("sample", words, "--number", 0).exit_code == 2
    for option, value in (("--temperature", -1), ("--top-p", 0), ("--top-k", 0)):
        done = lm("sample", words, option, value)
        assert done.exit_code == 2
        assert "expected" in done.stderr
