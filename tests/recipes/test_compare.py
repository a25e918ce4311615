import shutil
import sys

import pipeline
import pytest
from conftest import ROOT, load_script, run_script, write_tones

from asr.errors import InputError

FEATURES = "features:\n  sample_rate: 8000\n  n_mels: 12\n"
CPU = "  accelerator: cpu\n"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A repository with prepared tones and settings of three systems; stages run in-process."""
    for folder in ("data", "conf"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    write_tones(tmp_path / "data" / "tones", {"train": 24, "dev": 4, "test": 4}, seed=1)
    conf = tmp_path / "conf" / "tones"
    conf.mkdir()
    data = "data:\n  train: data/tones/train.jsonl\n  dev: data/tones/dev.jsonl\n"
    ctc = (tmp_path / "data" / "tones" / "ctc.yaml").read_text().replace("data:\n", data)
    (conf / "ctc.yaml").write_text(ctc)
    (conf / "hybrid.yaml").write_text(
        f"{data}  hmm: exp/tones/hmm\n{FEATURES}  kind: log_mel\n"
        f"model:\n  hidden_size: 8\n  n_layers: 1\ntrainer:\n  max_epochs: 2\n{CPU}"
    )
    (conf / "hmm.yaml").write_text(
        f"{data}{FEATURES}  kind: mfcc\n  n_mfcc: 8\nmodel:\n  n_components: 12\n  min_count: 5\n"
        f"schedule:\n  grow_until: 3\ntrainer:\n  max_epochs: 5\n{CPU}"
    )
    (conf / "ngram.yaml").write_text(
        "data:\n  train: data/tones/train.jsonl\nmodel:\n  order: 2\n  discount_fallback: true\n"
    )
    (conf / "compare.yaml").write_text(
        "systems:\n  hmm: HMM\n  hybrid: hybrid\n  ctc: CTC\nlm: [ngram]\n"
    )
    done = []

    def stage(command, inputs, outputs):
        assert all(path.exists() for path in inputs)
        script, *arguments = command
        if script.name != "prepare.py" and str(outputs) not in done:
            run_script(script.relative_to(tmp_path), *arguments)
        done.append(str(outputs))
        assert all(path.exists() for path in outputs)

    monkeypatch.setattr(pipeline, "run_stage", stage)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(root, monkeypatch, *arguments):
    script = load_script("recipes/compare.py")
    monkeypatch.setattr(script, "ROOT", root)
    monkeypatch.setattr(sys, "argv", ["compare.py", *arguments])
    script.main()


def test_three_systems_are_in_a_table_and_a_picture(corpus, monkeypatch, capsys):
    compare(corpus, monkeypatch, "tones")
    out = corpus / "exp" / "tones" / "compare"
    lines = (out / "table.md").read_text().splitlines()
    assert set(lines) < set(capsys.readouterr().out.splitlines())
    rows = [line.strip("| ").split(" | ") for line in lines[2:]]
    ways = ["beam", "beam-ngram"]
    assert [row[:2] for row in rows] == [
        *(["HMM", way] for way in ways),
        *(["hybrid", way] for way in ways),
        *(["CTC", way] for way in ("greedy", *ways)),
    ]
    of_kind = {row[0]: row[-1] for row in rows}
    assert of_kind == {
        "HMM": "5 passes over all",
        "hybrid": "the HMM's, a state for each frame",
        "CTC": "none: the loss sums over all",
    }
    hmm = rows[0]
    assert hmm[3].startswith("0.00 ")
    assert float(rows[2][6]) >= float(hmm[6])  # the hybrid's minutes include the HMM's
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"

    compare(corpus, monkeypatch, "tones")
    line = "exp/tones/compare: has a table and a picture; they are replaced"
    assert line in capsys.readouterr().err


def test_an_unknown_utterance_is_refused_before_training(corpus, monkeypatch):
    with pytest.raises(InputError, match=r"--utterance is nobody, which is not in .*test.jsonl"):
        compare(corpus, monkeypatch, "tones", "--utterance", "nobody")
    assert not (corpus / "exp").exists()


def test_missing_settings_are_refused_before_training(corpus, monkeypatch):
    (corpus / "conf" / "tones" / "ctc.yaml").unlink()
    with pytest.raises(InputError, match=r"compare.yaml: names ctc, but .*ctc.yaml does not exist"):
        compare(corpus, monkeypatch, "tones")
    assert not (corpus / "exp").exists()


@pytest.mark.parametrize(
    "text", ["lm: [ngram]\n", "systems: [hmm, ctc]\n", "systems:\n  ctc: CTC\n  hybrid: BLSTM\n",
             "systems:\n  hmm: HMM\n  hmm-tri: triphones\n", "systems:\n  hmm:\n  ctc: CTC\n"],
)  # fmt: skip
def test_a_comparison_needs_titles_of_an_hmm_and_a_network(corpus, monkeypatch, text):
    (corpus / "conf" / "tones" / "compare.yaml").write_text(text)
    line = r"compare.yaml: systems is .*; expected names of settings with titles, of an HMM and"
    with pytest.raises(InputError, match=line):
        compare(corpus, monkeypatch, "tones")
