import json

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script, signal_at
from safetensors.torch import load_file

from asr.config import check_file, settings_parser
from asr.errors import InputError
from asr.networks.tagger import TagLogProbs
from asr.training.punctuation import PunctuationTraining, total_loss
from asr.training.punctuation_data import PunctuationSettings, TagBatch
from asr.training.run import add_trainer_options
from asr.training.tagged_text import NOT_COUNTED
from asr.transcribing.punctuation import load_punctuation

SETTINGS = """
data:
  window: 20
  rows: 2
  replaced: 0.1
  dropped: 0.1
model:
  embedding_size: 8
  n_buckets: 50
  hidden_size: 8
  n_layers: 1
optim:
  lr: 0.02
averaging:
  n_epochs: 2
trainer:
  max_epochs: 3
  accelerator: cpu
  log_every_n_steps: 1
"""


def sentences(n, seed):
    """Each begins with he or she, which ends questions too; names end in -ab."""
    generator = np.random.default_rng(seed)
    for _ in range(n):
        name = "".join(generator.choice(list("klm"), size=2)) + "ab"
        yield f"He saw {name.title()}, and went."
        yield f"Did {name.title()} see me?"


@pytest.fixture
def corpus(tmp_path):
    """The options of `train_punctuation`, without --out, for 8 batches of windows."""
    for part, size in (("train", 32), ("dev", 5)):
        (tmp_path / f"{part}.txt").write_text("\n".join(sentences(size, size)) + "\n")
    (tmp_path / "p.yaml").write_text(SETTINGS)
    data = [f"--data.{part}={tmp_path / part}.txt" for part in ("train", "dev")]
    return ["--config", str(tmp_path / "p.yaml"), *data]


def train(corpus, out, *options):
    run_script("recipes/train_punctuation.py", *corpus, "--out", out, *options)


def trained_on(folder):
    values = json.loads((folder / "model.json").read_text())["trained_on"]
    return {name: value for name, value in values.items() if name != "minutes"}


def test_loss_is_that_of_counted_tags():
    generator = torch.Generator().manual_seed(0)
    log_probs = TagLogProbs(
        torch.randn(3, 2, 5, generator=generator).log_softmax(2),
        torch.randn(3, 2, 3, generator=generator).log_softmax(2),
    )
    marks = torch.tensor([[1, 0], [4, 2], [0, NOT_COUNTED]])
    cases = torch.tensor([[1, 0], [NOT_COUNTED, 2], [0, NOT_COUNTED]])
    batch = TagBatch(torch.zeros(3, 2, 9), marks, cases, torch.tensor([3, 2]), 5)
    expected = 0.0
    for rows, targets in zip(log_probs, (marks, cases), strict=True):
        for t in range(3):
            for n in range(2):
                if targets[t, n] != NOT_COUNTED:
                    expected -= float(rows[t, n, targets[t, n]])
    assert float(total_loss(log_probs, batch)) == pytest.approx(expected, rel=1e-6)


def test_marks_and_names_are_learned(corpus, tmp_path, capsys):
    options = [
        "--trainer.max_epochs=10",
        "--data.dropped=0",
        "--data.replaced=0",
        "--optim.lr=0.05",
    ]
    train(corpus, tmp_path / "run", *options, "--model.dropout=0")
    assert "dev_sentence_ends" in capsys.readouterr().err
    found = trained_on(tmp_path / "run")
    for name in ("sentence_ends", "commas", "case", "question_marks"):
        assert found[f"dev_f1_{name}"] > 0.95, name
    tagger = load_punctuation(tmp_path / "run").tagger
    words = ["he", "saw", "mmab", "and", "went", "did", "mmab", "see", "me"]
    assert [tag.mark for tag in tagger.tags(words)] == ["", "", ",", "", ".", "", "", "", "?"]
    assert [words[n] for n, tag in enumerate(tagger.tags(words)) if tag.case == "capital"] == [
        *("he", "mmab", "did", "mmab")
    ]


# an epoch has 8 steps
@pytest.mark.parametrize(
    ("step", "hook", "options"),
    [
        (3, "training_step", []),
        (8, "validation_step", []),
        (6, "training_step", ["--trainer.limit_train_batches=5"]),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    corpus, tmp_path, monkeypatch, capsys, step, hook, options
):
    train(corpus, tmp_path / "straight", *options)
    with monkeypatch.context() as patched:
        signal_at(patched, PunctuationTraining, step, hook)
        with pytest.raises(SystemExit):
            train(corpus, tmp_path / "stopped", *options)
    assert "the same command goes on from there" in capsys.readouterr().err
    train(corpus, tmp_path / "stopped", *options)
    straight, stopped = (
        load_file(tmp_path / run / "weights.safetensors") for run in ("straight", "stopped")
    )
    torch.testing.assert_close(straight, stopped, rtol=0, atol=0)
    assert trained_on(tmp_path / "straight") == trained_on(tmp_path / "stopped")


def test_a_step_without_a_finite_gradient_is_skipped(corpus, tmp_path, monkeypatch, capsys):
    original = PunctuationTraining.training_step

    def step(self, batch, batch_idx):
        loss = original(self, batch, batch_idx)
        return loss * float("nan") if batch_idx == 1 else loss

    monkeypatch.setattr(PunctuationTraining, "training_step", step)
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    assert "step 2 not taken: the gradient is not finite" in capsys.readouterr().err
    load_punctuation(tmp_path / "run")


def test_a_finished_run_is_not_trained_again(corpus, tmp_path, capsys):
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    capsys.readouterr()
    train(corpus, tmp_path / "run", "--trainer.max_epochs=1")
    assert "is trained already, with these settings" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"other settings \(seed is 1 there, 2 now\)"):
        train(corpus, tmp_path / "run", "--trainer.max_epochs=1", "--seed=2")


@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("conf/*/punctuation*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_settings_of_every_corpus_are_valid(path):
    parser = settings_parser("train_punctuation", PunctuationSettings)
    add_trainer_options(parser)
    check_file(parser, path)
