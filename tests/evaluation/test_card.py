import json
import re
from dataclasses import asdict

import pytest
from conftest import ROOT

from asr.decoder import DecoderSettings
from asr.errors import InputError
from asr.evaluation.card import (
    CardFacts,
    licences_of,
    model_card,
    read_corpora,
    read_measured,
)
from asr.evaluation.result_files import write_results
from asr.evaluation.results import system_result
from asr.search.space import BeamSettings

CORPORA = """# both

Two corpora.

| corpus | train: utterances | hours | share | dev: utterances | hours |
|---|---:|---:|---:|---:|---:|
| [One](../one/README.md) | 1,200 | 1.50 | 75.0 % | 10 | 0.01 |
| Two | 300 | 0.50 | 25.0 % | | |
| all | 1,500 | 2.00 | | 10 | 0.01 |

## What a published model has to say

| corpus | licence | to be named |
|---|---|---|
| One | CC BY 4.0 | the [site](https://one.example) |
| Two | CC0 1.0 | |

One is read by A. Reader.

## Something else
"""

TUNED = DecoderSettings(
    "beam", BeamSettings(lm_weight=0.5), lm="my/ngram", rescorers=("my/lm",), lm_weights=(0.3,)
)


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CORPORA)
    return path


@pytest.fixture
def model(tmp_path):
    """A folder whose weights were measured with greedy search, a tuned and an untuned one."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "test.jsonl").touch()
    references = ["a b c d", "a b"]
    systems = [
        system_result("greedy", references, ["a b c c", "b b"], 4.0, 1.0),
        system_result("beam", references, ["", ""], 4.0, 1.0, asdict(DecoderSettings("beam"))),
        system_result("beam-rescored", references, ["a b c c", "a b"], 4.0, 1.0, asdict(TUNED)),
    ]
    manifest = tmp_path / "both" / "test.jsonl"
    write_results(tmp_path / "model" / "test", tmp_path / "model", manifest, systems)
    return tmp_path / "model"


def test_card_states_hours_licences_errors_and_limits(readme, model):
    copied = DecoderSettings(**vars(TUNED) | {"lm": "decoding/lm", "rescorers": ("decoding/r",)})
    facts = CardFacts(
        "CTC",
        [("tokens", "2: <blank> |")],
        12.34,
        read_corpora(readme, 1.99),
        [read_measured(model / "test" / "results.json", model, copied)],
        is_rounded=True,
        limits="It knows **two** words.\n",
    )
    card = model_card("both", facts)
    for part in (
        "# both\n",
        "    asr transcribe --model both talk.mp3\n",
        "## Limits\n\nIt knows **two** words.\n",
        "| test set | recordings | words | WER | CER |\n|---|---:|---:|---:|---:|\n"
        "| both/test | 2 | 6 | 16.67 (",
        "\nThe weights were rounded to 16 bits afterwards.\n",
        "| One | 1,200 | 1.50 |\n| Two | 300 | 0.50 |\n| all | 1,500 | 2.00 |\n",
        "| One | CC BY 4.0 | the [site](https://one.example) |\n| Two | CC0 1.0 | |\n\n"
        "One is read by A. Reader.\n",
        "The files have 12.3 MB.\n\n    tokens      2: <blank> |\n",
    ):
        assert part in card
    assert "Something else" not in card
    (row,) = (line for line in card.splitlines() if line.startswith("| both/test |"))
    assert re.search(r" \| 16\.67 \(\S+ to \S+\) \| \d+\.\d\d \(\S+ to \S+\) \|$", row)
    assert licences_of(card) == [("One", "CC BY 4.0"), ("Two", "CC0 1.0")]


def test_card_says_what_is_not_known():
    card = model_card("small", CardFacts("HMM"))
    assert "## Error rates\n\nNot measured.\n" in card
    assert "## Training data\n\nNot described.\n" in card
    assert "## Licences and names to be given\n\nNot stated.\n" in card
    assert "## Limits" not in card
    assert licences_of(card) == []


def test_hours_and_licences_of_the_published_model_are_found():
    path = ROOT / "data" / "en-small" / "README.md"
    total = float(re.search(r"\| all \| [\d,]+ \| ([\d.]+) \|", path.read_text())[1])
    corpora = read_corpora(path, total)
    *rows, last = ((corpus, float(hours)) for corpus, _, hours in corpora.hours)
    assert last == ("all", pytest.approx(sum(hours for _, hours in rows), abs=0.02))
    licensed = [corpus for corpus, licence in licences_of(corpora.licences) if licence]
    assert {corpus for corpus, _ in rows} <= set(licensed)


def test_hours_that_were_prepared_here_come_first(readme):
    prepared = readme.with_name("hours.md")
    rows = ("| corpus | train: utterances | hours |", "|---|---:|---:|", "| all | 9 | 960.00 |")
    prepared.write_text("\n".join(rows))
    assert read_corpora(readme, 960.5).hours == [["all", "9", "960.00"]]
    with pytest.raises(
        InputError, match=r"hours.md: has 960.00 hours for training; expected .* 2.0$"
    ):
        read_corpora(readme, 2.0)


@pytest.mark.parametrize(
    ("old", "new", "hours", "line"),
    [
        (
            "| corpus | train",
            "| name | train",
            2.0,
            "has no table of hours; expected one of corpus",
        ),
        ("## What a", "## What the", 2.0, "has no table of licences; expected one of corpus"),
        ("| licence |", "| terms |", 2.0, "has no table of licences; expected one of corpus"),
        ("1,500 | 2.00", "1,500 | two", 2.0, "has two hours for training; expected .* 2.0$"),
        ("", "", 0.634, "has 2.00 hours for training; expected those of the model, 0.634"),
        ("", "", None, "has 2.00 hours for training; expected those of the model, None"),
    ],
)
def test_other_corpora_are_refused(readme, old, new, hours, line):
    readme.write_text(CORPORA.replace(old, new))
    with pytest.raises(InputError, match=f"README.md: {line}"):
        read_corpora(readme, hours)


def test_greedy_results_are_those_of_a_greedy_model(model):
    found = read_measured(model / "test" / "results.json", model, DecoderSettings())
    assert (found.system["name"], found.system["substitutions"]) == ("greedy", 2)


def test_earlier_results_have_no_interval_of_the_cer(model):
    path = model / "test" / "results.json"
    values = json.loads(path.read_text())
    for system in values["systems"]:
        del system["cer_low"], system["cer_high"]
    path.write_text(json.dumps(values))
    measured = read_measured(path, model, DecoderSettings())
    card = model_card("both", CardFacts("CTC", measured=[measured]))
    assert re.search(r"\| 33\.33 \(\S+ to \S+\) \| \d+\.\d\d \|$", card, re.M)


def test_results_of_another_model_are_refused(model):
    path = model / "test" / "results.json"
    other = DecoderSettings("beam", BeamSettings(lm_weight=0.6), lm="my/ngram")
    with pytest.raises(InputError, match="has greedy, beam, beam-rescored, none of which decodes"):
        read_measured(path, model, other)
    (model / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(
        InputError, match=r"results\.json: is of other weights; expected results of"
    ):
        read_measured(path, model, DecoderSettings())
    path.write_text('{"manifest": "x"}')
    with pytest.raises(InputError, match="has no manifest, weights or error rates; expected"):
        read_measured(path, model, DecoderSettings())
