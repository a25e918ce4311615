import json
from dataclasses import replace

import pytest
import torch
from conftest import run_script

import asr
from asr.corpus.manifest import read_manifest, write_manifest
from asr.errors import InputError
from asr.networks.ctc import ctc_loss

SCRIPT = "recipes/train_classifier.py"


@pytest.fixture
def classifier(tones, tmp_path):
    """The folder of a classifier of tones: a recording has the label of its most frequent tone."""
    folder = tmp_path / "classifier"
    folder.mkdir()
    for part in ("train", "dev"):
        utterances = read_manifest(tones.folder / f"{part}.jsonl")
        labelled = [
            replace(u, text="high" if u.text.count("a") > u.text.count("b") else "low")
            for u in utterances
        ]
        write_manifest(folder / f"{part}.jsonl", labelled)
    options = [*tones.options, "--data.tokens=unit", "--model.pooling=true"]
    options += [f"--data.{part}={folder / f'{part}.jsonl'}" for part in ("train", "dev")]
    run_script(SCRIPT, *options, "--trainer.max_epochs=12", "--out", folder / "model")
    return folder


def test_the_ctc_loss_of_one_output_is_the_cross_entropy():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 4), torch.tensor([1, 3, 2, 2, 1])
    ones = torch.ones(5, dtype=torch.int64)
    found = ctc_loss(logits.log_softmax(1)[None], labels[:, None], ones, ones)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(found, expected)


def test_a_classifier_is_used_and_measured_like_every_model(classifier):
    manifest = classifier / "dev.jsonl"
    utterances = read_manifest(manifest)
    recognizer = asr.load(classifier / "model")
    found = [recognizer.transcribe(utterance.audio) for utterance in utterances]
    wrong = sum(one.text != u.text for one, u in zip(found, utterances, strict=True))
    assert wrong <= len(found) / 4
    (word,) = found[0].words
    assert (word.text, word.start, word.end) == (found[0].text, 0.0, found[0].duration)
    assert 0 < word.confidence <= 1

    run_script("recipes/evaluate.py", "--model", classifier / "model", "--manifest", manifest)
    results = json.loads((classifier / "model" / "dev" / "results.json").read_text())
    (system,) = results["systems"]
    assert (system["words"], system["substitutions"]) == (len(utterances), wrong)


def test_labels_of_several_tokens_are_refused(tones, tmp_path):
    line = (
        r"train\.jsonl: \d+ of \d+ utterances have fewer frames than their text takes: .* \(1 for"
        r" \d\).*; with data\.tokens=unit a label of one word takes one frame"
    )
    with pytest.raises(InputError, match=line):
        run_script(SCRIPT, *tones.options, "--model.pooling=true", "--out", tmp_path / "no")


def test_recipes_for_ctc_and_classifiers_do_not_mix(tones, tmp_path):
    for name, pooling in (("train_classifier", False), ("train_ctc", True)):
        options = [*tones.options, f"--model.pooling={str(pooling).lower()}"]
        message = f"model.pooling is {pooling}; expected {not pooling} with {name}"
        with pytest.raises(InputError, match=message):
            run_script(f"recipes/{name}.py", *options, "--out", tmp_path / "no")
