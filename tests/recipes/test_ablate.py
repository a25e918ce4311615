import shutil
import sys

import pipeline
import pytest
from conftest import ROOT, load_script, run_script, write_tones

from asr.model import load_model


def test_networks_are_trained_with_every_seed_and_listed(tmp_path, monkeypatch, capsys):
    for folder in ("data", "conf"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    write_tones(tmp_path / "data" / "tones", {"train": 24, "dev": 4, "test": 4}, seed=1)
    conf = tmp_path / "conf" / "tones"
    conf.mkdir()
    shutil.copy(tmp_path / "data" / "tones" / "ctc.yaml", conf)
    (conf / "ablate.yaml").write_text(
        "config: ctc\nparameters: 2000\n"
        "settings: [trainer.max_epochs=1, features.n_mels=12, 'model.output_sizes=[20]']\n"
        "networks:\n"
        "- {cell: gru, n_layers: 1}\n- {cell: rnn, n_layers: 2, bidirectional: false}\n"
    )

    def stage(command, inputs, outputs):
        script, *arguments = command
        if script.name != "prepare.py":
            run_script(script.relative_to(tmp_path), *arguments)

    monkeypatch.setattr(pipeline, "run_stage", stage)
    script = load_script("recipes/ablate.py")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate.py", "tones", "--seeds", "2"])
    script.main()
    out = tmp_path / "exp" / "tones" / "ablate"
    table = (out / "table.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines()[-len(table) - 1 : -1] == table
    rows = [line.strip("| ").split(" | ") for line in table[2:]]
    assert [row[0].partition(" x ")[0] for row in rows] == ["1", "2"]
    assert rows[0][0].endswith(" bidirectional gru, 20 rectified linear units")
    assert rows[1][0].endswith(" forward rnn, 20 rectified linear units")
    assert all("deviation" in row[3] for row in rows)
    sizes = [int(row[5].replace(",", "")) for row in rows]
    assert sizes == pytest.approx([2000, 2000], rel=0.1)
    models = [load_model(path.parent) for path in sorted(out.glob("*/ctc-seed1/model.json"))]
    assert sizes == [model.n_parameters for model in models]
    assert [model.features.settings.n_mels for model in models] == [12, 12]
