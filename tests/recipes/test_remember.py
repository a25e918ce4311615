import json

import pytest
from conftest import run_script

from asr.errors import InputError

SETTINGS = """
chunk: 2
gradients: [bptt, truncated]
counting: {updates: {n_updates: 3}}
recall:
  cells: [rnn, lstm]
  distances: [1, 3]
  hidden_size: 2
  batch_size: 2
  n_test: 10
  updates: {n_updates: 2}
costs: {lengths: [4, 8]}
"""


@pytest.fixture
def options(tmp_path):
    (tmp_path / "remember.yaml").write_text(SETTINGS)
    return ["--config", tmp_path / "remember.yaml", "--out", tmp_path / "out"]


def test_a_run_goes_on_after_its_last_training(options, tmp_path, capsys):
    run_script("recipes/remember.py", *options)
    first = capsys.readouterr()
    assert first.err.splitlines()[0].startswith("counting-bptt: ")
    assert first.err.count("\n") == 2 + 8
    table = (tmp_path / "out" / "table.md").read_text()
    assert first.out.startswith(table)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [len(results[task]) for task in ("counting", "recall")] == [2, 8]
    assert [cost["length"] for cost in results["costs"]] == [4, 4, 8, 8]
    assert (tmp_path / "out" / "picture.png").stat().st_size > 1000

    (tmp_path / "out" / "results.json").unlink()
    (tmp_path / "out" / "runs" / "recall-lstm-bptt-3.json").unlink()
    run_script("recipes/remember.py", *options)
    assert capsys.readouterr().err.startswith("recall-lstm-bptt-3: ")
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    for one, other in zip(results["recall"], again["recall"], strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}

    run_script("recipes/remember.py", *options)
    assert "is finished already, with these settings" in capsys.readouterr().err


def test_other_settings_need_another_folder(options, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.yaml").write_text("seed: 7\n")
    with pytest.raises(InputError, match=r"out: holds a run with other settings; give another"):
        run_script("recipes/remember.py", *options)


def test_a_damaged_result_is_refused(options, tmp_path):
    (tmp_path / "out" / "runs").mkdir(parents=True)
    (tmp_path / "out" / "runs" / "counting-bptt.json").write_text('{"gradient": "bptt"}\n')
    with pytest.raises(InputError, match=r"counting-bptt.json: "):
        run_script("recipes/remember.py", *options)
